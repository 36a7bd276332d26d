"""The judge sees each thing that must never be; a life that went well is left alone."""

import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from spawnai.api.names import session_droplet_name, session_host_label, session_tag
from spawnai_local.chaos.calls import Call, Edge
from spawnai_local.chaos.faults import Fault
from spawnai_local.chaos.gate import Gate, Passage, Trap
from spawnai_local.chaos.judge import Judge
from spawnai_local.chaos.lives import Life
from spawnai_local.chaos.orders import Orders
from spawnai_local.chaos.plans import Flavour, Situation
from spawnai_local.classes import LOCAL_DOMAIN
from spawnai_local.claude import ClaudeSimulator
from spawnai_local.claude.ledger import Call as Order
from spawnai_local.digitalocean import Emulator, Settings
from spawnai_local.digitalocean.settings import NO_DELAYS

UID = "2f1c0c52-8d25-4c5e-9f07-0e6d7a0c9f11"
STRANGER = "127.9.9.9"


class Scene:
    """One life in an emulated account, without an operator: the test does what one would do."""

    def __init__(self):
        self.emulator = Emulator(settings=Settings(delays=NO_DELAYS))
        self.cloud = self.emulator.cloud
        self.cloud.domains.create({"name": LOCAL_DOMAIN})
        self.gate = Gate()
        self.stack = SimpleNamespace(
            emulator=self.emulator,
            claude=ClaudeSimulator(),
            gate=self.gate,
            orders=Orders(self.cloud.droplets.session_at),
            kills=[],
        )
        self.judge = Judge(self.stack)
        self.life = Life("plan-1", "lane-00", Flavour.OWN_FIREWALL, Situation.CREATING, uid=UID)
        self.life.ended = self.life.rest_from = time.time() + 1
        self.entries = []

    def droplet(self):
        order = {
            "name": session_droplet_name(UID),
            "region": "nyc3",
            "size": "s-1vcpu-1gb",
            "image": "ubuntu-24-04-x64",
            "tags": [session_tag(UID)],
        }
        made = self.cloud.droplets.create(order)[0].droplet
        self.cloud.timeline.settle()
        return made

    def end(self, droplet):
        self.cloud.droplets.delete(droplet.id)
        self.cloud.timeline.settle()
        line = next(one for one in self.cloud.bill.lines() if one.droplet_id == droplet.id)
        self.entries.append(
            {
                "kind": "Droplet",
                "id": str(droplet.id),
                "presence": "Gone",
                "goneAt": "x",
                "cost": str(line.amount(0)),
            }
        )

    def name_for(self, address):
        label = session_host_label("plan-1", UID)
        record = self.cloud.domains.create_record(
            LOCAL_DOMAIN, {"type": "A", "name": label, "data": address, "ttl": 30}
        )
        self.entries.append(
            {"kind": "DomainRecord", "id": str(record.id), "presence": "Gone", "goneAt": "x"}
        )
        return record

    def verdict(self):
        total = sum(float(one.get("cost", 0)) for one in self.entries)
        self.life.ledger = {
            "status": {
                "completedAt": "x",
                "resources": self.entries,
                "totalCost": f"{total:.6f}" if total else "0",
            }
        }
        return self.judge.violations(self.life)


@pytest.fixture
async def scene():
    return Scene()


async def test_a_life_that_went_well_is_left_alone(scene):
    droplet = scene.droplet()
    record = scene.name_for(droplet.public_address)
    scene.cloud.domains.delete_record(LOCAL_DOMAIN, record.id)
    scene.end(droplet)
    assert scene.verdict() == []


async def test_two_droplets_of_one_session(scene):
    for droplet in (scene.droplet(), scene.droplet()):
        scene.end(droplet)
    assert any("2 droplets were made" in one for one in scene.verdict())


async def test_a_droplet_that_is_left(scene):
    scene.droplet()
    found = scene.verdict()
    assert any(one.startswith("1: it is over, and there is still droplet") for one in found)
    assert any(one.startswith("2: Droplet") for one in found)


async def test_a_sum_that_is_not_the_clouds(scene):
    scene.end(scene.droplet())
    scene.entries[0]["cost"] = "0.5"
    assert any("the cloud billed" in one for one in scene.verdict())


async def test_a_name_that_outlives_its_droplet(scene):
    droplet = scene.droplet()
    record = scene.name_for(droplet.public_address)
    scene.end(droplet)
    scene.cloud.domains.delete_record(LOCAL_DOMAIN, record.id)
    assert any("while its name pointed at it" in one for one in scene.verdict())


async def test_a_name_that_leads_to_a_stranger(scene):
    scene.end(scene.droplet())
    record = scene.name_for(STRANGER)
    scene.cloud.domains.delete_record(LOCAL_DOMAIN, record.id)
    assert any(f"pointed at {STRANGER}" in one for one in scene.verdict())


async def test_a_certificate_that_is_not_revoked_and_one_too_many(scene):
    scene.end(scene.droplet())
    scene.stack.orders.issued[UID], scene.stack.orders.revoked[UID] = 2, 1
    assert scene.verdict() == [
        "1: 2 certificates were issued for it",
        "1: it is over, and 1 of 2 certificates were revoked",
    ]


async def test_a_write_at_rest(scene):
    scene.end(scene.droplet())
    call = Call(Edge.API_SERVER, "PATCH spawnsessions/status progress", writes=True)
    scene.gate.log.append(Passage(scene.life.rest_from + 1, call, "plan-1", None))
    assert [one for one in scene.verdict() if one.startswith("6: at rest")]


async def test_tokens_that_nobody_was_billed_for(scene):
    scene.end(scene.droplet())
    scene.verdict()
    scene.life.ledger["status"]["generations"] = [
        {"model": "claude-sonnet-5-5", "inputTokens": 5, "cost": "0"}
    ]
    assert any(
        "5: Claude billed 0 input_tokens" in one for one in scene.judge.violations(scene.life)
    )


def order(scene, at):
    """An order to Claude that was written to its end within a second."""
    scene.stack.claude.ledger.add(
        Order(
            number=0,
            session=UID,
            model="claude-sonnet-5-5",
            app_type="script",
            repair=False,
            streamed=True,
            at=datetime.fromtimestamp(at, UTC),
            outcome="complete",
            seconds=1.0,
            output_tokens=10,
        )
    )


def store(scene, at, fault=None, status=201):
    call = Call(Edge.API_SERVER, "POST secrets", writes=True)
    trap = Trap("plan-1", Situation.CREATING, call.name, fault) if fault is not None else None
    scene.gate.log.append(Passage(at, call, "plan-1", None, trap, status))


PAID_TWICE = "5: its app was written and paid for 2 times"


async def test_an_app_that_was_stored_is_paid_for_once_whatever_was_killed_since(scene):
    scene.end(scene.droplet())
    began = scene.life.began
    order(scene, began)
    store(scene, began + 1.5)
    scene.stack.kills.append((began + 2, began + 3))
    order(scene, began + 6)
    store(scene, began + 7.5)
    assert PAID_TWICE in scene.verdict()


@pytest.mark.parametrize("stored", [None, Fault.KILLED_BEFORE])
async def test_an_app_that_was_lost_to_a_kill_before_it_was_stored_is_written_again(scene, stored):
    scene.end(scene.droplet())
    began = scene.life.began
    order(scene, began)
    if stored is not None:
        store(scene, began + 1.5, stored, None)
    scene.stack.kills.append((began + 8, began + 9))
    order(scene, began + 12)
    store(scene, began + 13.5)
    assert PAID_TWICE not in scene.verdict()


async def test_an_app_whose_storing_was_killed_after_its_effect_is_not_written_again(scene):
    scene.end(scene.droplet())
    began = scene.life.began
    order(scene, began)
    store(scene, began + 1.5, Fault.KILLED_AFTER, None)
    scene.stack.kills.append((began + 8, began + 9))
    order(scene, began + 12)
    assert PAID_TWICE in scene.verdict()


async def test_a_late_deletion_unless_something_was_in_its_way(scene):
    droplet = scene.droplet()
    scene.life.expiry = time.time() - 3
    scene.end(droplet)
    assert any("after its expiry" in one for one in scene.verdict())
    trap = Trap("plan-1", Situation.EXPIRING, "DELETE", Fault.TIMEOUT_AFTER)
    trap.struck_at = scene.life.expiry
    scene.life.trap, scene.life.edge = trap, Edge.DIGITALOCEAN
    scene.life.situation = Situation.EXPIRING
    assert scene.verdict() == []
    scene.life.expiry -= 60
    trap.struck_at = scene.life.expiry
    assert any("after all answered again" in one for one in scene.verdict())


async def test_a_deletion_before_its_time(scene):
    droplet = scene.droplet()
    scene.end(droplet)
    scene.life.expiry = time.time() + 60
    assert any("before its time" in one for one in scene.verdict())


async def test_what_did_not_happen_in_its_time(scene):
    scene.end(scene.droplet())
    scene.life.unmet = "it was not running within 200 s"
    assert scene.verdict() == ["7: it was not running within 200 s"]
