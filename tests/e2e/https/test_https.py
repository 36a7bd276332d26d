"""Apps by HTTPS, as a standard client with the local root sees them."""

import asyncio
from urllib.parse import urlsplit

import pytest_asyncio
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import READY_SECONDS, session

from spawnai_local.browser import fetch
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


async def test_a_class_without_https_is_reached_by_http(world, sessions):
    plain = sessions["plain"]
    assert urlsplit(plain.status["url"]).scheme == "http"
    assert plain.condition("CertificateReady") == {}
    assert (await fetch(plain.status["url"])).status == 200


async def test_the_ledger_lists_the_certificate_and_the_end_revokes_it(world, sessions):
    bare = sessions["bare"]
    record = await world.kubectl.json("get", "spawnrecord", bare.uid)
    kinds = [line["kind"] for line in record["status"]["resources"]]
    assert kinds.count("Certificate") == 1
    await world.kubectl.run("delete", "spawnsession", "bare", "-n", "https", "--wait=false")
    await bare.until("it is gone", lambda seen: not seen.is_there, READY_SECONDS)
    record = await world.kubectl.json("get", "spawnrecord", bare.uid)
    (line,) = [one for one in record["status"]["resources"] if one["kind"] == "Certificate"]
    assert line["presence"] == "Gone"
