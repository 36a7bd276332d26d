"""FOCUS 1.2 (FinOps Open Cost and Usage Specification, focus.finops.org): one CSV row per charge.

A charge that crosses a month's end stays one row of the billing period in which it began, as
DigitalOcean's own minimum and cap cannot be split without inventing a rule.
"""

import csv
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TextIO

from .charges import Charge, Ledger, Provider, charges_of

# The columns of the dataset "Cost and Usage" in FOCUS 1.2, and ours.
COLUMNS = (
    "AvailabilityZone", "BilledCost", "BillingAccountId", "BillingAccountName",
    "BillingAccountType", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "CapacityReservationId", "CapacityReservationStatus", "ChargeCategory", "ChargeClass",
    "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
    "CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName",
    "CommitmentDiscountQuantity", "CommitmentDiscountStatus", "CommitmentDiscountType",
    "CommitmentDiscountUnit", "ConsumedQuantity", "ConsumedUnit", "ContractedCost",
    "ContractedUnitPrice", "EffectiveCost", "InvoiceId", "InvoiceIssuerName", "ListCost",
    "ListUnitPrice", "PricingCategory", "PricingCurrency", "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice", "PricingQuantity",
    "PricingUnit", "ProviderName", "PublisherName", "RegionId", "RegionName", "ResourceId",
    "ResourceName", "ResourceType", "ServiceCategory", "ServiceName", "ServiceSubcategory",
    "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId", "SubAccountId", "SubAccountName",
    "SubAccountType", "Tags", "x_SessionId",
)  # fmt: skip

_SERVICES = {
    "Droplet": ("Compute", "Virtual Machines", "Droplets"),
    "LoadBalancer": ("Networking", "Application Networking", "Load Balancers"),
    "Image": ("Storage", "Block Storage", "Snapshots"),
    "Claude": ("AI and Machine Learning", "Generative AI", "Claude API"),
}
_OTHER_SERVICE = ("Other", "Other (Other)", "DigitalOcean")
_PUBLISHER = {Provider.DIGITALOCEAN: "DigitalOcean", Provider.ANTHROPIC: "Anthropic"}


def write_focus(
    ledgers: Iterable[Ledger],
    output: TextIO,
    *,
    since: datetime,
    to: datetime,
    now: datetime,
) -> int:
    """Write the charges that began from `since` until before `to`; returns how many.

    Only what is final is written: a charge that still grows is in a later export.
    """
    rows = csv.DictWriter(output, COLUMNS, lineterminator="\n")
    rows.writeheader()
    count = 0
    for ledger in ledgers:
        for charge in charges_of(ledger, now):
            if charge.is_final and since <= charge.start < to:
                rows.writerow(_row(ledger, charge))
                count += 1
    return count


def _row(ledger: Ledger, charge: Charge) -> dict[str, str]:
    category, subcategory, service = _SERVICES.get(charge.kind, _OTHER_SERVICE)
    owner = ledger.spec.owner
    cost, price = _plain(charge.cost), _plain(charge.unit_price)
    quantity = _plain(charge.quantity)
    start, end = _period(charge.start, charge.end)
    month, next_month = _month(charge.start)
    account = f"{charge.provider.lower()}/{ledger.spec.class_name or 'unknown'}"
    whose = {"user": owner.user or owner.namespace or "", "session": owner.name}
    tags = {
        "kind": ledger.kind,
        "class": ledger.spec.class_name or "",
        # What nobody has ordered is nobody's cost.
        **(whose if ledger.is_session else {}),
        **({"pool": owner.name} if ledger.kind == "pool" else {}),
        # Ledgers of before do not name these.
        **({"appType": ledger.spec.app_type} if ledger.spec.app_type else {}),
        **({"tier": ledger.spec.tier} if ledger.spec.tier else {}),
    }
    return {
        **dict.fromkeys(COLUMNS, ""),
        "BilledCost": cost,
        "BillingAccountId": account,
        "BillingAccountName": account,
        "BillingAccountType": "SpawnClass",
        "BillingCurrency": "USD",
        "BillingPeriodStart": _time(month),
        "BillingPeriodEnd": _time(next_month),
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{charge.kind} {charge.sku} of {owner.kind} {owner.name}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _time(start),
        "ChargePeriodEnd": _time(end),
        "ConsumedQuantity": quantity,
        "ConsumedUnit": charge.unit,
        "ContractedCost": cost,
        "ContractedUnitPrice": price,
        "EffectiveCost": cost,
        "InvoiceIssuerName": _PUBLISHER[charge.provider],
        "ListCost": cost,
        "ListUnitPrice": price,
        "PricingCategory": "Standard",
        "PricingCurrency": "USD",
        "PricingCurrencyContractedUnitPrice": price,
        "PricingCurrencyEffectiveCost": cost,
        "PricingCurrencyListUnitPrice": price,
        "PricingQuantity": quantity,
        "PricingUnit": charge.unit,
        "ProviderName": str(charge.provider),
        "PublisherName": _PUBLISHER[charge.provider],
        "RegionId": charge.region or "",
        "RegionName": charge.region or "",
        "ResourceId": charge.resource_id,
        "ResourceName": charge.resource_name,
        "ResourceType": charge.kind,
        "ServiceCategory": category,
        "ServiceName": service,
        "ServiceSubcategory": subcategory,
        "SkuId": charge.sku,
        "SkuMeter": charge.unit,
        "SkuPriceId": f"{charge.sku}/{charge.unit}",
        "SubAccountId": owner.namespace or owner.name,
        "SubAccountName": owner.namespace or owner.name,
        "SubAccountType": "Namespace" if owner.namespace else owner.kind,
        "Tags": json.dumps(tags, sort_keys=True),
        "x_SessionId": ledger.uid if ledger.is_session else "",
    }


def _period(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """Whole seconds, and never empty: FOCUS wants an end after the start."""
    first = start.replace(microsecond=0)
    return first, max(end.replace(microsecond=0), first + timedelta(seconds=1))


def _month(moment: datetime) -> tuple[datetime, datetime]:
    first = datetime(moment.year, moment.month, 1, tzinfo=UTC)
    return first, datetime(first.year + first.month // 12, first.month % 12 + 1, 1, tzinfo=UTC)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(value: Decimal) -> str:
    """Decimal notation with a point: readers that guess types take `2` for an integer."""
    whole, _, fraction = format(value, "f").partition(".")
    return f"{whole}.{fraction.rstrip('0') or '0'}"
