"""What a caller may order, and what it would cost: the estimate before the order. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from spawnai.admission.places import Place
from spawnai.api.durations import format_time, parse_duration
from spawnai.api.session import AppType, Tier
from spawnai.api.spawnclass import ClassSpec
from spawnai.billing.estimates import usual_token_cost
from spawnai.billing.ledger import money
from spawnai.billing.prices import terms_of
from spawnai.controller.admission import Outlook
from spawnai.controller.store import StoredRecord
from spawnai.lifecycle.balancing import price_of_entry
from spawnai.lifecycle.observation import Offer
from spawnai.lifecycle.reservations import Unpriced, usual_worst_case

_USUAL_READY_SECONDS = (60, 80)

_LOW, _HIGH = 0.1, 0.9
_FEWEST_RECORDS = 3
_MOST_RECORDS = 200


def offer_document(
    *,
    class_name: str,
    spec: ClassSpec,
    prices: Mapping[str, Decimal],
    records: Iterable[StoredRecord],
    ready_seconds: Mapping[str, list[float]],
    outlook: Outlook,
) -> dict[str, Any]:
    """The offer of a class, as JSON.

    Args:
        class_name: its name.
        spec: what it offers.
        prices: dollars an hour for each droplet size.
        records: ledgers of the class; what Claude cost there is what Claude costs.
        ready_seconds: by app type, how long past sessions took to run.
        outlook: what an order of the caller would meet, by tier.
    """
    paid = _paid_to_claude(records, class_name)
    return {
        "className": class_name,
        "operator": "ok",
        "maxTtlSeconds": int(parse_duration(spec.lifetime.max).total_seconds()),
        "provisioningDeadlineSeconds": int(
            parse_duration(spec.lifetime.provisioning_deadline).total_seconds()
        ),
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
                "readySeconds": _range(ready_seconds.get(app_type.value, [])),
            }
            for app_type in AppType
        ],
    }


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
    """From the 10th to the 90th percentile, once there are some; else the usual."""
    if len(seconds) < _FEWEST_RECORDS:
        return list(_USUAL_READY_SECONDS)
    ordered = sorted(seconds)
    last = len(ordered) - 1
    low, high = (round(ordered[round(last * share)]) for share in (_LOW, _HIGH))
    return [max(1, low), max(2, high, low + 1)]
