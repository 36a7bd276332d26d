"""The classes: their keys, their account, their Shared firewall, and whether they can be used.

A class that cannot be used says what is missing and is looked at again by itself; its sessions
go on as soon as it can. What exists can be destroyed as soon as the account is known, whatever
else is missing.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from spawnai import background
from spawnai.api.conditions import Condition, ConditionType, find_condition
from spawnai.api.names import API_VERSION
from spawnai.api.record import SESSION_OWNER, RecordSpec
from spawnai.api.session import Phase
from spawnai.clock import Clock
from spawnai.controller.accounts import Accounts
from spawnai.controller.cluster import RECORDS, Cluster, ClusterError, ObjectNotFound
from spawnai.controller.failures import failure_of
from spawnai.controller.finalizers import set_finalizer
from spawnai.controller.images.class_images import ClassImages, ImageNews
from spawnai.controller.pools.pools import Pools
from spawnai.controller.report import merge_patch, without_secrets, write_ledger
from spawnai.controller.store import Store, StoredClass, parse_ledger
from spawnai.digitalocean.errors import DigitalOceanError, Unauthorized
from spawnai.generation.claude import Generator
from spawnai.generation.errors import GenerationError
from spawnai.lifecycle.observation import Failure, FailureKind
from spawnai.telemetry.events import EventRecorder, Regarding
from spawnai.telemetry.redaction import Redactor

from .claude import Claude, check_claude
from .cloud import ClassCloud
from .firewalls import ClassFirewalls
from .gateways import Gateway, Gateways
from .hosted import FAILED, REFUSED, HostedCertificates
from .keys import ClassKeys, read_keys
from .ledger import ClassLedgers
from .memory import ClassMemories, ClassMemory, Look, drop
from .state import USABLE, USABLE_WORDS, CheckedFor, ClassProblem, ClassState, status_of
from .words import (
    SILENT,
    answer_words,
    gateway_conditions,
    hosted_conditions,
    image_conditions,
    runtime_words,
)

_LOGGER = logging.getLogger(__name__)

LOOK_SECONDS = 15.0
"""How long a class may keep a worker of the queue: with the report that follows well below
`STUCK_SECONDS` of operator.py, after which the liveness probe takes the process for dead. A look
that takes longer, because its calls wait for their turn, goes on beside the queue."""

PROBLEM_RETRY_SECONDS = 5.0
"""How soon a class with a problem is looked at again: a person is waiting."""

UNAVAILABLE = "DigitalOceanUnavailable"

FOR_A_PERSON = frozenset(
    {
        "AccountChanged",
        "AccountLocked",
        "AccountUnknown",
        FAILED,
        REFUSED,
        "CertificateInvalid",
        "ClaudeUnauthorized",
        "DigitalOceanUnauthorized",
        "DomainMissing",
        "GenerationRejected",
        "ImageMissing",
        "ImageUnsupported",
        "InvalidSpec",
        "ModelWithoutPrice",
        "ScopesMissing",
        "SecretKeyMissing",
    }
)
PROBLEM_CHECK_INTERVAL = timedelta(minutes=2)
"""How often the cloud is asked again about a problem that only a person can mend. A new key or a
changed class is tried at once."""

UNAUTHORIZED_BELIEVED_AFTER = 3
"""How often in a row DigitalOcean must refuse a token before it is asked rarely: until then a
single 401 does not keep what has ended from being destroyed."""

SECRET_CHECK_SECONDS = 60.0
"""How often the keys are read again, so that a rotated key is taken up by itself."""

ANSWER_HOLDS_SECONDS = 10.0
"""How long Claude's answer to one order of a class tells that it will answer the others, too."""

CLOUD_CHECK_INTERVAL = timedelta(hours=1)
"""How often prices, domain and firewall are compared with the cloud: four calls an hour."""


class ClassController:
    """Looks after every SpawnClass."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: Store,
        accounts: Accounts,
        claude_for: Callable[[str], Claude],
        redactor: Redactor,
        events: EventRecorder,
        clock: Clock,
        namespace: str,
        ledgers: ClassLedgers,
        gateways: Gateways,
        images: ClassImages,
        pools: Pools,
        clock_words: Callable[[], str],
        wake_session: Callable[[str], None],
        wake_class_after: Callable[[str, float], None],
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._accounts = accounts
        self._claude_for = claude_for
        self._redactor = redactor
        self._events = events
        self._clock = clock
        self._namespace = namespace
        self._ledgers = ledgers
        self._gateways = gateways
        self._images = images
        self._pools = pools
        hosted = HostedCertificates(ledgers, cluster, store, clock, namespace)
        self._firewalls = ClassFirewalls(ledgers, hosted, clock)
        self._cloud = ClassCloud(
            accounts,
            self._firewalls,
            hosted,
            users_of=self._users,
            users_known=self._known_users,
            has_pool=pools.serve_class,
        )
        self._clock_words = clock_words
        self._wake_session = wake_session
        self._wake_class_after = wake_class_after
        self._memories = ClassMemories()

    def state(self, name: str) -> ClassState | None:
        """What the class can do now; None when it has not been looked at yet."""
        memory = self._memories.get(name)
        return memory.offered() if memory is not None else None

    def on_claude_answer(self, name: str, refusal: Failure | None) -> None:
        """Claude took an order of the class, or refused it for what a person has to mend.

        Credit shows in nothing but an order. So the class only tells of the refusal: its sessions
        go on trying, slowly, and the first that is served clears it.
        """
        memory = self._memories.get(name)
        if memory is None:
            return
        before = memory.refused
        if refusal is None:
            memory.refused = None
            is_news = not self.claude_answers(name)
            memory.answered_at = self._clock.now()
            if is_news:
                self._wake_sessions(name)
        else:
            memory.answered_at = float("-inf")
            memory.refused = ClassProblem(
                refusal.reason,
                f"Claude refuses the orders of SpawnClass {name!r}: {refusal.message}",
            )
        if str(before) != str(memory.refused):
            self._wake_class_after(name, 0.0)

    def claude_answers(self, name: str) -> bool:
        """Whether Claude took an order of the class lately, and has refused none since."""
        memory = self._memories.get(name)
        if memory is None:
            return False
        return self._clock.now() - memory.answered_at < ANSWER_HOLDS_SECONDS

    async def close(self) -> None:
        """End all looks that are under way. Each can be ended half-way, and found again."""
        await asyncio.gather(self._memories.close(), self._gateways.close(), self._images.close())

    async def reconcile(self, name: str) -> None:
        """Look at one class."""
        known = self._store.spawn_class(name)
        if known is None:
            self._memories.forget(name)
            self._images.forget(name)
            await self._accounts.close_unused(self._memories.accounts())
            return
        memory = self._memories.of(name, known.uid)
        before = memory.offered()
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                if known.deleting:
                    await self._end(known, memory)
                    return
                state = await self._current(known, memory)
                memory.gateway = await self._gateway(known, state)
                memory.image = self._image(known, state)
                unreached = memory.gateway.problem if memory.gateway is not None else None
                problem = unreached or memory.refused
        except ClusterError:
            # Its sessions wait, also those that are to be destroyed: not for the queue's backoff.
            self._wake_class_after(name, PROBLEM_RETRY_SECONDS)
            raise
        except (ClassProblem, DigitalOceanError, GenerationError, TimeoutError) as error:
            problem = self._problem_of(known, error)
            if problem.reason == UNAVAILABLE and before is not None and before.is_usable:
                _LOGGER.warning("class %s could not be checked: %s", name, problem)
                pause = PROBLEM_RETRY_SECONDS if known.deleting else SECRET_CHECK_SECONDS
                self._wake_class_after(name, pause)
                return
            state = self._with_problem(known, memory, problem)
        memory.state = state
        offered = memory.offered() or state
        await self._accounts.close_unused(self._memories.accounts())
        await self._report(known, memory, state, problem)
        pause = PROBLEM_RETRY_SECONDS if offered.problem else SECRET_CHECK_SECONDS
        self._wake_class_after(name, pause)
        if before is None or not before.is_known or before.offers_otherwise(offered):
            self._wake_sessions(name)
            self._pools.tend_class(name)

    async def _gateway(self, known: StoredClass, state: ClassState) -> Gateway | None:
        """What is known of the class's gateway."""
        if state.account is None:
            return None
        current = self._store.spawn_class(known.name) or known
        return await self._gateways.look(current, state.account)

    def _image(self, known: StoredClass, state: ClassState) -> ImageNews | None:
        """What is known of the class's baked image."""
        if state.account is None:
            return None
        return self._images.tend(self._store.spawn_class(known.name) or known, state.account)

    def _problem_of(self, known: StoredClass, error: Exception) -> ClassProblem:
        """What an error in a look means for the class."""
        if isinstance(error, ClassProblem):
            return error
        if isinstance(error, Unauthorized):
            return ClassProblem(
                "DigitalOceanUnauthorized",
                f"DigitalOcean refuses the token of SpawnClass {known.name!r}: {error.message}",
            )
        if isinstance(error, DigitalOceanError):
            return ClassProblem(UNAVAILABLE, error.message)
        if isinstance(error, GenerationError):
            reason = failure_of(error, self._clock.utc_now()).reason
            return ClassProblem(reason, f"SpawnClass {known.name!r}: {error.message}")
        return ClassProblem(
            UNAVAILABLE,
            f"DigitalOcean could not be asked about SpawnClass {known.name!r} within "
            f"{LOOK_SECONDS:.0f} s; it is tried on",
        )

    def _with_problem(
        self, known: StoredClass, memory: ClassMemory, problem: ClassProblem
    ) -> ClassState:
        """Whatever is wrong: what exists can be destroyed in the account that is known."""
        failure = Failure(
            FailureKind.NEEDS_PERSON, problem.reason, str(problem), self._clock.utc_now()
        )
        return replace(
            self._known_so_far(known, memory), problem=failure, checked_at=None, checked_for=None
        )

    @staticmethod
    def _known_so_far(known: StoredClass, memory: ClassMemory) -> ClassState:
        before, opened = memory.state or ClassState(), memory.opened
        return replace(
            before,
            account=opened.account if opened is not None else None,
            generator=memory.generator,
            firewall_id=before.firewall_id or known.status.firewall_id,
            account_uuid=opened.uuid if opened is not None else known.status.account_uuid,
        )

    def _wake_sessions(self, name: str) -> None:
        """Every session of the class that is not let go yet, and every open ledger."""
        for session in self._store.sessions():
            over = _is_over(session.status.phase) and not session.has_finalizer
            if self._store.class_of(session) == name and not over:
                self._wake_session(session.uid)
        for record in self._store.records():
            owner = record.spec.owner
            if owner.kind == SESSION_OWNER and record.spec.class_name == name:
                self._wake_session(owner.uid)

    async def _current(self, known: StoredClass, memory: ClassMemory) -> ClassState:
        """What the class can do now: as it was found lately, or by a look at all it needs.

        Raises:
            ClassProblem: it cannot be used, or the look still goes on; its end wakes the class.
            DigitalOceanError, GenerationError, ClusterError: see `_look`.
            TimeoutError: no longer waited for.
        """
        if known.credentials is None:
            raise _unreadable(known)
        keys = await read_keys(
            self._cluster, self._redactor, self._namespace, known.name, known.credentials
        )
        memory.generator = self._claude_of(keys)
        if not known.deleting:
            await self._set_finalizer(known, present=True)
        now, before = self._clock.utc_now(), memory.state
        wanted = (known.generation, keys.fingerprint, self._pools.serve_class(known.name))
        look = memory.look
        if look is not None and look.wanted != wanted and not known.deleting:
            # It asks for a class or with keys that are no more. If it is just making the firewall,
            # the next look finds it by its name.
            memory.look = None
            drop(look)
            await asyncio.wait({look.task})
            look = None
        if look is None:
            fresh = (
                before is not None
                and before.is_usable
                and before.checked_for == wanted
                and before.checked_at is not None
                and now < before.checked_at + CLOUD_CHECK_INTERVAL
            )
            if fresh and before is not None:
                return before
            self._spare_the_cloud(memory, wanted)
            if memory.looked is None or memory.looked[0] != wanted:
                memory.refused = None
            memory.looked = (wanted, now)
            task = background.awaited(
                self._look(known, memory, keys, wanted), name=f"look at class {known.name}"
            )
            memory.look = Look(wanted, task)
        elif not look.task.done():
            raise self._problem_of(known, TimeoutError())
        return await self._outcome(known.name, memory)

    def _claude_of(self, keys: ClassKeys) -> Generator | None:
        api_key = keys.anthropic_api_key
        return None if isinstance(api_key, ClassProblem) else self._claude_for(api_key).generator

    async def _outcome(self, name: str, memory: ClassMemory) -> ClassState:
        """Wait for the look that is under way. Who is cancelled in it leaves it to go on."""
        look = memory.look
        if look is None:
            raise ValueError(f"no look at class {name!r} is under way")
        try:
            await asyncio.wait({look.task})
        except asyncio.CancelledError:
            look.task.add_done_callback(lambda _: self._wake_class_after(name, 0.0))
            raise
        memory.look = None
        try:
            state = look.task.result()
        except Unauthorized:
            memory.unauthorized += 1
            raise
        memory.unauthorized = 0
        return state

    async def _look(
        self, known: StoredClass, memory: ClassMemory, keys: ClassKeys, wanted: CheckedFor
    ) -> ClassState:
        """Look at all that the class needs: first its account, then what sessions begin with.

        Raises:
            ClassProblem: it cannot be used.
            DigitalOceanError, GenerationError, ClusterError: a call failed.
        """
        now = self._clock.utc_now()
        opened = await self._cloud.open(known, memory, keys.digitalocean_token)
        self._hand_out_account(known, memory)
        if opened.locked:
            raise ClassProblem(
                "AccountLocked",
                f"The DigitalOcean account of SpawnClass {known.name!r} is locked, so nothing can "
                f"be made in it: {opened.locked}",
            )
        if known.spec is None:
            raise _unreadable(known)
        firewall_id, hosted = await self._cloud.prepare(known, known.spec, opened.account)
        if isinstance(keys.anthropic_api_key, ClassProblem):
            raise keys.anthropic_api_key
        claude = self._claude_for(keys.anthropic_api_key)
        remark = await check_claude(claude, known.name, known.spec, self._namespace)
        return ClassState(
            account=opened.account,
            generator=claude.generator,
            firewall_id=firewall_id,
            hosted=hosted,
            account_uuid=opened.uuid,
            checked_at=now,
            checked_for=wanted,
            remark=remark,
        )

    def _hand_out_account(self, known: StoredClass, memory: ClassMemory) -> None:
        """What ends goes on in the account at once: the rest of a look may take its time."""
        before = memory.state
        memory.state = self._known_so_far(known, memory)
        if before is None or before.account is not memory.state.account:
            self._wake_sessions(known.name)

    def _spare_the_cloud(self, memory: ClassMemory, wanted: CheckedFor) -> None:
        """What only a person can mend is asked again when he changed something, or now and then.

        Raises:
            ClassProblem: the same as before.
        """
        if memory.looked is None or memory.state is None or memory.state.problem is None:
            return
        (looked_for, looked_at), problem = memory.looked, memory.state.problem
        due = self._clock.utc_now() >= looked_at + PROBLEM_CHECK_INTERVAL
        if 0 < memory.unauthorized < UNAUTHORIZED_BELIEVED_AFTER:
            return
        if looked_for == wanted and not due and problem.reason in FOR_A_PERSON:
            raise ClassProblem(problem.reason, problem.message)

    async def _set_finalizer(self, known: StoredClass, *, present: bool) -> None:
        current = self._store.spawn_class(known.name) or known
        if current.has_finalizer == present:
            return
        body = await set_finalizer(
            known.uid,
            present=present,
            get=lambda: self._cluster.get_class(known.name),
            patch=lambda patch: self._cluster.patch_class(known.name, patch),
        )
        self._store.put_class(body)

    async def _end(self, known: StoredClass, memory: ClassMemory) -> None:
        """A deleted class waits for its sessions, then takes its firewall along."""
        users = await self._users(known.name)
        before = memory.state
        if before is None or not before.is_usable:
            # Its sessions can only be destroyed with an account that works.
            try:
                state = await self._current(known, memory)
            except (ClassProblem, DigitalOceanError, GenerationError) as error:
                state = self._with_problem(known, memory, self._problem_of(known, error))
            memory.state = state
            if before is None or not before.is_known or state.is_usable:
                self._wake_sessions(known.name)
        state = memory.state or ClassState()
        if users:
            message = (
                f"SpawnClass {known.name!r} is deleted, and still used by {', '.join(users[:5])}: "
                "it goes when they have ended"
            )
            await self._say_in_use(known, memory, state, message, again_after=PROBLEM_RETRY_SECONDS)
            return
        if left := self._pools.open_of_class(known.name):
            self._pools.tend_class(known.name)
            message = (
                f"SpawnClass {known.name!r} is deleted, and {len(left)} spare droplets of it go "
                "first: their SpawnRecords say what is left"
            )
            await self._say_in_use(known, memory, state, message, again_after=1.0)
            return
        if memory.look is not None:
            # It was begun before the class was deleted, and may be making the firewall just now.
            await asyncio.wait({memory.look.task})
            drop(memory.look)
            memory.look = None
        if state.account is not None and not await self._gateways.end(known, state.account):
            self._wake_class_after(known.name, 1.0)
            return
        if not await self._images.end(known, state.account):
            message = (
                f"SpawnClass {known.name!r} is deleted, and its baked image goes first: its "
                "SpawnRecord says what is left"
            )
            await self._say_in_use(known, memory, state, message, again_after=1.0)
            return
        record = await self._ledgers.get(known.uid)
        if record is not None and record.status.completed_at is None:
            ledger = await self._firewalls.delete(record, state.account)
            await write_ledger(self._cluster, self._store, record, ledger)
            if ledger.completed_at is None:
                self._wake_class_after(known.name, 1.0)
                return
        await self._ledgers.release(known.uid)
        try:
            await self._set_finalizer(known, present=False)
        except ObjectNotFound:
            self._store.remove_class(known.name)
        self._memories.forget(known.name)

    def _known_users(self, name: str) -> list[str]:
        return [
            f"{record.spec.owner.namespace}/{record.spec.owner.name}"
            for record in self._store.records()
            if _uses(record.spec, name) and record.status.completed_at is None
        ]

    async def _users(self, name: str) -> list[str]:
        """Whose ledgers are open.

        That there are none is believed only when the API server itself says so: after a start the
        watches may show a deleted class before the sessions that need it.
        """
        users = self._known_users(name)
        if users:
            return users
        try:
            async for body in self._cluster.list_all(RECORDS):
                spec = RecordSpec.model_validate(body.get("spec") or {})
                if _uses(spec, name) and parse_ledger(body).completed_at is None:
                    users.append(f"{spec.owner.namespace}/{spec.owner.name}")
        except ObjectNotFound:
            return []  # The definition of ledgers was deleted: those that matter are kept here.
        return users

    async def _say_in_use(
        self,
        known: StoredClass,
        memory: ClassMemory,
        state: ClassState,
        message: str,
        *,
        again_after: float,
    ) -> None:
        """Say what a deleted class waits for; `again_after`: seconds until the next look."""
        await self._report(known, memory, state, ClassProblem("InUse", message))
        self._wake_class_after(known.name, again_after)

    async def _report(
        self,
        known: StoredClass,
        memory: ClassMemory,
        state: ClassState,
        problem: ClassProblem | None,
    ) -> None:
        current = self._store.spawn_class(known.name) or known
        now = self._clock.utc_now().replace(microsecond=0)
        remarks = (self._clock_words(), state.remark, runtime_words(current), answer_words(current))
        remark = "; ".join(words for words in remarks if words)
        status = status_of(current, state, problem, now, remark=remark)
        about_gateway = gateway_conditions(current, memory.gateway, now)
        about_image = image_conditions(current, memory.image, now)
        about_hosted = hosted_conditions(current, state, problem, now)
        status = status.model_copy(
            update={"conditions": [*status.conditions, *about_gateway, *about_image, *about_hosted]}
        )
        status = without_secrets(self._redactor, status)
        patch = merge_patch(current.status.document(), status.document())
        if not patch:
            return
        try:
            body = await self._cluster.patch_class_status(known.name, {"status": patch})
        except ObjectNotFound:
            return
        except ClusterError as error:
            _LOGGER.warning("class %s: its status could not be written: %s", known.name, error)
            return
        self._store.put_class(body)
        self._emit(current, problem)
        self._emit_retirement(current, state)
        for condition in (*about_gateway, *about_image):
            self._emit_trouble(current, condition)

    def _emit_trouble(self, before: StoredClass, condition: Condition) -> None:
        """Tell what is wrong with a gateway or an image, once for each reason."""
        told = find_condition(before.status.conditions, condition.type)
        if condition.reason in SILENT or (told is not None and told.reason == condition.reason):
            return
        regarding = Regarding("SpawnClass", None, before.name, before.uid, API_VERSION)
        self._events.emit(regarding, "Warning", condition.reason, "Check", condition.message)

    def _emit_retirement(self, before: StoredClass, state: ClassState) -> None:
        """Tell once that a model of the class is about to retire."""
        ready = find_condition(before.status.conditions, ConditionType.READY)
        if state.remark and (ready is None or state.remark not in ready.message):
            regarding = Regarding("SpawnClass", None, before.name, before.uid, API_VERSION)
            self._events.emit(regarding, "Warning", "ModelRetiring", "Check", state.remark)

    def _emit(self, before: StoredClass, problem: ClassProblem | None) -> None:
        """Tell it beside the class, with the write that makes it true: a problem that is new or
        another one, and that it can be used again.
        """
        ready = find_condition(before.status.conditions, ConditionType.READY)
        reason = problem.reason if problem is not None else USABLE
        told = ready.reason if ready is not None else USABLE
        if reason == told:
            return
        regarding = Regarding("SpawnClass", None, before.name, before.uid, API_VERSION)
        if problem is not None:
            self._events.emit(regarding, "Warning", reason, "Check", str(problem))
        else:
            self._events.emit(regarding, "Normal", reason, "Check", USABLE_WORDS)


def _unreadable(known: StoredClass) -> ClassProblem:
    return ClassProblem(
        "InvalidSpec", f"SpawnClass {known.name!r} cannot be read: {known.spec_problem}"
    )


def _uses(spec: RecordSpec, class_name: str) -> bool:
    return spec.owner.kind == SESSION_OWNER and spec.class_name == class_name


def _is_over(phase: Phase | None) -> bool:
    return phase is Phase.DESTROYED
