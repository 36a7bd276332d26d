"""A session that runs: its dead man's switch, its health, its log."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from spawnai.api.conditions import ConditionStatus, ConditionType, find_condition
from spawnai.api.durations import parse_duration
from spawnai.api.session import AppType, SessionStatus
from spawnai.billing.prices import is_measured

from .actions import CheckApp, RestartApp, SetExpiry, StopApp, TakeLog, key_of
from .balancing import balancer_of, has_load_balancer, look_through
from .expiry import Expiry, Wish, resolve
from .funding import paid_for
from .health import SERVES, Verdict, outside_is, verdict
from .limits import limits_of
from .observation import Effort, Observation, Offer, Reachability, Session
from .replacing import recover
from .status import Draft

FIRST_LOOK = timedelta(seconds=15)
LONGEST_UNSEEN = timedelta(minutes=30)
"""How soon after Ready a running app's agent is asked how the app is, and how seldom at last; the
agent itself restarts what dies. A thousand old sessions make a question each two seconds."""

UNSETTLED = frozenset({"idle", "installing", "starting"})
"""What an agent says of an app that is on its way up, or again after it died."""

NOT_INSTALLED = "Deploying"
"""Why AppHealthy is False before the agent has said anything of the app."""

POWERED_OFF = "PoweredOff"
"""Why DropletReady or AppHealthy is False: DigitalOcean shows the droplet as off."""

_WAY_IN = (ConditionType.LOAD_BALANCER_READY, ConditionType.DNS_READY)

NOT_THE_APPS = frozenset({NOT_INSTALLED, POWERED_OFF, "NetworkPath", "Replacing"})
"""Why AppHealthy is False without a fault of the app."""

LOG_AHEAD = timedelta(seconds=5)
"""How long before the end the app's log is kept, so that nothing waits for it at the end."""

STOPPED_SHARE = 0.25
"""For how much of its life an app may stand still before its end: who orders one for 4 seconds does
not get one that is stopped for 5."""


@dataclass(frozen=True, slots=True)
class Expiries:
    """When a session ends: as it is wanted and paid for, and as it is in force until then."""

    wanted: Expiry
    in_force: Expiry


def expiries(
    o: Observation,
    session: Session,
    offer: Offer,
    wish: Wish,
    *,
    ready_at: datetime | None,
    now: datetime,
) -> Expiries:
    """What follows from the wish, the class's limits, the budgets and the droplet's switch."""
    status = session.status
    wanted = resolve(
        wish,
        limits_of(offer, session, o.record),
        ready_at=ready_at,
        promised=status.expiration_time,
        now=now,
    )
    wanted = paid_for(o, session, wanted)
    return Expiries(wanted, once_told(o, status, wanted))


def once_told(o: Observation, status: SessionStatus, wanted: Expiry) -> Expiry:
    """The expiry in force: a longer life only once the droplet's switch was told of it.

    Otherwise a droplet could end itself before its promised time: when the operator dies between
    promise and telling, or when the droplet hears nobody any more. A session whose droplet cannot
    be told therefore ends at the time that was promised before.
    """
    promised = status.expiration_time
    if status.ready_at is None or promised is None or wanted.time is None:
        return wanted
    if o.is_replacing:
        return wanted  # The new droplet's switch is told once the app answers there.
    if wanted.time <= promised or o.switch == _to_the_second(wanted.time):
        return wanted
    return replace(wanted, time=promised, untold=True)


def keep(d: Draft, wanted: Expiry, expiry: Expiry, now: datetime, *, repairs: bool) -> None:
    """Keep a running session: its switch, its log, its health. `repairs`: an app that has stopped
    is repaired.
    """
    _say_how_the_app_is(d, repairs=repairs)
    ip = d.address
    if ip is None:
        return
    if wanted.time is not None:
        _move_switch(d, SetExpiry(ip, _to_the_second(wanted.time)))
    if expiry.time is not None:
        put_off = wanted.time is not None and wanted.time > expiry.time
        _prepare_the_end(d, ip, expiry.time, put_off=put_off)
    _look_after_the_app(d, CheckApp(ip), now)
    recover(d, now)


def powered_off(droplet_id: int | str) -> str:
    """What is said of a droplet that DigitalOcean shows as off."""
    return (
        f"Droplet {droplet_id} is off: it was switched off, or its dead man's switch ended it. It "
        "is billed until it is destroyed"
    )


def has_log(session: Session) -> bool:
    """Whether the app is a process that may have said something; a webapp is files."""
    return session.spec is None or session.spec.app_type is not AppType.WEBAPP


def is_script(session: Session | None) -> bool:
    """Whether the app runs once, and answers nothing itself."""
    order = session.spec if session is not None else None
    return order is not None and order.app_type is AppType.SCRIPT


def what_serves(session: Session | None) -> str:
    """What is said of an app that does what it should. Of a script only the page of its output
    answers: its agent takes it for done once it has ended without an error.
    """
    return "The script has ended with exit code 0" if is_script(session) else "The app answers"


def say_it_serves(d: Draft) -> None:
    """Say that the app does what it should."""
    o = d.observation
    d.set_true(ConditionType.APP_HEALTHY, "Answers", what_serves(o.session))
    if o.app is not None and o.app.ran_seconds is not None:
        d.put(ran_seconds=round(o.app.ran_seconds))


def is_asked_last(o: Observation) -> bool:
    """Whether the droplet is asked once more at the end: what the app has said last, or how busy
    it was, where the price depends on that.
    """
    if o.session is None:
        return False
    terms = o.record.spec.price_terms if o.record is not None else None
    return has_log(o.session) or is_measured(terms)


def is_last_log(taken: Effort, end: datetime, ahead: timedelta = LOG_AHEAD) -> bool:
    """Whether the log was taken, or tried for, close enough to that end to be its last one.

    One that was taken for an earlier end says nothing of what came after it.
    """
    return taken.started_at is not None and taken.started_at >= end - ahead


def stops_ahead(o: Observation, end: datetime) -> timedelta:
    """How long before that end the app is stopped; zero: it is not."""
    ready_at = o.session.status.ready_at if o.session is not None else None
    if o.offer is None or ready_at is None:
        return timedelta()
    graceful_stop = parse_duration(o.offer.spec.lifetime.graceful_stop)
    if end <= ready_at:  # The clock was set back since: how long its life is, is not known.
        return graceful_stop
    return min(graceful_stop, (end - ready_at) * STOPPED_SHARE)


def _prepare_the_end(d: Draft, ip: str, end: datetime, *, put_off: bool) -> None:
    """Shortly before an end that is known, the app is stopped and the last of its log is kept.

    The end itself waits for none of it. An app that was stopped for an end that is put off serves
    again. `put_off`: the droplet's switch is being told of a later end.
    """
    o, now = d.observation, d.now
    ahead = stops_ahead(o, end)
    if ahead and not put_off and app_failure(o) is None:
        stop = StopApp(ip, end)
        effort = o.effort(stop.key)
        if now >= end - ahead:
            if effort.failure is not None or not is_last_log(effort, end, ahead):
                d.do(stop)
            return
        d.wake(end - ahead)
    if _is_stopped(o):
        d.do(RestartApp(ip))
    if not is_asked_last(o):
        return
    log_time = end - LOG_AHEAD
    if now < log_time:
        d.wake(log_time)
    elif not is_last_log(o.effort(TakeLog(ip).key), end):
        d.do(TakeLog(ip))


def _is_stopped(o: Observation) -> bool:
    """Whether the app was stopped, or may have been: the answer was lost."""
    if o.app is not None and o.app.state == "stopped":
        return True
    stop, restarted = o.effort(key_of(StopApp)), o.effort(key_of(RestartApp)).started_at
    if stop.failure is None or stop.started_at is None:
        return False
    return restarted is None or restarted < stop.started_at


def app_failure(o: Observation) -> tuple[str, str] | None:
    """Reason and words, when the agent has said that the app stopped for good after it was Ready.

    A restarted operator has heard nothing yet, and finds it in the status.
    """
    session = o.session
    if session is None or session.status.ready_at is None:
        return None
    if o.app is not None:
        failed = o.app.state == "failed"
        return (o.app.reason or "AppFailed", o.app.failure) if failed else None
    known = find_condition(session.status.conditions, ConditionType.APP_HEALTHY)
    if known is None or known.status is not ConditionStatus.FALSE or known.reason in NOT_THE_APPS:
        return None
    return known.reason, known.message


def _to_the_second(time: datetime) -> datetime:
    """As the status keeps it."""
    return time.replace(microsecond=0)


def _move_switch(d: Draft, switch: SetExpiry) -> None:
    """Tell the droplet its expiry when it stands at another.

    Another life of this operator may have latched an expiry and died before telling it: the
    agent's next answer shows what it was told, and waits for its turn.
    """
    o = d.observation
    if o.switch == switch.expires_at:
        return
    ready_at = d.previous.ready_at
    told_before = (
        o.switch is None
        and not (o.record is not None and o.record.status.replacements)
        and ready_at is not None
        and ready_at < o.operator_started_at
        and o.effort(switch.key).started_at is None
        and d.previous.expiration_time == switch.expires_at
    )
    if not told_before:
        d.do(switch)


def _look_after_the_app(d: Draft, check: CheckApp, now: datetime) -> None:
    """Ask the agent: soon after Ready, then after as long as the app has lived, then regularly.

    Most apps that break do so early. So a failure is known at the latest when the app would have
    been Ready for twice as long, or 30 minutes later. What was heard long before Ready is old, and
    is asked for again at once.
    """
    o = d.observation
    known = find_condition(d.previous.conditions, ConditionType.APP_HEALTHY)
    heard_at = o.app.at if o.app is not None else o.effort(check.key).done_at
    due = _next_look(o, d.previous.ready_at or now, heard_at)
    if _tells_another_story(o, heard_at):
        due = now
    if o.sight.is_blind and outside_is(o, Reachability.SILENT):
        return  # A look from outside costs less, and tells when the way is there again.
    unknown = known is not None and known.status is ConditionStatus.UNKNOWN
    if now >= due or o.droplet_unseen or (unknown and heard_at is None):
        d.do(check)
    else:
        d.wake(due)


def _tells_another_story(o: Observation, heard_at: datetime | None) -> bool:
    """Whether what is seen from outside has changed to what the agent has not said yet."""
    if o.outside is None:
        return False
    serves = o.app is None or o.app.state in SERVES
    if o.outside.state is Reachability.ANSWERS and serves:
        return False
    return heard_at is None or heard_at < o.outside.since


def _next_look(o: Observation, ready_at: datetime, heard_at: datetime | None) -> datetime:
    if heard_at is None and ready_at < _to_the_second(o.operator_started_at):
        return o.operator_started_at + o.resync_spread
    last = heard_at or ready_at
    lived = last - ready_at
    if o.app is not None and o.app.state in UNSETTLED:
        lived = FIRST_LOOK
    return last + min(max(lived, FIRST_LOOK), LONGEST_UNSEEN)


def _say_how_the_app_is(d: Draft, *, repairs: bool) -> None:
    o = d.observation
    failure = app_failure(o)
    if failure is not None and repairs:
        reason, message = failure
        _warn(d, d.set_false, reason, f"{message}; Claude repairs the app")
        return
    if failure is not None:
        d.set_false(ConditionType.APP_HEALTHY, *failure)
        d.stall(*failure, "Watch")
        return
    if o.offer is not None and has_load_balancer(o.offer) and not all(map(d.has, _WAY_IN)):
        message = (
            "Nobody reaches the app: its load balancer was deleted outside the operator. Another "
            "one is made, which usually takes one to three minutes"
        )
        _warn(d, d.set_false, "NetworkPath", message)
        return
    match verdict(o):
        case Verdict.POWERED_OFF:
            _warn(d, d.set_false, POWERED_OFF, powered_off(d.get("droplet").id))
        case Verdict.NETWORK_PATH:
            message = (
                f"The agent on the droplet {d.address or ''} says that the app serves, but nobody "
                f"answers at {_way_in(o)}"
            )
            _warn(d, d.set_false, "NetworkPath", message)
            _look_at_the_way(d)
        case Verdict.SILENT:
            message = (
                f"The agent on the droplet {d.address or ''} does not answer, so nobody knows how "
                "the app is. It is asked again and again; see whether the droplet is switched on"
            )
            _warn(d, d.set_unknown, "AgentUnreachable", message)
        case Verdict.BLIND:
            message = (
                "Many droplets do not answer at once, so the operator's own network is most likely "
                "cut. Nothing is restarted or replaced meanwhile; the app may serve"
            )
            _warn(d, d.set_unknown, "OperatorBlind", message)
        case Verdict.SERVES:
            say_it_serves(d)
        case Verdict.UNHEARD | Verdict.UNSETTLED:
            pass


def _way_in(o: Observation) -> str:
    """Where users reach the app, and what may be wrong there."""
    balancer = balancer_of(o.record) if o.record is not None else None
    address = "its address" if balancer is None else f"its load balancer {balancer.ip}"
    return f"{address}: something between is cut, such as a firewall"


def _look_at_the_way(d: Draft) -> None:
    """Find out once whether the load balancer that leads to the app is still there."""
    o = d.observation
    if o.record is None or o.session is None or o.offer is None or o.outside is None:
        return
    balancer = balancer_of(o.record)
    if balancer is None:
        return
    look = look_through(o.session, o.offer, balancer)
    effort = o.effort(look.key)
    if effort.failure is not None or effort.done_at is None or effort.done_at < o.outside.since:
        d.do(look)


def _warn(
    d: Draft, put: Callable[[ConditionType, str, str], bool], reason: str, message: str
) -> None:
    """Say that the app may not be well, with an event when that is new."""
    if put(ConditionType.APP_HEALTHY, reason, message):
        d.notice("Warning", reason, "Watch", message)
