"""What a caller may order, and what it would cost: the estimate before the order. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from spawnai.admission.places import Place
from spawnai.api.conditions import ConditionStatus, ConditionType, find_condition
from spawnai.api.durations import format_time, parse_duration
from spawnai.api.session import AppType, SessionStatus, Tier
from spawnai.api.spawnclass import ClassSpec
from spawnai.billing.estimates import usual_token_cost
from spawnai.billing.ledger import money
from spawnai.billing.prices import terms_of
from spawnai.controller.admission import Outlook
from spawnai.controller.store import StoredRecord
from spawnai.lifecycle.balancing import price_of_entry
from spawnai.lifecycle.observation import Offer, Session
from spawnai.lifecycle.reservations import Unpriced, usual_worst_case

_USUAL_READY_SECONDS = (60, 80)
_PARTS = (
    ConditionType.DROPLET_READY,
    ConditionType.FIREWALL_READY,
    ConditionType.GENERATED,
    ConditionType.APP_HEALTHY,
)

_LOW, _HIGH = 0.1, 0.9
_FEWEST_RECORDS = 3
_MOST_RECORDS = 200


def offer_document(
    *,
    class_name: str,
    spec: ClassSpec,
    prices: Mapping[str, Decimal],
    records: Iterable[StoredRecord],
    sessions: Iterable[Session],
    outlook: Outlook,
) -> dict[str, Any]:
    """The offer of a class, as JSON.

    Args:
        class_name: its name.
        spec: what it offers.
        prices: dollars an hour for each droplet size.
        records: ledgers of the class; what Claude cost there is what Claude costs.
        sessions: those that are there; how long those of the class took is how long it takes.
        outlook: what an order of the caller would meet, by tier.
    """
    paid = _paid_to_claude(records, class_name)
    ours = [one for one in sessions if one.status.class_name == class_name]
    kept = spec.lifetime.ttl_after_finished
    return {
        "className": class_name,
        "operator": "ok",
        "maxTtlSeconds": int(parse_duration(spec.lifetime.max).total_seconds()),
        "provisioningDeadlineSeconds": int(
            parse_duration(spec.lifetime.provisioning_deadline).total_seconds()
        ),
        "keptSeconds": None if kept is None else int(parse_duration(kept).total_seconds()),
        "overhead": "0",
        "model": spec.model.name,
        "appsInUse": outlook.active,
        "appsLimit": outlook.most_active,
        "budgets": [
            {
                "name": book.name,
                "limit": money(book.limit),
                "left": money(book.left),
                "resetsAt": format_time(book.end),
            }
            for book in outlook.budgets
        ],
        "tiers": [_tier(tier, spec, prices, outlook.waits.get(tier)) for tier in Tier],
        "appTypes": [
            {
                "appType": app_type.value,
                "claudeCost": _claude_cost(app_type, spec.model.name, paid),
                **_usual_seconds(ours, app_type),
            }
            for app_type in AppType
        ],
    }


def _usual_seconds(sessions: Iterable[Session], app_type: AppType) -> dict[str, Any]:
    """How long apps of that type take to run, and each of the four steps, which are known of those
    that live.
    """
    past = [one for one in sessions if one.spec is not None and one.spec.app_type is app_type]
    ready = [
        (one.status.ready_at - one.created_at).total_seconds()
        for one in past
        if one.status.ready_at is not None
    ]
    found = (step_seconds(one.status) for one in past)
    steps = [seconds for seconds in found if seconds is not None]
    return {
        "readySeconds": _range(ready) or list(_USUAL_READY_SECONDS),
        "stepSeconds": [_range(list(step)) for step in zip(*steps, strict=True)]
        if len(steps) >= _FEWEST_RECORDS
        else None,
    }


def step_seconds(status: SessionStatus) -> tuple[float, ...] | None:
    """How long the four steps took: server, code, start, check. None where that is not known, as of
    an app that has got another version or another droplet since.
    """
    parts = (_true_since(status, part) for part in _PARTS)
    moments = [status.started_at, status.ready_at, *parts]
    known = [moment for moment in moments if moment is not None]
    if len(known) < len(moments):
        return None
    begun, ready, droplet, firewall, generated, healthy = known
    server = max(droplet, firewall)
    took = (server - begun, generated - begun, healthy - max(server, generated), ready - healthy)
    seconds = tuple(one.total_seconds() for one in took)
    return seconds if min(seconds) >= 0 else None


def _true_since(status: SessionStatus, part: ConditionType) -> datetime | None:
    known = find_condition(status.conditions, part)
    is_true = known is not None and known.status is ConditionStatus.TRUE
    return known.last_transition_time if known is not None and is_true else None


def amounts_of(
    class_name: str, class_uid: str, spec: ClassSpec, prices: Mapping[str, Decimal]
) -> dict[str, Decimal | None]:
    """Dollars that an order with the default lifetime may cost at most, by tier; None: unknown."""
    offer = Offer(class_name, class_uid, spec, prices=prices)
    amounts: dict[str, Decimal | None] = {}
    for tier in Tier:
        try:
            amounts[tier] = usual_worst_case(offer, tier)
        except Unpriced:
            amounts[tier] = None
    return amounts


def _tier(
    tier: Tier, spec: ClassSpec, prices: Mapping[str, Decimal], waits: Place | None
) -> dict[str, Any]:
    offered = getattr(spec.tiers, tier.value)
    price = prices.get(offered.sizes[0])
    terms = terms_of(spec.pricing, tier)
    return {
        "tier": tier.value,
        "sizes": offered.sizes,
        "hourly": None if price is None else money(price + price_of_entry(spec)),
        "ttlSeconds": int(parse_duration(offered.ttl).total_seconds()),
        "waitsFor": None
        if waits is None
        else {"reason": "Budget" if waits.for_money else "Limit", "message": waits.reason},
        "price": None if terms is None else terms.document(),
    }


def _claude_cost(app_type: AppType, model: str, paid: list[Decimal]) -> str | None:
    if len(paid) >= _FEWEST_RECORDS:
        return money(sum(paid, Decimal(0)) / len(paid))
    usual = usual_token_cost(model, app_type)
    return None if usual is None else money(usual)


def _paid_to_claude(records: Iterable[StoredRecord], class_name: str) -> list[Decimal]:
    """What Claude was paid for each of the newest sessions of the class."""
    ours = sorted(
        (one for one in records if one.spec.class_name == class_name and one.status.generations),
        key=lambda one: one.created_at,
    )
    return [
        sum((Decimal(order.cost) for order in one.status.generations), Decimal(0))
        for one in ours[-_MOST_RECORDS:]
    ]


def _range(seconds: list[float]) -> list[int] | None:
    """From the 10th to the 90th percentile, once there are some."""
    if len(seconds) < _FEWEST_RECORDS:
        return None
    ordered = sorted(seconds)
    last = len(ordered) - 1
    low, high = (round(ordered[round(last * share)]) for share in (_LOW, _HIGH))
    return [max(1, low), max(2, high, low + 1)]
