"""Firewalls: what they accept, what they cover, and when they are in force."""

import pytest

EVERYWHERE = ["0.0.0.0/0", "::/0"]
WEB = {"protocol": "tcp", "ports": "80", "sources": {"addresses": EVERYWHERE}}
OUT = {"protocol": "tcp", "ports": "443", "destinations": {"addresses": EVERYWHERE}}


def order(name="fw", **parts):
    return {"name": name, "inbound_rules": [WEB], "outbound_rules": [OUT], **parts}


async def made(account, **parts):
    reply = await account.post("/v2/firewalls", order(**parts))
    assert reply.status == 202, reply
    return reply.body["firewall"]


async def shown(account, firewall):
    return (await account.get(f"/v2/firewalls/{firewall['id']}")).body["firewall"]


async def test_a_firewall_waits_with_its_pending_changes_and_then_succeeds(account, control, clock):
    await control.set_delays(firewall=6)
    droplet = await account.active_droplet()
    firewall = await made(account, droplet_ids=[droplet["id"]])
    assert firewall["status"] == "waiting"
    assert firewall["pending_changes"] == [
        {"droplet_id": droplet["id"], "removing": False, "status": "waiting"}
    ]
    clock.advance(6)
    settled = await shown(account, firewall)
    assert (settled["status"], settled["pending_changes"]) == ("succeeded", [])


async def test_a_new_droplet_with_its_tag_makes_a_firewall_wait_again(account, control, clock):
    await control.set_delays(firewall=6, boot=2)
    await account.post("/v2/tags", {"name": "class:1"})
    firewall = await made(account, tags=["class:1"])
    clock.advance(6)
    assert (await shown(account, firewall))["status"] == "succeeded"
    droplet = await account.create_droplet(tags=["class:1"])
    waiting = await shown(account, firewall)
    assert [one["droplet_id"] for one in waiting["pending_changes"]] == [droplet["id"]]
    assert waiting["status"] == "waiting"
    clock.advance(6)
    assert (await shown(account, firewall))["status"] == "succeeded"
    covering = await account.get(f"/v2/droplets/{droplet['id']}/firewalls")
    assert [one["id"] for one in covering.body["firewalls"]] == [firewall["id"]]


async def test_the_api_answers_zero_for_all_ports(account):
    rules = [
        {"protocol": "tcp", "ports": "all", "destinations": {"addresses": EVERYWHERE}},
        {"protocol": "udp", "ports": "0", "destinations": {"addresses": EVERYWHERE}},
        {"protocol": "icmp", "destinations": {"addresses": EVERYWHERE}},
    ]
    firewall = await made(account, outbound_rules=rules)
    assert [rule["ports"] for rule in firewall["outbound_rules"]] == ["0", "0", "0"]


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ({"name": "no_underscores"}, 422),
        ({"name": None}, 422),
        ({"inbound_rules": [], "outbound_rules": []}, 422),
        ({"inbound_rules": [{**WEB, "protocol": "sctp"}]}, 422),
        ({"inbound_rules": [{**WEB, "ports": "99999"}]}, 422),
        ({"inbound_rules": [{**WEB, "ports": "90-80"}]}, 422),
        ({"inbound_rules": [{**WEB, "ports": ""}]}, 422),
        ({"inbound_rules": [{**WEB, "sources": {}}]}, 422),
        ({"inbound_rules": [{**WEB, "sources": {"addresses": ["nowhere"]}}]}, 422),
        ({"tags": ["unknown-tag"]}, 422),
        ({"droplet_ids": [5]}, 422),
    ],
)
async def test_a_wrong_order_is_refused_and_makes_nothing(account, parts, status):
    reply = await account.post("/v2/firewalls", {**order(), **parts})
    assert reply.status == status
    assert await account.names("/v2/firewalls", "firewalls") == []


async def test_names_are_unique_for_the_account(account):
    first = await made(account, name="fw-1")
    duplicate = await account.post("/v2/firewalls", order("fw-1"))
    assert (duplicate.status, duplicate.body["id"]) == (409, "conflict")
    assert duplicate.message == "duplicate name"
    other = await made(account, name="fw-2")
    renamed = await account.put(f"/v2/firewalls/{other['id']}", order("fw-1"))
    assert renamed.status == 409
    assert (await account.put(f"/v2/firewalls/{first['id']}", order("fw-1"))).status == 200


async def test_at_most_10_droplets_5_tags_and_50_rules(account, control):
    droplets = [(await account.active_droplet(f"d{number}"))["id"] for number in range(11)]
    for number in range(6):
        await account.post("/v2/tags", {"name": f"t{number}"})
    tags = [f"t{number}" for number in range(6)]
    rules = [{**WEB, "ports": str(1000 + number)} for number in range(50)]
    assert (await account.post("/v2/firewalls", order(droplet_ids=droplets))).status == 422
    assert (await account.post("/v2/firewalls", order(tags=tags))).status == 422
    assert (await account.post("/v2/firewalls", order(inbound_rules=rules))).status == 422
    firewall = await made(
        account, droplet_ids=droplets[:10], tags=tags[:5], inbound_rules=rules[:49]
    )
    path = f"/v2/firewalls/{firewall['id']}"
    assert (await account.post(f"{path}/droplets", {"droplet_ids": droplets[10:]})).status == 422
    assert (await account.post(f"{path}/tags", {"tags": tags[5:]})).status == 422


async def test_updating_replaces_everything(account, clock):
    droplet = await account.active_droplet()
    firewall = await made(account, droplet_ids=[droplet["id"]])
    reply = await account.put(
        f"/v2/firewalls/{firewall['id']}", {"name": "fw", "outbound_rules": [OUT]}
    )
    assert reply.body["firewall"]["droplet_ids"] == []
    assert reply.body["firewall"]["inbound_rules"] == []
    assert reply.body["firewall"]["created_at"] == firewall["created_at"]
    assert {"droplet_id": droplet["id"], "removing": True, "status": "waiting"} in reply.body[
        "firewall"
    ]["pending_changes"]


async def test_droplets_tags_and_rules_are_added_and_removed(account, clock):
    droplet = await account.active_droplet()
    await account.post("/v2/tags", {"name": "blue"})
    path = f"/v2/firewalls/{(await made(account))['id']}"
    more = {"inbound_rules": [{**WEB, "ports": "8443"}]}
    for resource, body in (
        ("droplets", {"droplet_ids": [droplet["id"]]}),
        ("tags", {"tags": ["blue"]}),
        ("rules", more),
    ):
        for _ in range(2):
            assert (await account.post(f"{path}/{resource}", body)).status == 204
    firewall = (await account.get(path)).body["firewall"]
    assert (firewall["droplet_ids"], firewall["tags"]) == ([droplet["id"]], ["blue"])
    assert [rule["ports"] for rule in firewall["inbound_rules"]] == ["80", "8443"]
    assert (
        await account.delete(f"{path}/droplets", {"droplet_ids": [droplet["id"]]})
    ).status == 204
    assert (await account.delete(f"{path}/tags", {"tags": ["blue"]})).status == 204
    assert (await account.delete(f"{path}/rules", more)).status == 204
    firewall = (await account.get(path)).body["firewall"]
    assert (firewall["droplet_ids"], firewall["tags"]) == ([], [])
    assert [rule["ports"] for rule in firewall["inbound_rules"]] == ["80"]


async def test_a_deleted_droplet_and_a_deleted_tag_leave_their_firewalls(account, clock):
    droplet = await account.active_droplet(tags=["blue"])
    firewall = await made(account, droplet_ids=[droplet["id"]], tags=["blue"])
    await account.delete(f"/v2/droplets/{droplet['id']}")
    await account.delete("/v2/tags/blue")
    after = await shown(account, firewall)
    assert (after["droplet_ids"], after["tags"], after["pending_changes"]) == ([], [], [])


async def test_deleting_is_204_then_404(account):
    path = f"/v2/firewalls/{(await made(account))['id']}"
    assert (await account.delete(path)).status == 204
    assert (await account.delete(path)).status == 404
    assert (await account.get(path)).status == 404
    assert (await account.put(path, order())).status == 404
