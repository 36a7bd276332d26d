"""From order to running app: what is missing, and what to do for it, side by side.

A droplet is made as soon as Claude begins to write, and boots meanwhile. The firewall and the name
follow the droplet's address; the app is handed over when bundle, address and firewall are there,
to an agent that answers once its droplet has booted. Each step looks at what exists, never at what
was tried.
"""

from contextlib import suppress
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from spawnai.admission.places import Place
from spawnai.api.conditions import ConditionType
from spawnai.api.durations import parse_duration
from spawnai.api.names import (
    load_balancer_name,
    session_certificate_name,
    session_droplet_name,
    session_firewall_name,
    session_host_label,
)
from spawnai.api.record import (
    SESSION_OWNER,
    OwnerReference,
    PlannedResource,
    RecordSpec,
    ResourceKind,
)
from spawnai.api.session import DropletStatus, GenerationStatus, Phase, SessionStatus
from spawnai.api.spawnclass import ExposureMode, FirewallMode
from spawnai.billing.ledger import money, with_address, with_replaced
from spawnai.billing.prices import terms_of

from .actions import (
    AddFinalizer,
    Await,
    CreateRecord,
    DeployApp,
    FindApp,
    GenerateApp,
    TakeOver,
    key_of,
)
from .balancing import entry_address, has_load_balancer, load_balancer
from .costs import expected_tokens, say_cost
from .expiry import Wish
from .exposure import begun_exposure
from .funding import WAITING_FOR_BUDGET, allowance, give_back, reserve_life
from .https import (
    CertificateState,
    certificate,
    gives_up,
    has_own_name,
    url_of,
    wants_certificate,
)
from .inspection import inspect
from .keep import NOT_INSTALLED, POWERED_OFF, expiries, keep, powered_off, say_it_serves
from .kinds import WantedFirewall, WantedRecord
from .observation import FailureKind, Observation, Offer, Record, Session
from .placing import order_droplet
from .replacing import can_replace, fault, replace_droplet, say_replacing
from .reservations import Unpriced, worst_case
from .resources import delete, ensure, give_up
from .revisions import first_revision, repair_is_due, revise, waits_for_budget
from .status import Draft
from .summary import announce_expiry, sum_up

QUEUE_LOOK = timedelta(seconds=60)
"""How often a session that waits for a limit is looked at; it is woken when its turn comes."""
DEPLOYING = "The app is not installed and started yet"


def planned_record(
    o: Observation, session: Session, offer: Offer, wish: Wish, now: datetime
) -> RecordSpec:
    """The intent that is written before anything is made."""
    planned = [PlannedResource(kind=ResourceKind.DROPLET, name=session_droplet_name(o.uid))]
    if has_load_balancer(offer):
        planned.append(
            PlannedResource(
                kind=ResourceKind.LOAD_BALANCER, name=load_balancer_name(o.cluster_uid, o.uid)
            )
        )
    if _has_own_firewall(offer):
        planned.append(
            PlannedResource(kind=ResourceKind.FIREWALL, name=session_firewall_name(o.uid))
        )
    if has_own_name(offer):
        planned.append(
            PlannedResource(
                kind=ResourceKind.DOMAIN_RECORD,
                name=f"{session_host_label(session.name, o.uid)}.{offer.spec.exposure.domain}",
            )
        )
    if wants_certificate(offer):
        planned.append(
            PlannedResource(kind=ResourceKind.CERTIFICATE, name=session_certificate_name(o.uid))
        )
    tokens = expected_tokens(session, offer)
    reserved = o.place.amount if o.place is not None else None
    if reserved is None:
        with suppress(Unpriced):
            reserved = worst_case(offer, session, wish, now)
    return RecordSpec(
        owner=OwnerReference(
            kind=SESSION_OWNER,
            namespace=session.namespace,
            name=session.name,
            uid=o.uid,
            user=session.order.user or session.namespace,
        ),
        cluster_uid=o.cluster_uid,
        class_name=offer.name,
        app_type=session.order.app_type,
        tier=session.tier,
        expected_tokens=money(tokens) if tokens is not None else None,
        price_terms=terms_of(offer.spec.pricing, session.tier),
        reserved=money(reserved) if reserved is not None else None,
        planned=planned,
        exposure=begun_exposure(offer.spec),
    )


def _has_own_firewall(offer: Offer) -> bool:
    """Whether each session has one: its load balancer is let in by that alone."""
    return offer.spec.firewall.mode is FirewallMode.PER_SESSION or has_load_balancer(offer)


def build(d: Draft, session: Session, offer: Offer, wish: Wish, now: datetime) -> None:
    """Plan the next steps of a session that is to run."""
    o = d.observation
    if o.place is not None and not o.place.may_begin:
        _wait(d, o.place, now)
        say_cost(d, session, offer, now)
        return
    if not session.has_finalizer:
        d.do(AddFinalizer())
    if o.record is None:
        d.do(CreateRecord(planned_record(o, session, offer, wish, now)))
    if not session.has_finalizer or o.record is None:
        return
    if o.effort(key_of(CreateRecord)).running:
        return  # The watch was quicker than the answer, which tells whether the ledger is new.
    _begin(d, session, offer, now)
    d.allowance = allowance(d, session, offer, o.record, wish)
    found = fault(o, now) if can_replace(o, now) else None
    if found is not None:
        replace_droplet(d, found, now)
        _say_the_rest(d, session, offer, wish, now, keeps=False)
        return
    if o.record.replacing is not None:
        say_replacing(d, o.record.replacing.message)
        if not has_own_name(offer) and offer.spec.exposure.mode is not ExposureMode.WILDCARD:
            d.put(url=None)  # The address that it names is a stranger's by now.
        _find_app(d)
        if not give_up(d, o.record):
            _say_the_rest(d, session, offer, wish, now, keeps=False)
            return
    _generation(d, o)
    if _take_over(d, offer, o.record):
        _say_the_rest(d, session, offer, wish, now, keeps=False)
        return
    _droplet(d, session, offer, o.record, now)
    _firewall(d, offer, o.record, now)
    is_let_in = load_balancer(d, session, offer, o.record)
    _name(d, session, offer, o.record)
    _put_right(d, session, offer, o.record)
    state = certificate(d, session, offer, o.record)
    _app(d, session, offer, state, is_let_in=is_let_in)
    keeps = d.previous.ready_at is not None and not o.is_replacing
    _say_the_rest(d, session, offer, wish, now, keeps=keeps)


def _say_the_rest(
    d: Draft, session: Session, offer: Offer, wish: Wish, now: datetime, *, keeps: bool
) -> None:
    """The expiry and what sums up; and, while the app runs, what keeps it."""
    o = d.observation
    assert o.record is not None  # noqa: S101 - as build() has seen
    ends = expiries(o, session, offer, wish, ready_at=d.get("ready_at"), now=now)
    wanted, expiry = ends.wanted, ends.in_force
    unpaid = reserve_life(d, session, offer, o.record, wanted)
    announce_expiry(d, offer, expiry, now)
    if keeps:
        repairs = repair_is_due(d, session, offer) and not waits_for_budget(d)
        keep(d, wanted, expiry, now, repairs=repairs)
        if d.address is not None and revise(d, session, offer, d.address):
            give_back(d, session, offer, o.record, wanted)
    sum_up(d, session, offer, expiry, unpaid)


def _wait(d: Draft, place: Place, now: datetime) -> None:
    """Nothing is made for a session that is over a limit or has no money; it waits and costs
    nothing.

    Without a finalizer: a session that is deleted while it waits goes without a trace.
    """
    d.move_to(Phase.REQUESTED)
    reason = WAITING_FOR_BUDGET if place.for_money else "Queued"
    if not d.said(ConditionType.ADMITTED, place.reason):
        d.notice("Normal", reason, "Admit", f"The session waits: {place.message}")
    d.set_false(ConditionType.ADMITTED, reason, place.message)
    d.set_false(ConditionType.READY, reason, place.message)
    d.set_true(ConditionType.RECONCILING, reason, place.message)
    d.drop(ConditionType.STALLED)
    d.put(progress=0, message=f"Waiting: {place.message}")
    d.wake(min(place.look_again_at or now + QUEUE_LOOK, now + QUEUE_LOOK))


def _begin(d: Draft, session: Session, offer: Offer, now: datetime) -> None:
    if d.previous.started_at is None:
        d.put(started_at=now.replace(microsecond=0), class_name=offer.name, tier=session.tier)
        d.notice("Normal", "Provisioning", "Provision", "The droplet and the app are being made")
    if d.condition(ConditionType.ADMITTED) is not None:
        d.set_true(ConditionType.ADMITTED, "Admitted", "The session is within limits and budgets")
    d.drop(ConditionType.STALLED)


def _put_right(d: Draft, session: Session, offer: Offer, record: Record) -> None:
    """What follows from the order and the ledger says so, whatever somebody wrote into the status:
    a page or a tool may trust it.
    """
    d.put(class_name=offer.name, tier=session.tier)
    url, ip = d.previous.url, d.address
    if url is None or ip is None or not d.runs:
        return
    names = {line.name for line in record.in_use(ResourceKind.DOMAIN_RECORD)}
    if not _leads_to(url, {ip, *names}):
        is_direct = offer.spec.exposure.mode is ExposureMode.DIRECT
        served = not is_direct or d.has(ConditionType.CERTIFICATE_READY)
        d.put(url=url_of(session, offer, ip, https=served))


def _leads_to(url: str, hosts: set[str]) -> bool:
    try:
        parts = urlsplit(url)
        rest = (parts.username, parts.path.strip("/"), parts.query, parts.fragment)
        return parts.scheme in {"http", "https"} and parts.hostname in hosts and not any(rest)
    except ValueError:
        return False


def _find_app(d: Draft) -> None:
    """What ran on the droplet before; it was paid for once."""
    if d.observation.bundle is None:
        d.do(FindApp(d.previous.revision or 1))


def _generation(d: Draft, o: Observation) -> None:
    if d.previous.ready_at is not None:
        return
    if o.bundle is None:
        failure = o.effort(GenerateApp().key).failure
        if failure is not None and failure.kind is FailureKind.NEEDS_PERSON:
            d.set_false(ConditionType.GENERATED, failure.reason, failure.message)
            d.stall(failure.reason, failure.message, "Generate")
        elif failure is not None:
            d.set_false(ConditionType.GENERATED, "Retrying", failure.message)
        else:
            d.set_false(ConditionType.GENERATED, "Generating", "Claude is writing the app")
        d.do(GenerateApp(is_first=_begins_here(o, d.previous)))
        return
    generation = o.bundle.generation
    paid = (*o.bundle.earlier, generation)
    if d.set_true(ConditionType.GENERATED, "Stored", "The app is written, checked and stored"):
        d.notice("Normal", "Generated", "Generate", f"{generation.model} wrote the app")
    d.put(
        generation=GenerationStatus(
            model=generation.model,
            bundle_digest=o.bundle.digest,
            input_tokens=sum(
                entry.input_tokens + entry.cache_read_tokens + entry.cache_write_tokens
                for entry in paid
            ),
            output_tokens=sum(entry.output_tokens for entry in paid),
            repairs=generation.repairs,
        )
    )


def _begins_here(o: Observation, previous: SessionStatus) -> bool:
    """Whether nothing can have been done for the session yet: this process made its ledger, nobody
    has said anything of it, and no app was ordered since.
    """
    tried = o.effort(GenerateApp().key).started_at is not None
    # The API server itself writes -1, beside the phase Requested.
    is_unseen = (previous.observed_generation or -1) < 0
    return o.record_made_here and is_unseen and not tried


def _droplet(d: Draft, session: Session, offer: Offer, record: Record, now: datetime) -> None:
    o = d.observation
    entry = record.droplet
    if entry is None:
        d.set_false(ConditionType.DROPLET_READY, "Creating", "The droplet is being made")
        order_droplet(d, session, offer, now)
        return
    if o.creation(ResourceKind.DROPLET).waits_for_turn:
        d.abandon(unsent=(ResourceKind.DROPLET,))  # What was waited for has turned up.
    for spare in record.in_use(ResourceKind.DROPLET)[1:]:
        delete(d, record, spare)
    view = o.droplet if o.droplet is not None and str(o.droplet.id) == entry.id else None
    ip = view.ip if view is not None and view.ip is not None else entry.ip
    if ip is None and d.runs and d.previous.droplet is not None:
        ip = d.previous.droplet.ip
    # The droplet of a running session is not waited for: one that is off would be listed for ever.
    booted = d.runs or (view.status == "active" if view is not None else ip is not None)
    if ip is not None and entry.ip is None:
        d.ledger = with_address(record.status, entry.kind, entry.id, ip)
    d.put(
        region=entry.region,
        size=entry.size,
        droplet=DropletStatus(id=int(entry.id), name=entry.name, ip=ip),
    )
    if d.previous.droplet is None or d.previous.droplet.id != int(entry.id):
        d.notice(
            "Normal",
            "DropletCreated",
            "Provision",
            f"Droplet {entry.id} ({entry.size}) was made in {entry.region}",
        )
    if ip is None or not booted:
        if view is not None and view.status == "off":
            d.set_false(ConditionType.DROPLET_READY, POWERED_OFF, powered_off(entry.id))
        elif not d.has(ConditionType.DROPLET_READY):
            d.set_false(ConditionType.DROPLET_READY, "Booting", "The droplet is booting")
        d.do(Await(entry.kind, entry.id))
        return
    d.set_true(ConditionType.DROPLET_READY, "Active", f"The droplet is active at {ip}")


def _take_over(d: Draft, offer: Offer, record: Record) -> bool:
    """Make a droplet that was a spare the session's own, before anything else is done with it.

    Its line has the session's name once all of that was done.
    """
    entry = record.droplet
    if (
        entry is None
        or entry.spare is None
        or entry.name == session_droplet_name(d.observation.uid)
    ):
        return False
    d.set_false(ConditionType.DROPLET_READY, "TakingSpare", "A spare droplet is being taken")
    if not record.stores(entry):
        d.store_ledger = True  # Or a crash would forget whose it is by now.
    else:
        lifetime = parse_duration(offer.spec.lifetime.provisioning_deadline)
        d.do(TakeOver(entry.id, lifetime))
    return True


def _firewall(d: Draft, offer: Offer, record: Record, now: datetime) -> None:
    o = d.observation
    entry = record.droplet
    if entry is None:
        d.set_false(ConditionType.FIREWALL_READY, "Pending", "The firewall is not in force yet")
        return
    if o.firewall_in_force or d.runs:
        d.set_true(ConditionType.FIREWALL_READY, "InForce", "The firewall covers the droplet")
        return
    firewall_id = offer.firewall_id
    if _has_own_firewall(offer):
        own = next(iter(record.in_use(ResourceKind.FIREWALL)), None)
        firewall_id = own.id if own is not None else None
        if own is None:
            ensure(d, WantedFirewall(session_firewall_name(o.uid), int(entry.id)))
    words = "The firewall is not in force yet"
    if firewall_id is not None and d.address is not None:
        check = Await(ResourceKind.FIREWALL, firewall_id, subject=entry.id)
        failure = o.effort(check.key).failure
        words = words if failure is None else f"{words}: {failure.message}"
        d.do(check)
    elif firewall_id is None:
        d.wake(now + timedelta(seconds=2))
    d.set_false(ConditionType.FIREWALL_READY, "Pending", words)


def _name(d: Draft, session: Session, offer: Offer, record: Record) -> None:
    o = d.observation
    domain = offer.spec.exposure.domain
    ip = entry_address(d, offer, record)
    if domain is None or not has_own_name(offer):
        return
    label = session_host_label(session.name, o.uid)
    names = record.in_use(ResourceKind.DOMAIN_RECORD)
    # A load balancer that somebody deleted: its address is, or will be, a stranger's.
    astray = [line for line in names if has_load_balancer(offer) and line.ip != ip]
    for line in astray:
        delete(d, record, line)
    if names and not astray:
        what = "load balancer" if has_load_balancer(offer) else "droplet"
        d.set_true(ConditionType.DNS_READY, "Created", f"{label}.{domain} points at the {what}")
        return
    d.set_false(ConditionType.DNS_READY, "Creating", f"{label}.{domain} is being made")
    if astray or ip is None or not record.stores_address(ip):
        # A name is found again by its address, also when what it leads to has gone meanwhile.
        return
    ttl = offer.spec.exposure.record_ttl_seconds
    wanted = WantedRecord(f"{label}.{domain}", domain, ip, ttl)
    failure = o.creation(wanted.kind).failure
    if failure is not None:
        d.set_false(ConditionType.DNS_READY, failure.reason, failure.message)
    ensure(d, wanted, address=ip)


def _app(
    d: Draft,
    session: Session,
    offer: Offer,
    certificate: CertificateState,
    *,
    is_let_in: bool,
) -> None:
    o, now = d.observation, d.now
    ip = d.address
    if d.runs:
        return
    if ip is None or o.bundle is None or not d.has(ConditionType.FIREWALL_READY):
        _not_yet(d, DEPLOYING)
        return
    deadline = now + parse_duration(offer.spec.lifetime.provisioning_deadline)
    deploy = DeployApp(ip, o.bundle.digest, expires_at=deadline)
    effort = o.effort(deploy.key)
    if effort.done_at is None or effort.failure is not None:
        failure = effort.failure
        waiting = DEPLOYING if failure is None else f"{DEPLOYING}; last try: {failure.message}"
        _not_yet(d, waiting)
        if failure is not None and failure.kind is FailureKind.NEEDS_PERSON:
            d.stall(failure.reason, failure.message, "Deploy")
        d.do(deploy)
        return
    if not o.is_replacing:
        say_it_serves(d)
    if certificate is CertificateState.AWAITED and not gives_up(d, offer, effort.done_at, now):
        return
    if is_let_in and (not has_own_name(offer) or d.has(ConditionType.DNS_READY)):
        https = certificate is CertificateState.SERVED
        url = url_of(session, offer, ip, https=https)
        if o.is_replacing and o.record is not None:
            _replaced(d, url, o.record, now)
            return
        if not inspect(d, session, offer, url, ip):
            return
        d.put(ready_at=now.replace(microsecond=0), url=url)
        first_revision(d, session, now)
        # The droplet's switch is told of the promise once it is stored, and no watch shows that:
        # what this process wrote it knows already.
        d.wake(now)


def _not_yet(d: Draft, words: str) -> None:
    """The app does not answer yet; one that is brought to another droplet has a reason of its own,
    which was said.
    """
    if not d.observation.is_replacing:
        d.set_false(ConditionType.APP_HEALTHY, NOT_INSTALLED, words)


def _replaced(d: Draft, url: str, record: Record, now: datetime) -> None:
    """The app answers on the droplet that took the place of another."""
    d.ledger = with_replaced(d.ledger or record.status, now.replace(microsecond=0))
    d.put(url=url)
    say_it_serves(d)
    d.notice("Normal", "Replaced", "Replace", f"The app answers again, on another droplet: {url}")
    d.wake(now)
