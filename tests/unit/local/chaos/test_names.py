"""A session's name leads to its own droplet, at every moment, or it is told."""

from spawnai_local.chaos.names import astray

UID = "5e550000-0000-4000-8000-000000000001"
OTHER = "5e55ffff-0000-4000-8000-000000000002"
LABEL = "board-5e550000"


def droplet(address, uid=UID):
    return {"what": "droplet created", "name": f"spawn-{uid}", "address": address}


def record(data, what="record created", label=LABEL):
    return {"what": what, "name": label, "data": data}


def test_a_name_that_leads_to_its_own_droplet_is_right():
    assert list(astray([droplet("127.0.0.2"), record("127.0.0.2")], UID)) == []


def test_a_name_that_is_pointed_at_another_droplet_is_told():
    changes = [droplet("127.0.0.2"), droplet("127.0.0.3", OTHER), record("127.0.0.3")]
    assert list(astray(changes, UID)) == [
        "its name was pointed at 127.0.0.3, which is not its droplet's"
    ]


def test_a_name_that_is_changed_to_another_address_is_told():
    changes = [droplet("127.0.0.2"), record("127.0.0.2"), record("127.0.0.9", "record changed")]
    assert len(list(astray(changes, UID))) == 1


def test_a_name_that_outlives_its_droplet_is_told():
    dangling = {"what": "record dangling", "name": LABEL, "address": "127.0.0.2"}
    changes = [droplet("127.0.0.2"), record("127.0.0.2"), dangling]
    assert list(astray(changes, UID)) == ["its droplet was deleted while its name pointed at it"]


def test_names_of_others_are_theirs():
    changes = [droplet("127.0.0.2"), record("127.0.0.9", label="board-5e55ffff")]
    assert list(astray(changes, UID)) == []
