"""Our finalizer among those of others, against a small API server."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.virtual_time import virtual_time

from spawnai.api.names import FINALIZER
from spawnai.controller.actions.custody import Custody
from spawnai.controller.cluster import Conflict, ObjectNotFound
from spawnai.controller.finalizers import Finalizers, set_finalizer
from spawnai.controller.store import Store
from spawnai.lifecycle.actions import HoldRecord

UID = "uid-1"
OTHER = "example.com/other"


class OneObject:
    """The API server with one object, and how often it was read."""

    def __init__(self, *finalizers: str, uid: str = UID) -> None:
        self.metadata: dict[str, Any] = {
            "name": "board",
            "uid": uid,
            "resourceVersion": "1",
            "finalizers": list(finalizers),
        }
        self.reads = 0
        self.writes = 0

    def changed_by_someone(self, *finalizers: str) -> None:
        version = str(int(self.metadata["resourceVersion"]) + 1)
        self.metadata |= {"resourceVersion": version, "finalizers": list(finalizers)}

    async def get(self) -> dict[str, Any]:
        self.reads += 1
        return {"metadata": dict(self.metadata)}

    async def patch(self, patch: Mapping[str, Any]) -> dict[str, Any]:
        wanted = patch["metadata"]
        for name in ("uid", "resourceVersion"):
            if wanted[name] != self.metadata[name]:
                raise Conflict("patch board", f"{name} is another one", 409)
        self.writes += 1
        self.changed_by_someone(*wanted["finalizers"])
        return {"metadata": dict(self.metadata)}


async def put_on(there: OneObject, known: Finalizers | None) -> Any:
    return await set_finalizer(UID, present=True, get=there.get, patch=there.patch, known=known)


async def take_off(there: OneObject, known: Finalizers | None) -> Any:
    return await set_finalizer(UID, present=False, get=there.get, patch=there.patch, known=known)


async def test_what_is_known_is_enough_to_put_it_on() -> None:
    there = OneObject(OTHER)
    body = await put_on(there, Finalizers.of(there.metadata))
    assert body["metadata"]["finalizers"] == [OTHER, FINALIZER]
    assert there.reads == 0


async def test_what_is_known_is_enough_to_take_it_off() -> None:
    there = OneObject(FINALIZER, OTHER)
    await take_off(there, Finalizers.of(there.metadata))
    assert there.metadata["finalizers"] == [OTHER]
    assert there.reads == 0


async def test_what_someone_changed_meanwhile_is_kept() -> None:
    there = OneObject()
    known = Finalizers.of(there.metadata)
    there.changed_by_someone(OTHER)
    await put_on(there, known)
    assert there.metadata["finalizers"] == [OTHER, FINALIZER]


async def test_nothing_is_written_where_it_is_already_so() -> None:
    there = OneObject(FINALIZER)
    await put_on(there, Finalizers("0", ()))
    assert there.writes == 0
    await put_on(there, Finalizers.of(there.metadata))
    assert there.writes == 0


async def test_an_object_that_nothing_is_known_of_is_read_first() -> None:
    there = OneObject(OTHER)
    await put_on(there, None)
    assert there.metadata["finalizers"] == [OTHER, FINALIZER]


async def test_another_object_of_the_same_name_is_left_alone() -> None:
    there = OneObject(uid="uid-2")
    with pytest.raises(ObjectNotFound, match="another one has its name"):
        await put_on(there, Finalizers.of(there.metadata))
    assert there.writes == 0


class Ledgers:
    """The API server with many ledgers, and how many calls it had to answer at the same moment."""

    def __init__(self, count: int) -> None:
        self.held = dict.fromkeys((f"uid-{number}" for number in range(count)), False)
        self.under_way = 0
        self.most = 0

    def body(self, name: str) -> dict[str, Any]:
        return {
            "metadata": {
                "name": name,
                "uid": f"ledger-{name}",
                "resourceVersion": "2" if self.held[name] else "1",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "finalizers": [FINALIZER] if self.held[name] else [],
            },
            "spec": {
                "owner": {"kind": "SpawnSession", "namespace": "team", "name": name, "uid": name},
                "clusterUid": "cluster",
                "className": "standard",
                "planned": [],
            },
        }

    async def _answer(self, name: str) -> dict[str, Any]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(1)
        self.under_way -= 1
        return self.body(name)

    async def get_record(self, name: str) -> dict[str, Any]:
        return await self._answer(name)

    async def patch_record(self, name: str, patch: Mapping[str, Any]) -> dict[str, Any]:
        self.held[name] = FINALIZER in patch["metadata"]["finalizers"]
        return await self._answer(name)


@virtual_time
async def test_a_crowd_of_ledgers_that_lack_it_leaves_room_for_what_is_urgent() -> None:
    there, store = Ledgers(200), Store()
    for name in there.held:
        store.put_record(there.body(name))
    custody = Custody(there, store)
    await asyncio.gather(
        *(custody.hold_record(SimpleNamespace(uid=name), HoldRecord()) for name in there.held)
    )
    assert all(there.held.values())
    assert there.most <= 4
