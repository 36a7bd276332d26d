"""Finds out what was deleted while no watch looked.

A watch that was interrupted for too long begins again with a listing. A listing shows what there
is, and no word of what has gone meanwhile: a session whose finalizer somebody stripped would live
on here, and its droplet with it. So after such a listing, and now and then anyway, the names of all
objects are asked for, and what is known but not among them is forgotten.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from spawnai.clock import Clock

from .cluster import Cluster, ClusterError

_LOGGER = logging.getLogger(__name__)

INTERVAL_SECONDS = 900.0
SPREAD = 0.2
SETTLE_SECONDS = 0.5
"""Several watches usually begin again together: one look is enough for all."""
RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object: what is known of it, and what to do with what has gone.

    `key` says what it is known by: a field of the metadata.
    """

    plural: str
    key: str
    known: Callable[[], Iterable[str]]
    gone: Callable[[str], None]


class Resync:
    """Compares what is known with what there is, after interruptions and now and then."""

    def __init__(
        self, cluster: Cluster, clock: Clock, random: Random, kinds: Iterable[Kind]
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._random = random
        self._kinds = tuple(kinds)
        self._listed: set[str] = set()
        self._wanted = asyncio.Event()

    def on_listed(self, uid: str) -> None:
        """A watch began with a listing that showed this object: for the second time, after an
        interruption.
        """
        if uid in self._listed:
            self._wanted.set()
        self._listed.add(uid)

    async def run(self) -> None:
        """Look whenever it is time to, until cancelled."""
        wait = self._usual_wait()
        while True:
            try:
                async with asyncio.timeout(wait):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            await self._clock.sleep(SETTLE_SECONDS)
            self._wanted.clear()
            try:
                await self.look()
            except ClusterError as error:
                _LOGGER.info("What has gone could not be found out, trying again: %s", error)
                wait = RETRY_SECONDS
            else:
                wait = self._usual_wait()

    async def look(self) -> None:
        """Forget what the API server has no more.

        Raises:
            ClusterError: a listing could not be had; nothing of that kind is forgotten.
        """
        for kind in self._kinds:
            # In this order: what is made during the listing is not known before it.
            known = set(kind.known())
            there = {str(one[kind.key]) async for one in self._cluster.list_metadata(kind.plural)}
            for key in sorted(known - there):
                _LOGGER.info("%s %s has gone while no watch looked", kind.plural, key)
                kind.gone(key)

    def _usual_wait(self) -> float:
        return INTERVAL_SECONDS * self._random.uniform(1 - SPREAD, 1 + SPREAD)
