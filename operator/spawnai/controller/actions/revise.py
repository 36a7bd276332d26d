"""Changes a running app as its new prompt asks, or repairs one that has stopped for good; the app
before goes on until the new one works.
"""

from dataclasses import dataclass
from typing import Self

from spawnai.clock import Clock
from spawnai.controller.failures import NotYet, SessionFailed, failure_of
from spawnai.droplet.client import AgentClient, AgentStatus, AgentUnreachable
from spawnai.generation.claude import MAX_REPAIRS, Revised
from spawnai.lifecycle import actions as do
from spawnai.lifecycle import observation
from spawnai.lifecycle.inspection import PAGE_BROKEN, words_of
from spawnai.lifecycle.observation import AppView, PageView
from spawnai.lifecycle.revisions import prompt_digest

from .agents import Agents
from .app_env import AppEnvironments
from .bundles import Bundles, Version
from .deploy import (
    LOG_LINES_FOR_A_REPAIR,
    POLL_SECONDS,
    REPAIRABLE,
    is_repairable,
    outcome_of,
    with_lock,
)
from .generate import Generate
from .inspect import Inspect, findings_for_claude
from .work import Work


class Revise:
    """Makes new versions of running apps; what was paid for is found again after a restart."""

    def __init__(
        self,
        *,
        agents: Agents,
        bundles: Bundles,
        generate: Generate,
        inspect: Inspect,
        environments: AppEnvironments,
        clock: Clock,
    ) -> None:
        self._agents = agents
        self._bundles = bundles
        self._generate = generate
        self._inspect = inspect
        self._environments = environments
        self._clock = clock

    async def revise_app(self, work: Work, action: do.ReviseApp) -> None:
        """Find or make the version for the prompt, and have the droplet switch to it."""
        session = work.session
        prompt = session.order.prompt
        if prompt_digest(prompt) != action.prompt_digest:
            raise NotYet("the prompt has changed meanwhile")
        number, digest = session.status.revision or 1, None
        failure, page, note = None, None, ""
        try:
            version = await self._version_for(work, action)
            refused = await self._stopped(work, action, version) if action.repairs else None
            while True:
                if refused is not None:
                    version = await self._repaired(work, action, version, refused)
                number, digest = version.number, version.bundle.digest
                note = version.bundle.note
                refused, page = await self._try(work, action, version)
                if refused is None:
                    break
        except SessionFailed as error:
            failure = failure_of(error, self._clock.utc_now())
            await self._put_back(work, action)
        work.memory.revised = observation.Revised(
            action.prompt_digest,
            number,
            digest,
            self._clock.utc_now().replace(microsecond=0),
            failure,
            note,
            page,
        )

    async def _version_for(self, work: Work, action: do.ReviseApp) -> Version:
        """The latest version that was made for the prompt; a new one when there is none."""
        await self._generate.store_waiting(work)
        versions = await self._bundles.versions(work.session)
        prompt = work.session.order.prompt
        made = [version for version in versions if version.prompt == prompt]
        if made:
            return made[-1]
        runs = work.session.status.revision
        current = next((version for version in versions if version.number == runs), None)
        if current is None:
            raise SessionFailed(
                "AppNotStored",
                "the source of the app that runs is not stored any more, so it cannot be changed; "
                "apply the prompt as a new session",
            )
        before = Revised(current.bundle, current.prompt)
        return await self._written(work, action, before, len(versions) + 1)

    async def _written(
        self, work: Work, action: do.ReviseApp, before: Revised, number: int
    ) -> Version:
        stored = await self._generate.change_app(work, action, before, number)
        bundle = await self._bundles.read(work.session, stored.number)
        return Version(stored.number, bundle, stored.generation, work.session.order.prompt)

    async def _try(
        self, work: Work, action: do.ReviseApp, version: Version
    ) -> tuple["_Refused | None", PageView | None]:
        """Have the droplet try a version beside the one that serves, look at its page there, and
        have it switch. What went wrong, if anything did.

        Where the droplet holds nothing (nothing serves there, or its agent is of an earlier version
        of the product), the page is looked at after the switch.
        """
        variables = await self._environments.of(work.session)
        async with self._agents.client(work.session, action.ip) as agent:
            if variables:
                # The Secret may hold another value by now.
                await agent.set_environment(variables)
            status, word = await self._follow(agent, version, hold=action.look is not None)
            page = None
            if action.look is not None and status.state != "failed":
                digest = version.bundle.digest
                page = await self._inspect.look(
                    work.session, action.look, digest, version.number, word
                )
                await self._require_held(agent, word)
                if page.findings and action.look.repairs:
                    findings = tuple(findings_for_claude(page.findings))
                    return _Refused(PAGE_BROKEN, words_of(page.findings), findings), page
            if word is not None:
                status, _ = await self._follow(agent, version, hold=False)
        if status.state == "failed":
            return _Refused.by(status), None
        work.memory.app = AppView(
            status.state, status.reason, self._clock.utc_now(), ran_seconds=status.ran_seconds
        )
        return None, page

    async def _stopped(
        self, work: Work, action: do.ReviseApp, version: Version
    ) -> "_Refused | None":
        """Why the version that runs has stopped; None: its repair was made before.

        Raises:
            NotYet: it runs again.
        """
        if version.number != work.session.status.revision:
            return None
        async with self._agents.client(work.session, action.ip) as agent:
            status = await agent.status()
        if status.state != "failed":
            raise NotYet("the app runs again")
        return _Refused.by(status)

    async def _follow(
        self, agent: AgentClient, version: Version, *, hold: bool
    ) -> tuple[AgentStatus, str | None]:
        """Push a version, and wait until it serves or has failed.

        With `hold` also until it is held; the word for which the droplet shows it is returned too.
        """
        document, digest = with_lock(version.bundle.document()), version.bundle.digest
        await agent.push({**document, "hold": True} if hold else document)
        seen: str | None = None
        while True:
            try:
                status = await agent.status(after=seen)
            except AgentUnreachable:
                await self._clock.sleep(POLL_SECONDS)
                continue
            seen = status.progress
            outcome = outcome_of(status, digest)
            if outcome is not None:
                return outcome, None
            update = status.update
            if update is not None and update.bundle_digest == digest and update.word is not None:
                if hold:
                    return status, update.word
                # The agent was started again meanwhile, and holds it as it was pushed first.
                await agent.push(document)
            await self._clock.sleep(POLL_SECONDS)

    async def _require_held(self, agent: AgentClient, word: str | None) -> None:
        """Return if the version for that word is still held.

        Raises:
            NotYet: its agent was started again meanwhile, so another version may have been seen.
        """
        if word is None:
            return
        update = (await agent.status()).update
        if update is None or update.word != word:
            raise NotYet("the droplet's agent was started again while the page was opened")

    async def _put_back(self, work: Work, action: do.ReviseApp) -> None:
        """Have the version serve that the status names: end the try of a version that is held. From
        an agent that holds none, one with a broken page may have taken its place.
        """
        runs = work.session.status.revision
        if action.look is None or not action.look.repairs:
            return
        versions = await self._bundles.versions(work.session)
        before = next((version for version in versions if version.number == runs), None)
        if before is not None:
            async with self._agents.client(work.session, action.ip) as agent:
                await self._follow(agent, before, hold=False)

    async def _repaired(
        self, work: Work, action: do.ReviseApp, version: Version, refused: "_Refused"
    ) -> Version:
        rounds = version.generation.repairs
        if not refused.is_repairable or rounds >= MAX_REPAIRS:
            which = "app" if version.number == work.session.status.revision else "changed app"
            raise SessionFailed(refused.reason, f"the {which} does not work: {refused.words}")
        before = Revised(version.bundle, version.prompt, refused.findings, rounds)
        number = len(await self._bundles.versions(work.session)) + 1
        return await self._written(work, action, before, number)


@dataclass(frozen=True, slots=True)
class _Refused:
    """Why a version does not take the place of the one before, and what Claude is told of it."""

    reason: str
    words: str
    findings: tuple[str, ...]
    is_repairable: bool = True

    @classmethod
    def by(cls, status: AgentStatus) -> Self:
        """What an agent says of an app that has failed."""
        words = status.error or status.message or "it gave no reason"
        reason = status.reason if status.reason in REPAIRABLE else "AppFailed"
        log = (f"log: {line}" for line in status.log[-LOG_LINES_FOR_A_REPAIR:])
        return cls(reason or "AppFailed", words, (words, *log), is_repairable(status))
