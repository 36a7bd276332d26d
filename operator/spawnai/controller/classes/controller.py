"""The classes: their keys, their account, their Shared firewall, and whether they can be used.

A class that cannot be used says what is missing and is looked at again by itself; its sessions
go on as soon as it can.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import anthropic

from spawnai.api.record import RecordSpec
from spawnai.api.session import Phase
from spawnai.api.spawnclass import FirewallMode
from spawnai.clock import Clock
from spawnai.controller.accounts import Accounts, CloudAccount
from spawnai.controller.cluster import RECORDS, Cluster, ClusterError, ObjectNotFound
from spawnai.controller.failures import failure_of
from spawnai.controller.finalizers import set_finalizer
from spawnai.controller.report import merge_patch, without_secrets, write_ledger
from spawnai.controller.store import Store, StoredClass, parse_ledger
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.errors import DigitalOceanError, Unauthorized
from spawnai.generation.claude import Generator
from spawnai.generation.errors import GenerationError
from spawnai.generation.key import check_key
from spawnai.lifecycle.observation import Failure, FailureKind
from spawnai.telemetry.redaction import Redactor

from .firewalls import ClassFirewalls
from .keys import read_keys
from .state import ClassProblem, ClassState, status_of

_LOGGER = logging.getLogger(__name__)

PROBLEM_RETRY_SECONDS = 5.0
"""How soon a class with a problem is looked at again: a person is waiting."""

FOR_A_PERSON = frozenset(
    {
        "AccountChanged",
        "ClaudeUnauthorized",
        "DigitalOceanUnauthorized",
        "DomainMissing",
        "GenerationRejected",
    }
)
PROBLEM_CHECK_INTERVAL = timedelta(minutes=2)
"""How often the cloud is asked again about a problem that only a person can mend. A new key or a
changed class is tried at once."""

SECRET_CHECK_SECONDS = 60.0
"""How often the keys are read again, so that a rotated key is taken up by itself."""

ANSWER_HOLDS_SECONDS = 10.0
"""How long Claude's answer to one order of a class tells that it will answer the others, too."""

CLOUD_CHECK_INTERVAL = timedelta(hours=1)
"""How often prices, domain and firewall are compared with the cloud: three calls an hour."""


@dataclass(frozen=True, slots=True)
class Claude:
    """Claude behind one API key."""

    client: anthropic.AsyncAnthropic
    generator: Generator


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
        clock: Clock,
        namespace: str,
        cluster_uid: str,
        wake_session: Callable[[str], None],
        wake_class_after: Callable[[str, float], None],
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._accounts = accounts
        self._claude_for = claude_for
        self._redactor = redactor
        self._clock = clock
        self._namespace = namespace
        self._firewalls = ClassFirewalls(cluster, store, clock, cluster_uid)
        self._wake_session = wake_session
        self._wake_class_after = wake_class_after
        self._states: dict[str, ClassState] = {}
        self._opened: dict[str, tuple[CloudAccount, Generator]] = {}
        self._tried: dict[str, CloudAccount] = {}
        self._asked: dict[str, tuple[tuple[int, bytes], datetime]] = {}
        self._refused: dict[str, ClassProblem] = {}
        # When Claude last began to answer an order of a class.
        self._answered_at: dict[str, float] = {}

    def state(self, name: str) -> ClassState | None:
        """What the class can do now; None when it has not been looked at yet."""
        return self._states.get(name)

    def on_claude_answer(self, name: str, refusal: Failure | None) -> None:
        """Claude took an order of the class, or refused it for what a person has to mend.

        Credit shows in nothing but an order. So the class only tells of the refusal: its sessions
        go on trying, slowly, and the first that is served clears it.
        """
        before = self._refused.get(name)
        if refusal is None:
            self._refused.pop(name, None)
            is_news = not self.claude_answers(name)
            self._answered_at[name] = self._clock.now()
            if is_news:
                self._wake_sessions(name)
        else:
            self._answered_at.pop(name, None)
            self._refused[name] = ClassProblem(
                refusal.reason,
                f"Claude refuses the orders of SpawnClass {name!r}: {refusal.message}",
            )
        if str(before) != str(self._refused.get(name)):
            self._wake_class_after(name, 0.0)

    def claude_answers(self, name: str) -> bool:
        """Whether Claude took an order of the class lately, and has refused none since."""
        answered_at = self._answered_at.get(name, float("-inf"))
        return self._clock.now() - answered_at < ANSWER_HOLDS_SECONDS

    async def reconcile(self, name: str) -> None:
        """Look at one class."""
        known = self._store.spawn_class(name)
        if known is None:
            self._states.pop(name, None)
            self._refused.pop(name, None)
            self._answered_at.pop(name, None)
            return
        before = self._states.get(name)
        try:
            if known.deleting:
                await self._end(known)
                return
            state = await self._look(known, before or ClassState())
            problem = self._refused.get(name)
        except ClassProblem as error:
            state, problem = self._with_problem(known, error.reason, str(error)), error
        except GenerationError as error:
            problem = ClassProblem(failure_of(error, self._clock.utc_now()).reason, error.message)
            state = self._with_problem(known, problem.reason, str(problem))
        except Unauthorized as error:
            message = f"DigitalOcean refuses the token of SpawnClass {name!r}: {error.message}"
            problem = ClassProblem("DigitalOceanUnauthorized", message)
            state = self._with_problem(known, problem.reason, str(problem))
        except ClusterError:
            # Its sessions wait, also those that are to be destroyed: not for the queue's backoff.
            self._wake_class_after(name, PROBLEM_RETRY_SECONDS)
            raise
        except DigitalOceanError as error:
            if before is not None and before.problem is None:
                _LOGGER.warning("class %s could not be checked: %s", name, error.message)
                self._wake_class_after(name, SECRET_CHECK_SECONDS)
                return
            problem = ClassProblem("DigitalOceanUnavailable", error.message)
            state = self._with_problem(known, problem.reason, str(problem))
        self._states[name] = state
        self._tried.pop(name, None)
        await self._accounts.close_unused(self._accounts_in_use())
        await self._report(known, state, problem)
        pause = PROBLEM_RETRY_SECONDS if state.problem else SECRET_CHECK_SECONDS
        self._wake_class_after(name, pause)
        if before is None or (before.problem is None) != (state.problem is None):
            self._wake_sessions(name)

    def _accounts_in_use(self) -> list[CloudAccount]:
        """Those that a class has: not that of a token which was replaced, or never worked."""
        opened = [account for account, _ in self._opened.values()]
        stated = [state.account for state in self._states.values() if state.account is not None]
        return [*opened, *stated, *self._tried.values()]

    def _with_problem(self, known: StoredClass, reason: str, message: str) -> ClassState:
        failure = Failure(FailureKind.NEEDS_PERSON, reason, message, self._clock.utc_now())
        before = self._states.get(known.name) or ClassState()
        account, generator = self._opened.get(known.uid, (before.account, before.generator))
        return ClassState(
            problem=failure,
            account=account,
            generator=generator,
            firewall_id=before.firewall_id,
            account_uuid=before.account_uuid or known.status.account_uuid,
        )

    def _wake_sessions(self, name: str) -> None:
        """Every session of the class that is not let go yet, and every open ledger."""
        for session in self._store.sessions():
            over = _is_over(session.status.phase) and not session.has_finalizer
            if self._store.class_of(session) == name and not over:
                self._wake_session(session.uid)
        for record in self._store.records():
            owner = record.spec.owner
            if owner.kind == "SpawnSession" and record.spec.class_name == name:
                self._wake_session(owner.uid)

    async def _look(self, known: StoredClass, before: ClassState) -> ClassState:
        if known.spec is None:
            raise ClassProblem("InvalidSpec", known.spec_problem or "the spec cannot be read")
        keys = await read_keys(
            self._cluster, self._redactor, self._namespace, known.name, known.spec
        )
        now = self._clock.utc_now()
        if not known.deleting:
            await self._set_finalizer(known, present=True)
        checked_for = (known.generation, keys.fingerprint)
        fresh = (
            before.problem is None
            and before.checked_for == checked_for
            and before.checked_at is not None
            and now < before.checked_at + CLOUD_CHECK_INTERVAL
        )
        if fresh:
            return before
        if before.checked_for != checked_for:
            self._refused.pop(known.name, None)
        self._spare_the_cloud(known.uid, before.problem, checked_for, now)
        account = self._accounts.open(keys.digitalocean_token)
        claude = self._claude_for(keys.anthropic_api_key)
        self._tried[known.name] = account
        sizes = await account.catalog.sizes(priority=Priority.NEW)
        account.prices.update({slug: size.price_hourly for slug, size in sizes.items()})
        account_uuid = await self._same_account(known, account)
        # Whatever is found wrong below, what exists can be destroyed with a token that works.
        self._opened[known.uid] = (account, claude.generator)
        domain = known.spec.exposure.domain
        if domain and not await account.record_listings.domain_exists(
            domain, priority=Priority.NEW
        ):
            raise ClassProblem(
                "DomainMissing",
                f"DigitalOcean DNS does not manage {domain!r}: add the domain to the account, or "
                "remove spec.exposure.domain",
            )
        # A class that ends keeps its firewall to the last session, and gets no other one.
        firewall_id = known.status.firewall_id if known.deleting else None
        if known.spec.firewall.mode is FirewallMode.SHARED and not known.deleting:
            firewall_id = await self._firewalls.ensure(known, known.spec, account)
        await check_key(claude.client, known.spec.model.name)
        return ClassState(
            account=account,
            generator=claude.generator,
            firewall_id=firewall_id,
            account_uuid=account_uuid,
            checked_at=now,
            checked_for=checked_for,
        )

    async def _same_account(self, known: StoredClass, account: CloudAccount) -> str | None:
        """The account behind the token; None where the token may not read it.

        In another account every droplet of the class is a 404, which would be taken for its proof
        of being gone while it goes on in the first one, unseen and paid for.

        Raises:
            ClassProblem: it is not the account that the class's sessions live in.
        """
        before = known.status.account_uuid
        try:
            found = (await account.catalog.account(priority=Priority.NEW)).uuid
        except Unauthorized:
            return before
        if before in (None, found):
            return found
        users = await self._users(known.name)
        if users:
            raise ClassProblem(
                "AccountChanged",
                f"The DigitalOcean token of SpawnClass {known.name!r} belongs to account {found}, "
                f"but what {', '.join(users[:5])} made lives in account {before}: put back a token "
                "of that account until those sessions have ended, or make another class",
            )
        return found

    def _spare_the_cloud(
        self, uid: str, problem: Failure | None, asked_for: tuple[int, bytes], now: datetime
    ) -> None:
        """What only a person can mend is asked again when he changed something, or now and then.

        Raises:
            ClassProblem: the same as before.
        """
        asked_before, asked_at = self._asked.get(uid, (None, now))
        same = asked_before == asked_for and now < asked_at + PROBLEM_CHECK_INTERVAL
        if same and problem is not None and problem.reason in FOR_A_PERSON:
            raise ClassProblem(problem.reason, problem.message)
        self._asked[uid] = (asked_for, now)

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

    async def _end(self, known: StoredClass) -> None:
        """A deleted class waits for its sessions, then takes its firewall along."""
        users = await self._users(known.name)
        before = self._states.get(known.name)
        if known.spec is not None and (before is None or before.problem is not None):
            # Its sessions can only be destroyed with an account that works.
            try:
                state = await self._look(known, before or ClassState())
            except (ClassProblem, DigitalOceanError, GenerationError) as error:
                state = self._with_problem(known, "ClassDeleting", str(error))
            self._states[known.name] = state
            if before is None or state.problem is None:
                self._wake_sessions(known.name)
        state = self._states.get(known.name, ClassState())
        if users:
            message = f"Deleted, and still used by {', '.join(users[:5])}"
            await self._report(known, state, ClassProblem("InUse", message))
            self._wake_class_after(known.name, PROBLEM_RETRY_SECONDS)
            return
        record = await self._firewalls.ledger(known.uid)
        if record is not None and record.status.completed_at is None:
            ledger = await self._firewalls.delete(record, state.account)
            await write_ledger(self._cluster, self._store, known.uid, record.status, ledger)
            if ledger.completed_at is None:
                self._wake_class_after(known.name, 1.0)
                return
        try:
            await self._set_finalizer(known, present=False)
        except ObjectNotFound:
            self._store.remove_class(known.name)
        self._states.pop(known.name, None)
        self._opened.pop(known.uid, None)
        self._asked.pop(known.uid, None)

    async def _users(self, name: str) -> list[str]:
        """Whose ledgers are open.

        That there are none is believed only when the API server itself says so: after a start the
        watches may show a deleted class before the sessions that need it.
        """
        users = [
            f"{record.spec.owner.namespace}/{record.spec.owner.name}"
            for record in self._store.records()
            if _uses(record.spec, name) and record.status.completed_at is None
        ]
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

    async def _report(
        self, known: StoredClass, state: ClassState, problem: ClassProblem | None
    ) -> None:
        current = self._store.spawn_class(known.name) or known
        now = self._clock.utc_now().replace(microsecond=0)
        status = without_secrets(self._redactor, status_of(current, state, problem, now))
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


def _uses(spec: RecordSpec, class_name: str) -> bool:
    return spec.owner.kind == "SpawnSession" and spec.class_name == class_name


def _is_over(phase: Phase | None) -> bool:
    return phase is Phase.DESTROYED
