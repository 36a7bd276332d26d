"""What went while no watch looked is forgotten, and nothing else is."""

import asyncio
from random import Random

import pytest

from spawnai.controller.cluster import ClusterUnavailable
from spawnai.controller.resync import Kind, Resync


class There:
    """An API server that knows names, and may be away."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.lists = 0
        self.away = False

    async def list_metadata(self, plural):
        self.lists += 1
        for name in self.names:
            yield {"name": name}
        if self.away:
            raise ClusterUnavailable(f"list {plural}", "no answer")


class Instant:
    """A clock on which nobody waits."""

    async def sleep(self, _seconds):
        await asyncio.sleep(0)


def resync_of(there: There, known: set[str]) -> Resync:
    kind = Kind("spawnsessions", "name", lambda: known, known.discard)
    return Resync(there, Instant(), Random(1), [kind])  # type: ignore[arg-type]


async def test_what_is_known_and_not_there_is_forgotten():
    known = {"stays", "gone"}
    await resync_of(There("stays", "unknown"), known).look()
    assert known == {"stays"}


async def test_a_listing_that_breaks_off_makes_nothing_forgotten():
    known = {"first", "second"}
    there = There("first")
    there.away = True
    with pytest.raises(ClusterUnavailable):
        await resync_of(there, known).look()
    assert known == {"first", "second"}


async def test_only_a_second_listing_of_a_watch_is_a_reason_to_look():
    there, known = There("a"), {"a", "gone"}
    resync = resync_of(there, known)
    running = asyncio.create_task(resync.run())
    resync.on_listed("uid-of-a")
    await asyncio.sleep(0.01)
    assert there.lists == 0
    resync.on_listed("uid-of-a")
    async with asyncio.timeout(5):
        while known != {"a"}:
            await asyncio.sleep(0)
    assert there.lists == 1
    running.cancel()
    await asyncio.wait([running])
