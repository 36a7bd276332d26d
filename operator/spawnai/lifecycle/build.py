"""From order to running app: what is missing, and what to do for it, side by side.

A droplet boots while Claude writes; the firewall and the name follow the droplet's address; the
app is handed over when bundle, droplet and firewall are there. Each step looks at what exists,
never at what was tried.
"""

from datetime import datetime, timedelta

from spawnai.api.conditions import ConditionType
from spawnai.api.durations import format_duration, format_time, parse_duration
from spawnai.api.names import (
    session_droplet_name,
    session_firewall_name,
    session_host_label,
)
from spawnai.api.record import OwnerReference, PlannedResource, RecordSpec, ResourceKind
from spawnai.api.session import (
    AppType,
    CostStatus,
    DropletStatus,
    GenerationStatus,
    Phase,
)
from spawnai.api.spawnclass import FirewallMode
from spawnai.billing.droplet_prices import droplet_cost
from spawnai.billing.ledger import money, tokens_cost

from .actions import (
    AddFinalizer,
    AwaitDroplet,
    CheckApp,
    CheckFirewall,
    CreateDomainRecord,
    CreateDroplet,
    CreateFirewall,
    CreateRecord,
    DeleteResource,
    DeployApp,
    FindDomainRecord,
    FindDroplet,
    FindFirewall,
    GenerateApp,
    Placement,
    SetExpiry,
    TakeLog,
    VerifyGone,
)
from .expiry import Expiry, Limits, Wish, resolve
from .observation import Effort, Failure, FailureKind, Observation, Offer, Record, Session
from .status import Draft

SETTLING = timedelta(seconds=30)
"""How long a POST with an unclear answer may take to show up before it is sent again. DigitalOcean
applies tags after creation and lists late; no published bound exists, 30 s is three times the
slowest seen by other clients of its API."""

CAPACITY_PAUSE = timedelta(seconds=60)
"""How long to wait when no region of the class has room."""

APP_CHECK_INTERVAL = timedelta(minutes=5)
"""How often a running app's agent is asked; the agent itself restarts what dies."""

LOG_AHEAD = timedelta(seconds=5)
"""How long before the end the app's log is kept, so that nothing waits for it at the end."""


def limits_of(offer: Offer, session: Session) -> Limits:
    """The class's time limits for this session."""
    lifetime = offer.spec.lifetime
    return Limits(
        default_ttl=parse_duration(offer.tier(session.tier).ttl),
        maximum=parse_duration(lifetime.max),
        notice=parse_duration(lifetime.notice),
    )


def planned_record(o: Observation, session: Session, offer: Offer) -> RecordSpec:
    """The intent that is written before anything is made."""
    planned = [PlannedResource(kind=ResourceKind.DROPLET, name=session_droplet_name(o.uid))]
    if offer.spec.firewall.mode is FirewallMode.PER_SESSION:
        planned.append(
            PlannedResource(kind=ResourceKind.FIREWALL, name=session_firewall_name(o.uid))
        )
    if offer.spec.exposure.domain:
        planned.append(
            PlannedResource(
                kind=ResourceKind.DOMAIN_RECORD,
                name=f"{session_host_label(session.name, o.uid)}.{offer.spec.exposure.domain}",
            )
        )
    return RecordSpec(
        owner=OwnerReference(
            kind="SpawnSession",
            namespace=session.namespace,
            name=session.name,
            uid=o.uid,
            user=session.order.user or session.namespace,
        ),
        cluster_uid=o.cluster_uid,
        class_name=offer.name,
        planned=planned,
    )


def placements(session: Session, offer: Offer) -> list[Placement]:
    """Every region and size that may serve the session, best first."""
    regions = offer.spec.regions
    if session.order.location is not None:
        regions = offer.spec.locations.get(session.order.location, [])
    if session.order.region is not None:
        regions = [session.order.region]
    sizes = offer.tier(session.tier).sizes
    return [Placement(region, size) for size in sizes for region in regions]


def unsettled_since(o: Observation, create_key: str) -> datetime | None:
    """Since when a creation may have happened that nobody has seen.

    Either its answer was unclear, or another life of this operator may have sent it.
    """
    effort = o.effort(create_key)
    if effort.failure is not None and effort.failure.kind is FailureKind.AMBIGUOUS:
        return effort.failure.at
    if effort.started_at is None and o.record is not None:
        return None if o.record_made_here else o.operator_started_at
    return None


def settled(find: Effort, since: datetime) -> bool:
    """Whether a look that began after the settling time found nothing."""
    return (
        find.failure is None
        and find.done_at is not None
        and find.started_at is not None
        and find.started_at >= since + SETTLING
    )


def provisioning_deadline(o: Observation, started_at: datetime, offer: Offer) -> datetime:
    """Until when the app must be ready. A droplet that was waited for starts the time again."""
    droplet = o.record.droplet if o.record is not None else None
    begun = started_at if droplet is None else max(started_at, droplet.created_at)
    return begun + parse_duration(offer.spec.lifetime.provisioning_deadline)


def build(d: Draft, session: Session, offer: Offer, wish: Wish, now: datetime) -> None:
    """Plan the next steps of a session that is to run."""
    o = d.observation
    if not session.has_finalizer:
        d.do(AddFinalizer())
    if o.record is None:
        d.do(CreateRecord(planned_record(o, session, offer)))
    if not session.has_finalizer or o.record is None:
        return
    _begin(d, session, offer, now)
    _generation(d, o)
    _droplet(d, session, offer, o.record, now)
    _firewall(d, offer, o.record, now)
    _name(d, session, offer, o.record)
    _app(d, session, offer, now)
    expiry = resolve(
        wish,
        limits_of(offer, session),
        ready_at=d.get("ready_at"),
        promised=d.previous.expiration_time,
        now=now,
    )
    _announce_expiry(d, offer, expiry, now)
    if d.previous.ready_at is not None:
        _keep(d, session, expiry, now)
    _report(d, session, offer, expiry, now)


def _begin(d: Draft, session: Session, offer: Offer, now: datetime) -> None:
    if d.previous.started_at is None:
        d.put(started_at=now.replace(microsecond=0), class_name=offer.name, tier=session.tier)
        d.notice("Normal", "Provisioning", "Provision", "The droplet and the app are being made")
    d.drop(ConditionType.STALLED)


def _generation(d: Draft, o: Observation) -> None:
    if d.previous.ready_at is not None:
        return
    if o.bundle is None:
        failure = o.effort(GenerateApp().key).failure
        if failure is not None and failure.kind is FailureKind.UNAUTHORIZED:
            d.set_false(ConditionType.GENERATED, failure.reason, failure.message)
            d.set_true(ConditionType.STALLED, failure.reason, failure.message)
        elif failure is not None:
            d.set_false(ConditionType.GENERATED, "Retrying", failure.message)
        else:
            d.set_false(ConditionType.GENERATED, "Generating", "Claude is writing the app")
        d.do(GenerateApp())
        return
    generation = o.bundle.generation
    if d.set_true(ConditionType.GENERATED, "Stored", "The app is written, checked and stored"):
        d.notice("Normal", "Generated", "Generate", f"{generation.model} wrote the app")
    d.put(
        generation=GenerationStatus(
            model=generation.model,
            bundle_digest=o.bundle.digest,
            input_tokens=generation.input_tokens
            + generation.cache_read_tokens
            + generation.cache_write_tokens,
            output_tokens=generation.output_tokens,
            repairs=generation.repairs,
        )
    )


def _droplet(d: Draft, session: Session, offer: Offer, record: Record, now: datetime) -> None:
    o = d.observation
    entry = record.droplet
    if entry is None:
        d.set_false(ConditionType.DROPLET_READY, "Creating", "The droplet is being made")
        _create_droplet(d, session, offer, now)
        return
    for spare in record.living(ResourceKind.DROPLET)[1:]:
        accepted = spare.deletion_accepted_at is not None
        d.do(VerifyGone(spare.kind, spare.id) if accepted else DeleteResource(spare))
    view = o.droplet if o.droplet is not None and str(o.droplet.id) == entry.id else None
    ip = view.ip if view is not None and view.ip is not None else entry.ip
    if ip is None and d.previous.ready_at is not None and d.previous.droplet is not None:
        ip = d.previous.droplet.ip
    active = view is None or view.status == "active"
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
    if ip is None or not active:
        if not d.has(ConditionType.DROPLET_READY):
            d.set_false(ConditionType.DROPLET_READY, "Booting", "The droplet is booting")
        d.do(AwaitDroplet(int(entry.id)))
        return
    d.set_true(ConditionType.DROPLET_READY, "Active", f"The droplet is active at {ip}")


def _create_droplet(d: Draft, session: Session, offer: Offer, now: datetime) -> None:
    o = d.observation
    key = CreateDroplet.__name__
    effort = o.effort(key)
    since = unsettled_since(o, key)
    if since is not None and not settled(o.effort(FindDroplet().key), since):
        d.set_false(
            ConditionType.DROPLET_READY,
            "Settling",
            "DigitalOcean's answer was lost: looking whether the droplet exists",
        )
        d.do(FindDroplet())
        return
    failure = effort.failure
    if failure is not None and failure.kind is FailureKind.OVER_QUOTA:
        position = "" if o.queue_position is None else f"; position {o.queue_position} in the queue"
        message = f"Waiting for the account's droplet limit{position} ({failure.message})"
        if d.set_false(ConditionType.DROPLET_READY, "WaitingForDropletLimit", message):
            d.notice("Warning", "WaitingForDropletLimit", "Provision", message)
    elif failure is not None and failure.kind is FailureKind.UNAUTHORIZED:
        d.set_false(ConditionType.DROPLET_READY, failure.reason, failure.message)
        d.set_true(ConditionType.STALLED, failure.reason, failure.message)
    elif failure is not None:
        d.set_false(ConditionType.DROPLET_READY, failure.reason, failure.message)
    wanted = placements(session, offer)
    open_now = [
        placement
        for placement in wanted
        if not _rejected(o.rejected.get((placement.region, placement.size)), now)
    ]
    if open_now:
        lifetime = parse_duration(offer.spec.lifetime.provisioning_deadline)
        d.do(CreateDroplet(open_now[0], expires_at=now + lifetime))
        return
    _nowhere_to_go(d, session, wanted, now)


def _rejected(failure: Failure | None, now: datetime) -> bool:
    if failure is None:
        return False
    return failure.kind is FailureKind.UNKNOWN_OPTION or failure.at + CAPACITY_PAUSE > now


def _nowhere_to_go(d: Draft, session: Session, wanted: list[Placement], now: datetime) -> None:
    o = d.observation
    failures = [
        failure
        for placement in wanted
        if (failure := o.rejected.get((placement.region, placement.size))) is not None
    ]
    words = "; ".join(sorted({failure.message for failure in failures}))
    if not wanted:
        words = f"the class has no location {session.order.location!r}"
    if all(failure.kind is FailureKind.UNKNOWN_OPTION for failure in failures):
        message = f"No region or size of the class exists for this session: {words}"
        d.set_false(ConditionType.DROPLET_READY, "UnknownRegionOrSize", message)
        d.set_true(ConditionType.STALLED, "UnknownRegionOrSize", message)
        d.wake(now + CAPACITY_PAUSE)
        return
    message = f"No region of the class has room now, trying again: {words}"
    if d.set_false(ConditionType.DROPLET_READY, "NoCapacity", message):
        d.notice("Warning", "NoCapacity", "Provision", message)
    d.wake(min(failure.at for failure in failures) + CAPACITY_PAUSE)


def _address(d: Draft) -> str | None:
    droplet: DropletStatus | None = d.get("droplet")
    return droplet.ip if droplet is not None and d.has(ConditionType.DROPLET_READY) else None


def _firewall(d: Draft, offer: Offer, record: Record, now: datetime) -> None:
    o = d.observation
    entry = record.droplet
    if entry is None:
        return
    if o.firewall_in_force or (d.previous.ready_at is not None):
        d.set_true(ConditionType.FIREWALL_READY, "InForce", "The firewall covers the droplet")
        return
    firewall_id = offer.firewall_id
    if offer.spec.firewall.mode is FirewallMode.PER_SESSION:
        own = next(iter(record.living(ResourceKind.FIREWALL)), None)
        firewall_id = own.id if own is not None else None
        if own is None:
            since = unsettled_since(o, CreateFirewall.__name__)
            if since is not None and not settled(o.effort(FindFirewall().key), since):
                d.do(FindFirewall())
            else:
                d.do(CreateFirewall(int(entry.id)))
    d.set_false(ConditionType.FIREWALL_READY, "Pending", "The firewall is not in force yet")
    if firewall_id is not None and _address(d) is not None:
        d.do(CheckFirewall(firewall_id, int(entry.id)))
    elif firewall_id is None:
        d.wake(now + timedelta(seconds=2))


def _name(d: Draft, session: Session, offer: Offer, record: Record) -> None:
    o = d.observation
    domain = offer.spec.exposure.domain
    ip = _address(d)
    if domain is None or ip is None:
        return
    label = session_host_label(session.name, o.uid)
    if record.living(ResourceKind.DOMAIN_RECORD):
        d.set_true(ConditionType.DNS_READY, "Created", f"{label}.{domain} points at the droplet")
        return
    d.set_false(ConditionType.DNS_READY, "Creating", f"{label}.{domain} is being made")
    key = CreateDomainRecord.__name__
    since = unsettled_since(o, key)
    find = FindDomainRecord(domain, label, ip)
    if since is not None and not settled(o.effort(find.key), since):
        d.do(find)
        return
    failure = o.effort(key).failure
    if failure is not None:
        d.set_false(ConditionType.DNS_READY, failure.reason, failure.message)
    d.do(CreateDomainRecord(domain, label, ip, offer.spec.exposure.record_ttl_seconds))


def url_of(session: Session, offer: Offer, ip: str) -> str:
    """Where the app answers."""
    exposure = offer.spec.exposure
    host = ip
    if exposure.domain:
        host = f"{session_host_label(session.name, session.uid)}.{exposure.domain}"
    port = "" if exposure.http_port == 80 else f":{exposure.http_port}"  # noqa: PLR2004
    return f"http://{host}{port}"


def _app(d: Draft, session: Session, offer: Offer, now: datetime) -> None:
    o = d.observation
    ip = _address(d)
    ready = d.previous.ready_at is not None
    if ready or ip is None or o.bundle is None or not d.has(ConditionType.FIREWALL_READY):
        return
    deadline = now + parse_duration(offer.spec.lifetime.provisioning_deadline)
    deploy = DeployApp(ip, o.bundle.digest, expires_at=deadline)
    effort = o.effort(deploy.key)
    if effort.done_at is None or effort.failure is not None:
        waiting = "The app is being installed and started"
        if effort.failure is not None:
            waiting = f"{waiting}; last try: {effort.failure.message}"
        d.set_false(ConditionType.APP_HEALTHY, "Deploying", waiting)
        d.do(deploy)
        return
    d.set_true(ConditionType.APP_HEALTHY, "Answers", "The app answers")
    if offer.spec.exposure.domain is None or d.has(ConditionType.DNS_READY):
        d.put(ready_at=now.replace(microsecond=0), url=url_of(session, offer, ip))


def _keep(d: Draft, session: Session, expiry: Expiry, now: datetime) -> None:
    """Keep a running session: its switch, its log, its health."""
    ip = _address(d)
    if ip is None:
        return
    if expiry.time is not None:
        _move_switch(d, SetExpiry(ip, expiry.time), now)
        if session.order.app_type is not AppType.WEBAPP:
            log_time = expiry.time - LOG_AHEAD
            if now < log_time:
                d.wake(log_time)
            elif d.observation.effort(TakeLog(ip).key).started_at is None:
                d.do(TakeLog(ip))
    _check_app(d, CheckApp(ip), now)


def _move_switch(d: Draft, switch: SetExpiry, now: datetime) -> None:
    """Tell the droplet its expiry: at once when it changed, and again after a restart, spread.

    Another life of this operator may have latched an expiry and died before telling it.
    """
    o = d.observation
    effort = o.effort(switch.key)
    if effort.done_at is not None and effort.failure is None:
        return
    ready_at = d.previous.ready_at
    told_before = (
        ready_at is not None
        and ready_at < o.operator_started_at
        and effort.started_at is None
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
    if now >= due:
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


def _report(d: Draft, session: Session, offer: Offer, expiry: Expiry, now: datetime) -> None:
    """Phase, progress, message, cost and the conditions that sum up."""
    if d.get("ready_at") is not None:
        phase = d.move_to(Phase.RUNNING)
    elif not d.has(ConditionType.DROPLET_READY):
        phase = d.move_to(Phase.PROVISIONING)
    elif not d.has(ConditionType.GENERATED):
        phase = d.move_to(Phase.GENERATING)
    else:
        phase = d.move_to(Phase.DEPLOYING)
    _progress(d, phase)
    _cost(d, session, offer, now)
    remark = _remark(d, offer, expiry)
    if phase is Phase.RUNNING:
        if d.previous.phase is not Phase.RUNNING:
            d.notice("Normal", "Running", "Deploy", f"The app answers at {d.get('url')}")
        if d.has(ConditionType.APP_HEALTHY):
            d.set_true(ConditionType.READY, "Running", f"The app answers{remark}")
        else:
            d.set_false(ConditionType.READY, "AppFailed", f"The app does not answer{remark}")
        d.drop(ConditionType.RECONCILING)
        return
    deadline = provisioning_deadline(d.observation, d.get("started_at") or now, offer)
    if deadline > now:
        d.wake(deadline)
    d.set_false(ConditionType.READY, str(phase), d.get("message") + remark)
    if d.has(ConditionType.STALLED):
        d.drop(ConditionType.RECONCILING)
    else:
        d.set_true(ConditionType.RECONCILING, str(phase), d.get("message"))


def _remark(d: Draft, offer: Offer, expiry: Expiry) -> str:
    """What is to be said of the expiry: refused, or capped. The event is sent once."""
    if expiry.problem is not None:
        remark = f"; {expiry.problem}; the expiry stays as it is"
        if not d.said(ConditionType.READY, remark):
            d.notice("Warning", "InvalidExpiry", "Expire", remark.removeprefix("; "))
        return remark
    if expiry.capped:
        remark = f"; the class caps the lifetime at {offer.spec.lifetime.max}"
        if not d.said(ConditionType.READY, remark):
            d.notice("Warning", "ExpiryCapped", "Expire", remark.removeprefix("; "))
        return remark
    return ""


def _progress(d: Draft, phase: Phase) -> None:
    generated = d.has(ConditionType.GENERATED)
    fraction = 1.0 if generated else d.observation.generation_fraction
    if phase is Phase.RUNNING:
        progress, message = 100, f"Running at {d.get('url')}"
    elif phase is Phase.DEPLOYING:
        progress, message = 80, "Installing and starting the app"
    elif d.has(ConditionType.DROPLET_READY):
        progress = 20 + int(30 * fraction)
        message = "Claude is writing the app" if not generated else "The app is written"
    else:
        progress = 5 + int(15 * fraction)
        message = "Making the droplet" + (
            "; the app is written" if generated else " while Claude writes the app"
        )
    stalled = d.message_of(ConditionType.STALLED)
    d.put(progress=max(progress, d.previous.progress or 0), message=stalled or message)


def _cost(d: Draft, session: Session, offer: Offer, now: datetime) -> None:
    record = d.observation.record
    size = d.get("size")
    price = offer.prices.get(size) if size is not None else None
    if record is None or price is None:
        return
    limits = limits_of(offer, session)
    ready_at = d.get("ready_at") or now
    begun = d.get("started_at") or now
    ends = d.get("expiration_time") or ready_at + min(limits.default_ttl, limits.maximum)
    known = d.previous.cost
    droplet = droplet_cost(price, (ends - begun).total_seconds())
    estimated = money(droplet + tokens_cost(record.status))
    if d.get("ready_at") is None and known is not None and known.estimated is not None:
        estimated = known.estimated  # exact once the lifetime is known; until then it stands
    d.put(cost=CostStatus(estimated=estimated, price=money(price)))


def _announce_expiry(d: Draft, offer: Offer, expiry: Expiry, now: datetime) -> None:
    """Latch the expiry, tell of changes, and warn before the end."""
    if expiry.time is None:
        return
    time = expiry.time.replace(microsecond=0)
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
