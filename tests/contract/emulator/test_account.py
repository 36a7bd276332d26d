"""The account, what is on offer, tokens and rate limits."""

import pytest
from tests.contract.emulator.support import DROPLET

from spawnai_local.digitalocean import Limits, Settings


async def test_the_account_tells_its_droplet_limit(account, control):
    await control.set_limits(droplets=7)
    reply = await account.get("/v2/account")
    assert reply.status == 200
    assert reply.body["account"]["droplet_limit"] == 7
    assert reply.body["account"]["status"] == "active"


async def test_sizes_carry_hourly_prices_and_regions(account):
    reply = await account.get("/v2/sizes", per_page=200)
    prices = {size["slug"]: size["price_hourly"] for size in reply.body["sizes"]}
    assert prices["s-1vcpu-1gb"] == 0.00893
    assert prices["s-2vcpu-2gb"] == 0.02679
    assert prices["s-2vcpu-4gb"] == 0.03571
    assert all(
        {"nyc3", "sfo3", "ams3", "sgp1"} <= set(one["regions"]) for one in reply.body["sizes"]
    )


async def test_regions_and_images_are_listed_and_an_image_is_found_by_id_and_slug(account):
    regions = await account.names("/v2/regions", "regions", per_page=200)
    assert {"New York 3", "Singapore 1", "Toronto 1"} <= set(regions)
    by_slug = (await account.get("/v2/images/ubuntu-24-04-x64")).body["image"]
    by_id = (await account.get(f"/v2/images/{by_slug['id']}")).body["image"]
    assert by_id == by_slug
    assert (await account.get("/v2/images/ubuntu-99-04-x64")).status == 404


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer another"}, {"authorization": "Basic local-token"}]
)
async def test_without_a_right_token_the_answer_is_401(account, headers):
    reply = await account.send("GET", "/v2/account", headers=headers)
    assert (reply.status, reply.body["id"]) == (401, "Unauthorized")
    assert reply.message == "Unable to authenticate you"


async def test_every_answer_has_a_request_id_and_an_error_repeats_it(account):
    reply = await account.get("/v2/droplets/1")
    assert reply.status == 404
    assert reply.body["request_id"] == reply.headers["x-request-id"]
    assert (await account.get("/v2/account")).headers["x-request-id"] != reply.body["request_id"]


async def test_a_path_that_is_not_emulated_is_a_501_that_says_so(account):
    """A 404 would be taken for the proof that something is gone."""
    reply = await account.post("/v2/kubernetes/clusters", {"name": "k8s"})
    assert (reply.status, reply.body["id"]) == (501, "not_implemented")
    assert "does not emulate POST /v2/kubernetes/clusters" in reply.message


async def as_token(account, method, path, body=None):
    return await account.send(method, path, body, headers={"authorization": "Bearer limited"})


async def test_a_token_without_a_scope_is_refused_in_digitaloceans_words(account, control):
    await control.set_token("limited", ["droplet:create", "droplet:read"])
    refused = await as_token(account, "GET", "/v2/firewalls")
    assert (refused.status, refused.body["id"]) == (403, "forbidden")
    assert refused.message == "You are not authorized to perform this operation"
    assert (await as_token(account, "GET", "/v2/sizes")).status == 200, "droplet:read brings it"
    await control.set_token("limited", ["droplet:read"])
    refused = await as_token(account, "POST", "/v2/droplets", DROPLET)
    assert refused.message == "You do not have access for the attempted action."
    await control.set_token("limited", valid=False)
    assert (await as_token(account, "GET", "/v2/droplets")).status == 401


async def test_a_token_without_tag_read_is_shown_no_tags(account, control):
    await account.create_droplet(tags=["blue"])
    await control.set_token("limited", ["droplet:read"])
    [droplet] = (await as_token(account, "GET", "/v2/droplets")).body["droplets"]
    assert droplet["tags"] == []
    shown = await as_token(account, "GET", f"/v2/droplets/{droplet['id']}")
    assert shown.body["droplet"]["tags"] == []
    [droplet] = (await account.get("/v2/droplets")).body["droplets"]
    assert droplet["tags"] == ["blue"]


async def test_a_token_without_droplet_read_is_not_shown_which_droplets_a_firewall_covers(
    account, control
):
    droplet = await account.create_droplet()
    rule = {"protocol": "tcp", "ports": "80", "sources": {"addresses": ["0.0.0.0/0"]}}
    order = {"name": "fw", "inbound_rules": [rule], "droplet_ids": [droplet["id"]]}
    await account.post("/v2/firewalls", order)
    await control.set_token("limited", ["firewall:read", "tag:read"])
    [firewall] = (await as_token(account, "GET", "/v2/firewalls")).body["firewalls"]
    assert firewall["droplet_ids"] == []


async def test_in_a_locked_account_nothing_is_made_and_everything_can_go(account, control):
    droplet = await account.active_droplet()
    await control.change_account(status="locked", status_message="Please contact support.")
    refused = await account.post("/v2/droplets", {"name": "b", **DROPLET})
    assert (refused.status, refused.body["id"]) == (403, "forbidden")
    assert (await account.delete(f"/v2/droplets/{droplet['id']}")).status == 204


async def test_a_restricted_size_is_still_listed_and_refused(account, control):
    await control.set_capacity(restricted_sizes=("s-1vcpu-1gb",))
    refused = await account.post("/v2/droplets", {"name": "b", **DROPLET})
    assert (refused.status, refused.message) == (422, "The requested size is currently restricted.")
    sizes = (await account.get("/v2/sizes", per_page=200)).body["sizes"]
    assert next(one for one in sizes if one["slug"] == "s-1vcpu-1gb")["available"]


async def test_without_an_ssh_key_the_password_is_mailed(account, control):
    await account.create_droplet("a")
    assert [one["what"] for one in await control.history()].count("password mailed") == 1


async def test_a_body_that_is_no_json_object_is_a_400(account):
    for body in (b"{", b"[]", b"\xff"):
        reply = await account.post("/v2/firewalls", body)
        assert (reply.status, reply.body["id"]) == (400, "bad_request")


@pytest.mark.parametrize("kind", ["certificates", "load_balancers", "reserved_ips", "snapshots"])
async def test_kinds_that_cannot_be_made_here_have_empty_lists(account, kind):
    reply = await account.get(f"/v2/{kind}")
    assert reply.body == {kind: [], "links": {}, "meta": {"total": 0}}


async def test_keys_are_found_by_id_and_fingerprint_and_named_by_droplets(account):
    text = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHVudGVzdHVudGVzdHVudGVzdHVudGVzdHVudGVz me"
    key = (await account.post("/v2/account/keys", {"name": "me", "public_key": text})).body[
        "ssh_key"
    ]
    for identifier in (key["id"], key["fingerprint"]):
        assert (await account.get(f"/v2/account/keys/{identifier}")).body["ssh_key"] == key
    assert (
        await account.post("/v2/account/keys", {"name": "me", "public_key": text})
    ).status == 422
    assert (await account.post("/v2/account/keys", {"name": "x", "public_key": "x"})).status == 422
    renamed = await account.put(f"/v2/account/keys/{key['id']}", {"name": "you"})
    assert renamed.body["ssh_key"]["name"] == "you"
    await account.create_droplet(ssh_keys=[key["fingerprint"]])
    refused = await account.post(
        "/v2/droplets",
        {"name": "b", "size": "s-1vcpu-1gb", "image": "debian-12-x64", "ssh_keys": [1]},
    )
    assert refused.message == "1 are invalid key identifiers for Droplet creation."
    assert (await account.delete(f"/v2/account/keys/{key['id']}")).status == 204
    assert await account.names("/v2/account/keys", "ssh_keys") == []


class TestRateLimits:
    @pytest.fixture
    def settings(self):
        return Settings(limits=Limits(requests_per_hour=12, requests_per_minute=5))

    async def test_headers_count_down_and_name_when_the_oldest_request_leaves(self, account, clock):
        first = await account.get("/v2/account")
        assert first.headers["ratelimit-limit"] == "12"
        assert first.headers["ratelimit-remaining"] == "11"
        assert int(first.headers["ratelimit-reset"]) == clock.now() + 3600
        clock.advance(10)
        second = await account.get("/v2/account")
        assert second.headers["ratelimit-remaining"] == "10"
        assert second.headers["ratelimit-reset"] == first.headers["ratelimit-reset"]

    async def test_the_burst_limit_refuses_with_retry_after_until_the_minute_is_over(
        self, account, clock
    ):
        for _ in range(5):
            assert (await account.get("/v2/account")).status == 200
            clock.advance(4)
        refused = await account.get("/v2/account")
        assert (refused.status, refused.body["id"]) == (429, "too_many_requests")
        # The first request was 20 s ago, so a minute's window has room again in 40 s.
        assert refused.headers["retry-after"] == "40"
        clock.advance(39)
        assert (await account.get("/v2/account")).status == 429
        clock.advance(1)
        assert (await account.get("/v2/account")).status == 200

    async def test_the_hourly_limit_refuses_without_retry_after(self, account, clock):
        for _ in range(12):
            assert (await account.get("/v2/account")).status == 200
            clock.advance(60)
        refused = await account.get("/v2/account")
        assert refused.status == 429
        assert "retry-after" not in refused.headers
        assert refused.headers["ratelimit-remaining"] == "0"
        clock.advance(3600 - 12 * 60)
        assert (await account.get("/v2/account")).status == 200

    async def test_a_refused_request_is_not_counted_and_has_no_effect(self, account, clock):
        for _ in range(5):
            await account.get("/v2/account")
        for _ in range(5):
            assert (await account.post("/v2/tags", {"name": "late"})).status == 429
        clock.advance(60)
        assert (await account.get("/v2/tags/late")).headers["ratelimit-remaining"] == "6"
        assert (await account.get("/v2/tags/late")).status == 404

    async def test_limits_can_be_lifted_while_it_runs(self, account, control):
        await control.set_limits(rate_limited=False)
        for _ in range(20):
            assert (await account.get("/v2/account")).status == 200

    async def test_another_program_can_spend_the_budget_of_a_token(self, account, control):
        used = await control.spend_requests("local-token", 4)
        assert used["used"] == {"last_hour": 4, "last_minute": 4}
        assert (await account.get("/v2/account")).headers["ratelimit-remaining"] == "7"
        assert (await account.get("/v2/account")).status == 429
        await control.reset_limits()
        assert (await account.get("/v2/account")).status == 200
