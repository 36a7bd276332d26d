"""Apps behind load balancers of their own, from the class's certificate to the last deletion."""

from decimal import Decimal
from urllib.parse import urlsplit

import pytest_asyncio
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import READY_SECONDS, session

from spawnai_local.browser import fetch
from spawnai_local.classes import LOCAL_BALANCED_CLASS, LOCAL_BALANCED_DOMAIN

MOST_CALLS = 13
"""Of a session's life, where a load balancer takes ten seconds, beside three that the emulator
tells of no session: for its certificate's id and its name."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def balanced(world, namespace):
    [made] = await world.apply(namespace, session("balanced", class_name=LOCAL_BALANCED_CLASS))
    await made.until("it runs", lambda seen: seen.phase == "Running", READY_SECONDS)
    return made


async def the_balancer(world, one):
    state = await world.cloud.state()
    found = [known for known in state["load_balancers"] if known["name"].endswith(one.uid)]
    return found[0] if found else None


async def lines_of(world, one):
    record = await world.kubectl.json("get", "spawnrecord", one.uid)
    return {line["kind"]: line for line in record["status"]["resources"]}


async def test_the_app_is_reached_by_https_through_its_load_balancer(world, balanced):
    url = balanced.status["url"]
    assert urlsplit(url).scheme == "https"
    assert urlsplit(url).hostname.endswith(f".{LOCAL_BALANCED_DOMAIN}")
    page = await fetch(url, server=world.dns, ca=world.stack.environment()["SPAWNAI_CA"])
    assert page.status == 200
    made = await the_balancer(world, balanced)
    assert page.address == made["ip"]
    assert made["droplet_ids"] == [balanced.status["droplet"]["id"]]


async def test_nobody_but_the_load_balancer_reaches_the_droplet_s_web_server(world, balanced):
    made = await the_balancer(world, balanced)
    droplet = balanced.status["droplet"]["id"]
    walls = [
        wall for wall in (await world.cloud.state())["firewalls"] if droplet in wall["droplet_ids"]
    ]
    [own] = walls
    assert own["name"] == f"fw-spawn-{balanced.uid}"
    sources = {
        rule["ports"]: rule["sources"]
        for rule in own["inbound_rules"]
        if rule["ports"] not in ("8443", "22")
    }
    assert list(sources.values()) == [{"load_balancer_uids": [made["id"]]}]


async def test_the_status_says_why_it_takes_longer(world, balanced):
    said = [
        condition["message"]
        for status in balanced.history
        for condition in (status.get("status") or {}).get("conditions", [])
        if condition["type"] == "LoadBalancerReady"
    ]
    assert any("usually takes one to three minutes" in words for words in said)
    assert "leads to the app" in said[-1]


async def test_the_load_balancer_is_in_the_estimate_and_in_the_ledger(world, balanced):
    lines = await lines_of(world, balanced)
    assert lines["LoadBalancer"]["priceHourly"] == "0.01786"
    hourly = Decimal(balanced.status["cost"]["hourly"])
    assert hourly == Decimal(lines["Droplet"]["priceHourly"]) + Decimal("0.01786")


async def test_the_class_says_which_certificate_its_load_balancers_have(world, balanced):
    offer = await world.kubectl.json("get", "spawnclass", LOCAL_BALANCED_CLASS)
    told = {one["type"]: one for one in offer["status"]["conditions"]}
    assert told["CertificateReady"]["status"] == "True", told
    assert f"*.{LOCAL_BALANCED_DOMAIN} until" in told["CertificateReady"]["message"]


async def test_all_of_it_goes_in_order_and_the_certificate_with_the_class(world, balanced):
    made = await the_balancer(world, balanced)
    await balanced.delete()
    await balanced.until("it is gone", lambda seen: not seen.is_there, READY_SECONDS)
    lines = await lines_of(world, balanced)
    assert {line["presence"] for line in lines.values()} == {"Gone"}
    order = ("DomainRecord", "LoadBalancer", "Droplet", "Firewall")
    accepted = [lines[kind]["deletionAcceptedAt"] for kind in order]
    assert accepted == sorted(accepted)
    assert Decimal(lines["LoadBalancer"]["cost"]) > 0
    assert await the_balancer(world, balanced) is None
    told = [event["what"] for event in await world.cloud.history()]
    assert "record dangling" not in told
    assert made is not None
    calls = await balanced.calls()
    assert sum(calls.values()) <= MOST_CALLS, calls
    await world.kubectl.run("delete", "spawnclass", LOCAL_BALANCED_CLASS, "--wait=false")

    async def certificates():
        return [
            one for one in (await world.cloud.history()) if one["what"].startswith("certificate")
        ]

    await eventually(
        "its certificate goes with the class",
        certificates,
        lambda seen: seen and seen[-1]["what"] == "certificate deleted",
        60,
    )
