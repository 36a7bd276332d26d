"""From which image a droplet is ordered, and what follows from a refusal."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from spawnai.api.spawnclass import ClassSpec
from spawnai.controller.actions.droplets import DropletSteps
from spawnai.controller.failures import NotYet
from spawnai.digitalocean.errors import ImageNotInRegion, NoCapacity, Refused, UnknownOption
from spawnai.lifecycle.kinds import Placement, WantedDroplet

PLACE = Placement("nyc3", "s-1vcpu-1gb")
WANTED = WantedDroplet("spawn-uid", PLACE, timedelta(minutes=10))
UNUSED: Any = None


class Images:
    """One class's image, until it is refused."""

    def __init__(self, image: int | None) -> None:
        self.image = image

    def image_for(self, class_name: str, region: str, size: str) -> int | None:
        return self.image if (class_name, region, size) == ("baked", "nyc3", PLACE.size) else None

    def refuse(self, class_name: str, region: str, size: str) -> None:
        self.image = None


def steps_with(images: Images) -> DropletSteps:
    return DropletSteps(
        agents=UNUSED,
        clock=SimpleNamespace(utc_now=lambda: None),
        cluster_uid="c",
        agent_source="",
        wake=UNUSED,
        images=images,
    )


def work() -> Any:
    backing = SimpleNamespace(class_name="baked", spec=ClassSpec(), account=UNUSED)
    return SimpleNamespace(backing=backing, memory=SimpleNamespace(rejected={}), session=UNUSED)


def image_of(images: Images, place: Placement = PLACE) -> str:
    return steps_with(images)._image(work().backing, place)


def test_a_droplet_starts_from_the_baked_image_where_there_is_one():
    assert image_of(Images(7)) == "7"
    assert image_of(Images(7), Placement("sfo3", PLACE.size)) == "ubuntu-24-04-x64"
    assert image_of(Images(None)) == "ubuntu-24-04-x64"


@pytest.mark.parametrize("kind", [UnknownOption, ImageNotInRegion, Refused])
def test_what_is_refused_with_a_baked_image_is_tried_with_the_stock_image_first(kind):
    images, refused = Images(7), work()
    with pytest.raises(NotYet, match="the baked image cannot be used: gone"):
        steps_with(images).refused(refused, WANTED, kind("gone"))
    assert refused.memory.rejected == {}
    assert image_of(images) == "ubuntu-24-04-x64"


def test_a_region_without_room_says_nothing_of_the_image():
    images, refused = Images(7), work()
    steps_with(images).refused(refused, WANTED, NoCapacity("full"))
    assert list(refused.memory.rejected) == [("nyc3", "s-1vcpu-1gb")]
    assert image_of(images) == "7"
