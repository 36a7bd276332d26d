"""How far this machine's clock is from the clocks of those it speaks with.

A session ends at a date, and so do the dead man's switch on its droplet and its certificate. When
the clocks differ by minutes, sessions end early or droplets power off while their status promises
more. Nobody but a person can set a clock; so the difference is measured, shown and told.
"""

import logging
from collections.abc import Callable

from spawnai.clock import Clock

from .cluster import Cluster, ClusterError

_LOGGER = logging.getLogger(__name__)

DIGITALOCEAN, KUBERNETES = "DigitalOcean", "Kubernetes"

MATTERS_SECONDS = 60.0
"""From here on it is told. Machines with NTP differ by less than a second, and the shortest times
that are held against another clock are minutes."""

INTERVAL_SECONDS = 300.0
"""How often the API server is asked. DigitalOcean's answers tell it by themselves."""


class ClockDifference:
    """The difference to each of the others, as their last answer showed it."""

    def __init__(self, on_measured: Callable[[str, float], None] = lambda *_: None) -> None:
        """`on_measured`: told whose clock it was, and by how many seconds ours is ahead of it."""
        self._on_measured = on_measured
        self._ahead: dict[str, float] = {}

    def note(self, whose: str, ahead: float | None) -> None:
        """An answer showed by how many seconds our clock is ahead; None: it had no date."""
        if ahead is None:
            return
        before = self._ahead.get(whose, 0.0)
        self._ahead[whose] = ahead
        self._on_measured(whose, ahead)
        if (abs(before) >= MATTERS_SECONDS) != (abs(ahead) >= MATTERS_SECONDS):
            _LOGGER.warning("%s", _words(whose, ahead) or f"The clock agrees with {whose}'s again")

    def words(self) -> str:
        """A sentence when a difference matters; empty when none does."""
        return "; ".join(
            words for whose, ahead in sorted(self._ahead.items()) if (words := _words(whose, ahead))
        )

    async def watch(self, cluster: Cluster, clock: Clock) -> None:
        """Compare with the API server's clock now and then, until cancelled."""
        while True:
            try:
                self.note(KUBERNETES, await cluster.clock_ahead(clock))
            except ClusterError as error:
                _LOGGER.debug("The API server's clock could not be read: %s", error)
            await clock.sleep(INTERVAL_SECONDS)


def _words(whose: str, ahead: float) -> str:
    if abs(ahead) < MATTERS_SECONDS:
        return ""
    # In whole minutes: a sentence that changed with every answer would be written with each.
    minutes = round(abs(ahead) / 60)
    side = "ahead of" if ahead > 0 else "behind"
    return (
        f"the operator's clock is {minutes} min {side} {whose}'s: set it (NTP), or sessions end at "
        "the wrong time"
    )
