"""How a running app is, from three sides, and what to do about it.

The droplet's agent asks the app and starts it again; this is about what the operator makes of it:
what the agent says, what a look from outside shows, and what DigitalOcean says of the droplet.
Nobody of the three is believed alone where anything would be destroyed.

| outside | agent | DigitalOcean | verdict |
|---|---|---|---|
| – | the app has failed | – | AppFailed |
| – | – | off | PoweredOff |
| silent | silent | – | Silent; Blind when many are, or nobody else answers |
| silent | answers | – | NetworkPath |
| – | serves | – | Serves |
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from spawnai.api.durations import parse_duration
from spawnai.api.session import Phase, SessionStatus
from spawnai.api.spawnclass import ExposureMode

from .actions import CheckApp, key_of
from .balancing import balancer_of
from .https import host_of
from .observation import Observation, Reachability

SERVES = frozenset({"running", "finished"})
"""What an agent says of an app that does what it should."""

SILENT_CHECKS = 6
"""After how many questions in a row without an answer it is said that nobody knows how the app is.
They take at least six seconds: less may be an agent that was started again."""

SHARE_OF_THE_BLIND = 0.2
FEWEST_OF_THE_BLIND = 3
"""So many silent droplets at once, and so large a share of all, are taken for a fault of the
operator's own network."""


class Verdict(StrEnum):
    """What is made of a running app."""

    UNHEARD = "Unheard"  # nobody has said anything yet
    SERVES = "Serves"
    UNSETTLED = "Unsettled"  # it is being installed, started, or started again
    APP_FAILED = "AppFailed"
    NETWORK_PATH = "NetworkPath"  # the agent answers, and the app is not reached from outside
    POWERED_OFF = "PoweredOff"
    SILENT = "Silent"  # neither the agent nor the app answers
    BLIND = "Blind"  # the same, and the fault is most likely ours


@dataclass(frozen=True, slots=True)
class Entry:
    """A load balancer that leads to an app, asked by HTTPS for the app's host."""

    host: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """Where an app is looked at from outside, and how often. Durations in seconds.

    `address` and `port`: of the droplet and its web server; without a port only the agent's door
    can be reached. `entry`: what is asked instead of the web server.
    """

    address: str
    port: int | None
    interval: float
    timeout: float
    failures: int
    entry: Entry | None = None


def probe_target(o: Observation, status: SessionStatus) -> ProbeTarget | None:
    """Where the session's app is to be looked at; None: not now.

    Behind a gateway only that may reach its web server; then its agent's door is looked at. A load
    balancer is asked as users ask it: nothing else tells that somebody deleted it.
    """
    record, offer, session = o.record, o.offer, o.session
    if record is None or offer is None or session is None or status.phase is not Phase.RUNNING:
        return None
    if status.termination_reason is not None:
        return None
    line = record.droplet
    if line is None or line.deletion_accepted_at is not None:
        return None
    ip = (o.droplet.ip if o.droplet is not None and str(o.droplet.id) == line.id else None) or (
        line.ip
    )
    if ip is None:
        return None
    health, exposure = offer.spec.health, offer.spec.exposure
    target = ProbeTarget(
        ip,
        exposure.http_port if exposure.mode is ExposureMode.DIRECT else None,
        parse_duration(health.interval).total_seconds(),
        parse_duration(health.timeout).total_seconds(),
        health.failures,
    )
    balancer = balancer_of(record)
    if balancer is None or balancer.ip is None:
        return target
    host = host_of(session, offer, balancer.ip)
    return replace(target, entry=Entry(host, balancer.ip, exposure.https_port))


def is_blind(silent: int, followed: int) -> bool:
    """Whether so many of the followed droplets are silent that the fault is most likely ours."""
    return silent >= FEWEST_OF_THE_BLIND and silent >= followed * SHARE_OF_THE_BLIND


def verdict(o: Observation) -> Verdict:
    """What is made of the app of a running session."""
    if o.app is not None and o.app.state == "failed":
        return Verdict.APP_FAILED
    if _is_off(o):
        return Verdict.POWERED_OFF
    if agent_is_silent(o):
        return Verdict.BLIND if o.sight.is_blind else Verdict.SILENT
    if o.app is None:
        return Verdict.UNHEARD
    if outside_is(o, Reachability.SILENT) and o.app.at > o.outside_since:
        return Verdict.NETWORK_PATH
    return Verdict.SERVES if o.app.state in SERVES else Verdict.UNSETTLED


def _is_off(o: Observation) -> bool:
    line = o.record.droplet if o.record is not None else None
    if o.droplet is None or line is None:
        return False
    return str(o.droplet.id) == line.id and o.droplet.status == "off"


def agent_is_silent(o: Observation) -> bool:
    """Whether the agent has left several questions in a row unanswered, and said nothing since.

    One is enough where nobody answers from outside either.
    """
    asked = o.effort(key_of(CheckApp))
    enough = 1 if outside_is(o, Reachability.SILENT) else SILENT_CHECKS
    if asked.failure is None or asked.failures < enough:
        return False
    return o.app is None or o.app.at <= asked.failure.at


def outside_is(o: Observation, state: Reachability) -> bool:
    """What the looks from outside have shown, several in a row."""
    return o.outside is not None and o.outside.state is state


def silent_for(o: Observation, now: datetime) -> timedelta:
    """For how long neither agent nor app has answered while the operator could see."""
    if o.silent_since is None:
        return timedelta()
    since = o.silent_since
    if o.sight.blind_until is not None:
        since = max(since, o.sight.blind_until)
    return max(now - since, timedelta())
