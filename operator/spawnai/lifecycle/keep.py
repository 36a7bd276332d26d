"""A session that runs: its dead man's switch, its health, its log."""

from dataclasses import replace
from datetime import datetime, timedelta

from spawnai.api.conditions import ConditionType
from spawnai.api.session import AppType

from .actions import CheckApp, SetExpiry, TakeLog
from .expiry import Expiry
from .observation import Session
from .status import Draft

APP_CHECK_INTERVAL = timedelta(minutes=15)
"""How often a running app's agent is asked; the agent itself restarts what dies. A thousand
sessions make one question a second, which costs half a per cent of a core."""

LOG_AHEAD = timedelta(seconds=5)
"""How long before the end the app's log is kept, so that nothing waits for it at the end."""


def once_told(d: Draft, wanted: Expiry) -> Expiry:
    """The expiry to promise: a longer life only once the droplet's switch was told of it.

    Otherwise an operator that dies between promise and telling would leave a droplet that ends
    itself before its promised time. A droplet that does not answer holds nothing up.
    """
    promised = d.previous.expiration_time
    ready = d.previous.ready_at is not None
    if not ready or d.address is None or promised is None or wanted.time is None:
        return wanted
    if wanted.time <= promised or d.observation.switch == _to_the_second(wanted.time):
        return wanted
    if d.observation.effort(SetExpiry.__name__).failure is not None:
        return wanted
    return replace(wanted, time=promised)


def keep(d: Draft, session: Session, wanted: Expiry, expiry: Expiry, now: datetime) -> None:
    """Keep a running session: its switch, its log, its health."""
    ip = d.address
    if ip is None:
        return
    if wanted.time is not None:
        _move_switch(d, SetExpiry(ip, _to_the_second(wanted.time)), now)
    if expiry.time is not None and session.order.app_type is not AppType.WEBAPP:
        log_time = expiry.time - LOG_AHEAD
        if now < log_time:
            d.wake(log_time)
        elif d.observation.effort(TakeLog(ip).key).started_at is None:
            d.do(TakeLog(ip))
    _check_app(d, CheckApp(ip), now)


def _to_the_second(time: datetime) -> datetime:
    """As the status keeps it."""
    return time.replace(microsecond=0)


def _move_switch(d: Draft, switch: SetExpiry, now: datetime) -> None:
    """Tell the droplet its expiry: at once when it changed, and again after a restart, spread.

    Another life of this operator may have latched an expiry and died before telling it.
    """
    o = d.observation
    if o.switch == switch.expires_at:
        return
    ready_at = d.previous.ready_at
    told_before = (
        ready_at is not None
        and ready_at < o.operator_started_at
        and o.effort(switch.key).started_at is None
        and d.previous.expiration_time == switch.expires_at
    )
    retell_at = o.operator_started_at + o.resync_spread
    if told_before and now < retell_at:
        d.wake(retell_at)
    else:
        d.do(switch)


def _check_app(d: Draft, check: CheckApp, now: datetime) -> None:
    o = d.observation
    last = o.effort(check.key).done_at or d.previous.ready_at or now
    due = max(last + APP_CHECK_INTERVAL, o.operator_started_at + o.resync_spread)
    if now >= due or o.droplet_unseen:
        d.do(check)
    else:
        d.wake(due)
    if o.app is None:
        return
    if o.app.state != "failed":
        d.set_true(ConditionType.APP_HEALTHY, "Answers", "The app answers")
        return
    reason = o.app.reason or "Failed"
    message = f"The app has stopped for good: {reason}"
    if d.set_false(ConditionType.APP_HEALTHY, reason, message):
        d.notice("Warning", reason, "Watch", message)
