"""Load balancers: what they accept, when they are active and busy, and what they cost."""

import asyncio
import ssl
import time
from dataclasses import replace

import pytest
from tests.contract.emulator.support import SESSION

from spawnai_local.digitalocean import Limits, ManualClock

RULE = {
    "entry_protocol": "http",
    "entry_port": 80,
    "target_protocol": "http",
    "target_port": 80,
}


def order(name="lb-1", **parts):
    return {"name": name, "region": "nyc3", "forwarding_rules": [RULE], **parts}


async def ordered(account, **parts):
    reply = await account.post("/v2/load_balancers", order(**parts))
    assert reply.status == 202, reply
    return reply.body["load_balancer"]


async def shown(account, one):
    return (await account.get(f"/v2/load_balancers/{one['id']}")).body["load_balancer"]


async def active(account, **parts):
    one = await ordered(account, **parts)
    account.clock.advance(60)
    return await shown(account, one)


async def test_it_is_new_without_an_address_and_then_active_with_one(account, control, clock):
    await control.set_delays(load_balancer=90)
    one = await ordered(account)
    assert (one["status"], one["ip"]) == ("new", "")
    clock.advance(89)
    assert (await shown(account, one))["status"] == "new"
    clock.advance(1)
    one = await shown(account, one)
    assert one["status"] == "active"
    assert one["ip"].startswith("127.")
    assert [what["what"] for what in await control.history()] == [
        "load balancer created",
        "load balancer active",
    ]


async def test_one_may_end_in_error_and_never_has_an_address(account, control, clock):
    await control.add_faults("POST /v2/load_balancers errored")
    one = await ordered(account)
    clock.advance(60)
    one = await shown(account, one)
    assert (one["status"], one["ip"]) == ("errored", "")
    assert (await account.delete(f"/v2/load_balancers/{one['id']}")).status == 204


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "", order()),
        ("POST", "/droplets", {"droplet_ids": []}),
        ("DELETE", "/forwarding_rules", {"forwarding_rules": []}),
    ],
)
async def test_while_it_is_new_or_busy_every_change_is_a_403(account, clock, method, path, body):
    one = await ordered(account)
    url = f"/v2/load_balancers/{one['id']}"
    refused = await account.send(method, url + path, body)
    assert (refused.status, refused.body["id"]) == (403, "forbidden")
    assert refused.message == ("Load Balancer can't be updated while it processes previous actions")
    clock.advance(60)
    assert (await account.put(url, order(redirect_http_to_https=True))).status == 200
    assert (await account.send(method, url + path, body)).status == 403
    clock.advance(60)
    assert (await account.put(url, order())).status == 200


async def test_names_are_unique_in_the_account(account):
    await ordered(account)
    refused = await account.post("/v2/load_balancers", order())
    assert (refused.status, refused.message) == (422, "load balancer name is not unique")


@pytest.mark.parametrize(
    "parts",
    [
        {"name": ""},
        {"region": "moon1"},
        {"forwarding_rules": []},
        {"forwarding_rules": [{**RULE, "entry_protocol": "gopher"}]},
        {"forwarding_rules": [{**RULE, "entry_port": 0}]},
        {"forwarding_rules": [RULE, RULE]},
        {"forwarding_rules": [{**RULE, "entry_protocol": "https"}]},
        {"forwarding_rules": [{**RULE, "entry_protocol": "https", "certificate_id": "none"}]},
        {"droplet_ids": [5]},
        {"size_unit": 0},
        {"http_idle_timeout_seconds": 5},
        {"health_check": {"check_interval_seconds": 1}},
    ],
)
async def test_a_wrong_order_is_refused_and_makes_nothing(account, parts):
    reply = await account.post("/v2/load_balancers", {**order(), **parts})
    assert reply.status == 422
    assert await account.names("/v2/load_balancers", "load_balancers") == []


async def test_droplets_are_named_by_id_or_by_tag_and_are_of_its_region(account, clock):
    near = await account.active_droplet("near", tags=["web"])
    far = await account.create_droplet("far", region="ams3", tags=["web"])
    both = order(droplet_ids=[near["id"]], tag="web")
    assert (await account.post("/v2/load_balancers", both)).status == 422
    assert (await account.post("/v2/load_balancers", order(droplet_ids=[far["id"]]))).status == 422
    by_tag = await active(account, name="by-tag", tag="web")
    assert by_tag["droplet_ids"] == [near["id"]]
    by_id = await active(account, name="by-id", droplet_ids=[near["id"]])
    await account.delete(f"/v2/droplets/{near['id']}")
    clock.advance(60)
    assert (await shown(account, by_id))["droplet_ids"] == []


class TestAFullAccount:
    @pytest.fixture
    def settings(self, settings):
        return replace(settings, limits=Limits(load_balancers=1))

    async def test_the_limit_of_load_balancers_is_found_out_by_a_refusal(self, account):
        await ordered(account)
        refused = await account.post("/v2/load_balancers", order("lb-2"))
        assert refused.status == 422
        assert "load balancer limit" in refused.message


async def test_it_costs_twelve_dollars_a_node_and_month_by_the_second(account, control, clock):
    one = await ordered(account, size_unit=2)
    clock.advance(7200)
    await account.delete(f"/v2/load_balancers/{one['id']}")
    clock.advance(7200)
    [line] = (await control.bill())["others"]
    assert (line["kind"], line["dollars"]) == ("load_balancer", "0.071429")
    assert (await control.bill())["dollars"] == "0.071429"


async def test_when_it_goes_its_address_is_lost_and_a_name_that_leads_there_dangles(
    account, control
):
    one = await active(account)
    await account.post("/v2/domains", {"name": "example.com"})
    record = {"type": "A", "name": "app", "data": one["ip"]}
    await account.post("/v2/domains/example.com/records", record)
    assert (await account.delete(f"/v2/load_balancers/{one['id']}")).status == 204
    assert (await account.delete(f"/v2/load_balancers/{one['id']}")).status == 404
    assert "record dangling" in [what["what"] for what in await control.history()]


@pytest.mark.parametrize("told_not_to", [False, True])
async def test_with_a_lets_encrypt_certificate_it_writes_the_apex_unless_told_not_to(
    account, clock, told_not_to
):
    await account.post("/v2/domains", {"name": "example.com"})
    certificate = {"name": "c", "type": "lets_encrypt", "dns_names": ["*.example.com"]}
    made = (await account.post("/v2/certificates", certificate)).body["certificate"]
    clock.advance(60)
    rule = {**RULE, "entry_protocol": "https", "entry_port": 443, "certificate_id": made["id"]}
    await active(account, forwarding_rules=[rule], disable_lets_encrypt_dns_records=told_not_to)
    records = await account.get("/v2/domains/example.com/records", type="A")
    assert [one["name"] for one in records.body["domain_records"]] == ([] if told_not_to else ["@"])


async def test_calls_for_it_are_told_to_be_for_the_session_in_its_name(account, control):
    one = await ordered(account, name=f"spawn-{SESSION}")
    await account.get(f"/v2/load_balancers/{one['id']}")
    assert (await control.calls())["by_session"][SESSION]["total"] == 2


class Backend:
    """What a droplet serves: its own name, and what it was asked."""

    def __init__(self) -> None:
        self.heads: list[str] = []

    async def serve(self, address: str, name: str) -> asyncio.Server:
        async def handle(reader, writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if "Host: health" not in head:
                self.heads.append(head)
            body = name.encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                % (len(body), body)
            )
            await writer.drain()
            writer.close()

        return await asyncio.start_server(handle, address, 18080)


class TestTraffic:
    @pytest.fixture
    def clock(self):
        """A client that reads certificates goes by its own clock."""
        return ManualClock(time.time())

    @pytest.fixture
    def settings(self, settings):
        return replace(settings, ports={80: 18080, 443: 18443})

    async def asked(self, address, port=18080, *, path="/", tls=None, name=None):
        reader, writer = await asyncio.open_connection(address, port, ssl=tls, server_hostname=name)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: app.example.com\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer.decode()

    async def healthy(self, account, one, count):
        async with asyncio.timeout(20):
            while len(account.emulator.forwarding.healthy(one["id"])) != count:
                account.clock.advance(10)
                await asyncio.sleep(0.05)

    async def test_it_goes_in_turn_to_the_droplets_that_are_well(self, account):
        backend = Backend()
        droplets = [await account.active_droplet(name) for name in ("one", "two")]
        servers = []
        for droplet in droplets:
            address = next(
                net["ip_address"] for net in droplet["networks"]["v4"] if net["type"] == "public"
            )
            servers.append(await backend.serve(address, droplet["name"]))
        one = await active(account, droplet_ids=[droplet["id"] for droplet in droplets])
        assert "503" in await self.asked(one["ip"]), "a fresh droplet gets no traffic yet"
        await self.healthy(account, one, 2)
        answers = {(await self.asked(one["ip"])).rpartition("\r\n\r\n")[2] for _ in range(4)}
        assert answers == {"one", "two"}
        assert all("X-Forwarded-For: 127." in head for head in backend.heads)
        assert all("X-Forwarded-Proto: http\r\n" in head for head in backend.heads)
        servers[0].close()
        await servers[0].wait_closed()
        answers = {(await self.asked(one["ip"])).rpartition("\r\n\r\n")[2] for _ in range(4)}
        assert answers == {"two"}
        servers[1].close()

    async def test_a_droplets_firewall_must_let_it_in(self, account):
        droplet = await account.active_droplet("one")
        address = next(
            net["ip_address"] for net in droplet["networks"]["v4"] if net["type"] == "public"
        )
        server = await Backend().serve(address, "one")
        one = await active(account, droplet_ids=[droplet["id"]])
        await self.healthy(account, one, 1)
        sources = {"addresses": ["203.0.113.7"]}
        rule = {"protocol": "tcp", "ports": "80", "sources": sources}
        walls = {"name": "fw", "inbound_rules": [rule], "droplet_ids": [droplet["id"]]}
        firewall = (await account.post("/v2/firewalls", walls)).body["firewall"]
        assert "503" in await self.asked(one["ip"])
        rule["sources"] = {"load_balancer_uids": [one["id"]]}
        await account.put(f"/v2/firewalls/{firewall['id']}", walls)
        await self.healthy(account, one, 1)
        assert "200 OK" in await self.asked(one["ip"])
        server.close()

    async def test_tls_ends_at_it_with_the_certificate_that_it_names_also_after_a_renewal(
        self, account, control, clock
    ):
        await account.post("/v2/domains", {"name": "example.com"})
        names = {"name": "c", "type": "lets_encrypt", "dns_names": ["*.example.com"]}
        made = (await account.post("/v2/certificates", names)).body["certificate"]
        droplet = await account.active_droplet("one")
        address = next(
            net["ip_address"] for net in droplet["networks"]["v4"] if net["type"] == "public"
        )
        server = await Backend().serve(address, "one")
        https = {
            **RULE,
            "entry_protocol": "https",
            "entry_port": 443,
            "certificate_id": made["id"],
        }
        one = await active(
            account,
            forwarding_rules=[RULE, https],
            droplet_ids=[droplet["id"]],
            redirect_http_to_https=True,
            disable_lets_encrypt_dns_records=True,
        )
        await self.healthy(account, one, 1)
        trust = ssl.create_default_context(cadata=await control.authority())

        async def by_tls():
            return await self.asked(one["ip"], 18443, tls=trust, name="app.example.com")

        assert "200 OK" in await by_tls()
        moved = await self.asked(one["ip"], path="/a?b=c")
        assert "301" in moved
        assert "Location: https://app.example.com/a?b=c" in moved
        renewed = await control.renew_certificate(made["id"])
        assert renewed["id"] != made["id"]
        assert (await shown(account, one))["forwarding_rules"][1]["certificate_id"] == renewed["id"]
        async with asyncio.timeout(20):
            while True:
                try:
                    assert "200 OK" in await by_tls()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        server.close()


async def test_a_load_balancer_of_somebody_else_is_watched_as_a_canary(account, control):
    placed = await control.seed(load_balancers=[order("prod")])
    assert (await control.canaries())["intact"]
    await account.delete(f"/v2/load_balancers/{placed['load_balancers'][0]}")
    assert not (await control.canaries())["intact"]
