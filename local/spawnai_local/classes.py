"""The SpawnClasses of a local cloud: what a laptop offers, in the product's own terms."""

from typing import Any

from spawnai.api.names import API_VERSION, DEFAULT_CLASS_ANNOTATION
from spawnai.api.spawnclass import (
    ClassSpec,
    ExposureMode,
    ExposureSpec,
    Https,
    LifetimeSpec,
    PricingSpec,
    RuntimeSpec,
)

LOCAL_CLASS = "local"
LOCAL_DNS_CLASS = "local-dns"
LOCAL_HTTP_CLASS = "local-http"
LOCAL_WILDCARD_CLASS = "local-wildcard"
LOCAL_WILDCARD_DOMAIN = "wild.spawn-ai.test"
"""Served by the local gateway, to which all of its names lead."""
LOCAL_BALANCED_CLASS = "local-loadbalancer"
LOCAL_BALANCED_DOMAIN = "balanced.spawn-ai.test"
LOCAL_CLASSES = frozenset(
    {
        LOCAL_CLASS,
        LOCAL_DNS_CLASS,
        LOCAL_HTTP_CLASS,
        LOCAL_BALANCED_CLASS,
        LOCAL_WILDCARD_CLASS,
    }
)
"""All that `make local` has."""
LOCAL_DOMAIN = "apps.spawn-ai.test"
"""In the emulator's account from the start. `.test` is reserved (RFC 6761): it is nobody's."""

DIGITALOCEAN_CLASS = "digitalocean"

# A person who tries something does not wait long for a warning or the end of a notice; and a
# machine that starts in seconds has failed when it is not there after some minutes.
LAPTOP_LIFETIME = LifetimeSpec(
    max="24h", provisioning_deadline="4m", notice="15s", warning="1m", dead_man_grace="1m"
)


def local_classes(
    ports: tuple[int, int],
    lifetime: LifetimeSpec,
    default_class: str,
    runtime: RuntimeSpec | None = None,
    *,
    gateway: str | None = None,
    pricing: PricingSpec | None = None,
) -> list[dict[str, Any]]:
    """A class without a domain (its URLs are addresses), one with names in DNS, one without HTTPS,
    one whose apps have load balancers, and with the address of a `gateway` one whose apps are
    behind it.

    `ports`: where droplets answer HTTP and HTTPS. `runtime`: where they get Node.js and Caddy;
    without one, from the stand-in for the distribution. `pricing`: what users are charged; nothing
    without it.
    """
    http_port, https_port = ports
    direct = ExposureSpec(http_port=http_port, https_port=https_port)
    exposures = {
        LOCAL_CLASS: direct,
        LOCAL_DNS_CLASS: direct.model_copy(update={"domain": LOCAL_DOMAIN}),
        LOCAL_HTTP_CLASS: direct.model_copy(update={"https": Https.OFF}),
        LOCAL_BALANCED_CLASS: direct.model_copy(
            update={"mode": ExposureMode.LOAD_BALANCER, "domain": LOCAL_BALANCED_DOMAIN}
        ),
    }
    if gateway is not None:
        exposures[LOCAL_WILDCARD_CLASS] = direct.model_copy(
            update={
                "mode": ExposureMode.WILDCARD,
                "domain": LOCAL_WILDCARD_DOMAIN,
                "gateway_address": gateway,
            }
        )
    return [
        _document(
            name,
            ClassSpec(
                lifetime=lifetime,
                exposure=exposure,
                runtime=runtime or RuntimeSpec(),
                pricing=pricing or PricingSpec(),
            ),
            is_default=name == default_class,
        )
        for name, exposure in exposures.items()
    ]


def digitalocean_class(domain: str | None) -> list[dict[str, Any]]:
    """The default class for real droplets. The domain must be in the DigitalOcean account."""
    return [
        _document(
            DIGITALOCEAN_CLASS, ClassSpec(exposure=ExposureSpec(domain=domain)), is_default=True
        )
    ]


def _document(name: str, spec: ClassSpec, *, is_default: bool = False) -> dict[str, Any]:
    annotations = {DEFAULT_CLASS_ANNOTATION: "true"} if is_default else {}
    # Only what differs from the defaults: what a person reads with `kubectl get -o yaml` is short.
    return {
        "apiVersion": API_VERSION,
        "kind": "SpawnClass",
        "metadata": {"name": name, "annotations": annotations},
        "spec": spec.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude_defaults=True
        ),
    }
