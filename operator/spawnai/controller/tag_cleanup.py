"""Deletes the tags of sessions that have ended, in the background and within the call budget."""

import logging
from collections.abc import Callable
from random import Random

from spawnai.clock import Clock
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.errors import DigitalOceanError, Forbidden
from spawnai.digitalocean.tags import Tags
from spawnai.lifecycle.dead_tags import dead_tags

from .accounts import CloudAccount
from .store import Store

_LOGGER = logging.getLogger(__name__)

ROUND_SECONDS = 3600.0
_JITTER = 0.1
MOST_IN_A_ROUND = 500
"""A tenth of the hour's calls; the rest follows in the next hours."""
PLENTY = 0.5
"""The share of the hour's calls that must be left for a tag to be worth one."""


class TagCleanup:
    """Looks at the tags of every open account once an hour.

    Args:
        accounts: those that are open now.
        store: the ledgers of this cluster's sessions.
        clock: where it gets its time from.
        random: for jitter, so that several operators do not look in step.
    """

    def __init__(
        self,
        accounts: Callable[[], list[CloudAccount]],
        store: Store,
        clock: Clock,
        random: Random,
    ) -> None:
        self._accounts = accounts
        self._store = store
        self._clock = clock
        self._random = random

    async def run(self) -> None:
        """Go on until cancelled. A call that fails ends the round of its account."""
        while True:
            await self._clock.sleep(ROUND_SECONDS * (1 + self._random.uniform(-_JITTER, _JITTER)))
            for account in self._accounts():
                try:
                    await self.clean(account)
                except Forbidden as error:
                    _LOGGER.info("Dead tags stay in the account: %s", error.message)
                except DigitalOceanError as error:
                    _LOGGER.warning("Dead tags could not be deleted: %s", error)

    async def clean(self, account: CloudAccount) -> int:
        """Delete the dead tags of an account; returns how many went.

        Raises:
            DigitalOceanError: a call failed.
        """
        tags = Tags(account.client)
        closed = {
            record.spec.owner.uid: record.status.completed_at
            for record in self._store.records()
            if record.status.completed_at is not None
        }
        listed = await tags.list(priority=Priority.HOUSEKEEPING)
        dead = dead_tags(((tag.name, tag.count) for tag in listed), closed, self._clock.utc_now())
        gone = 0
        for name in dead[:MOST_IN_A_ROUND]:
            if account.budget.hour_share < PLENTY:
                break
            gone += await tags.delete(name, priority=Priority.HOUSEKEEPING)
        return gone
