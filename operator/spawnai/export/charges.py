"""The charges of one ledger: a line for each resource that costs, and for each order to Claude.

Pure. Both exports are made from these lines, so they cannot disagree.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from spawnai.api.record import (
    CLASS_OWNER,
    IMAGE_OWNER,
    POOL_OWNER,
    SESSION_OWNER,
    GenerationEntry,
    LedgerEntry,
    RecordSpec,
    RecordStatus,
)
from spawnai.billing.droplet_prices import droplet_cost_between
from spawnai.billing.ledger import CENT_FRACTION

_SECONDS_PER_HOUR = Decimal(3600)
_KINDS = {
    SESSION_OWNER: "session",
    CLASS_OWNER: "class",
    IMAGE_OWNER: "image",
    POOL_OWNER: "pool",
}


class Provider(StrEnum):
    """Who charges."""

    DIGITALOCEAN = "DigitalOcean"
    ANTHROPIC = "Anthropic"


@dataclass(frozen=True, slots=True)
class Ledger:
    """A SpawnRecord as it was read."""

    uid: str
    created_at: datetime
    spec: RecordSpec
    status: RecordStatus

    @property
    def kind(self) -> str:
        """Whose it is, in a word: session, class, image or pool. Only a session's has a user."""
        return _KINDS.get(self.spec.owner.kind, self.spec.owner.kind)

    @property
    def is_session(self) -> bool:
        """Whether it is a session's."""
        return self.spec.owner.kind == SESSION_OWNER

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Ledger":
        """Read a SpawnRecord.

        Raises:
            pydantic.ValidationError: it is not one.
            KeyError: it has no name.
        """
        metadata = document["metadata"]
        return cls(
            uid=metadata["name"],
            created_at=datetime.fromisoformat(metadata["creationTimestamp"]),
            spec=RecordSpec.model_validate(document.get("spec") or {}),
            status=RecordStatus.model_validate(document.get("status") or {}),
        )


@dataclass(frozen=True, slots=True)
class Charge:
    """What one thing cost from `start` to `end`. Amounts are dollars, with six decimal places.

    Args:
        key: the same at each export: a ledger's UID, a kind and an id.
        is_final: the thing is gone, or the order is done. Otherwise the cost is that until now.
        quantity: hours of a resource, tokens of an order.
    """

    key: str
    provider: Provider
    kind: str
    resource_id: str
    resource_name: str
    sku: str
    region: str | None
    start: datetime
    end: datetime
    unit: str
    quantity: Decimal
    unit_price: Decimal
    cost: Decimal
    is_final: bool


def charges_of(ledger: Ledger, now: datetime) -> Iterator[Charge]:
    """The charges of a ledger until `now`, in its own order."""
    for entry in ledger.status.resources:
        if entry.price_hourly is not None:
            yield _resource_charge(ledger.uid, entry, now)
    for order in ledger.status.generations:
        yield _order_charge(ledger.uid, order)


def _resource_charge(uid: str, entry: LedgerEntry, now: datetime) -> Charge:
    price = Decimal(entry.price_hourly or 0)
    start = entry.created_at.astimezone(UTC)
    # The start is DigitalOcean's clock and the end is ours.
    end = max(start, (entry.deletion_accepted_at or now).astimezone(UTC))
    cost = droplet_cost_between(price, start, end) if entry.cost is None else Decimal(entry.cost)
    hours = Decimal(str((end - start).total_seconds())) / _SECONDS_PER_HOUR
    return Charge(
        key=f"{uid}/{entry.kind}/{entry.id}",
        provider=Provider.DIGITALOCEAN,
        kind=str(entry.kind),
        resource_id=entry.id,
        resource_name=entry.name,
        sku=entry.size or str(entry.kind),
        region=entry.region,
        start=start,
        end=end,
        unit="Hours",
        quantity=_rounded(hours),
        unit_price=price,
        cost=_rounded(cost),
        is_final=entry.cost is not None,
    )


def _order_charge(uid: str, order: GenerationEntry) -> Charge:
    start = order.started_at.astimezone(UTC)
    end = max(start, (order.finished_at or order.started_at).astimezone(UTC))
    tokens = Decimal(
        order.input_tokens
        + order.output_tokens
        + order.cache_read_tokens
        + order.cache_write_tokens
    )
    cost = Decimal(order.cost)
    return Charge(
        key=f"{uid}/Claude/{order.model}/{start.isoformat()}",
        provider=Provider.ANTHROPIC,
        kind="Claude",
        resource_id=f"{order.model}/{start.strftime('%Y%m%dT%H%M%SZ')}",
        resource_name=order.model,
        sku=order.model,
        region=None,
        start=start,
        end=end,
        unit="Tokens",
        quantity=tokens,
        # Input, output and cached tokens have prices of their own: this is their mean.
        unit_price=_rounded(cost / tokens, Decimal("1e-12")) if tokens else Decimal(0),
        cost=_rounded(cost),
        is_final=True,
    )


def _rounded(value: Decimal, place: Decimal = CENT_FRACTION) -> Decimal:
    return value.quantize(place)
