"""Puts together what is known of one session: from the store, the classes and the memory."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from spawnai.admission.places import Place
from spawnai.api.spawnclass import PlacementMode
from spawnai.lifecycle.expiry import read_wish
from spawnai.lifecycle.exposure import as_begun
from spawnai.lifecycle.observation import (
    Failure,
    FailureKind,
    Observation,
    Offer,
    Record,
    Session,
)
from spawnai.lifecycle.pooling import OfferedSpare
from spawnai.lifecycle.reservations import Unpriced, worst_case
from spawnai.lifecycle.tenancy import needs_labels, refusal

from .actions.replace import ReplacementPace
from .actions.work import Backing
from .admission import Admission, is_waiting
from .classes.controller import ClassController
from .health_watch import HealthWatch
from .memory import Memories
from .namespaces import NamespaceLabels
from .pools.pools import Pools
from .regions import Regions
from .store import Store, StoredRecord

RESYNC_SPREAD = timedelta(minutes=30)
"""Over how long a restarted operator talks to its droplets again, so that none of it is a rush."""


class NotReadyYet(Exception):
    """The class has not been looked at yet; it wakes its sessions when it has."""


class Observer:
    """Makes observations. `observe` reads no network and changes only the memory's ledger."""

    def __init__(
        self,
        store: Store,
        memories: Memories,
        classes: ClassController,
        namespaces: NamespaceLabels,
        admission: Admission,
        *,
        health: HealthWatch,
        replacements: ReplacementPace,
        regions: Regions,
        pools: Pools,
        cluster_uid: str,
        has_acme: bool = False,
        has_inspector: bool = False,
        started_at: datetime,
        utc_now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._memories = memories
        self._classes = classes
        self._namespaces = namespaces
        self._admission = admission
        self._health = health
        self._replacements = replacements
        self._regions = regions
        self._pools = pools
        self._cluster_uid = cluster_uid
        self._has_acme = has_acme
        self._has_inspector = has_inspector
        self._started_at = started_at
        self._utc_now = utc_now

    def move_start(self, step: timedelta) -> None:
        """The clock was set by `step`: this process has run for as long as before."""
        self._started_at += step

    async def learn(self, uid: str) -> None:
        """Find out what `observe` needs and no watch shows: for a session that has not begun, the
        labels of its namespace, where its class chooses by them.

        Raises:
            ClusterUnavailable: the API server did not answer.
        """
        session = self._store.session(uid)
        if session is None or self._store.record(uid) is not None:
            return
        known = self._store.spawn_class(self._store.class_of(session) or "")
        if known is not None and known.spec is not None and needs_labels(known.spec):
            await self._namespaces.refresh(session.namespace)

    def observe(self, uid: str) -> tuple[Observation, Backing | None] | None:
        """What is known of the session; None when there is no trace of it."""
        session = self._store.session(uid)
        stored = self._store.record(uid)
        if session is None and stored is None:
            return None
        memory = self._memories.of(uid)
        record = None
        if stored is not None:
            if memory.ledger is None:
                memory.take_over(stored.status, self._utc_now())
            memory.note_new(self._utc_now())
            known_since = dict(memory.known_since) if memory.record_made_here else {}
            record = Record(
                stored.spec,
                memory.book,
                stored.created_at,
                stored.status,
                known_since,
                stored.has_finalizer,
                stored.deleting,
            )
        class_name = stored.spec.class_name if stored is not None else None
        if class_name is None and session is not None:
            class_name = self._store.class_of(session)
        offer, problem, backing = self._offer(class_name, record, session)
        observation = Observation(
            uid=uid,
            cluster_uid=self._cluster_uid,
            session=session,
            offer=offer,
            offer_problem=problem,
            record=record,
            operator_started_at=self._started_at,
            record_made_here=memory.record_made_here,
            droplet=memory.droplet,
            droplet_unseen=memory.droplet_unseen,
            droplet_confirmed_at=memory.droplet_confirmed_at,
            may_replace=self._replacements.is_open(),
            firewall_in_force=memory.firewall_in_force,
            bundle=memory.bundle,
            revised=memory.revised,
            page=memory.page,
            app=memory.app,
            outside=self._health.view(uid),
            sight=self._health.sight(uid),
            silent_since=memory.silent_since,
            log=memory.log,
            missing=frozenset(memory.missing_since),
            switch=memory.switch,
            efforts=dict(memory.efforts),
            rejected={**self._regions.refused(class_name or ""), **memory.rejected},
            load=self._load(offer, record),
            spares=self._spares(offer, record, uid),
            generation_fraction=memory.generation.fraction if memory.generation else None,
            queue_position=backing.account.quota.position(uid) if backing is not None else None,
            place=self._place(session, record, offer),
            budgets=self._admission.budgets_of_ledger(uid) if stored is not None else (),
            counts_until=self._counts_until(uid, stored),
            session_confirmed_gone=memory.session_confirmed_gone,
            record_confirmed_absent=memory.record_confirmed_absent,
            resync_spread=RESYNC_SPREAD * _share(uid),
        )
        return observation, backing

    def _load(self, offer: Offer | None, record: Record | None) -> Mapping[str, int]:
        """What runs where, for a session that has no droplet yet."""
        if offer is None or offer.spec.placement is PlacementMode.ORDERED:
            return {}
        if record is not None and record.droplet is not None:
            return {}
        return self._regions.load(offer.name)

    def _spares(
        self, offer: Offer | None, record: Record | None, uid: str
    ) -> Sequence[OfferedSpare]:
        """The spares that a session may take which has no droplet."""
        if offer is None or record is None or record.droplet is not None:
            return ()
        return self._pools.offered(offer.name, uid)

    def _place(
        self, session: Session | None, record: Record | None, offer: Offer | None
    ) -> Place | None:
        """Where a session that has not begun stands; None when nothing can hold it back."""
        if session is None or session.spec is None or offer is None:
            return None
        if not is_waiting(session):
            return None
        wish = read_wish(session.ttl, session.expires_at)
        if offer.problem is not None or (record is None and wish.problem is not None):
            # A person has to mend it first: nobody waits behind it meanwhile.
            self._admission.session_gone(session.uid)
            return None
        if record is not None:
            return None if record.made_anything else self._admission.place_of_begun(session.uid)
        amount, unpriced = None, ""
        try:
            amount = worst_case(offer, session, wish, self._utc_now())
        except Unpriced as error:
            unpriced = str(error)
        return self._admission.place(session, offer.name, offer.spec, amount, unpriced)

    def _counts_until(self, uid: str, record: StoredRecord | None) -> datetime | None:
        if record is None or record.status.completed_at is None:
            return None
        return self._admission.counts_until(uid)

    def _offer(
        self, class_name: str | None, record: Record | None, session: Session | None
    ) -> tuple[Offer | None, Failure | None, Backing | None]:
        """What the class offers. One that is being deleted waits for the sessions with a ledger.

        Raises:
            NotReadyYet: it is not known yet whether sessions can begin, and this one has not.
        """
        now = self._utc_now()
        if class_name is None:
            message = (
                "No class serves this session: name one in spec.className, or mark a SpawnClass "
                'with the annotation spawn-ai.com/is-default-class: "true"'
            )
            return None, Failure(FailureKind.NEEDS_PERSON, "NoDefaultClass", message, now), None
        stored = self._store.spawn_class(class_name)
        if stored is None:
            message = (
                f"There is no SpawnClass {class_name!r}: create it; the session goes on by itself"
            )
            return None, Failure(FailureKind.NEEDS_PERSON, "ClassNotFound", message, now), None
        spec = stored.spec
        if spec is not None and record is not None:
            spec = as_begun(spec, record.spec)
        state = self._classes.state(class_name)
        if state is None or not (state.is_known or (record is not None and record.made_anything)):
            raise NotReadyYet(class_name)
        backing = None
        if state.account is not None:
            backing = Backing(
                class_name,
                stored.uid,
                state.account,
                spec,
                state.generator,
                state.problem,
            )
        if spec is None:
            message = f"SpawnClass {class_name!r} cannot be read: {stored.spec_problem}"
            failure = Failure(FailureKind.NEEDS_PERSON, "ClassInvalid", message, now)
            return None, failure, backing
        problem = state.problem
        if stored.deleting and record is None:
            message = f"SpawnClass {class_name!r} is being deleted and serves no new session"
            problem = Failure(FailureKind.NEEDS_PERSON, "ClassDeleting", message, now)
        if record is None and session is not None and session.spec is not None:
            labels = self._namespaces.of(session.namespace)
            refused = refusal(class_name, spec, session.namespace, labels, session.tier)
            if refused is not None:
                problem = Failure(FailureKind.NEEDS_PERSON, *refused, now)
        offer = Offer(
            name=class_name,
            uid=stored.uid,
            spec=spec,
            firewall_id=state.firewall_id,
            hosted_certificate=state.hosted.name if state.hosted is not None else None,
            problem=problem,
            prices=state.account.prices if state.account is not None else {},
            claude_answers=self._classes.claude_answers(class_name),
            certificates=self._has_acme,
            inspector=self._has_inspector,
        )
        return offer, None, backing


def _share(uid: str) -> float:
    """A number from 0 to 1 that stays the same for a session."""
    digest = hashlib.sha256(uid.encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32
