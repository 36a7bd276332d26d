"""The page of an app, as a browser sees it: when it is opened, and what follows from that.

    app answers ─► its URL is known ─► page opened ─► nothing wrong ─► Ready
                                            │
                                            ├─► findings, inspection: Require ─► repaired, or ended
                                            └─► findings, inspection: Warn; or not opened ─► Ready

An inspector that is away holds nothing up: the condition says that nobody looked.
"""

from spawnai.api.conditions import ConditionType, find_condition
from spawnai.api.session import AppType
from spawnai.api.spawnclass import ExposureMode, Inspection

from .actions import InspectApp, PageLook
from .observation import Offer, PageView, Session
from .status import Draft

PAGE_BROKEN = "PageBroken"
NOT_INSPECTED = "NotInspected"
_WITH_PAGES = frozenset({AppType.WEBAPP, AppType.FULLSTACK})


def look_of(session: Session, offer: Offer, url: str, ip: str) -> PageLook | None:
    """How the app's page is opened; None: it has none, or nobody is to look at it."""
    wanted = offer.spec.inspection
    has_page = session.order.app_type in _WITH_PAGES
    if not offer.inspector or wanted is Inspection.OFF or not has_page:
        return None
    # What a gateway or a load balancer serves is found where DNS says.
    address = ip if offer.spec.exposure.mode is ExposureMode.DIRECT else None
    return PageLook(url, address, repairs=wanted is Inspection.REQUIRE)


def words_of(findings: tuple[str, ...]) -> str:
    """What is wrong with a page, in a sentence."""
    return f"the page does not work: {'; '.join(findings)}"


def inspect(d: Draft, session: Session, offer: Offer, url: str, ip: str) -> bool:
    """Plan the look at a page, and say how it went. Returns whether the app may be Ready."""
    bundle, look = d.observation.bundle, look_of(session, offer, url, ip)
    if bundle is None or look is None:
        return True
    page = d.observation.page
    if page is None or page.digest != bundle.digest:
        d.set_false(ConditionType.INSPECTED, "Inspecting", "A browser opens the page")
    elif page.findings and look.repairs:
        d.set_false(ConditionType.INSPECTED, PAGE_BROKEN, words_of(page.findings))
    else:
        tell(d, page)
        return True
    d.do(InspectApp(look, bundle.digest))
    return False


def tell(d: Draft, page: PageView) -> None:
    """Say what the look at a page showed; the event comes when that is new."""
    before = find_condition(d.previous.conditions, ConditionType.INSPECTED)
    if not page.findings:
        d.drop(ConditionType.DEGRADED)
    if page.problem:
        reason, message = NOT_INSPECTED, f"The page was not opened in a browser: {page.problem}"
        d.set_unknown(ConditionType.INSPECTED, reason, message)
    elif page.findings:
        reason, message = PAGE_BROKEN, words_of(page.findings)
        d.set_false(ConditionType.INSPECTED, reason, message)
        d.set_true(ConditionType.DEGRADED, reason, message)
    else:
        d.set_true(ConditionType.INSPECTED, "Passed", "A browser opened the page; it works")
        return
    if before is None or (before.reason, before.message) != (reason, message):
        d.notice("Warning", reason, "Inspect", message)
