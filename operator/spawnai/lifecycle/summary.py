"""What is said of a session: phase, progress, expiry, cost, and the conditions that sum up."""

from datetime import datetime

from spawnai.api.conditions import ConditionStatus, ConditionType
from spawnai.api.durations import format_duration, format_time, parse_duration
from spawnai.api.session import Phase

from .actions import SetExpiry, key_of
from .costs import say_cost
from .expiry import Expiry
from .keep import NOT_INSTALLED, is_script, what_serves
from .limits import provisioning_deadline
from .observation import Offer, Session
from .replacing import REPLACING
from .revisions import change_under_way
from .status import Draft

_USUAL_REASONS = frozenset(
    {"Balancing", "Creating", "Booting", "Generating", "Pending", "Ordering", "Issuing"}
)
"""Why a part is not there while all goes well."""


def announce_expiry(d: Draft, offer: Offer, expiry: Expiry, now: datetime) -> None:
    """Latch the expiry, tell of changes, and warn before the end."""
    if expiry.time is None:
        return
    time = expiry.time.replace(microsecond=0)
    if time > now:
        d.wake(time)
    if d.previous.expiration_time != time:
        d.put(expiration_time=time)
        if expiry.on_notice:
            message = f"The expiry asked for has passed: the session ends at {format_time(time)}"
            d.notice("Warning", "ExpiryOnNotice", "Expire", message)
        elif d.previous.expiration_time is not None:
            left = format_duration(time - now)
            message = f"The session now ends at {format_time(time)}, in {left}"
            d.notice("Normal", "ExpiryChanged", "Expire", message)
    warn_at = time - parse_duration(offer.spec.lifetime.warning)
    if now < warn_at:
        d.wake(warn_at)
        d.drop(ConditionType.EXPIRING_SOON)
        return
    message = f"The session ends at {format_time(time)}"
    d.set_true(ConditionType.EXPIRING_SOON, "NearEnd", message)
    if d.previous.expiry_warned_for != time:
        d.put(expiry_warned_for=time)
        d.notice("Warning", "ExpiringSoon", "Expire", message)


def sum_up(d: Draft, session: Session, offer: Offer, expiry: Expiry, unpaid: str) -> None:
    """Phase, progress, message, cost and the conditions that sum up.

    `unpaid` says that the budgets bear no longer life; empty where they do.
    """
    now = d.now
    if d.get("ready_at") is not None:
        phase = d.move_to(Phase.RUNNING)
    elif not d.has(ConditionType.DROPLET_READY):
        phase = d.move_to(Phase.PROVISIONING)
    elif not d.has(ConditionType.GENERATED):
        phase = d.move_to(Phase.GENERATING)
    else:
        phase = d.move_to(Phase.DEPLOYING)
    _progress(d, session, offer, phase)
    say_cost(d, session, offer, now)
    remark = _remark(d, offer, expiry, unpaid)
    if phase is Phase.RUNNING:
        if d.previous.phase is not Phase.RUNNING:
            d.notice("Normal", "Running", "Deploy", f"{what_serves(session)}: {d.get('url')}")
        _ready(d, session, remark)
        changing = change_under_way(d, session, offer)
        app = d.condition(ConditionType.APP_HEALTHY)
        if app is not None and app.reason == REPLACING:
            d.set_true(ConditionType.RECONCILING, REPLACING, app.message)
        elif changing is None:
            d.drop(ConditionType.RECONCILING)
        else:
            d.set_true(ConditionType.RECONCILING, "Updating", changing)
        return
    deadline = provisioning_deadline(d.observation, d.get("started_at") or now, offer, now)
    if deadline > now:
        d.wake(deadline)
    d.set_false(ConditionType.READY, str(phase), d.get("message") + remark)
    if d.has(ConditionType.STALLED):
        d.drop(ConditionType.RECONCILING)
    else:
        d.set_true(ConditionType.RECONCILING, str(phase), d.get("message"))


def _ready(d: Draft, session: Session, remark: str) -> None:
    """Whether the app of a running session answers, as far as its agent says."""
    app = d.condition(ConditionType.APP_HEALTHY)
    if app is None or app.status is ConditionStatus.TRUE:
        d.set_true(ConditionType.READY, "Running", what_serves(session) + remark)
    elif app.status is ConditionStatus.UNKNOWN:
        d.set_unknown(ConditionType.READY, app.reason, app.message + remark)
    else:
        d.set_false(ConditionType.READY, app.reason, app.message + remark)


def _remark(d: Draft, offer: Offer, expiry: Expiry, unpaid: str) -> str:
    """What is to be said of the expiry: refused, capped, or not told. An event is sent once."""
    if expiry.problem is not None:
        remark = f"; {expiry.problem}; the expiry stays as it is"
        if not d.said(ConditionType.READY, remark):
            d.notice("Warning", "InvalidExpiry", "Expire", remark.removeprefix("; "))
        return remark
    if unpaid:
        if not d.said(ConditionType.READY, unpaid):
            d.notice("Warning", "ExpiryCapped", "Expire", unpaid.removeprefix("; "))
        return unpaid
    if expiry.capped:
        remark = f"; the class caps the lifetime at {offer.spec.lifetime.max}"
        if not d.said(ConditionType.READY, remark):
            d.notice("Warning", "ExpiryCapped", "Expire", remark.removeprefix("; "))
        return remark
    if expiry.untold and d.observation.effort(key_of(SetExpiry)).failures:
        return "; the later end waits until the droplet has taken it in"
    return ""


def _progress(d: Draft, session: Session, offer: Offer, phase: Phase) -> None:
    generated = d.has(ConditionType.GENERATED)
    fraction = 1.0 if generated else d.observation.generation_fraction or 0.0
    if phase is Phase.RUNNING:
        trouble = d.shortfall(ConditionType.APP_HEALTHY, usual=(NOT_INSTALLED,))
        progress, message = 100, trouble or _running(d, session, offer)
    elif phase is Phase.DEPLOYING:
        progress, message = 80, "Installing and starting the app"
        if d.has(ConditionType.APP_HEALTHY):
            made = d.shortfall(ConditionType.LOAD_BALANCER_READY, usual=())
            progress, message = (90, made) if made else (progress, message)
    elif d.has(ConditionType.DROPLET_READY):
        progress = 20 + int(30 * fraction)
        message = "Claude is writing the app" if not generated else "The app is written"
    else:
        progress = (10 if d.get("droplet") is not None else 5) + int(10 * fraction)
        message = "Making the droplet" + (
            "; the app is written" if generated else " while Claude writes the app"
        )
    stalled = d.message_of(ConditionType.STALLED)
    d.put(
        progress=max(progress, d.previous.progress or 0),
        message=stalled or _what_holds_it_up(d) or message,
    )


def _running(d: Draft, session: Session, offer: Offer) -> str:
    """Where the app is, and what is going on with it, or what Claude says of it."""
    note, where = d.get("note"), f"Running at {d.get('url')}"
    if is_script(session):
        where = f"{what_serves(session)}; its output is at {d.get('url')}"
    changing = change_under_way(d, session, offer)
    if changing is not None:
        return f"{where}; {changing}"
    if d.has(ConditionType.DEGRADED):
        return f"{where}, but {d.message_of(ConditionType.DEGRADED)}"
    return f"{where}. {note}" if note else where


def _what_holds_it_up(d: Draft) -> str | None:
    """Why a part is not made as usual, in that part's words: a limit, or a failure that may pass.

    What Claude says comes first: the droplet waits for it.
    """
    parts = (
        ConditionType.GENERATED,
        ConditionType.DROPLET_READY,
        ConditionType.LOAD_BALANCER_READY,
        ConditionType.DNS_READY,
        ConditionType.CERTIFICATE_READY,
    )
    unusual = (d.shortfall(part, usual=_USUAL_REASONS) for part in parts)
    return next((message for message in unusual if message), None)
