"""What DigitalOcean offers: regions, sizes with their prices, and a few images.

Prices are those of `/v2/sizes` in 2026 for the sizes that are listed. Every object is kept beside
its JSON text, because each droplet carries all three in every answer.
"""

import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

MEBIBYTE = 1024 * 1024

REGIONS = {
    "nyc1": "New York 1",
    "nyc2": "New York 2",
    "nyc3": "New York 3",
    "sfo2": "San Francisco 2",
    "sfo3": "San Francisco 3",
    "ams3": "Amsterdam 3",
    "sgp1": "Singapore 1",
    "lon1": "London 1",
    "fra1": "Frankfurt 1",
    "tor1": "Toronto 1",
    "blr1": "Bangalore 1",
    "syd1": "Sydney 1",
    "atl1": "Atlanta 1",
    "ric1": "Richmond 1",
}
REGION_FEATURES = [
    "backups",
    "ipv6",
    "metadata",
    "install_agent",
    "storage",
    "image_transfer",
]
# Region slugs that the published description does not list for images yet.
REGIONS_NEWER_THAN_IMAGES = {"atl1", "ric1"}


@dataclass(frozen=True, slots=True)
class Size:
    """A size of droplet. Prices in dollars, memory in MiB, disk in GiB, transfer in TiB."""

    slug: str
    description: str
    memory: int
    vcpus: int
    disk: int
    transfer: float
    price_monthly: Decimal
    price_hourly: Decimal
    regions: tuple[str, ...]
    available: bool = True

    def document(self) -> dict[str, Any]:
        """Return the size as the API shows it."""
        return {
            "slug": self.slug,
            "memory": self.memory,
            "vcpus": self.vcpus,
            "disk": self.disk,
            "transfer": self.transfer,
            "price_monthly": float(self.price_monthly),
            "price_hourly": float(self.price_hourly),
            "regions": list(self.regions),
            "available": self.available,
            "description": self.description,
            "disk_info": [{"type": "local", "size": {"amount": self.disk, "unit": "gib"}}],
        }


BASE_IMAGE_REGIONS = tuple(slug for slug in REGIONS if slug not in REGIONS_NEWER_THAN_IMAGES)


@dataclass(slots=True)
class Image:
    """An image: a public base image, a snapshot, or one that was uploaded (`custom`)."""

    id: int
    slug: str | None
    name: str
    distribution: str
    type: str = "base"
    public: bool = True
    regions: tuple[str, ...] = BASE_IMAGE_REGIONS
    created_at: str = "2026-01-15T08:00:00Z"
    min_disk_size: int = 7
    size_gigabytes: float = 0.6
    status: str = "available"
    droplet_id: int | None = None
    """The droplet that a snapshot was made of."""

    @property
    def gigabytes(self) -> Decimal:
        """Its size, to reckon with."""
        return Decimal(str(self.size_gigabytes))

    def document(self) -> dict[str, Any]:
        """Return the image as the API shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "distribution": self.distribution,
            "slug": self.slug,
            "public": self.public,
            "regions": [slug for slug in self.regions if slug in BASE_IMAGE_REGIONS],
            "created_at": self.created_at,
            "min_disk_size": self.min_disk_size,
            "type": self.type,
            "size_gigabytes": self.size_gigabytes,
            "description": f"{self.distribution} {self.name}",
            "tags": [],
            "status": self.status,
        }


SIZES = tuple(
    Size(
        slug,
        description,
        memory,
        vcpus,
        disk,
        transfer,
        Decimal(monthly),
        Decimal(hourly),
        tuple(sorted(REGIONS)),
    )
    for slug, description, memory, vcpus, disk, transfer, monthly, hourly in (
        ("s-1vcpu-512mb-10gb", "Basic", 512, 1, 10, 0.5, "4", "0.00595"),
        ("s-1vcpu-1gb", "Basic", 1024, 1, 25, 1.0, "6", "0.00893"),
        ("s-1vcpu-1gb-amd", "Basic AMD", 1024, 1, 25, 1.0, "7", "0.01042"),
        ("s-1vcpu-2gb", "Basic", 2048, 1, 50, 2.0, "12", "0.01786"),
        ("s-2vcpu-2gb", "Basic", 2048, 2, 60, 3.0, "18", "0.02679"),
        ("s-2vcpu-4gb", "Basic", 4096, 2, 80, 4.0, "24", "0.03571"),
        ("s-4vcpu-8gb", "Basic", 8192, 4, 160, 5.0, "48", "0.07143"),
        ("s-8vcpu-16gb", "Basic", 16384, 8, 320, 6.0, "96", "0.14286"),
        ("c-2", "CPU-Optimized", 4096, 2, 25, 4.0, "42", "0.0625"),
        ("g-2vcpu-8gb", "General Purpose", 8192, 2, 25, 4.0, "63", "0.09375"),
    )
)
IMAGES = (
    Image(195_932_981, "ubuntu-24-04-x64", "24.04 (LTS) x64", "Ubuntu"),
    Image(195_932_982, "ubuntu-22-04-x64", "22.04 (LTS) x64", "Ubuntu"),
    Image(195_932_983, "debian-12-x64", "12 x64", "Debian"),
    Image(195_932_984, "debian-13-x64", "13 x64", "Debian"),
)


@dataclass(slots=True)
class Catalogue:
    """The offer, and what of it is sold out at the moment."""

    sizes: dict[str, Size] = field(default_factory=lambda: {size.slug: size for size in SIZES})
    images: dict[str, Image] = field(
        default_factory=lambda: {str(image.slug): image for image in IMAGES}
    )
    own_images: dict[int, Image] = field(default_factory=dict)
    """Images that the account made, by id."""
    closed_regions: set[str] = field(default_factory=set)
    """Regions that take no new droplets. They are still listed as available."""
    sold_out: set[tuple[str, str]] = field(default_factory=set)
    """Pairs of region and size without capacity. They are still listed as offered."""
    restricted_sizes: set[str] = field(default_factory=set)
    """Sizes that the account may not have at present. They are still listed as available."""
    texts: dict[str, str] = field(default_factory=dict)
    """The JSON text of each size and region by kind and slug, and of each image by its id."""

    def __post_init__(self) -> None:
        for size in self.sizes.values():
            self.texts["size " + size.slug] = json.dumps(size.document())
        for image in self.images.values():
            self.describe(image)
        for slug in REGIONS:
            self.texts["region " + slug] = json.dumps(self.region(slug))

    def region(self, slug: str) -> dict[str, Any]:
        """Return the region as the API shows it."""
        return {
            "name": REGIONS[slug],
            "slug": slug,
            "features": REGION_FEATURES,
            "available": True,
            "sizes": [size.slug for size in self.sizes.values() if slug in size.regions],
        }

    def image(self, wanted: object) -> Image | None:
        """Find an image by slug or id (a number, or its digits)."""
        if isinstance(wanted, str) and wanted in self.images:
            return self.images[wanted]
        known = (*self.images.values(), *self.own_images.values())
        return next((one for one in known if str(one.id) == str(wanted)), None)

    def describe(self, image: Image) -> None:
        """Write the JSON text of an image anew."""
        self.texts[f"image {image.id}"] = json.dumps(image.document())
