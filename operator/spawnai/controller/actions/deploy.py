"""Hands the app to its droplet, and talks to the agent there while the session lives."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

from spawnai.api.record import ResourceKind
from spawnai.api.session import AppType
from spawnai.app_runtime.locks import lock_of
from spawnai.billing.usage import Sample, with_usage
from spawnai.clock import Clock
from spawnai.controller.failures import NotYet, SessionFailed
from spawnai.digitalocean.budget import Priority
from spawnai.droplet.client import (
    AgentClient,
    AgentRejected,
    AgentStatus,
    AgentUnreachable,
    AgentUntrusted,
)
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import (
    NO_EFFORT,
    AppView,
    DropletView,
    Failure,
    FailureKind,
    StoredBundle,
)
from spawnai.lifecycle.resources import may_still_appear

from .agents import Agents
from .app_env import AppEnvironments
from .bundles import Bundles
from .work import Work

POLL_SECONDS = 0.05
"""Between two calls to an agent, or knocks at its door: it opens before the next listing shows that
the droplet has booted."""

LONG_SILENCE_SECONDS = 30.0
"""After how long without an answer the droplet itself is looked at. Most boot in less."""

LAST_LOG_SECONDS = 1.0
"""How long before its end an app that does not stop by itself is killed, so that its last lines can
be read."""

RESTART_PAUSE = timedelta(seconds=10)

APP_FAILURES = {
    "RuntimeNotInstalled": "what runs the app could not be installed on the droplet",
    "InstallFailed": "the app's dependencies could not be installed",
    "AppCrashed": "the app died as often as it was started",
    "AppNeverAnswered": "the app started but never answered",
    "AppStoppedAnswering": "the app stopped answering as often as it was started",
    "WrongPort": "the app listens on another port than the one it is given in PORT",
    "ScriptFailed": "the script ended with an error",
    "OutOfMemory": "the app used more memory than it may",
    "DiskFull": "the app filled its disk",
    "TooManyProcesses": "the app started too many processes",
}
ENDLESS_SCRIPT = "the script ran longer than a script may"


def failure_of_app(status: AgentStatus, app_type: AppType) -> tuple[str, str]:
    """Reason and words for an app that its agent calls failed, with the last lines of its log.

    What an agent says is not trusted: a reason that is none of its own would fit no condition.
    """
    reason = status.reason if status.reason in APP_FAILURES else "AppFailed"
    words = APP_FAILURES.get(reason, "the app failed")
    if app_type is AppType.SCRIPT and reason == "AppNeverAnswered":
        words = ENDLESS_SCRIPT
    if status.error:
        words = f"{words}: {status.error}"
    return reason, f"{words}; its last lines: {' | '.join(status.log[-5:])}"


REPAIRABLE = frozenset(
    {
        "AppCrashed",
        "AppNeverAnswered",
        "AppStoppedAnswering",
        "InstallFailed",
        "OutOfMemory",
        "ScriptFailed",
        "TooManyProcesses",
        "WrongPort",
    }
)
"""What the text of an app can be at fault for."""

_OF_THE_REGISTRY = re.compile(
    r"\b(EINTEGRITY|ECONNREFUSED|ECONNRESET|ENOTFOUND|ENETUNREACH|ETIMEDOUT|EAI_AGAIN|"
    r"ERR_SOCKET_TIMEOUT|E5\d\d|E429|CERT_HAS_EXPIRED)\b"
)
"""Codes with which npm says that the package registry failed, and no choice of packages did
(docs.npmjs.com, "Common errors")."""


def is_repairable(status: AgentStatus) -> bool:
    """Whether another text of the app may help. A repair that cannot help is not paid for."""
    said = (status.error or "", status.message or "", *status.log)
    failed_by_registry = status.reason == "InstallFailed" and any(
        _OF_THE_REGISTRY.search(line) for line in said
    )
    return status.reason in REPAIRABLE and not failed_by_registry


LOG_LINES_FOR_A_REPAIR = 15

Repair = Callable[[Work, do.PaidAction, Sequence[str]], Awaitable[StoredBundle]]


def findings_of(status: AgentStatus, words: str) -> list[str]:
    """What Claude is told of an app that did not come up: the cause, then its last log lines."""
    lines = [words.partition("; its last lines")[0]]
    if status.message:
        lines.append(status.message)
    if status.error:
        lines.append(f"the first error in its log: {status.error}")
    lines.extend(f"log: {line}" for line in status.log[-LOG_LINES_FOR_A_REPAIR:])
    return lines


def outcome_of(status: AgentStatus, digest: str) -> AgentStatus | None:
    """What has become of a bundle that was pushed; None: it is still under way.

    The first one is all that there is. A further one is tried beside the one that serves.
    """
    update = status.update
    if update is not None and update.bundle_digest == digest and update.state == "failed":
        return replace(
            status,
            bundle_digest=digest,
            state="failed",
            reason=update.reason,
            message=update.message,
            error=update.error,
            exit_code=update.exit_code,
        )
    is_settled = status.state in {"running", "finished", "failed"}
    return status if is_settled and status.bundle_digest == digest else None


def with_lock(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The bundle as it is pushed: with the lock file of its packages, so npm resolves nothing.

    An app of an earlier version of the product may have packages that are in no lock any more.
    """
    try:
        dependencies = document["dependencies"]
        return {**document, "packageLock": lock_of(dependencies)} if dependencies else document
    except ValueError:
        return document


class Deploy:
    """Talks to agents; every call is safe to repeat."""

    def __init__(
        self,
        *,
        agents: Agents,
        bundles: Bundles,
        environments: AppEnvironments,
        clock: Clock,
        repair: Repair,
    ) -> None:
        self._environments = environments
        self._repair = repair
        self._agents = agents
        self._bundles = bundles
        self._clock = clock

    async def deploy_app(self, work: Work, action: do.DeployApp) -> None:
        """Give the app to the droplet and follow it until it answers, or says why it never will."""
        number = work.memory.bundle.number if work.memory.bundle is not None else 1
        document = with_lock((await self._bundles.read(work.session, number)).document())
        variables = await self._environments.of(work.session)
        async with self._agents.client(work.session, action.ip) as agent:
            silence = _Silence(self._clock)
            await self._push(work, agent, document, variables, silence)
            seen: str | None = None
            while True:
                try:
                    status = await self._ask(work, agent, after=seen)
                except AgentUnreachable:
                    await self._bear(work, silence)
                    continue
                silence.broken()
                seen = status.progress
                outcome = outcome_of(status, action.digest)
                if outcome is not None and outcome.state != "failed":
                    return
                if outcome is not None:
                    await self._have_repaired(work, action, outcome)
                await self._clock.sleep(POLL_SECONDS)

    async def _have_repaired(
        self, work: Work, action: do.DeployApp, status: AgentStatus
    ) -> NoReturn:
        """Have Claude repair an app that did not come up; the repaired one is deployed next.

        Raises:
            NotYet: there is a repaired app.
            SessionFailed: it is no fault of the app's text, or its repairs are used up.
        """
        reason, words = failure_of_app(status, work.session.order.app_type)
        is_replacing = any(one.finished_at is None for one in work.memory.book.replacements)
        # One that ran before has no fault of its own.
        if is_replacing or not is_repairable(status):
            raise SessionFailed(reason, words)
        told = Failure(
            FailureKind.TRANSIENT, reason, f"{words}; Claude repairs it", self._clock.utc_now()
        )
        work.memory.note_failure(action.key, told)
        try:
            repaired = await self._repair(work, action, findings_of(status, words))
        except SessionFailed as error:
            raise SessionFailed(reason, f"{words} ({error})") from error
        # At the very end: the plan hands over what is stored.
        work.memory.bundle = repaired
        raise NotYet(f"{words}; it was repaired, and is deployed again")

    async def _push(
        self,
        work: Work,
        agent: AgentClient,
        document: Mapping[str, Any],
        variables: Mapping[str, str],
        silence: "_Silence",
    ) -> None:
        while True:
            try:
                await agent.knock()
                if variables:
                    await agent.set_environment(variables)
                await agent.push(document)
            except AgentUnreachable:
                await self._bear(work, silence)
            else:
                silence.broken()
                return

    async def _bear(self, work: Work, silence: "_Silence") -> None:
        """Wait for an agent that is silent; give it up when its droplet does not exist any more."""
        if silence.is_long() and await self._look_after_droplet(work):
            raise NotYet("its droplet does not exist any more")
        await self._clock.sleep(POLL_SECONDS)

    async def _ask(
        self, work: Work, agent: AgentClient, *, after: str | None = None
    ) -> AgentStatus:
        """Ask the agent how it is, and remember what it says of its app and its switch."""
        asked_at = self._clock.utc_now()
        status = await agent.status(after=after)
        reason, failure = status.reason, ""
        if status.state == "failed":
            reason, failure = failure_of_app(status, work.session.order.app_type)
        work.memory.silent_since = None
        work.memory.app = AppView(
            status.state, reason, self._clock.utc_now(), failure, status.ran_seconds
        )
        told = work.memory.efforts.get(do.key_of(do.SetExpiry), NO_EFFORT)
        if told.started_at is None or (told.done_at is not None and told.done_at <= asked_at):
            # Otherwise the answer may be older than what the switch was told.
            work.memory.switch = status.expires_at
        if status.log:
            work.memory.log = status.log
        return status

    async def _read_usage(self, work: Work, agent: AgentClient) -> None:
        """Enter how busy the droplet was, where the price depends on it.

        It is asked for together with something else, and never keeps that from being done: what was
        not measured counts as usual.
        """
        ready_at = work.session.status.ready_at
        if ready_at is None or not work.measures_usage:
            return
        known = work.memory.book.usage
        try:
            samples, following = await agent.read_usage(known.next if known is not None else 0)
        except (AgentUnreachable, AgentRejected, AgentUntrusted):
            return
        if work.memory.book.usage != known:
            return  # Another action has entered them meanwhile.
        ran = (Sample(one.seconds, one.cpu, one.memory) for one in samples if one.at > ready_at)
        work.memory.ledger = with_usage(work.memory.book, ran, following)

    async def set_expiry(self, work: Work, action: do.SetExpiry) -> None:
        """Move the dead man's switch."""
        work.memory.switch = None  # without an answer, nobody knows what it was told last
        async with self._agents.client(work.session, action.ip) as agent:
            remaining = action.expires_at - self._clock.utc_now()
            await agent.set_expiry(action.expires_at, remaining=remaining)
        work.memory.switch = action.expires_at

    async def check_app(self, work: Work, action: do.CheckApp) -> None:
        """Ask how the app is; when nobody answers, whether the droplet still exists."""
        work.memory.droplet_unseen = False
        asked_at = self._clock.utc_now()
        try:
            async with self._agents.client(work.session, action.ip) as agent:
                await self._ask(work, agent)
                await self._read_usage(work, agent)
        except (AgentUnreachable, AgentUntrusted):
            work.memory.silent_since = work.memory.silent_since or asked_at
            await self._look_after_droplet(work)
            raise

    async def _look_after_droplet(self, work: Work) -> bool:
        """The agent is silent: has its droplet gone? It may have gone before a restart.

        One that is too young to be believed gone is not asked for. Housekeeping: when many agents
        are silent at once, the looks leave room for deletions.
        """
        lost = False
        account, now = work.backing.account, self._clock.utc_now()
        for entry in work.memory.book.resources:
            known_since = work.known_since(entry)
            if entry.kind is not ResourceKind.DROPLET or may_still_appear(known_since, now):
                continue
            if entry.gone_at is None:
                found = await account.droplets.get(int(entry.id), priority=Priority.HOUSEKEEPING)
                if found is None:
                    work.saw_gone(entry.kind, entry.id)
                    lost = True
                else:
                    account.inventory.saw(found)
                    view = DropletView(found.id, found.status, found.public_ip)
                    work.memory.saw_droplet(view)
                    work.memory.droplet_confirmed_at = now
        return lost

    async def take_log(self, work: Work, action: do.TakeLog) -> None:
        """Keep the last lines of the log, if the agent still gives them."""
        try:
            async with self._agents.client(work.session, action.ip) as agent:
                await self._ask(work, agent)
                await self._read_usage(work, agent)
        except (AgentUnreachable, AgentRejected, AgentUntrusted):
            return

    async def stop_app(self, work: Work, action: do.StopApp) -> None:
        """Have the app end in time, and keep what it said last.

        One that has failed is left as it is: its page says why.
        """
        async with self._agents.client(work.session, action.ip) as agent:
            # What it has said by now, should it take all of its time.
            if (await self._ask(work, agent)).state == "failed":
                return
            await self._read_usage(work, agent)
            left = (action.ends_at - self._clock.utc_now()).total_seconds()
            await agent.stop(max(left - LAST_LOG_SECONDS, 0.0))
            await self._ask(work, agent)

    async def restart_app(self, work: Work, action: do.RestartApp) -> timedelta:
        """Have the app serve again. It takes a moment, so it is not asked for again at once."""
        async with self._agents.client(work.session, action.ip) as agent:
            await agent.restart()
            await self._ask(work, agent)
        return RESTART_PAUSE


class _Silence:
    """How long an agent has not answered."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.now()

    def broken(self) -> None:
        """It answered."""
        self._since = self._clock.now()

    def is_long(self) -> bool:
        """Whether it is time to look after the droplet; then the count begins again."""
        if self._clock.now() < self._since + LONG_SILENCE_SECONDS:
            return False
        self._since = self._clock.now()
        return True
