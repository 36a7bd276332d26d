"""Has the app's page opened in a browser, keeps the picture, and has repaired what is wrong."""

import logging
from collections.abc import Sequence

from spawnai.api.session import AppType
from spawnai.clock import Clock
from spawnai.controller.cluster import ClusterError
from spawnai.controller.failures import NotYet, SessionFailed
from spawnai.inspector.client import InspectorAway, InspectorClient
from spawnai.inspector.inspection import Clicks, Target
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.inspection import PAGE_BROKEN, words_of
from spawnai.lifecycle.observation import Failure, FailureKind, PageView, Session
from spawnai.telemetry.metrics import Metrics

from .bundles import Bundles
from .deploy import Repair
from .work import Work

_LOGGER = logging.getLogger(__name__)


class Inspect:
    """Asks the inspector. One that is away never fails an action: the view says why nobody looked.

    Args:
        client: the inspector; None: there is none.
        repair: has the stored app repaired, and stores the result.
    """

    def __init__(
        self,
        client: InspectorClient | None,
        *,
        bundles: Bundles,
        metrics: Metrics,
        clock: Clock,
        repair: Repair,
    ) -> None:
        self._client = client
        self._bundles = bundles
        self._metrics = metrics
        self._clock = clock
        self._repair = repair

    async def inspect_app(self, work: Work, action: do.InspectApp) -> None:
        """Look at the page of an app that is about to be Ready.

        Raises:
            NotYet: it did not work and was repaired; the repaired app is deployed next.
            SessionFailed: its repairs are used up.
        """
        memory, stored = work.memory, work.memory.bundle
        if stored is None or stored.digest != action.digest:
            raise NotYet("another version of the app is deployed meanwhile")
        if memory.page is None or memory.page.digest != action.digest:
            memory.page = await self.look(work.session, action.look, action.digest, stored.number)
        findings = memory.page.findings
        if not findings or not action.look.repairs:
            return
        words = words_of(findings)
        told = Failure(
            FailureKind.TRANSIENT, PAGE_BROKEN, f"{words}; Claude repairs it", self._clock.utc_now()
        )
        memory.note_failure(action.key, told)
        try:
            repaired = await self._repair(work, action, findings_for_claude(findings))
        except SessionFailed as error:
            raise SessionFailed(PAGE_BROKEN, f"{words} ({error})") from error
        # At the very end: the plan hands over what is stored.
        memory.bundle = repaired
        raise NotYet(f"{words}; it was repaired, and is deployed again")

    async def look(
        self,
        session: Session,
        look: do.PageLook,
        digest: str,
        number: int,
        trial: str | None = None,
    ) -> PageView:
        """What the page of one version shows; its picture is kept.

        `trial` is the word for which the droplet shows a version that it holds.
        """
        if self._client is None:
            return PageView(digest, problem="there is no inspector")
        # A button may write into the database of an app that has one, and that is the user's.
        is_static = session.order.app_type is AppType.WEBAPP
        clicks = Clicks.ALL if is_static else Clicks.LINKS
        target = Target(look.url, look.address, clicks, trial)
        began = self._clock.now()
        try:
            seen = await self._client.inspect(target)
        except InspectorAway as error:
            self._metrics.inspected("away", self._clock.now() - began)
            return PageView(digest, problem=str(error))
        result = "findings" if seen.findings else "passed"
        self._metrics.inspected(result, self._clock.now() - began)
        if seen.screenshot:
            try:
                await self._bundles.store_screenshot(session, number, seen.screenshot)
            except ClusterError as error:
                _LOGGER.warning("The picture of the app is not kept: %s", error)
        return PageView(digest, seen.findings)


def findings_for_claude(findings: Sequence[str]) -> list[str]:
    """What Claude is told of a page that does not work."""
    return ["a browser opened the page, and it does not work", *findings]
