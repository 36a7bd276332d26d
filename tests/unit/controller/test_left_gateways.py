"""What a class had for a gateway that it has left goes, whatever gets in the way."""

import logging
from typing import Any

from tests.support.virtual_time import START, VirtualClock, virtual_time

from spawnai import background
from spawnai.api.names import FINALIZER
from spawnai.api.record import ResourceKind
from spawnai.controller.classes.gateways import DRAIN_SECONDS, Gateways
from spawnai.controller.classes.ledger import ClassLedgers, lines
from spawnai.controller.cluster import Conflict
from spawnai.controller.store import Store

UID = "c1a50000-0000-4000-8000-000000000001"
CLASS = {
    "metadata": {
        "name": "moved",
        "uid": UID,
        "resourceVersion": "1",
        "generation": 2,
        "creationTimestamp": START.isoformat(),
    },
    "spec": {"exposure": {"mode": "Direct"}},
}


class ApiServer:
    """The API server with the class's ledger, which lists the order of a certificate."""

    def __init__(self) -> None:
        self.is_deleted = False
        self.version = 1
        self.status: dict[str, Any] = {
            "resources": [
                {
                    "kind": "Certificate",
                    "id": "https://acme.example/order/1",
                    "name": "gateway-1",
                    "domain": "*.apps.example",
                    "createdAt": START.isoformat(),
                    "presence": "Present",
                }
            ]
        }

    def body(self) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "name": UID,
            "uid": "ledger",
            "resourceVersion": str(self.version),
            "creationTimestamp": START.isoformat(),
            "finalizers": [FINALIZER],
        }
        if self.is_deleted:
            metadata |= {"finalizers": [], "deletionTimestamp": START.isoformat()}
        owner = {"kind": "SpawnClass", "name": "moved", "uid": UID}
        spec = {"owner": owner, "clusterUid": "one", "className": "moved"}
        return {"metadata": metadata, "spec": spec, "status": self.status}

    async def get_record(self, _name: str) -> dict[str, Any]:
        return self.body()

    async def create_record(self, _document: Any) -> dict[str, Any]:
        raise Conflict("create the ledger", "it is being deleted", 409)

    async def patch_record_status(self, _name: str, patch: Any) -> dict[str, Any]:
        if self.is_deleted:
            raise Conflict("patch the ledger", "it is being deleted", 409)
        self.version += 1
        self.status = {**self.status, **patch["status"]}
        return self.body()


@virtual_time
async def test_a_ledger_that_cannot_be_read_back_is_told_and_tried_again(caplog):
    clock, store, api_server = VirtualClock(), Store(), ApiServer()
    store.put_class(CLASS)
    store.put_record(api_server.body())
    nothing: Any = None
    gateways = Gateways(
        cluster=nothing,
        store=store,
        ledgers=ClassLedgers(api_server, store, "one"),
        records=nothing,
        acme=None,
        keys=nothing,
        nameservers=nothing,
        clock=clock,
        namespace="spawnai-system",
        wake=lambda _name: None,
    )

    async def look() -> None:
        assert await gateways.look(store.spawn_class("moved"), nothing) is None
        for task in background.running():
            await task

    await look()
    await clock.sleep(DRAIN_SECONDS)
    api_server.is_deleted = True
    with caplog.at_level(logging.WARNING):
        await look()
    assert background.failure() is None, "the process would be taken for dead"
    assert [record.getMessage() for record in caplog.records] == [
        f"What class moved had for its gateway stays yet: the ledger {UID} cannot be read back"
    ]

    api_server.is_deleted = False
    api_server.version += 1
    store.put_record(api_server.body())
    await look()
    await clock.sleep(DRAIN_SECONDS)
    await look()
    assert lines(store.record(UID).status, ResourceKind.CERTIFICATE) == []
