"""Baked images between an emulated account and a small API server: made once, kept, gone.

Whenever the operator dies, and whatever DigitalOcean answers, there is one image in the end, or
none, no droplet, and no ledger that says otherwise.
"""

import itertools
from collections.abc import AsyncIterator

import pytest
from tests.contract.images.world import NAME, World

from spawnai.controller.images import command

HOUR = 3600.0


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World.alive() as begun:
        yield begun


async def test_an_image_is_made_once_and_its_builder_is_gone(world):
    await world.until(world.is_ready)
    [image] = world.made()
    assert world.offered() == {"nyc3": image.id, "sfo3": image.id}
    assert (world.most_builders, world.most_images) == (1, 1)
    [ledger] = world.open_ledgers()
    kinds = {line["kind"]: line["presence"] for line in ledger["status"]["resources"]}
    assert kinds == {"Droplet": "Gone", "Image": "Present"}


async def test_an_image_that_is_not_wanted_any_more_goes_once_nothing_can_start_from_it(world):
    await world.until(world.is_ready)
    world.spec["image"] = {"baked": False}
    await world.look()
    assert world.offered() == {}
    for _ in range(30):
        await world.look()
    assert world.made(), "a droplet that was ordered from it may still be made"
    await world.until(world.is_empty)
    assert world.reasons() == ["NotWanted"]


async def test_a_newer_runtime_replaces_the_image_and_the_old_one_is_not_offered(world):
    await world.until(world.is_ready)
    [old] = world.made()
    world.spec["runtime"] = {"caddySha256": "ab" * 32, "nodeSha256": "cd" * 32}
    await world.look()
    assert world.offered() == {}
    await world.until(lambda: world.is_ready() and world.made() != [old])
    assert world.most_images == 2
    assert "Superseded" in world.reasons()


async def test_an_image_that_has_aged_is_made_anew_and_offered_meanwhile(world):
    await world.until(world.is_ready)
    [old] = world.made()
    world.emulator.clock.advance(7 * 24 * HOUR)
    await world.until(lambda: world.is_ready() and world.made() != [old])
    assert world.most_images == 2


async def test_a_builder_that_does_not_come_to_an_end_is_deleted_and_tried_later(world):
    world.builders_power_off = False
    await world.until(lambda: "BakeFailed" in world.reasons() and not world.builders())
    await world.look()
    assert world.made() == []
    assert world.memory.news.has_failed
    ledgers = len(world.records.records)
    for _ in range(5):
        await world.look()
    assert len(world.records.records) == ledgers, "not at once"
    world.builders_power_off = True
    await world.until(world.is_ready)


async def test_an_image_that_vanishes_is_missed_and_made_anew(world):
    await world.until(world.is_ready)
    [image] = world.made()
    world.emulator.cloud.images.delete(image)
    await world.until(lambda: "ImageGone" in world.reasons())
    await world.until(world.is_ready)


async def test_a_ledger_that_a_person_deletes_takes_its_image_along(world):
    await world.until(world.is_ready)
    [image] = world.made()
    world.records.delete(world.open_ledgers()[0]["metadata"]["name"])
    await world.until(lambda: image not in world.made())


async def test_a_class_that_is_deleted_takes_its_images_along(world):
    await world.until(world.is_ready)
    world.deleting = True
    await world.until(world.is_empty)
    assert world.reasons() == ["ClassDeleted"]


async def test_a_class_that_is_deleted_waits_for_an_account_to_delete_its_image_in(world):
    assert await world.images.end(world.known(), None), "there is no image to wait for"
    await world.until(world.is_ready)
    assert not await world.images.end(world.known(), None)
    assert world.made()


async def test_a_snapshot_that_shows_after_its_ledger_was_closed_is_deleted(world):
    await world.until(world.is_ready)
    name = world.made()[0].name
    late = name[: -len("00000000")] + "00000000"
    image = world.made()[0]
    world.emulator.cloud.images.snapshot(1, late, image, "nyc3", 25)
    world.emulator.cloud.images.snapshot(1, "spawn-image-of-another", image, "nyc3", 25)
    await world.look()
    assert len(world.made()) == 3, "it may be just being made"
    world.emulator.clock.advance(HOUR)
    await world.look()
    assert sorted(one.name for one in world.made()) == sorted([name, "spawn-image-of-another"])


async def test_a_region_without_room_leads_to_the_next_one(world):
    world.emulator.cloud.catalogue.closed_regions.add("nyc3")
    await world.until(world.is_ready)


FAULTS = [
    f"{call} {kind}"
    for call, kinds in {
        "POST /v2/droplets": (
            "error_after status=500",
            "cut_before",
            "cut_after",
            "unseen seconds=60",
            "unlisted seconds=60",
            "vanish seconds=1",
        ),
        "POST /v2/droplets/*/actions": ("error_after status=500", "cut_before", "errored"),
        "POST /v2/images/*/actions": ("error_after status=500", "cut_before", "errored"),
        "DELETE /v2/droplets/*": ("cut_after", "cut_before", "ghost seconds=60"),
        "GET /v2/images": ("error_before status=500", "garbled"),
        "GET /v2/droplets": ("error_before status=500",),
    }.items()
    for kind in kinds
]


@pytest.mark.parametrize("line", FAULTS)
async def test_whatever_one_call_answers_there_is_one_image_and_no_droplet(world, line):
    await world.fault(line)
    await world.until(world.is_ready)
    world.deleting = True
    await world.until(world.is_empty)


async def test_a_builder_that_could_not_be_written_down_is_not_ordered_again(world):
    await world.fault("POST /v2/droplets unseen seconds=25")
    world.records.refuses["patch"] = 500
    while not world.builders():
        await world.look()
    del world.records.refuses["patch"]
    await world.until(world.is_ready)
    assert world.most_builders == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_operator_that_dies_at_any_change_leaves_one_image_and_then_none(when):
    """One world for each change that a life of an image consists of."""
    for number in itertools.count(1):
        async with World.alive() as world:
            world.killed_at = (number, when)
            await world.until(world.is_ready)
            world.deleting = True
            await world.until(world.is_empty)
            assert world.most_builders == 1, (number, world.summary())
            if number >= world.changes:
                assert number > 12, "the whole of its life was gone through"
                return


async def test_an_image_that_a_person_asks_for_is_made_by_the_operator_and_kept(world):
    world.spec["image"] = {"baked": False}
    world.known()
    told: list[str] = []
    asked = await command.bake(world.cluster, world.clock, NAME, 0, told.append)
    assert asked == command.DONE
    await world.until(lambda: world.made() and not world.builders())
    await world.look()
    [image] = world.made()
    assert world.offered() == {}, "a class has to name it"
    uid = told[0].split()[1]
    watched = await command._watch(world.cluster, world.clock, uid, 60, told.append)
    assert watched == command.DONE
    assert f"spec.image.name: '{image.id}'" in told[-1]
    for _ in range(200):
        await world.look()
    assert world.made() == [image]
    listed: list[str] = []
    await command.list_images(world.cluster, listed.append)
    assert f"{uid}  default  {image.id}" in listed[1]
    world.records.delete(uid)
    await world.until(world.is_empty)


async def test_a_class_that_keeps_its_image_by_itself_is_asked_for_none(world):
    world.known()
    with pytest.raises(command._WrongUse, match="kubectl delete spawnrecord"):
        await command.bake(world.cluster, world.clock, NAME, 0, lambda _text: None)
    assert world.records.records == {}
