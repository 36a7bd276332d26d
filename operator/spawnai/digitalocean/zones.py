"""The names of a domain as its zone file shows them: one call, however many they are."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from spawnai.clock import Clock
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.dns import DomainRecords
from spawnai.digitalocean.shared import SharedLook

# The share of what was shown before that a zone file may miss and still be a proof: others delete
# names too.
_MISSES_OF_A_PROOF = 0.01


@dataclass(frozen=True, slots=True)
class Zone:
    """What one look at a zone file showed.

    Attributes:
        names: all names in it.
        before: those that the two looks before it showed. Not that one alone: a name may have gone
            before it, and be asked for after it began.
        is_proof: what was shown before and is missing here is gone: it misses almost nothing that
            has to be there. The first look after a while proves nothing: there is nothing to hold
            it against.
    """

    names: frozenset[str]
    before: frozenset[str]
    is_proof: bool

    def proves_gone(self, name: str) -> bool:
        """Whether a name whose deletion was accepted before the look is not there any more.

        One that no zone file has shown proves nothing: it may be cut short, or late.
        """
        return self.is_proof and name in self.before and name not in self.names


class Zones:
    """The zone files of an account's domains, one look for all who ask.

    Args:
        records: the calls for domain records.
        clock: measures the pause.
        pause: seconds from the begin of one look at a domain to the next.
    """

    def __init__(self, records: DomainRecords, clock: Clock, pause: Callable[[], float]) -> None:
        self._records = records
        self._clock = clock
        self._pause = pause
        self._looks: dict[str, SharedLook[Zone]] = {}
        # What the last look showed, and the one before it.
        self._shown: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
        self._leaving: defaultdict[str, set[str]] = defaultdict(set)

    async def is_gone(self, domain: str, name: str) -> bool:
        """Whether a look that begins after this call proves that the name is gone, whose deletion
        was accepted before. False: it proves nothing.

        Raises:
            DigitalOceanError: the look failed; nothing follows then.
        """
        self._leaving[domain].add(name)
        if domain not in self._looks:
            self._looks[domain] = SharedLook(lambda: self._look(domain), self._clock, self._pause)
        zone = await self._looks[domain].get()
        return zone.proves_gone(name)

    def cancel(self) -> None:
        """End the looks that are under way."""
        for look in self._looks.values():
            look.cancel()

    async def _look(self, domain: str) -> Zone:
        names = await self._records.zone_names(domain, priority=Priority.PROOF)
        last, older = self._shown.get(domain, (frozenset(), frozenset()))
        expected = last - self._leaving[domain]
        missing = len(expected - names)
        self._shown[domain] = (names, last)
        self._leaving[domain] &= names
        is_proof = bool(expected) and missing <= _MISSES_OF_A_PROOF * len(expected)
        return Zone(names, last | older, is_proof)
