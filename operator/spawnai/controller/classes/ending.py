"""The end of what a class shares, in the order of the kinds: the same contract as a session's.

A class has no plan of its own, so its ledger is taken one step further at each look.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from spawnai.api.record import LedgerEntry, Presence, RecordSpec, RecordStatus, ResourceKind
from spawnai.billing import ledger as books
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.resource import Resource
from spawnai.lifecycle.kinds import TEARDOWN
from spawnai.lifecycle.resources import may_still_appear


async def delete_step(
    spec: RecordSpec,
    ledger: RecordStatus,
    adapters: Mapping[ResourceKind, Resource[Any]],
    now: datetime,
) -> RecordStatus:
    """Take the next step towards the end of all that the ledger names. Returns the ledger.

    What was made and not entered is found by the name in the ledger's intent. What comes later in
    the teardown waits until what comes before it was seen gone. A 404 proves nothing for what is
    young and was not deleted: its line stands before it is made.

    Raises:
        DigitalOceanError: a call failed; what was learnt before it is learnt again.
    """
    owner = spec.owner.uid
    for kind in TEARDOWN:
        adapter = adapters.get(kind)
        if adapter is None:
            continue
        if not _lines(ledger, kind):
            for planned in spec.planned:
                if planned.kind is kind:
                    for found in await adapter.find(planned.name, owner, None):
                        ledger = books.with_resource(ledger, found.line)
        for line in _lines(ledger, kind):
            if line.presence is Presence.GONE:
                continue
            ours = await adapter.is_ours(line, owner, Priority.DESTROY)
            if ours is None and line.deletion_accepted_at is None:
                if not may_still_appear(line.created_at, now):
                    ledger = books.with_gone(ledger, kind, line.id, now)
            elif ours is None:
                ledger = books.with_gone(ledger, kind, line.id, now)
            elif ours and await adapter.delete(line):
                ledger = books.with_deletion_accepted(ledger, kind, line.id, now)
        if any(line.presence is not Presence.GONE for line in _lines(ledger, kind)):
            break
    return ledger


def _lines(ledger: RecordStatus, kind: ResourceKind) -> list[LedgerEntry]:
    return [line for line in ledger.resources if line.kind is kind]
