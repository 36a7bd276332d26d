"""Apps by HTTPS, as a standard client with the local root sees them."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest_asyncio
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import READY_SECONDS, session

from spawnai.acme.limits import registered_domain
from spawnai_local.browser import FetchError, fetch
from spawnai_local.classes import (
    LOCAL_CLASS,
    LOCAL_DNS_CLASS,
    LOCAL_DOMAIN,
    LOCAL_HTTP_CLASS,
    LOCAL_WILDCARD_CLASS,
    LOCAL_WILDCARD_DOMAIN,
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sessions(world, namespace):
    classes = {
        "bare": LOCAL_CLASS,
        "named": LOCAL_DNS_CLASS,
        "plain": LOCAL_HTTP_CLASS,
        "behind": LOCAL_WILDCARD_CLASS,
    }
    made = await world.apply(
        namespace, *(session(name, class_name=class_) for name, class_ in classes.items())
    )
    for one in made:
        await one.until("it runs", lambda seen: seen.phase == "Running", READY_SECONDS)
    return {one.name: one for one in made}


async def test_an_address_is_served_with_a_certificate_and_nothing_was_set_up(world, sessions):
    bare = sessions["bare"]
    url = urlsplit(bare.status["url"])
    assert url.scheme == "https"
    assert url.hostname == bare.status["droplet"]["ip"]
    assert bare.condition("CertificateReady")["status"] == "True"
    ca = world.stack.environment()["SPAWNAI_CA"]
    curl = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "20"),
        *("--cacert", ca, url.geturl()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    page, said = await curl.communicate()
    assert curl.returncode == 0, said
    assert b"<html" in page


async def test_a_name_is_served_with_a_certificate(world, sessions):
    named = sessions["named"]
    url = urlsplit(named.status["url"])
    assert url.scheme == "https"
    assert url.hostname.endswith(f".{LOCAL_DOMAIN}")
    ca = world.stack.environment()["SPAWNAI_CA"]
    page = await fetch(url.geturl(), server=world.dns, ca=ca)
    assert page.status == 200


async def test_an_app_behind_the_gateway_costs_no_record_and_no_certificate(world, sessions):
    behind = sessions["behind"]
    url = behind.status["url"]
    assert urlsplit(url).hostname.endswith(f".{LOCAL_WILDCARD_DOMAIN}")
    ca = world.stack.environment()["SPAWNAI_CA"]
    page = await eventually(
        "the gateway leads to it",
        lambda: fetch(url, server=world.dns, ca=ca),
        lambda seen: seen.status == 200,
    )
    assert page.address == world.stack.cloud.dns_address
    record = await world.kubectl.json("get", "spawnrecord", behind.uid)
    assert {line["kind"] for line in record["status"]["resources"]} == {"Droplet"}


async def test_the_operator_orders_the_gateways_certificate_and_makes_its_name(world, sessions):
    offer = await world.kubectl.json("get", "spawnclass", LOCAL_WILDCARD_CLASS)
    told = {one["type"]: one for one in offer["status"]["conditions"]}
    assert told["CertificateReady"]["status"] == "True", told
    assert f"*.{LOCAL_WILDCARD_DOMAIN} until" in told["CertificateReady"]["message"]
    assert "renews it from" in told["CertificateReady"]["message"]
    assert told["DNSReady"]["status"] == "True", told
    record = await world.kubectl.json("get", "spawnrecord", offer["metadata"]["uid"])
    lines = record["status"]["resources"]
    (order,) = [one for one in lines if one["kind"] == "Certificate"]
    assert order["domain"] == f"*.{LOCAL_WILDCARD_DOMAIN}"
    names = {one["name"]: one for one in lines if one["kind"] == "DomainRecord"}
    assert names[f"*.{LOCAL_WILDCARD_DOMAIN}"]["presence"] == "Present"
    # The proof was shown, and taken away again.
    assert names[f"_acme-challenge.{LOCAL_WILDCARD_DOMAIN}"]["presence"] == "Gone"


async def test_each_order_is_counted_against_the_limits_of_the_acme_server(world, sessions):
    seen = await world.scrape()

    def left(limit: str, domain: str = "") -> float:
        return seen.value("spawnai_acme_limit_remaining", limit=limit, domain=domain)

    # The account's limit gains one each 36 s, the others in hours.
    assert 300 - 3 <= left("orders") <= 300
    # The name and the gateway are below one registered domain.
    assert left("domain", registered_domain(LOCAL_DOMAIN)) == 50 - 2
    assert left("identifiers", f"*.{LOCAL_WILDCARD_DOMAIN}") == 5 - 1


async def test_a_class_without_https_is_reached_by_http(world, sessions):
    plain = sessions["plain"]
    assert urlsplit(plain.status["url"]).scheme == "http"
    assert plain.condition("CertificateReady") == {}
    assert (await fetch(plain.status["url"])).status == 200


async def test_classes_move_between_modes_and_no_request_fails(world, namespace, sessions):
    """A client asks ten times a second for an app of each mode, over moves there and back."""
    ca = world.stack.environment()["SPAWNAI_CA"]
    apps = {LOCAL_WILDCARD_CLASS: "behind", LOCAL_DNS_CLASS: "named"}
    modes = {LOCAL_WILDCARD_CLASS: "Direct", LOCAL_DNS_CLASS: "Wildcard"}
    answers: dict[str, list[str]] = {name: [] for name in apps.values()}

    async def ask(name: str) -> None:
        url = sessions[name].status["url"]
        while True:
            try:
                page = await fetch(url, server=world.dns, ca=ca)
                answers[name].append(str(page.status))
            except FetchError as error:
                answers[name].append(repr(error))
            await asyncio.sleep(0.1)

    before = {
        name: (await world.kubectl.json("get", "spawnclass", name))["spec"]["exposure"]
        for name in apps
    }
    lines = {name: await ledger_lines(world, sessions[name]) for name in answers}
    clients = [asyncio.create_task(ask(name)) for name in answers]
    for name, mode in modes.items():
        kept = {field: said for field, said in before[name].items() if field != "gatewayAddress"}
        await replace_exposure(world, name, kept | {"mode": mode})
    # Who is ordered now gets a name and a certificate of his own below the gateway's domain.
    (moved,) = await world.apply(namespace, session("moved", class_name=LOCAL_WILDCARD_CLASS))
    await moved.until("it runs", lambda seen: seen.phase == "Running", READY_SECONDS)
    for name, exposure in before.items():
        await replace_exposure(world, name, exposure)
    asked = {name: len(seen) for name, seen in answers.items()}
    await eventually(
        "each was asked again",
        lambda: asyncio.sleep(0, {name: len(seen) for name, seen in answers.items()}),
        lambda seen: all(seen[name] > asked[name] + 5 for name in asked),
    )
    for client in clients:
        client.cancel()
    await asyncio.wait(clients)
    assert {name: set(seen) for name, seen in answers.items()} == {
        name: {"200"} for name in answers
    }
    assert {name: await ledger_lines(world, sessions[name]) for name in answers} == lines
    assert urlsplit(moved.status["url"]).hostname.endswith(f".{LOCAL_WILDCARD_DOMAIN}")
    assert {"DomainRecord", "Certificate"} < {kind for kind, _ in await ledger_lines(world, moved)}
    assert (await fetch(moved.status["url"], server=world.dns, ca=ca)).status == 200


async def ledger_lines(world, one) -> set[tuple[str, str]]:
    record = await world.kubectl.json("get", "spawnrecord", one.uid)
    return {(line["kind"], line["presence"]) for line in record["status"]["resources"]}


async def replace_exposure(world, name: str, exposure) -> None:
    """Move a class, and wait until the operator has seen it."""
    patch = json.dumps([{"op": "replace", "path": "/spec/exposure", "value": exposure}])
    await world.kubectl.run("patch", "spawnclass", name, "--type=json", f"--patch={patch}")
    await eventually(
        f"class {name} is seen",
        lambda: world.kubectl.json("get", "spawnclass", name),
        lambda seen: seen["status"]["observedGeneration"] == seen["metadata"]["generation"],
    )


async def test_the_ledger_lists_the_certificate_and_the_end_revokes_it(world, sessions):
    bare = sessions["bare"]
    record = await world.kubectl.json("get", "spawnrecord", bare.uid)
    kinds = [line["kind"] for line in record["status"]["resources"]]
    assert kinds.count("Certificate") == 1
    await bare.delete()
    await bare.until("it is gone", lambda seen: not seen.is_there, READY_SECONDS)
    record = await world.kubectl.json("get", "spawnrecord", bare.uid)
    (line,) = [one for one in record["status"]["resources"] if one["kind"] == "Certificate"]
    assert line["presence"] == "Gone"
