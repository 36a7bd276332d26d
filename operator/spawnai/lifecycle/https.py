"""HTTPS for one app: when its certificate is ordered, how long it is waited for, what is without.

    droplet has an address ─► order placed ─► (its name leads there, its firewall is open)
        ─► proof shown, certificate fetched and given to the droplet ─► https:// in status.url

The order is placed while the droplet boots, and the certificate is there about when the app is. An
app that had to be shown without one gets it later, and a session that outlives two thirds of its
certificate gets another one.
"""

from datetime import datetime, timedelta
from enum import Enum, auto

from spawnai.api.conditions import ConditionType
from spawnai.api.names import session_certificate_name, session_host_label
from spawnai.api.record import ResourceKind
from spawnai.api.spawnclass import ExposureMode, ExposureSpec, Https

from .actions import Await
from .kinds import WantedCertificate
from .observation import Effort, Failure, FailureKind, Observation, Offer, Record, Session
from .resources import ensure
from .status import Draft

PATIENCE = timedelta(seconds=30)
"""How long an app that answers waits for its certificate, where the class prefers HTTPS. Let's
Encrypt takes 2 to 10 s; who waits for longer wants to see the app."""

_HOPELESS = (FailureKind.OVER_QUOTA, FailureKind.NEEDS_PERSON)
"""A limit of the server, or a name that it does not certify: no use in waiting."""


TRIED_AGAIN = timedelta(minutes=10)
HOPELESS_TRIED_AGAIN = timedelta(hours=1)
"""How often an app that is shown by HTTP is tried to be given a certificate after all."""

RENEWED_AFTER = {True: timedelta(hours=106), False: timedelta(days=30)}
"""After how long a certificate is renewed: for an address, two thirds of 160 hours; for a name, two
thirds of the 45 days that Let's Encrypt's profile `classic` comes down to by 2028."""


class CertificateState(Enum):
    """Whether an app can be shown, and how."""

    SERVED = auto()
    AWAITED = auto()
    WITHOUT = auto()


def wants_certificate(offer: Offer) -> bool:
    """Whether the class's apps get certificates of their own."""
    return offer.certificates and _certifies_each_app(offer.spec.exposure)


def ordered_name(exposure: ExposureSpec) -> str | None:
    """The name that a class's orders at the ACME server are for: the gateway's wildcard, or the
    domain below which each app has its own. None: it orders for addresses, or nothing.
    """
    if exposure.mode is ExposureMode.WILDCARD:
        return f"*.{exposure.domain}" if exposure.tls is None else None
    return exposure.domain if _certifies_each_app(exposure) else None


def _certifies_each_app(exposure: ExposureSpec) -> bool:
    return exposure.mode is ExposureMode.DIRECT and exposure.https is not Https.OFF


def has_own_name(offer: Offer) -> bool:
    """Whether each app gets a DNS record; a gateway has one for all."""
    exposure = offer.spec.exposure
    return exposure.domain is not None and exposure.mode is not ExposureMode.WILDCARD


def host_of(session: Session, offer: Offer, ip: str) -> str:
    """The name or address at which the app is reached."""
    if offer.spec.exposure.domain is None:
        return ip
    return f"{session_host_label(session.name, session.uid)}.{offer.spec.exposure.domain}"


def url_of(session: Session, offer: Offer, ip: str, *, https: bool) -> str:
    """Where the app answers."""
    exposure = offer.spec.exposure
    scheme, port, usual = (
        ("https", exposure.https_port, 443) if https else ("http", exposure.http_port, 80)
    )
    suffix = "" if port == usual else f":{port}"
    return f"{scheme}://{host_of(session, offer, ip)}{suffix}"


def certificate(d: Draft, session: Session, offer: Offer, record: Record) -> CertificateState:
    """Plan the next step towards the certificate, and say how far it is."""
    o = d.observation
    ready_at = d.previous.ready_at
    if d.runs and ready_at is not None and offer.spec.exposure.mode is ExposureMode.DIRECT:
        if wants_certificate(offer):
            _once_ready(d, session, offer, record, ready_at)
        served = d.has(ConditionType.CERTIFICATE_READY)
        return CertificateState.SERVED if served else CertificateState.WITHOUT
    if offer.spec.exposure.mode is not ExposureMode.DIRECT:
        return CertificateState.SERVED  # by the gateway or the load balancer, with the class's
    if not wants_certificate(offer):
        return CertificateState.WITHOUT
    ip = d.address
    if ip is None or not record.stores_address(ip):
        _await(d, "Pending", "The certificate is ordered once the droplet has an address")
        return CertificateState.AWAITED
    line = next(reversed(record.in_use(ResourceKind.CERTIFICATE)), None)
    failure = _failure(o)
    if line is None:
        _await(d, "Ordering", "The certificate is being ordered")
        wanted = WantedCertificate(session_certificate_name(o.uid), host_of(session, offer, ip), ip)
        ensure(d, wanted, address=ip)
    elif not record.stores(line):
        d.store_ledger = True  # Or a crash would forget the order, and place another one.
    else:
        step = Await(line.kind, line.id)
        effort = o.effort(step.key)
        if effort.done_at is not None and effort.failure is None:
            d.set_true(
                ConditionType.CERTIFICATE_READY,
                "Served",
                f"{line.ip or line.domain} is served with HTTPS",
            )
            return CertificateState.SERVED
        _await(d, "Issuing", "The certificate is being issued")
        named = offer.spec.exposure.domain is None or d.has(ConditionType.DNS_READY)
        if named and d.has(ConditionType.FIREWALL_READY):
            d.do(step)
    if failure is None:
        return CertificateState.AWAITED
    _await(d, failure.reason, failure.message)
    return CertificateState.AWAITED


def _once_ready(
    d: Draft, session: Session, offer: Offer, record: Record, ready_at: datetime
) -> None:
    """Renew what is served, and give an app that is shown by HTTP another try; both are rare."""
    o, ip = d.observation, d.address
    if ip is None or not record.stores_address(ip):
        return
    lines = record.in_use(ResourceKind.CERTIFICATE)
    newest = lines[-1] if lines else None
    step = Await(newest.kind, newest.id) if newest is not None else None
    effort = o.effort(step.key) if step is not None else Effort()
    is_given = effort.done_at is not None and effort.failure is None
    is_served = d.has(ConditionType.CERTIFICATE_READY)
    if is_given and not is_served:
        host = host_of(session, offer, ip)
        d.set_true(ConditionType.CERTIFICATE_READY, "Served", f"{host} is served with HTTPS")
        d.put(url=url_of(session, offer, ip, https=True))
        d.notice(
            "Normal", "Secured", "Deploy", "The app has its certificate and is reached by HTTPS"
        )
        return
    due = ready_at + TRIED_AGAIN
    if is_served:
        if newest is None:
            return  # What was decided stands.
        # A renewal that was begun goes on; a restart need not have a first one served again.
        is_renewal = len(lines) > 1 and not is_given
        due = d.now if is_renewal else newest.created_at + RENEWED_AFTER[newest.domain is None]
        if not is_renewal:
            newest = step = None
    failure = _failure(o)
    if failure is not None:
        hopeless = failure.kind in _HOPELESS
        due = max(due, failure.at + (HOPELESS_TRIED_AGAIN if hopeless else TRIED_AGAIN))
    if d.now < due:
        d.wake(due)
    elif newest is None or step is None:
        wanted = WantedCertificate(session_certificate_name(o.uid), host_of(session, offer, ip), ip)
        ensure(d, wanted, address=ip)
    elif not record.stores(newest):
        d.store_ledger = True  # Or a crash would forget the order, and place another one.
    else:
        d.do(step)


def gives_up(d: Draft, offer: Offer, answers_since: datetime, now: datetime) -> bool:
    """Whether an app that answers is shown without a certificate, and said so."""
    if offer.spec.exposure.https is Https.REQUIRE:
        return False
    failure = _failure(d.observation)
    hopeless = failure is not None and failure.kind in _HOPELESS
    if not hopeless and now < answers_since + PATIENCE:
        d.wake(answers_since + PATIENCE)
        return False
    why = failure.message if failure is not None else "the certificate did not come in time"
    reason = failure.reason if failure is not None else "TooSlow"
    words = f"The app is reached by HTTP: {why}"
    d.set_false(ConditionType.CERTIFICATE_READY, reason, words)
    d.notice("Warning", "NoCertificate", "Deploy", words)
    return True


def _await(d: Draft, reason: str, words: str) -> None:
    d.set_false(ConditionType.CERTIFICATE_READY, reason, words)


def _failure(o: Observation) -> Failure | None:
    """What held the last try up."""
    failures = (
        effort.failure
        for key, effort in o.efforts.items()
        if key.kind is ResourceKind.CERTIFICATE
        and key.action in ("Create", "Await")
        and effort.failure is not None
    )
    return max(failures, key=lambda failure: failure.at, default=None)
