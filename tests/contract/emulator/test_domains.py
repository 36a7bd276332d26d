"""Domains and records, as the API shows them."""

import pytest

RECORDS = "/v2/domains/example.com/records"


@pytest.fixture
async def domain(account):
    reply = await account.post("/v2/domains", {"name": "example.com"})
    assert (reply.status, reply.body["domain"]["ttl"]) == (201, 1800)
    return "example.com"


async def added(account, **record):
    reply = await account.post(RECORDS, {"type": "A", "name": "app", "data": "127.0.0.1", **record})
    assert reply.status == 201, reply
    return reply.body["domain_record"]


async def test_a_domain_begins_with_its_name_servers_and_an_address_if_given(account):
    await account.post("/v2/domains", {"name": "example.com", "ip_address": "127.0.0.1"})
    records = (await account.get(RECORDS)).body["domain_records"]
    assert [(one["type"], one["name"]) for one in records] == [
        ("SOA", "@"),
        ("NS", "@"),
        ("NS", "@"),
        ("NS", "@"),
        ("A", "@"),
    ]
    zone = (await account.get("/v2/domains/example.com")).body["domain"]["zone_file"]
    assert "example.com. 1800 IN NS ns1.digitalocean.com." in zone
    assert "example.com. 1800 IN A 127.0.0.1" in zone


async def test_a_domain_is_there_once_and_goes_with_its_records(account, domain):
    duplicate = await account.post("/v2/domains", {"name": "EXAMPLE.com"})
    assert (duplicate.status, "already exists" in duplicate.message) == (422, True)
    assert (await account.post("/v2/domains", {"name": "nodots"})).status == 422
    assert await account.names("/v2/domains", "domains") == ["example.com"]
    assert (await account.delete("/v2/domains/example.com")).status == 204
    assert (await account.get("/v2/domains/example.com")).status == 404
    assert (await account.get(RECORDS)).status == 404
    assert (await account.post(RECORDS, {})).status == 404


async def test_records_that_are_alike_are_both_kept(account, domain):
    first, second = await added(account, ttl=30), await added(account, ttl=30)
    assert first["id"] != second["id"]
    found = (await account.get(RECORDS, name="app.example.com", type="A")).body["domain_records"]
    assert [one["id"] for one in found] == [first["id"], second["id"]]


async def test_the_name_filter_takes_full_names_only(account, domain):
    record = await added(account)
    await added(account, type="TXT", data="hello")
    assert (await account.get(RECORDS, name="app")).body["domain_records"] == []
    both = (await account.get(RECORDS, name="APP.example.com")).body["domain_records"]
    assert len(both) == 2
    only = (await account.get(RECORDS, name="app.example.com", type="A")).body["domain_records"]
    assert only == [record]
    apex = (await account.get(RECORDS, name="example.com")).body["domain_records"]
    assert {one["name"] for one in apex} == {"@"}
    assert (await account.get(RECORDS, type="WKS")).status == 422


async def test_a_full_name_with_a_dot_is_kept_relative(account, domain):
    assert (await added(account, name="app.example.com."))["name"] == "app"
    assert (await added(account, name="example.com."))["name"] == "@"
    assert (await added(account, name="*.preview"))["name"] == "*.preview"
    foreign = {"type": "A", "name": "app.example.org.", "data": "127.0.0.1"}
    assert (await account.post(RECORDS, foreign)).status == 422


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"type": "A", "name": "a", "data": "::1"}, "not an IP address"),
        ({"type": "A", "name": "a", "data": "127.0.0.1", "ttl": 29}, "ttl"),
        ({"type": "A", "name": "a", "data": "127.0.0.1", "ttl": "60"}, "ttl"),
        ({"type": "A", "name": "a b", "data": "127.0.0.1"}, "hostname characters"),
        ({"type": "A", "name": "", "data": "127.0.0.1"}, "Name can't be blank"),
        ({"type": "A", "name": "a"}, "Data can't be blank"),
        ({"type": "PTR", "name": "a", "data": "x."}, "type is one of"),
        ({"type": "SOA", "name": "a", "data": "1800"}, "type is one of"),
        ({"type": "CNAME", "name": "a", "data": "b.example.com"}, "Data needs to end with a dot"),
        ({"type": "MX", "name": "@", "data": "mail.example.com."}, "priority can't be blank"),
        ({"type": "CAA", "name": "@", "data": "ca.example.", "flags": 0}, "tag is one of"),
    ],
)
async def test_a_wrong_record_is_a_422_in_words(account, domain, record, message):
    reply = await account.post(RECORDS, record)
    assert (reply.status, reply.body["id"]) == (422, "unprocessable_entity")
    assert message in reply.message


async def test_the_shortest_ttl_is_30_seconds(account, domain):
    assert (await added(account, ttl=30))["ttl"] == 30


async def test_targets_are_sent_with_a_dot_and_answered_without(account, domain):
    alias = await added(account, type="CNAME", name="www", data="app.example.com.")
    assert alias["data"] == "app.example.com"
    mail = await added(account, type="MX", name="@", data="mail.example.org.", priority=10)
    assert (mail["data"], mail["priority"]) == ("mail.example.org", 10)
    shared = await account.post(RECORDS, {"type": "A", "name": "www", "data": "127.0.0.1"})
    assert shared.status == 422


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_record_is_changed_in_what_is_named(account, domain, method):
    record = await added(account, ttl=60)
    path = f"{RECORDS}/{record['id']}"
    changed = await account.send(method, path, {"type": "A", "data": "127.0.0.2"})
    assert changed.body["domain_record"] == {**record, "data": "127.0.0.2"}
    assert (await account.get(path)).body["domain_record"]["data"] == "127.0.0.2"
    assert (await account.send(method, path, {"type": "A", "ttl": 5})).status == 422


async def test_deleting_a_record_is_204_then_404_and_the_soa_stays(account, domain):
    path = f"{RECORDS}/{(await added(account))['id']}"
    assert (await account.delete(path)).status == 204
    assert (await account.delete(path)).status == 404
    assert (await account.get(path)).status == 404
    soa = (await account.get(RECORDS, type="SOA")).body["domain_records"][0]
    assert (await account.delete(f"{RECORDS}/{soa['id']}")).status == 422


async def test_records_are_listed_in_pages(account, domain):
    for number in range(5):
        await added(account, name=f"app-{number}")
    reply = await account.get(RECORDS, type="A", per_page=2, page=3)
    assert [one["name"] for one in reply.body["domain_records"]] == ["app-4"]
    assert reply.body["meta"]["total"] == 5
    assert "type=A" in reply.body["links"]["pages"]["first"]
