"""DigitalOcean's own Python client works against the emulator as against the real API.

pydo's operation groups serialise requests, follow its generated models and read the answers; no
one here wrote them. Its bearer policy refuses http:// addresses, so the token is set by a policy of
ours; its retries would hide what the server does, so there are none.
"""

import pytest
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import AsyncRetryPolicy, SansIOHTTPPolicy
from pydo.aio import Client
from tests.contract.emulator.support import DROPLET

EVERYWHERE = ["0.0.0.0/0", "::/0"]


class PlainBearer(SansIOHTTPPolicy):
    def on_request(self, request):
        request.http_request.headers["Authorization"] = "Bearer local-token"


@pytest.fixture
async def pydo(emulator):
    client = Client(
        "unused",
        endpoint=emulator.url,
        authentication_policy=PlainBearer(),
        retry_policy=AsyncRetryPolicy.no_retries(),
    )
    async with client:
        yield client


async def test_a_droplets_whole_life(pydo, clock):
    account = (await pydo.account.get())["account"]
    assert account["status"] == "active"
    order = {
        "name": "web-1",
        "tags": ["spawn-ai", "session:1"],
        "user_data": "#!/bin/sh",
        **DROPLET,
    }
    created = await pydo.droplets.create(body=order)
    identifier = created["droplet"]["id"]
    assert created["droplet"]["networks"]["v4"] == []
    clock.advance(60)
    droplet = (await pydo.droplets.get(droplet_id=identifier))["droplet"]
    assert droplet["status"] == "active"
    action = await pydo.droplet_actions.post(droplet_id=identifier, body={"type": "power_off"})
    clock.advance(60)
    shown = await pydo.actions.get(action_id=action["action"]["id"])
    assert shown["action"]["status"] == "completed"
    assert await pydo.droplets.destroy(droplet_id=identifier) is None
    assert (await pydo.droplets.get(droplet_id=identifier))["id"] == "not_found"


async def test_pages_of_droplets_by_tag(pydo):
    for number in range(3):
        await pydo.droplets.create(body={"name": f"d{number}", "tags": ["wave:1"], **DROPLET})
    first = await pydo.droplets.list(tag_name="wave:1", per_page=2)
    assert (len(first["droplets"]), first["meta"]["total"]) == (2, 3)
    assert "page=2" in first["links"]["pages"]["next"]
    second = await pydo.droplets.list(tag_name="wave:1", per_page=2, page=2)
    assert [droplet["name"] for droplet in second["droplets"]] == ["d2"]


async def test_a_firewall_over_a_tag(pydo, clock):
    await pydo.tags.create(body={"name": "class:1"})
    rules = {
        "name": "fw-1",
        "tags": ["class:1"],
        "inbound_rules": [{"protocol": "tcp", "ports": "80", "sources": {"addresses": EVERYWHERE}}],
        "outbound_rules": [
            {"protocol": "tcp", "ports": "all", "destinations": {"addresses": EVERYWHERE}}
        ],
    }
    firewall = (await pydo.firewalls.create(body=rules))["firewall"]
    assert firewall["status"] == "waiting"
    clock.advance(60)
    shown = (await pydo.firewalls.get(firewall_id=firewall["id"]))["firewall"]
    assert (shown["status"], shown["outbound_rules"][0]["ports"]) == ("succeeded", "0")
    await pydo.firewalls.update(firewall_id=firewall["id"], body={**rules, "name": "fw-2"})
    listed = (await pydo.firewalls.list())["firewalls"]
    assert [one["name"] for one in listed] == ["fw-2"]
    assert await pydo.firewalls.delete(firewall_id=firewall["id"]) is None


async def test_a_domain_and_its_records(pydo):
    await pydo.domains.create(body={"name": "example.com"})
    order = {"type": "A", "name": "app", "data": "127.0.0.1", "ttl": 30}
    record = (await pydo.domains.create_record(domain_name="example.com", body=order))[
        "domain_record"
    ]
    found = await pydo.domains.list_records(
        domain_name="example.com", name="app.example.com", type="A"
    )
    assert found["domain_records"] == [record]
    changed = await pydo.domains.patch_record(
        domain_name="example.com",
        domain_record_id=record["id"],
        body={"type": "A", "data": "127.0.0.2"},
    )
    assert changed["domain_record"]["data"] == "127.0.0.2"
    gone = await pydo.domains.delete_record(
        domain_name="example.com", domain_record_id=record["id"]
    )
    assert gone is None


async def test_the_offer_is_read(pydo):
    sizes = (await pydo.sizes.list(per_page=200))["sizes"]
    assert {"s-1vcpu-1gb", "s-2vcpu-2gb", "s-2vcpu-4gb"} <= {size["slug"] for size in sizes}
    regions = (await pydo.regions.list(per_page=200))["regions"]
    assert "nyc3" in {region["slug"] for region in regions}
    assert (await pydo.images.get(image_id="debian-12-x64"))["image"]["distribution"] == "Debian"


async def test_a_certificate_and_a_load_balancer_that_uses_it(pydo, clock):
    await pydo.domains.create(body={"name": "example.com"})
    order = {"name": "wild", "type": "lets_encrypt", "dns_names": ["*.example.com"]}
    certificate = (await pydo.certificates.create(body=order))["certificate"]
    assert certificate["state"] == "pending"
    clock.advance(60)
    [certificate] = (await pydo.certificates.list(name="wild"))["certificates"]
    assert certificate["state"] == "verified"
    droplet = (await pydo.droplets.create(body={"name": "web-1", **DROPLET}))["droplet"]
    wanted = {
        "name": "lb-1",
        "region": "nyc3",
        "droplet_ids": [droplet["id"]],
        "forwarding_rules": [
            {
                "entry_protocol": "https",
                "entry_port": 443,
                "target_protocol": "http",
                "target_port": 80,
                "certificate_id": certificate["id"],
            }
        ],
        "disable_lets_encrypt_dns_records": True,
    }
    made = (await pydo.load_balancers.create(body=wanted))["load_balancer"]
    assert (made["status"], made["ip"]) == ("new", "")
    with pytest.raises(HttpResponseError, match="processes previous actions"):
        await pydo.load_balancers.update(lb_id=made["id"], body=wanted)
    clock.advance(60)
    shown = (await pydo.load_balancers.get(lb_id=made["id"]))["load_balancer"]
    assert shown["status"] == "active"
    rules = {"name": "fw", "droplet_ids": [droplet["id"]]}
    rules["inbound_rules"] = [
        {"protocol": "tcp", "ports": "80", "sources": {"load_balancer_uids": [made["id"]]}}
    ]
    firewall = (await pydo.firewalls.create(body=rules))["firewall"]
    assert firewall["inbound_rules"][0]["sources"]["load_balancer_uids"] == [made["id"]]
    with pytest.raises(HttpResponseError, match="not in use before deleting"):
        await pydo.certificates.delete(certificate_id=certificate["id"])
    assert await pydo.load_balancers.delete(lb_id=made["id"]) is None
    clock.advance(60)
    assert await pydo.certificates.delete(certificate_id=certificate["id"]) is None


async def test_a_snapshot_goes_to_another_region_and_away(pydo, clock):
    droplet = (await pydo.droplets.create(body={"name": "builder", **DROPLET}))["droplet"]["id"]
    clock.advance(60)
    order = {"type": "snapshot", "name": "baked"}
    action = (await pydo.droplet_actions.post(droplet_id=droplet, body=order))["action"]
    clock.advance(60)
    shown = await pydo.droplet_actions.get(droplet_id=droplet, action_id=action["id"])
    assert shown["action"]["status"] == "completed"
    [made] = (await pydo.droplets.list_snapshots(droplet_id=droplet))["snapshots"]
    order = {"type": "transfer", "region": "ams3"}
    transfer = await pydo.image_actions.post(image_id=made["id"], body=order)
    assert transfer["status"] == "in-progress"
    clock.advance(60)
    image = (await pydo.images.get(image_id=made["id"]))["image"]
    assert image["regions"] == ["nyc3", "ams3"]
    assert [one["name"] for one in (await pydo.snapshots.list())["snapshots"]] == ["baked"]
    assert await pydo.images.delete(image_id=made["id"]) is None
    assert (await pydo.images.get(image_id=made["id"]))["id"] == "not_found"
