"""HTTPS for one app: when its certificate is ordered, how long it is waited for, what is without.

    droplet has an address ─► order placed ─► (its name leads there, its firewall is open)
        ─► proof shown, certificate fetched and given to the droplet ─► https:// in status.url

The order is placed while the droplet boots, and the certificate is there about when the app is.
"""

from datetime import datetime, timedelta
from enum import Enum, auto

from spawnai.api.conditions import ConditionType
from spawnai.api.names import session_certificate_name, session_host_label
from spawnai.api.record import ResourceKind
from spawnai.api.spawnclass import ExposureMode, Https

from .actions import Await
from .kinds import WantedCertificate
from .observation import Failure, FailureKind, Observation, Offer, Record, Session
from .resources import ensure
from .status import Draft

PATIENCE = timedelta(seconds=30)
"""How long an app that answers waits for its certificate, where the class prefers HTTPS. Let's
Encrypt takes 2 to 10 s; who waits for longer wants to see the app."""

_HOPELESS = (FailureKind.OVER_QUOTA, FailureKind.NEEDS_PERSON)
"""A limit of the server, or a name that it does not certify: no use in waiting."""


class CertificateState(Enum):
    """Whether an app can be shown, and how."""

    SERVED = auto()
    AWAITED = auto()
    WITHOUT = auto()


def wants_certificate(offer: Offer) -> bool:
    """Whether the class's apps get certificates of their own."""
    is_direct = offer.spec.exposure.mode is ExposureMode.DIRECT
    return offer.certificates and is_direct and offer.spec.exposure.https is not Https.OFF


def has_own_name(offer: Offer) -> bool:
    """Whether each app gets a DNS record; a gateway has one for all."""
    exposure = offer.spec.exposure
    return exposure.domain is not None and exposure.mode is ExposureMode.DIRECT


def host_of(session: Session, offer: Offer, ip: str) -> str:
    """The name or address at which the app is reached."""
    if offer.spec.exposure.domain is None:
        return ip
    return f"{session_host_label(session.name, session.uid)}.{offer.spec.exposure.domain}"


def certificate(d: Draft, session: Session, offer: Offer, record: Record) -> CertificateState:
    """Plan the next step towards the certificate, and say how far it is."""
    o = d.observation
    if d.previous.ready_at is not None and offer.spec.exposure.mode is ExposureMode.DIRECT:
        # What was decided then stands; a restart need not have it served again.
        served = d.has(ConditionType.CERTIFICATE_READY)
        return CertificateState.SERVED if served else CertificateState.WITHOUT
    if offer.spec.exposure.mode is ExposureMode.WILDCARD:
        return CertificateState.SERVED  # by the gateway, for all apps
    if not wants_certificate(offer):
        return CertificateState.WITHOUT
    ip = d.address
    if ip is None or not record.stores_address(ip):
        _await(d, "Pending", "The certificate is ordered once the droplet has an address")
        return CertificateState.AWAITED
    line = next(iter(record.living(ResourceKind.CERTIFICATE)), None)
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
