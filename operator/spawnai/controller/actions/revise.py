"""Changes a running app as its new prompt asks; the app before goes on until the new one works."""

from collections.abc import Sequence

from spawnai.clock import Clock
from spawnai.controller.failures import NotYet, SessionFailed, failure_of
from spawnai.droplet.client import AgentStatus, AgentUnreachable, UpdateStatus
from spawnai.generation.claude import MAX_REPAIRS, Revised
from spawnai.lifecycle import actions as do
from spawnai.lifecycle import observation
from spawnai.lifecycle.revisions import prompt_digest

from .agents import Agents
from .bundles import Bundles, Version
from .deploy import LOG_LINES_FOR_A_REPAIR, POLL_SECONDS, REPAIRABLE
from .generate import Generate
from .work import Work


class Revise:
    """Makes new versions of running apps; what was paid for is found again after a restart."""

    def __init__(
        self, *, agents: Agents, bundles: Bundles, generate: Generate, clock: Clock
    ) -> None:
        self._agents = agents
        self._bundles = bundles
        self._generate = generate
        self._clock = clock

    async def revise_app(self, work: Work, action: do.ReviseApp) -> None:
        """Find or make the version for the prompt, and have the droplet switch to it."""
        session = work.session
        prompt = session.order.prompt
        if prompt_digest(prompt) != action.prompt_digest:
            raise NotYet("the prompt has changed meanwhile")
        number, digest = session.status.revision or 1, None
        failure = None
        note = ""
        try:
            version = await self._version_for(work, action)
            number, digest, note = version.number, version.bundle.digest, version.bundle.note
            while (refused := await self._try(work, action, version)) is not None:
                version = await self._repaired(work, action, version, *refused)
                number, digest, note = version.number, version.bundle.digest, version.bundle.note
        except SessionFailed as error:
            failure = failure_of(error, self._clock.utc_now())
        work.memory.revised = observation.Revised(
            action.prompt_digest,
            number,
            digest,
            self._clock.utc_now().replace(microsecond=0),
            failure,
            note,
        )

    async def _version_for(self, work: Work, action: do.ReviseApp) -> Version:
        """The latest version that was made for the prompt; a new one when there is none."""
        versions = await self._bundles.versions(work.session)
        prompt = work.session.order.prompt
        made = [version for version in versions if version.prompt == prompt]
        if made:
            return made[-1]
        runs = work.session.status.revision
        current = next((version for version in versions if version.number == runs), None)
        if current is None:
            raise SessionFailed("AppNotStored", "the app that runs is not stored any more")
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
    ) -> tuple[UpdateStatus, Sequence[str]] | None:
        """Give a version to the droplet: None when it runs, else what went wrong."""
        digest = version.bundle.digest
        async with self._agents.client(work.session, action.ip) as agent:
            await agent.push(version.bundle.document())
            seen: str | None = None
            while True:
                try:
                    status = await agent.status(after=seen)
                except AgentUnreachable:
                    await self._clock.sleep(POLL_SECONDS)
                    continue
                seen = status.progress
                update = status.update
                tried = update is not None and update.bundle_digest == digest
                if update is not None and tried and update.state == "failed":
                    return update, status.log
                if status.bundle_digest == digest:
                    if status.state == "failed":
                        return _as_update(status, digest), status.log
                    if status.state in {"running", "finished"}:
                        return None
                await self._clock.sleep(POLL_SECONDS)

    async def _repaired(
        self,
        work: Work,
        action: do.ReviseApp,
        version: Version,
        update: UpdateStatus,
        log: Sequence[str],
    ) -> Version:
        words = update.error or update.message or "it gave no reason"
        reason = update.reason if update.reason in REPAIRABLE else "AppFailed"
        rounds = version.generation.repairs
        if update.reason not in REPAIRABLE or rounds >= MAX_REPAIRS:
            raise SessionFailed(reason, f"the changed app does not work: {words}")
        findings = [words, *(f"log: {line}" for line in log[-LOG_LINES_FOR_A_REPAIR:])]
        before = Revised(version.bundle, version.prompt, tuple(findings), rounds)
        number = len(await self._bundles.versions(work.session)) + 1
        return await self._written(work, action, before, number)


def _as_update(status: AgentStatus, digest: str) -> UpdateStatus:
    return UpdateStatus(digest, "failed", status.reason, status.message, status.error)
