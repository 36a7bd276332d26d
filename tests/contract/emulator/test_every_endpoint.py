"""Every endpoint that is emulated is in DigitalOcean's description, and answers as it says.

The `emulator` fixture holds every answer of every test against the description; this test makes
sure that none of the endpoints is left out.
"""

from tests.contract.emulator.support import DROPLET
from tests.contract.openapi import contract

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHVudGVzdHVudGVzdHVudGVzdHVudGVzdHVudGVz me"
WEB = {"protocol": "tcp", "ports": "80", "sources": {"addresses": ["0.0.0.0/0"]}}
SUCCESS = range(200, 300)


def test_every_emulated_endpoint_is_described(emulator):
    described = {
        f"{method.upper()} {path}"
        for path, operations in contract()["paths"].items()
        for method in operations
    }
    assert set(emulator.api.endpoints) <= described


async def test_every_emulated_endpoint_answers_with_success_as_described(emulator, account, clock):
    answered = set()

    def note(endpoint, _request, answer):
        if answer.status in SUCCESS:
            answered.add(endpoint)

    emulator.api.observers.append(note)

    async def call(method, path, body=None):
        reply = await account.send(method, path, body)
        assert reply.status in SUCCESS, (method, path, reply)
        return reply.body

    key = (await call("POST", "/v2/account/keys", {"name": "k", "public_key": KEY}))["ssh_key"]
    await call("PUT", f"/v2/account/keys/{key['id']}", {"name": "k2"})
    await call("POST", "/v2/tags", {"name": "blue"})
    names = {"names": ["a", "b"], "tags": ["blue"], "monitoring": True, **DROPLET}
    droplet = (await call("POST", "/v2/droplets", names))["droplets"][0]["id"]
    await call("GET", f"/v2/droplets/{droplet}/firewalls")
    clock.advance(60)
    resources = {"resources": [{"resource_id": str(droplet), "resource_type": "droplet"}]}
    await call("POST", "/v2/tags/blue/resources", resources)
    domains = "/v2/domains"
    await call("POST", domains, {"name": "example.com", "ip_address": "127.0.0.1"})
    records = f"{domains}/example.com/records"
    order = {"type": "A", "name": "app", "data": "127.0.0.1"}
    record = (await call("POST", records, order))["domain_record"]["id"]
    await call("PUT", f"{records}/{record}", order)
    await call("PATCH", f"{records}/{record}", order)
    firewalls = "/v2/firewalls"
    wanted = {
        "name": "fw",
        "inbound_rules": [WEB],
        "tags": ["blue"],
        "droplet_ids": [droplet],
    }
    firewall = (await call("POST", firewalls, wanted))["firewall"]["id"]
    await call("PUT", f"{firewalls}/{firewall}", wanted)
    parts = (
        ("droplets", {"droplet_ids": [droplet]}),
        ("tags", {"tags": ["blue"]}),
        ("rules", {"inbound_rules": [WEB]}),
    )
    for part, body in parts:
        await call("POST", f"{firewalls}/{firewall}/{part}", body)
    action = (await call("POST", f"/v2/droplets/{droplet}/actions", {"type": "reboot"}))["action"]
    clock.advance(60)
    await call("POST", "/v2/droplets/actions?tag_name=blue", {"type": "power_off"})
    clock.advance(60)

    names = {"name": "c", "type": "lets_encrypt", "dns_names": ["*.example.com"]}
    certificate = (await call("POST", "/v2/certificates", names))["certificate"]["id"]
    rule = dict.fromkeys(("entry_protocol", "target_protocol"), "http")
    rule |= dict.fromkeys(("entry_port", "target_port"), 80)
    balancers = "/v2/load_balancers"
    balancing = {"name": "lb", "region": "nyc3", "forwarding_rules": [rule]}
    balancer = (await call("POST", balancers, balancing))["load_balancer"]["id"]
    clock.advance(60)
    await call("PUT", f"{balancers}/{balancer}", balancing)
    other = {"forwarding_rules": [{**rule, "entry_port": 81}]}
    changes = (("droplets", {"droplet_ids": [droplet]}), ("forwarding_rules", other))
    for method in ("POST", "DELETE"):
        for part, body in changes:
            clock.advance(60)
            await call(method, f"{balancers}/{balancer}/{part}", body)
    snapshot = {"type": "snapshot", "name": "baked"}
    await call("POST", f"/v2/droplets/{droplet}/actions", snapshot)
    clock.advance(60)
    image = (await call("GET", f"/v2/droplets/{droplet}/snapshots"))["snapshots"][0]["id"]
    order = {"name": "own", "url": "https://example.com/a", "region": "nyc3"}
    uploaded = (await call("POST", "/v2/images", {**order, "distribution": "Debian"}))["image"]
    order = {"type": "transfer", "region": "ams3"}
    transfer = (await call("POST", f"/v2/images/{image}/actions", order))["id"]
    clock.advance(60)
    await call("PUT", f"/v2/images/{image}", {"name": "baked-2"})
    await call("GET", f"/v2/images/{image}/actions/{transfer}")
    parameters = {
        "droplet_id": droplet,
        "action_id": action["id"],
        "domain_name": "example.com",
        "domain_record_id": record,
        "firewall_id": firewall,
        "image_id": image,
        "snapshot_id": image,
        "certificate_id": certificate,
        "lb_id": balancer,
        "ssh_key_identifier": key["fingerprint"],
        "tag_id": "blue",
    }
    for endpoint in emulator.api.endpoints:
        method, _, template = endpoint.partition(" ")
        if method == "GET" and endpoint != "GET /v2/images/{image_id}/actions/{action_id}":
            await call("GET", template.format(**parameters))

    for part, body in parts:
        await call("DELETE", f"{firewalls}/{firewall}/{part}", body)
    await call("DELETE", f"{balancers}/{balancer}")
    clock.advance(60)
    await call("DELETE", f"/v2/certificates/{certificate}")
    await call("DELETE", f"/v2/snapshots/{image}")
    await call("DELETE", f"/v2/images/{uploaded['id']}")
    await call("DELETE", "/v2/tags/blue/resources", resources)
    await call("DELETE", f"{records}/{record}")
    await call("DELETE", f"{domains}/example.com")
    await call("DELETE", f"{firewalls}/{firewall}")
    await call("DELETE", f"/v2/droplets/{droplet}")
    await call("DELETE", "/v2/droplets?tag_name=blue")
    await call("DELETE", "/v2/tags/blue")
    await call("DELETE", f"/v2/account/keys/{key['id']}")
    assert answered == set(emulator.api.endpoints)
