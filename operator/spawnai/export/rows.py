"""The rows of one session, from its object (where it still exists) and its ledger. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Table

from spawnai.api.record import LedgerEntry, Presence
from spawnai.api.session import SessionSpec, SessionStatus
from spawnai.database import tables

from .charges import Ledger, Provider, charges_of

Row = dict[str, Any]

_ALERT_FACTOR = Decimal("1.5")
"""The first description alerts above 150 % of the estimate."""
_LONGEST_EVENT = 50


@dataclass(frozen=True, slots=True)
class SessionObject:
    """A SpawnSession as it was read."""

    metadata: dict[str, Any]
    spec: SessionSpec
    status: SessionStatus

    @classmethod
    def of(cls, document: dict[str, Any]) -> "SessionObject":
        """Read a SpawnSession.

        Raises:
            pydantic.ValidationError: it is not one.
        """
        return cls(
            metadata=document["metadata"],
            spec=SessionSpec.model_validate(document.get("spec") or {}),
            status=SessionStatus.model_validate(document.get("status") or {}),
        )


def rows_of(
    session: SessionObject | None, ledger: Ledger | None, now: datetime
) -> Iterator[tuple[Table, Row]]:
    """The rows of a session; at least one of its object and its ledger is given.

    A ledger of a class, an image or a pool has droplets and charges, and no session.
    """
    if ledger is not None and not ledger.is_session:
        yield from _droplet_rows(ledger)
        yield from _charge_rows(ledger, now)
        return
    yield tables.sessions, _session_row(session, ledger)
    if ledger is None:
        return
    yield from _droplet_rows(ledger)
    yield from _charge_rows(ledger, now)
    for number, line in enumerate(ledger.status.log):
        yield (
            tables.session_logs,
            {
                "id": f"{ledger.uid}/log/{number}",
                "session_id": ledger.uid,
                "level": "info",
                "event": "app",
                "message": line,
                "created_at": _utc(ledger.status.completed_at or ledger.created_at),
            },
        )
    if ledger.status.termination_reason is not None:
        yield (
            tables.session_logs,
            {
                "id": f"{ledger.uid}/end",
                "session_id": ledger.uid,
                "level": "info" if ledger.status.termination_reason == "Expired" else "warn",
                "event": ledger.status.termination_reason[:_LONGEST_EVENT],
                "message": session.status.message if session is not None else None,
                "created_at": _utc(ledger.status.completed_at or ledger.created_at),
            },
        )
    yield from _alerts(session, ledger)


def _droplet_rows(ledger: Ledger) -> Iterator[tuple[Table, Row]]:
    if ledger.status.taken_over_by is not None:
        return  # the session that took the spare has the droplet in its own ledger
    for entry in ledger.status.resources:
        if str(entry.kind) == "Droplet" and entry.id.isdecimal():
            yield (
                tables.droplets_pool,
                {
                    "droplet_id": int(entry.id),
                    "region": entry.region,
                    "size": entry.size,
                    "ip_address": entry.ip,
                    "status": _droplet_state(ledger, entry),
                    "current_session_id": ledger.uid if ledger.is_session else None,
                    "created_at": _utc(entry.created_at),
                    "destroyed_at": _utc(entry.gone_at),
                    "hourly_cost": Decimal(entry.price_hourly or 0),
                    "total_cost": _amount(entry.cost),
                },
            )


def _charge_rows(ledger: Ledger, now: datetime) -> Iterator[tuple[Table, Row]]:
    for charge in charges_of(ledger, now):
        if charge.is_final:
            claude = charge.provider is Provider.ANTHROPIC
            yield (
                tables.cost_tracking,
                {
                    "id": charge.key,
                    "session_id": ledger.uid if ledger.is_session else None,
                    "kind": ledger.kind,
                    "owner_name": ledger.spec.owner.name,
                    "resource_type": "claude_api" if claude else charge.kind.lower(),
                    "resource_id": charge.resource_id,
                    "unit_cost": charge.unit_price,
                    "quantity": charge.quantity,
                    "total_cost": charge.cost,
                    "started_at": charge.start,
                    "ended_at": charge.end,
                },
            )


def _session_row(session: SessionObject | None, ledger: Ledger | None) -> Row:
    """What is known of the session. What its object told before it went stays in the table."""
    owner = ledger.spec.owner if ledger is not None else None
    record = ledger.status if ledger is not None else None
    row: Row = {"metadata": {}}
    if session is not None:
        status, meta = session.status, session.metadata
        droplet = status.droplet
        row |= {
            "id": meta["uid"],
            "namespace": meta.get("namespace"),
            "name": meta["name"],
            "prompt": session.spec.prompt.replace("\x00", ""),
            "app_type": str(session.spec.app_type),
            "tier": str(status.tier or session.spec.tier or "") or None,
            "user_id": session.spec.user or meta.get("namespace"),
            "class_name": status.class_name,
            "state": str(status.phase or "Requested").lower(),
            "droplet_id": droplet.id if droplet is not None else None,
            "droplet_ip": droplet.ip if droplet is not None else None,
            "region": status.region,
            "size": status.size,
            "app_url": status.url,
            "created_at": datetime.fromisoformat(meta["creationTimestamp"]),
            "started_at": _utc(status.started_at),
            "ready_at": _utc(status.ready_at),
            "expires_at": _utc(status.expiration_time),
            "destroyed_at": _utc(status.destroyed_at),
            "termination_reason": status.termination_reason,
            "estimated_cost": _amount(status.cost.estimated if status.cost else None),
            "actual_cost": _amount(status.cost.actual if status.cost else None),
        }
    if ledger is not None and owner is not None and record is not None:
        row.setdefault("id", ledger.uid)
        row.setdefault("namespace", owner.namespace)
        row.setdefault("name", owner.name)
        row.setdefault("created_at", _utc(ledger.created_at))
        row.setdefault("state", "destroyed" if record.completed_at else "destroying")
        row["user_id"] = owner.user or owner.namespace
        row["class_name"] = row.get("class_name") or ledger.spec.class_name
        row["app_type"] = row.get("app_type") or ledger.spec.app_type
        row["tier"] = row.get("tier") or ledger.spec.tier
        if record.completed_at is not None:
            row["destroyed_at"] = _utc(record.completed_at)
            row["actual_cost"] = _amount(record.total_cost)
            row["termination_reason"] = record.termination_reason
    return row


def _alerts(session: SessionObject | None, ledger: Ledger) -> Iterator[tuple[Table, Row]]:
    at = _utc(ledger.status.completed_at or ledger.created_at)
    estimated = _amount(session.status.cost.estimated) if session and session.status.cost else None
    actual = _amount(ledger.status.total_cost)
    if estimated and actual is not None and actual > estimated * _ALERT_FACTOR:
        yield (
            tables.system_alerts,
            {
                "id": f"{ledger.uid}/cost",
                "session_id": ledger.uid,
                "type": "cost_overrun",
                "message": f"the session cost ${actual}, over 150 % of the estimated ${estimated}",
                "created_at": at,
            },
        )
    if ledger.status.residuals:
        yield (
            tables.system_alerts,
            {
                "id": f"{ledger.uid}/residuals",
                "session_id": ledger.uid,
                "type": "residual",
                "message": "not seen gone: " + ", ".join(ledger.status.residuals),
                "created_at": _utc(ledger.created_at),
            },
        )


def _droplet_state(ledger: Ledger, entry: LedgerEntry) -> str:
    if entry.presence is Presence.GONE:
        return "destroyed"
    if entry.deletion_accepted_at is not None:
        return "draining"
    return "available" if ledger.kind == "pool" else "in_use"


def _amount(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
