"""Sessions that have ended, from their ledgers: also of those that were deleted. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from spawnai.api.history import MOST, Search
from spawnai.api.record import SESSION_OWNER
from spawnai.billing.ledger import money, resources_cost, tokens_cost
from spawnai.controller.store import StoredRecord


def history_document(
    records: Iterable[StoredRecord], namespace: str | None, search: Search
) -> dict[str, Any]:
    """The ended sessions of a namespace, or of all, that match, the newest first; `more`: there are
    others, older.
    """
    found = sorted(
        (
            (ended_at, one)
            for one in records
            if one.spec.owner.kind == SESSION_OWNER
            and namespace in {None, one.spec.owner.namespace}
            and (ended_at := one.status.completed_at) is not None
            and _matches(one, ended_at, search)
        ),
        key=lambda pair: (pair[0], pair[1].spec.owner.uid),
        reverse=True,
    )
    items = [_item(one, ended_at) for ended_at, one in found[:MOST]]
    return {"items": items, "more": len(found) > MOST}


def _matches(record: StoredRecord, ended_at: datetime, search: Search) -> bool:
    owner, class_name = record.spec.owner, record.spec.class_name or ""
    words = f"{owner.name}\n{owner.user or ''}\n{class_name}".casefold()
    return (
        # Limits and cost of an order without a user belong to its namespace.
        (search.user is None or (owner.user or owner.namespace) == search.user)
        and (search.class_name is None or class_name == search.class_name)
        and (search.text is None or search.text.casefold() in words)
        and (search.since is None or ended_at >= search.since)
        and (search.until is None or ended_at < search.until)
    )


def _item(record: StoredRecord, ended_at: datetime) -> dict[str, Any]:
    spec, status = record.spec, record.status
    return {
        "uid": spec.owner.uid,
        "namespace": spec.owner.namespace,
        "name": spec.owner.name,
        "user": spec.owner.user,
        "className": spec.class_name,
        "appType": spec.app_type,
        "tier": spec.tier,
        "createdAt": record.created_at.isoformat(),
        "completedAt": ended_at.isoformat(),
        "terminationReason": status.termination_reason,
        "serverCost": money(resources_cost(status)),
        "claudeCost": money(tokens_cost(status)),
        "totalCost": status.total_cost,
    }
