"""A session's load balancer (mode LoadBalancer), and what is said while DigitalOcean makes it.

    droplet ordered ─► load balancer ordered, new for minutes ─► active: the firewall lets it in
        ─► the name leads to its address ─► the app answers through it ─► Ready

The app is written, installed and started meanwhile. TLS ends at the load balancer, with one
certificate for all apps of the class (controller/classes/hosted.py). DigitalOcean fails to make one
at times; it is deleted then, and another one is made. So is one that somebody deletes while the app
runs: its name goes first, since its address goes to a stranger.
"""

from decimal import Decimal

from spawnai.api.conditions import ConditionType
from spawnai.api.names import load_balancer_name, session_host_label
from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.api.spawnclass import ClassSpec, ExposureMode
from spawnai.billing.load_balancer_prices import NODE_HOURLY

from .actions import Await
from .kinds import WantedLoadBalancer
from .observation import FailureKind, Offer, Record, Session
from .resources import delete, ensure
from .status import Draft

ERRORED = "CreationErrored"
"""The reason of a wait for one that DigitalOcean could not make."""

MAKING = "Balancing"
"""The reason while all goes well."""

TAKES_MINUTES = "DigitalOcean is making the load balancer, which usually takes one to three minutes"
WAITING_FOR_LIMIT = "Waiting for the account's limit of load balancers"


def has_load_balancer(offer: Offer) -> bool:
    """Whether each app of the class has a load balancer of its own."""
    return offer.spec.exposure.mode is ExposureMode.LOAD_BALANCER


def balancer_of(record: Record) -> LedgerEntry | None:
    """The session's load balancer, while it was not seen gone."""
    return next(iter(record.in_use(ResourceKind.LOAD_BALANCER)), None)


def entry_address(d: Draft, offer: Offer, record: Record) -> str | None:
    """The address that the session's name leads to."""
    if not has_load_balancer(offer):
        return d.address
    line = balancer_of(record)
    return line.ip if line is not None else None


def load_balancer(d: Draft, session: Session, offer: Offer, record: Record) -> bool:
    """Plan the next step towards the load balancer, and say how far it is. Returns whether the app
    is reached as its class wants.
    """
    if not has_load_balancer(offer):
        return True
    o, droplet, line = d.observation, record.droplet, balancer_of(record)
    if line is None:
        _order(d, offer, droplet)
        return False
    if d.runs and d.has(ConditionType.LOAD_BALANCER_READY):
        return True
    step = look_through(session, offer, line)
    effort = o.effort(step.key)
    failure = effort.failure
    if failure is not None and failure.reason == ERRORED:
        _say(d, failure.reason, failure.message)
        delete(d, record, line)
        return False
    if effort.done_at is not None and failure is None:
        words = f"The load balancer at {line.ip} leads to the app"
        d.set_true(ConditionType.LOAD_BALANCER_READY, "Active", words)
        return True
    if line.ip is None:
        _say(d, MAKING, TAKES_MINUTES)
    else:
        words = f"The load balancer is active at {line.ip}; the app does not answer through it yet"
        _say(d, MAKING, words)
    d.do(step)
    return False


def look_through(session: Session, offer: Offer, line: LedgerEntry) -> Await:
    """Wait until the app answers through it. One that is not there any more is noted as gone."""
    return Await(line.kind, line.id, subject=_host(session, offer))


def price_of_entry(spec: ClassSpec) -> Decimal:
    """Dollars an hour for the way to the app, beside its droplet."""
    return NODE_HOURLY if spec.exposure.mode is ExposureMode.LOAD_BALANCER else Decimal(0)


def _order(d: Draft, offer: Offer, droplet: LedgerEntry | None) -> None:
    o = d.observation
    certificate = offer.hosted_certificate
    if droplet is None or droplet.region is None or certificate is None:
        _say(d, MAKING, "The load balancer is ordered once there is a droplet")
        return
    _say(d, MAKING, TAKES_MINUTES)
    name = load_balancer_name(o.cluster_uid, o.uid)
    wanted = WantedLoadBalancer(name, droplet.region, int(droplet.id), certificate)
    failure = o.creation(wanted.kind).failure
    if failure is not None and failure.kind is FailureKind.OVER_QUOTA:
        words = f"{WAITING_FOR_LIMIT} ({failure.message})"
        if not d.said(ConditionType.LOAD_BALANCER_READY, WAITING_FOR_LIMIT):
            d.notice("Warning", "WaitingForLoadBalancerLimit", "Provision", words)
        _say(d, "WaitingForLoadBalancerLimit", words)
    elif failure is not None:
        _say(d, failure.reason, failure.message)
    ensure(d, wanted)


def _host(session: Session, offer: Offer) -> str:
    return f"{session_host_label(session.name, session.uid)}.{offer.spec.exposure.domain}"


def _say(d: Draft, reason: str, words: str) -> None:
    d.set_false(ConditionType.LOAD_BALANCER_READY, reason, words)
