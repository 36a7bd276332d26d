"""One shared listing of the cluster's droplets, so that a thousand sessions cost no more calls than
ten.

Three ways of looking, each with its own price:

* **At rest** the listing by the cluster's tag is walked one page every 30 s, whatever its length:
  two calls a minute. The end of each walk is a `Sweep`.
* **While droplets are made**, their wave tag (a creation window of ten minutes, so a short list)
  is listed about once a second; the rarer, the less is left of the rate budget.
* **For proof**, whoever must be sure waits for a whole listing that began after it asked. One
  listing serves all of the same priority who asked before it began. So a hundred deletions are
  proven by a few pages.

What a listing shows is believed; what it does not show proves nothing. Pages shift while they are
walked, new droplets get their tags late, and an answer may be wrongly empty. So a droplet that a
walk missed is looked at by its id, and leaves the memory only when DigitalOcean itself says that
it is not there. One whose deletion was accepted may be missing: whoever deleted it looks.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from spawnai.clock import Clock
from spawnai.digitalocean.budget import Priority, RateBudget
from spawnai.digitalocean.droplets import Droplets
from spawnai.digitalocean.errors import DigitalOceanError, Unavailable
from spawnai.digitalocean.listing import MOST_PAGES, pages_of
from spawnai.digitalocean.models import Droplet, Page
from spawnai.digitalocean.shared import SharedLook, affordable_pause

_LOGGER = logging.getLogger(__name__)

_SESSION_PREFIX = "session:"
_WALK_SECONDS = 30.0
_WAVE_SECONDS = 1.0
_SLOWEST_WAVE_SECONDS = 30.0
_JITTER = 0.1
# How many droplets that a walk missed are looked at one by one after it. Nothing is missed at
# rest; after an accident the rest follows with the next walks.
_LOOKS_AFTER_WALK = 20
# After a restart nothing is known until the first walk: a failed call is made again soon.
_FIRST_WALK_RETRY_SECONDS = 2.0
# A walk is suspicious when it misses more than half of what is known, and at least so many.
_SUSPICIOUS_MISSES = 3
# The share of what is known that a listing may miss and still be a proof: deleted by hand just now.
_MISSES_OF_A_PROOF = 0.01
_PROOF_SECONDS = 1.0
"""Between two listings for proof, for half of the pages that one takes."""
# For this long after a droplet was seen gone, a listing that still shows it is taken to lag
# behind. Not for longer: what DigitalOcean goes on showing exists, whatever a single 404 said.
_LISTING_LAG = timedelta(seconds=60)
# For this long after a droplet was seen locked it is not asked to go. The walk looks again by then.
_LOCK_HOLDS = timedelta(seconds=30)
# A droplet younger than this may be missing everywhere, and answer 404, though it was accepted.
_SETTLING = timedelta(seconds=120)


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one whole walk through the cluster's droplets showed.

    Attributes:
        droplets: all that any page of the walk showed, in its latest state.
        started_at: when the first page was asked for.
        complete: every page came, to the last. When False, nothing follows from what is missing.
        suspicious: why the walk cannot be trusted although it came to its end (it shows far
            less than is known to be there), or "".
        is_proof: what was accepted for deletion and is missing here is gone: the listing is whole,
            not empty, and misses almost nothing that has to be there.
    """

    droplets: tuple[Droplet, ...]
    started_at: datetime
    complete: bool
    suspicious: str = ""
    is_proof: bool = False


class _Walk:
    """A walk through the pages of the cluster's listing, as far as it has come."""

    def __init__(self, started_at: datetime) -> None:
        self.started_at = started_at
        self.next_page = 1
        self.droplets: dict[int, Droplet] = {}

    def add(self, page: Page[Droplet]) -> None:
        """Take in the next page."""
        self.droplets.update((droplet.id, droplet) for droplet in page.items)
        self.next_page += 1


class Inventory:
    """The cluster's droplets as last seen. Made and used within one event loop.

    Args:
        droplets: the calls for droplets.
        clock: where it gets its time from.
        random: for jitter, so that several operators do not walk in step.
        budget: asked how much is left, to look less often when that is little.
        cluster_tag: the tag of all droplets of this cluster.
        on_droplet: told of every droplet that is new or changed, by whichever listing.
        on_sweep: told of every finished walk.
        on_gone: told of a droplet that went without anyone here having seen it go (deleted by hand,
            for example), with DigitalOcean's own word for it.
        walk_seconds: between two pages of the walk at rest.
        wave_seconds: between two listings of a watched wave, when the budget is full.
    """

    def __init__(
        self,
        droplets: Droplets,
        clock: Clock,
        random: Random,
        *,
        budget: RateBudget,
        cluster_tag: str,
        on_droplet: Callable[[Droplet], None],
        on_sweep: Callable[[Sweep], None],
        on_gone: Callable[[Droplet], None],
        walk_seconds: float = _WALK_SECONDS,
        wave_seconds: float = _WAVE_SECONDS,
    ) -> None:
        self._droplets = droplets
        self._clock = clock
        self._random = random
        self._budget = budget
        self._cluster_tag = cluster_tag
        self._on_droplet = on_droplet
        self._on_sweep = on_sweep
        self._on_gone = on_gone
        self._walk_seconds = walk_seconds
        self._wave_seconds = wave_seconds
        self._known: dict[int, Droplet] = {}
        self._of_session: dict[str, tuple[int, ...]] = {}
        # When each was seen gone, the oldest first.
        self._gone: dict[int, datetime] = {}
        self._leaving: set[int] = set()
        # Those that a listing of the cluster's tag has shown.
        self._listed: set[int] = set()
        self._proofs: SharedLook[Sweep] = SharedLook(
            lambda: self._list_whole(Priority.PROOF),
            clock,
            self.proof_pause,
            # While many are still to end, the first listing would prove next to nothing.
            lambda: self.proof_pause() if self._budget.is_crowd_ahead else 0.0,
        )
        self._asking = 0
        self._watched: Counter[str] = Counter()
        self._watching = asyncio.Event()
        self._whole: dict[Priority, SharedLook[Sweep]] = {}
        self.first_walk_done = asyncio.Event()

    def __len__(self) -> int:
        """How many droplets are known."""
        return len(self._known)

    async def run(self) -> None:
        """Look after the listings until cancelled. Failed calls are logged and made again."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._walk_for_ever(), name="inventory-walk")
                group.create_task(self._follow_waves(), name="inventory-waves")
        finally:
            self._proofs.cancel()
            for listing in self._whole.values():
                listing.cancel()

    def watch(self, wave_tag: str) -> None:
        """List that wave about every second until unwatched as often as watched."""
        self._watched[wave_tag] += 1
        self._watching.set()

    def unwatch(self, wave_tag: str) -> None:
        """One fewer waits for a droplet of that wave."""
        self._watched[wave_tag] -= 1
        if self._watched[wave_tag] <= 0:
            del self._watched[wave_tag]
        if not self._watched:
            self._watching.clear()

    def snapshot_of(self, session_uid: str) -> tuple[Droplet, ...]:
        """The session's droplets as last seen, each with its `seen_at`; not a proof of absence."""
        return tuple(self._known[number] for number in self._of_session.get(session_uid, ()))

    def known(self, droplet_id: int) -> Droplet | None:
        """A droplet as last seen; not a proof of absence."""
        return self._known.get(droplet_id)

    def is_locked(self, droplet_id: int) -> bool:
        """Whether somebody's action was seen to run on the droplet within the last half minute.

        A snapshot may lock it for minutes. Its own creation does not count: that is over soon.
        """
        known = self._known.get(droplet_id)
        return (
            known is not None
            and known.locked
            and known.status != "new"
            and known.seen_at is not None
            and self._clock.utc_now() - known.seen_at < _LOCK_HOLDS
        )

    def saw(self, droplet: Droplet) -> None:
        """Take in a droplet that another call showed (a creation, a single look)."""
        self._take_in((droplet,))

    def leaving(self, droplet_id: int) -> None:
        """The droplet's deletion was accepted; the caller goes on to see it gone, and says so."""
        if droplet_id in self._known:
            self._leaving.add(droplet_id)

    def forget(self, droplet_id: int) -> None:
        """The droplet was seen gone (DigitalOcean's own 404)."""
        now = self._clock.utc_now()
        self._drop(droplet_id)
        self._gone.pop(droplet_id, None)
        self._gone[droplet_id] = now
        while now - self._gone[oldest := next(iter(self._gone))] > 2 * _LISTING_LAG:
            del self._gone[oldest]

    @property
    def _pages(self) -> int:
        """How many pages a whole listing takes."""
        return pages_of(len(self._known))

    @property
    def is_crowded(self) -> bool:
        """Whether so many end that a call for each proof is too many."""
        return self._budget.is_crowded

    def proof_pause(self) -> float:
        """Seconds between two rounds of proofs: a listing of droplets, and a look at the names."""
        shortest = _PROOF_SECONDS * max(1.0, self._pages / 2)
        return max(shortest, self._budget.proof_pause(self._pages + 1))

    @property
    def _listing_is_cheaper(self) -> bool:
        """Whether one listing costs no more than a look at each of those who ask now, or until the
        next one.
        """
        asking: float = self._asking - 1
        if self.is_crowded:
            asking = max(asking, self._budget.endings_within(self.proof_pause()))
        return asking >= self._pages

    async def is_gone(self, droplet_id: int) -> bool:
        """Whether DigitalOcean does not show a droplet any more whose deletion it has accepted.

        Found out in the way that costs fewer calls: by its id, or, once more ask than a listing
        has pages, or will in a crowd, by one listing for all of them. A droplet that was never
        listed may not be yet, and a listing in doubt proves nothing: then its own 404 does.

        Raises:
            DigitalOceanError: a call failed; nothing follows then.
        """
        self._asking += 1
        try:
            if self._listing_is_cheaper and droplet_id in self._listed:
                sweep = await self._proofs.get()
                if any(droplet.id == droplet_id for droplet in sweep.droplets):
                    return False
                if sweep.is_proof:
                    self.forget(droplet_id)
                    return True
            if await self._droplets.get(droplet_id, priority=Priority.PROOF) is not None:
                return False
            self.forget(droplet_id)
            return True
        finally:
            self._asking -= 1

    async def verify_droplets(self, *, priority: Priority) -> Sweep:
        """A whole listing of the cluster's droplets that began after this call.

        Raises:
            DigitalOceanError: a page could not be had; nothing follows then.
        """
        if priority not in self._whole:
            self._whole[priority] = SharedLook(lambda: self._list_whole(priority), self._clock)
        return await self._whole[priority].get()

    async def _list_whole(self, priority: Priority) -> Sweep:
        started_at = self._clock.utc_now()
        droplets = await self._droplets.list_by_tag(self._cluster_tag, priority=priority)
        self._take_in(droplets)
        shown = {droplet.id for droplet in droplets}
        self._listed |= shown & self._known.keys()
        expected = {droplet.id for droplet in self._expected(started_at)}
        missing = len(expected - shown)
        return Sweep(
            droplets,
            started_at,
            complete=True,
            suspicious=self._suspicion(shown, started_at),
            is_proof=bool(shown) and missing <= _MISSES_OF_A_PROOF * len(expected),
        )

    async def _walk_for_ever(self) -> None:
        retry = _FIRST_WALK_RETRY_SECONDS
        while not await self._walk(Priority.RUNNING, pause=0.0):
            await self._pause(min(retry, self._walk_seconds))
            retry *= 2  # a wrong token stays wrong until someone changes it
        self.first_walk_done.set()
        while True:
            await self._pause(self._walk_seconds)
            await self._walk(Priority.HOUSEKEEPING, pause=self._walk_seconds)

    async def _walk(self, priority: Priority, *, pause: float) -> bool:
        """Walk through all pages with a pause between them. False: a page could not be had."""
        walk = _Walk(self._clock.utc_now())
        while True:
            try:
                page = await self._droplets.list_page(
                    self._cluster_tag, walk.next_page, priority=priority
                )
                if not page.is_last and walk.next_page >= MOST_PAGES:
                    raise Unavailable(f"the listing has no end after {MOST_PAGES} pages")
            except DigitalOceanError as error:
                _LOGGER.warning(
                    "The listing of droplets ended at page %d: %s", walk.next_page, error
                )
                self._on_sweep(
                    Sweep(tuple(walk.droplets.values()), walk.started_at, complete=False)
                )
                return False
            walk.add(page)
            self._take_in(page.items)
            self._listed |= {droplet.id for droplet in page.items} & self._known.keys()
            if page.is_last:
                break
            if pause:
                await self._pause(pause)
        sweep = Sweep(
            tuple(walk.droplets.values()),
            walk.started_at,
            complete=True,
            suspicious=self._suspicion(walk.droplets.keys(), walk.started_at),
        )
        if sweep.suspicious:
            _LOGGER.warning("A listing of droplets is not trusted: %s", sweep.suspicious)
        self._on_sweep(sweep)
        await self._look_for_missing(walk)
        return True

    async def _look_for_missing(self, walk: _Walk) -> None:
        """Ask for each droplet that the walk missed whether it is still there."""
        missing = [
            droplet
            for droplet in self._expected(walk.started_at)
            if droplet.id not in walk.droplets
        ]
        for droplet in missing[:_LOOKS_AFTER_WALK]:
            try:
                found = await self._droplets.get(droplet.id, priority=Priority.HOUSEKEEPING)
            except DigitalOceanError as error:
                _LOGGER.warning("Droplet %s could not be looked at: %s", droplet.name, error)
                return
            if found is not None:
                self._take_in((found,))
            elif droplet.id in self._known:
                self.forget(droplet.id)
                self._on_gone(droplet)

    def _expected(self, started_at: datetime) -> list[Droplet]:
        """What a listing begun then should show: all that was known, but for what was born or
        deleted just now.
        """
        return [
            droplet
            for droplet in self._known.values()
            if droplet.id not in self._leaving
            and (droplet.seen_at is None or droplet.seen_at < started_at)
            and droplet.created_at < started_at - _SETTLING
        ]

    def _suspicion(self, shown: Iterable[int], started_at: datetime) -> str:
        """Why a finished listing cannot be trusted, "" when it can."""
        expected = {droplet.id for droplet in self._expected(started_at)}
        missing = len(expected.difference(shown))
        if missing >= _SUSPICIOUS_MISSES and 2 * missing > len(expected):
            return (
                f"it misses {missing} of {len(expected)} droplets that were there before and that"
                " nobody has seen gone"
            )
        return ""

    async def _follow_waves(self) -> None:
        while True:
            await self._watching.wait()
            for tag in list(self._watched):
                try:
                    self._take_in(await self._droplets.list_by_tag(tag, priority=Priority.NEW))
                except DigitalOceanError as error:
                    _LOGGER.warning("Droplets of %s could not be listed: %s", tag, error)
            await self._pause(self._wave_interval())

    def _wave_interval(self) -> float:
        """A second while there is plenty, more as the hour or the minute runs low."""
        return affordable_pause(self._budget, self._wave_seconds, _SLOWEST_WAVE_SECONDS)

    async def _pause(self, seconds: float) -> None:
        await self._clock.sleep(seconds * (1 + self._random.uniform(-_JITTER, _JITTER)))

    def _take_in(self, droplets: Iterable[Droplet]) -> None:
        for droplet in droplets:
            if self._is_echo(droplet) or self._is_anothers(droplet):
                continue
            known = self._known.get(droplet.id)
            if known is not None and _is_older(droplet, known):
                continue
            self._known[droplet.id] = droplet
            if droplet == known:
                continue
            if known is not None:
                self._unlink(known)
            for session_uid in _sessions(droplet):
                others = self._of_session.get(session_uid, ())
                self._of_session[session_uid] = tuple(sorted((*others, droplet.id)))
            self._on_droplet(droplet)

    def _is_anothers(self, droplet: Droplet) -> bool:
        """Whether this is another cluster's: waves are named by the time alone.

        One that shows no tags is taken in: its tags may come later than the answer to its POST.
        """
        return bool(droplet.tags) and self._cluster_tag not in droplet.tags

    def _is_echo(self, droplet: Droplet) -> bool:
        """Whether this is a droplet that was seen gone, shown by a listing that lags behind."""
        gone_at = self._gone.get(droplet.id)
        seen_at = droplet.seen_at or self._clock.utc_now()
        return gone_at is not None and seen_at < gone_at + _LISTING_LAG

    def _drop(self, droplet_id: int) -> None:
        self._leaving.discard(droplet_id)
        self._listed.discard(droplet_id)
        if (droplet := self._known.pop(droplet_id, None)) is not None:
            self._unlink(droplet)

    def _unlink(self, droplet: Droplet) -> None:
        for session_uid in _sessions(droplet):
            others = tuple(n for n in self._of_session.pop(session_uid, ()) if n != droplet.id)
            if others:
                self._of_session[session_uid] = others


def _sessions(droplet: Droplet) -> list[str]:
    return [
        tag.removeprefix(_SESSION_PREFIX) for tag in droplet.tags if tag.startswith(_SESSION_PREFIX)
    ]


def _is_older(droplet: Droplet, known: Droplet) -> bool:
    """Whether an answer was overtaken by one to a later question."""
    return (
        droplet.seen_at is not None
        and known.seen_at is not None
        and droplet.seen_at < known.seen_at
    )
