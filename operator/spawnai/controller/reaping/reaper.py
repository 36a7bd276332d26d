"""The reaper: after each walk through the cluster's droplets it deletes what nobody explains.

The walk costs nothing here: what it shows is first held against the operator's own cache. Only when
that leaves something unexplained, both sides are asked anew: DigitalOcean for a whole listing, then
the API server for all ledgers and sessions. What follows from the two is decided in
`lifecycle/reaping.py`; whenever one of them could not be had, nothing follows.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from spawnai import background
from spawnai.api.names import API_VERSION, owner_of
from spawnai.api.record import ResourceKind
from spawnai.clock import Clock
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.cluster import Cluster, ClusterError, ObjectNotFound
from spawnai.controller.leader import LeadershipLost
from spawnai.controller.store import Store
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.errors import DigitalOceanError
from spawnai.digitalocean.inventory import Sweep
from spawnai.digitalocean.models import Droplet
from spawnai.lifecycle.reaping import (
    WINDOW,
    CloudListing,
    Judgement,
    Orphan,
    ReapingRules,
    Recollection,
    Verdict,
    judge,
    verdict_on,
)
from spawnai.telemetry.events import EventRecorder, EventType, Regarding, tell
from spawnai.telemetry.metrics import Metrics

from .census import ledger_of, lives, take_census
from .receipts import Receipts, unfinished
from .removal import Estate, Outcome, Removal, Result, seen

_LOGGER = logging.getLogger(__name__)

_COMPLAINT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class ReaperSettings:
    """How the reaper of an operator works. `dry_run`: it tells what it would delete."""

    rules: ReapingRules = field(default_factory=ReapingRules)
    dry_run: bool = False


@dataclass(slots=True)
class _Account:
    """What is remembered of one account between two sweeps."""

    recollection: Recollection = field(default_factory=Recollection)
    task: asyncio.Task[None] | None = None
    orphans: int = 0
    told: frozenset[int] = frozenset()


class Reaper:
    """Works in the leader, on every finished sweep of every account.

    `adopt(session_uid, droplet)` enters a droplet in the open ledger of its session;
    `forget_ledger(session_uid)` drops what this process remembers of a ledger;
    `account_of(class_name)` is the account that a class uses, None while that is not known.
    """

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: Store,
        events: EventRecorder,
        metrics: Metrics,
        clock: Clock,
        cluster_uid: str,
        check_leadership: Callable[[], None],
        adopt: Callable[[str, Droplet], None],
        forget_ledger: Callable[[str], None],
        account_of: Callable[[str], CloudAccount | None],
        settings: ReaperSettings,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._events = events
        self._metrics = metrics
        self._clock = clock
        self._cluster_uid = cluster_uid
        self._check_leadership = check_leadership
        self._adopt = adopt
        self._forget_ledger = forget_ledger
        self._account_of = account_of
        self._settings = settings
        self._accounts: dict[int, _Account] = {}
        self._deletions: dict[int, datetime] = {}
        self._complained: dict[str, float] = {}

    def on_sweep(self, account: CloudAccount, sweep: Sweep) -> None:
        """A walk through an account's droplets ended. Returns at once.

        A sweep that ends while the one before it is still worked on is left out.
        """
        known = self._accounts.setdefault(id(account), _Account())
        if known.task is None or known.task.done():
            known.task = background.once(self._run(account, known, sweep), name="reaper")

    async def close(self) -> None:
        """End what is under way. Everything it does can be ended half-way and found again."""
        tasks = [known.task for known in self._accounts.values() if known.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self, account: CloudAccount, known: _Account, sweep: Sweep) -> None:
        try:
            await self._look(account, known, sweep)
        except LeadershipLost:
            _LOGGER.info("The reaper stops: the lease may be another's")
        except (ClusterError, DigitalOceanError) as error:
            self._refuse(known, known.recollection, str(error))
        except Exception:
            _LOGGER.exception("The reaper failed in an unexpected way, and deletes nothing")
            self._refuse(known, known.recollection, "an unexpected error; the log has it")

    def _refuse(self, known: _Account, recollection: Recollection, doubt: str) -> None:
        """Do nothing, and say why. Earlier sightings do not count any more."""
        known.recollection = Recollection(
            most_ledgers=recollection.most_ledgers, fewer_since=recollection.fewer_since
        )
        self._metrics.reaper_look("doubt")
        now = self._clock.now()
        if now - self._complained.get(doubt, float("-inf")) >= _COMPLAINT_SECONDS:
            self._complained = {doubt: now}
            _LOGGER.warning("The reaper deletes nothing: %s", doubt)

    async def _look(self, account: CloudAccount, known: _Account, sweep: Sweep) -> None:
        doubt = _doubt_about(sweep)
        if doubt:
            self._refuse(known, known.recollection, doubt)
            return
        await self._finish_what_was_begun(account, sweep)
        if not any(map(self._is_unexplained, sweep.droplets)):
            known.recollection = Recollection(
                most_ledgers=known.recollection.most_ledgers,
                fewer_since=known.recollection.fewer_since,
            )
            self._count(known, 0)
            self._metrics.reaper_look("ok")
            return
        known_before = self._store.record_count
        listing = await account.inventory.verify_droplets(priority=Priority.HOUSEKEEPING)
        cloud = CloudListing(
            tuple(map(seen, listing.droplets)),
            listing.started_at,
            self._clock.utc_now(),
            _doubt_about(listing),
        )
        cluster = await take_census(self._cluster, self._clock, known_before=known_before)
        now = self._clock.utc_now()
        self._deletions = {
            number: moment for number, moment in self._deletions.items() if moment > now - WINDOW
        }
        judgement = judge(
            cloud,
            cluster,
            cluster_uid=self._cluster_uid,
            before=known.recollection,
            rules=self._settings.rules,
            now=now,
            tried_at=self._deletions,
        )
        self._count(known, len(judgement.orphans))
        if judgement.doubt:
            self._refuse(known, judgement.recollection, judgement.doubt)
            return
        self._metrics.reaper_look("ok")
        self._tell_new(known, judgement)
        known.recollection = judgement.recollection
        droplets = {droplet.id: droplet for droplet in listing.droplets}
        await self._adopt_unlisted(judgement, droplets)
        await self._reap(account, known, judgement, droplets)

    def _is_unexplained(self, droplet: Droplet) -> bool:
        """Whether the cache alone leaves a question."""
        uid = owner_of(droplet.name, droplet.tags, self._cluster_uid)
        stored = self._store.record(uid) if uid is not None else None
        verdict = verdict_on(
            seen(droplet),
            self._cluster_uid,
            ledger_of(stored.status) if stored is not None else None,
            session_lives=uid is not None and lives(self._store.session(uid)),
            minimum_age=self._settings.rules.minimum_age,
            now=self._clock.utc_now(),
        )
        return verdict in (Verdict.ORPHAN, Verdict.UNLISTED)

    def _count(self, known: _Account, orphans: int) -> None:
        known.orphans = orphans
        self._metrics.orphans(sum(account.orphans for account in self._accounts.values()))

    def _tell_new(self, known: _Account, judgement: Judgement) -> None:
        for orphan in judgement.orphans:
            if (orphan.droplet.id, Verdict.ORPHAN) in known.recollection.sightings:
                continue
            self._tell(
                orphan,
                "Warning",
                "OrphanFound",
                f"Droplet {orphan.droplet.id} of session {orphan.session_uid} is explained by no "
                "living SpawnRecord: it is deleted if the next look finds the same",
            )
        if judgement.withheld:
            _LOGGER.warning(
                "%d orphans wait: no more than %d are deleted within an hour",
                judgement.withheld,
                self._settings.rules.most_per_hour,
            )

    async def _adopt_unlisted(self, judgement: Judgement, droplets: dict[int, Droplet]) -> None:
        for unlisted in judgement.unlisted:
            try:
                self._store.put_record(await self._cluster.get_record(unlisted.session_uid))
            except ObjectNotFound:
                continue
            self._adopt(unlisted.session_uid, droplets[unlisted.droplet.id])

    async def _reap(
        self,
        account: CloudAccount,
        known: _Account,
        judgement: Judgement,
        droplets: dict[int, Droplet],
    ) -> None:
        if self._settings.dry_run:
            for orphan in judgement.due:
                if orphan.droplet.id not in known.told:
                    self._would_reap(orphan)
            known.told = frozenset(orphan.droplet.id for orphan in judgement.due)
            return
        removal, receipts = self._tools(account)
        for estate in await removal.survey(judgement.due, self._domains(judgement.due)):
            orphan = estate.orphan
            self._check_leadership()
            # Counted before it is tried: a deletion whose answer is lost counts too. One that is
            # tried again counts once, so that it does not keep the others waiting.
            self._deletions.setdefault(orphan.droplet.id, self._clock.utc_now())
            if await receipts.begin(estate, droplets[orphan.droplet.id]):
                self._forget_ledger(orphan.session_uid)
                await self._remove(account, estate, droplets[orphan.droplet.id], removal, receipts)

    async def _finish_what_was_begun(self, account: CloudAccount, sweep: Sweep) -> None:
        """What a closed ledger lists, and neither it nor this walk shows gone or there.

        Somebody died, or lost the API server, between a removal and its receipt. A look by id
        proves something in the account only that the thing was made in.
        """
        if self._settings.dry_run:
            return
        shown = {droplet.id for droplet in sweep.droplets}
        for stored in self._store.records():
            estate = unfinished(stored)
            class_name = stored.spec.class_name
            if estate is None or estate.orphan.droplet.id in shown or class_name is None:
                continue
            if self._account_of(class_name) is account:
                await self._remove(account, estate, None, *self._tools(account))

    def _tools(self, account: CloudAccount) -> tuple[Removal, Receipts]:
        removal = Removal(
            account.droplets,
            account.records,
            account.firewalls,
            account.load_balancers,
            self._clock,
            self._cluster_uid,
        )
        receipts = Receipts(
            self._cluster,
            self._store,
            self._clock,
            cluster_uid=self._cluster_uid,
            prices=account.prices,
            class_for=lambda class_uid: self._class_for(account, class_uid),
        )
        return removal, receipts

    def _class_for(self, account: CloudAccount, class_uid: str | None) -> str | None:
        serving = [
            known for known in self._store.classes() if self._account_of(known.name) is account
        ]
        serving.sort(key=lambda known: (known.uid != class_uid, known.name))
        return serving[0].name if serving else None

    async def _remove(
        self,
        account: CloudAccount,
        estate: Estate,
        droplet: Droplet | None,
        removal: Removal,
        receipts: Receipts,
    ) -> None:
        orphan = estate.orphan
        outcomes = await removal.remove(estate)
        for outcome in outcomes:
            self._tell_outcome(orphan, outcome)
        result = next(one.result for one in outcomes if one.kind == "Droplet")
        self._metrics.reaped(result)
        if result in (Result.DELETED, Result.GONE):
            account.inventory.forget(orphan.droplet.id)
        await receipts.finish(estate, droplet, outcomes, removal.accepted_at)
        self._forget_ledger(orphan.session_uid)

    def _domains(self, orphans: Iterable[Orphan]) -> set[str]:
        """Where names of these sessions may be: the domains of their ledgers and of all classes."""
        domains = {
            known.spec.exposure.domain
            for known in self._store.classes()
            if known.spec is not None and known.spec.exposure.domain
        }
        for orphan in orphans:
            stored = self._store.record(orphan.session_uid)
            if stored is None:
                continue
            domains |= {
                planned.name.partition(".")[2]
                for planned in stored.spec.planned
                if planned.kind is ResourceKind.DOMAIN_RECORD
            }
        return {domain for domain in domains if domain}

    def _would_reap(self, orphan: Orphan) -> None:
        self._metrics.reaped("dry_run")
        self._tell(
            orphan,
            "Warning",
            "OrphanWouldBeDeleted",
            f"Dry run: droplet {orphan.droplet.id} of session {orphan.session_uid} would be "
            "deleted, because no living SpawnRecord explains it",
        )

    def _tell_outcome(self, orphan: Orphan, outcome: Outcome) -> None:
        what = f"{outcome.kind} {outcome.id} ({outcome.name}), which nobody explained"
        if outcome.result is Result.DELETED:
            self._tell(orphan, "Warning", "OrphanDeleted", f"{what}, was deleted and seen gone")
        elif outcome.result is Result.GONE:
            self._tell(orphan, "Normal", "OrphanGone", f"{what}, had gone by itself")
        else:
            note = f"{what}, could not be deleted ({outcome.result}): {outcome.words}"
            self._tell(orphan, "Warning", "OrphanNotDeleted", note)

    def _tell(self, orphan: Orphan, type_: EventType, reason: str, note: str) -> None:
        """Tell people, beside the session's record, or beside the class it was made for."""
        regarding = self._regarding(orphan.session_uid, orphan.class_uid)
        tell(self._events, regarding, type_, reason=reason, action="Reap", note=note)

    def _regarding(self, session_uid: str, class_uid: str | None) -> Regarding | None:
        stored = self._store.record(session_uid)
        if stored is not None:
            return Regarding("SpawnRecord", None, session_uid, stored.uid, API_VERSION)
        for known in self._store.classes():
            if known.uid == class_uid:
                return Regarding("SpawnClass", None, known.name, known.uid, API_VERSION)
        return None


def _doubt_about(sweep: Sweep) -> str:
    """Why nothing may be deleted on the word of a listing, or "".

    A walk at rest takes minutes in a large cluster, and drifts in a busy one. That is no doubt
    here: a whole listing is asked for before anything is judged.
    """
    if not sweep.complete:
        return "the listing of droplets is not complete"
    return sweep.suspicious
