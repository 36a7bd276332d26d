"""What the operator knows of its objects, whichever way it hears of their end first."""

from typing import Any

import pytest

from spawnai.api.names import FINALIZER
from spawnai.controller.store import Store

UID = "2f1c0c52-8d25-4c5e-9f07-0e6d7a0c9f11"
NOW = "2026-11-23T10:00:00Z"


def body(version: int, *, deleting: bool = False, held: bool = True, uid: str = UID) -> Any:
    return {
        "metadata": {
            "name": "board",
            "namespace": "default",
            "uid": uid,
            "resourceVersion": str(version),
            "creationTimestamp": NOW,
            **({"deletionTimestamp": NOW} if deleting else {}),
            **({"finalizers": [FINALIZER]} if held else {}),
        },
        "spec": {"prompt": "A retro board", "appType": "webapp"},
    }


def class_body(version: int, **how: Any) -> Any:
    return {**body(version, **how), "spec": {}}


@pytest.mark.parametrize("deleted_first", [True, False])
def test_the_answer_that_lets_an_object_go_does_not_bring_it_back(deleted_first):
    store = Store()
    store.put_session(body(1))
    store.put_class(class_body(1))
    if deleted_first:
        store.remove_session(UID)
        store.remove_class("board")
    store.put_session(body(2, deleting=True, held=False))
    store.put_class(class_body(2, deleting=True, held=False))
    assert store.session(UID) is None
    assert store.spawn_class("board") is None


def test_a_class_of_the_same_name_is_not_taken_for_the_one_that_went():
    store = Store()
    store.put_class(class_body(3, uid="another"))
    store.put_class(class_body(2, deleting=True, held=False))
    known = store.spawn_class("board")
    assert known is not None
    assert known.uid == "another"


def test_an_object_that_is_deleted_but_held_is_still_there():
    store = Store()
    store.put_session(body(2, deleting=True))
    session = store.session(UID)
    assert session is not None
    assert session.deleting


@pytest.mark.parametrize(("orphaned", "closed"), [(True, True), (None, False)])
def test_a_ledger_made_for_an_orphan_is_closed_from_the_first(orphaned, closed):
    """It is made and written in two calls; between them nothing may take it for a session's."""
    store = Store()
    ledger = {
        **body(7),
        "spec": {
            "owner": {"kind": "SpawnSession", "name": "retro-board", "uid": "retro-board"},
            "clusterUid": "one",
            "orphaned": orphaned,
        },
    }
    store.put_record(ledger)
    known = store.record(ledger["metadata"]["name"])
    assert known is not None
    assert (known.status.completed_at is not None) is closed
