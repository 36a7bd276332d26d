"""Droplets: how they come, change and go."""

import pytest
from tests.contract.emulator.support import DROPLET

from spawnai_local.digitalocean import Emulator, ManualClock, Settings
from spawnai_local.digitalocean.exchange import Request


async def test_a_new_droplet_is_locked_and_has_no_address(account):
    droplet = await account.create_droplet(tags=["spawn-ai"], monitoring=True)
    assert droplet["status"] == "new"
    assert droplet["locked"] is True
    assert droplet["networks"] == {"v4": [], "v6": []}
    assert droplet["tags"] == ["spawn-ai"]
    assert "monitoring" in droplet["features"]
    assert droplet["size"]["price_hourly"] == 0.00893


async def test_addresses_show_while_it_is_new_and_then_it_is_active(account, control, clock):
    await control.set_delays(network=5, boot=20)
    path = f"/v2/droplets/{(await account.create_droplet())['id']}"
    clock.advance(4)
    assert (await account.get(path)).body["droplet"]["networks"]["v4"] == []
    clock.advance(1)
    addressed = (await account.get(path)).body["droplet"]
    assert (addressed["status"], len(addressed["networks"]["v4"])) == ("new", 2)
    clock.advance(14)
    assert (await account.get(path)).body["droplet"]["status"] == "new"
    clock.advance(1)
    active = (await account.get(path)).body["droplet"]
    assert (active["status"], active["locked"]) == ("active", False)


async def test_a_private_address_may_come_first(account):
    first = set()
    for number in range(20):
        droplet = await account.active_droplet(f"web-{number}")
        types = [address["type"] for address in droplet["networks"]["v4"]]
        assert sorted(types) == ["private", "public"]
        first.add(types[0])
    assert first == {"private", "public"}


async def test_the_create_action_is_linked_and_completes_with_the_boot(account, clock):
    reply = await account.post("/v2/droplets", {"name": "web-1", **DROPLET})
    link = reply.body["links"]["actions"][0]
    assert link["rel"] == "create"
    path = link["href"].removeprefix(account.emulator.url)
    assert (await account.get(path)).body["action"]["status"] == "in-progress"
    clock.advance(60)
    action = (await account.get(path)).body["action"]
    assert (action["status"], action["type"]) == ("completed", "create")
    assert action["resource_id"] == reply.body["droplet"]["id"]
    under_droplet = f"/v2/droplets/{action['resource_id']}/actions/{action['id']}"
    assert (await account.get(under_droplet)).body["action"] == action


async def test_names_are_not_unique_and_up_to_ten_come_at_once(account):
    reply = await account.post("/v2/droplets", {"names": ["same", "same", "other"], **DROPLET})
    assert len(reply.body["droplets"]) == len(reply.body["links"]["actions"]) == 3
    assert len({droplet["id"] for droplet in reply.body["droplets"]}) == 3
    assert await account.names(name="SAME") == ["same", "same"]
    eleven = await account.post("/v2/droplets", {"names": ["x"] * 11, **DROPLET})
    assert eleven.status == 422


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({"name": "no_underscores"}, "Only valid hostnames are allowed. (a-z, A-Z, 0-9, . and -)"),
        ({"name": ""}, "Only valid hostnames are allowed. (a-z, A-Z, 0-9, . and -)"),
        ({"name": "x" * 256}, "Only valid hostnames are allowed. (a-z, A-Z, 0-9, . and -)"),
        ({"size": "s-99vcpu"}, "You specified an invalid size for Droplet creation."),
        ({"region": "mars1"}, "You specified an invalid region for Droplet creation."),
        ({"image": "ubuntu-1-04"}, "You specified an invalid image for Droplet creation."),
        ({"tags": ["a.b"]}, "Tag name 'a.b' is invalid"),
        ({"tags": ["x" * 256]}, "is invalid"),
        ({"user_data": "x" * (64 * 1024 + 1)}, "at most 64 KiB"),
        ({"user_data": "é"}, "ASCII"),
    ],
)
async def test_a_wrong_order_is_a_422_in_words_and_makes_nothing(account, order, message):
    reply = await account.post("/v2/droplets", {"name": "web-1", **DROPLET, **order})
    assert (reply.status, reply.body["id"]) == (422, "unprocessable_entity")
    assert message in reply.message
    assert await account.names() == []
    assert await account.names("/v2/tags", "tags") == []


async def test_user_data_of_just_64_kib_is_taken(account):
    await account.create_droplet(user_data="x" * 64 * 1024)


async def test_over_the_droplet_limit_digitalocean_says_so_until_one_is_deleted(account, control):
    await control.set_limits(droplets=2)
    first = await account.active_droplet("a")
    await account.create_droplet("b")
    refused = await account.post("/v2/droplets", {"name": "c", **DROPLET})
    assert refused.status == 422
    assert refused.message == "creating this/these droplet(s) will exceed your droplet limit"
    await account.delete(f"/v2/droplets/{first['id']}")
    await account.create_droplet("c")
    assert await account.names() == ["b", "c"]


async def test_sold_out_sizes_and_closed_regions_are_422_and_still_listed(account, control):
    await control.set_capacity(closed_regions=("sfo3",), sold_out=(("nyc3", "s-1vcpu-1gb"),))
    sold_out = await account.post("/v2/droplets", {"name": "a", **DROPLET})
    assert (sold_out.status, sold_out.message) == (422, "Size is not available in this region.")
    closed = await account.post("/v2/droplets", {"name": "a", **DROPLET, "region": "sfo3"})
    assert (closed.status, closed.message) == (422, "Region is not available")
    await account.create_droplet(region="ams3")
    await account.create_droplet(size="s-2vcpu-2gb")
    size = (await account.get("/v2/sizes")).body["sizes"][1]
    assert "nyc3" in size["regions"]


async def test_listing_by_tag_counts_all_and_links_pages(account, clock):
    for number in range(5):
        await account.create_droplet(f"d{number}", tags=["wave:1", f"session:{number}"])
    await account.create_droplet("foreign")
    reply = await account.get("/v2/droplets", tag_name="wave:1", per_page=2, page=2)
    assert [one["name"] for one in reply.body["droplets"]] == ["d2", "d3"]
    assert reply.body["meta"]["total"] == 5
    pages = reply.body["links"]["pages"]
    assert set(pages) == {"first", "prev", "next", "last"}
    following = await account.send("GET", pages["next"].removeprefix(account.emulator.url))
    assert [one["name"] for one in following.body["droplets"]] == ["d4"]
    assert set(following.body["links"]["pages"]) == {"first", "prev"}
    assert (await account.get("/v2/droplets", tag_name="nobody")).body["droplets"] == []
    assert await account.names(page=9) == []


async def test_a_page_holds_20_unless_told_and_never_more_than_200(account, control):
    await control.set_limits(droplets=300)
    for start in range(0, 210, 10):
        names = [f"d{number}" for number in range(start, start + 10)]
        assert (await account.post("/v2/droplets", {"names": names, **DROPLET})).status == 202
    assert len(await account.names()) == 20
    assert len(await account.names(per_page=200)) == 200
    assert len(await account.names(per_page=500)) == 200


async def test_tag_and_name_cannot_be_combined(account):
    assert (await account.get("/v2/droplets", tag_name="a", name="b")).status == 422


async def test_deleting_is_204_then_404_and_gives_the_address_to_the_next(account):
    droplet = await account.active_droplet()
    path = f"/v2/droplets/{droplet['id']}"
    assert (await account.delete(path)).status == 204
    for method in ("GET", "DELETE"):
        reply = await account.send(method, path)
        assert (reply.status, reply.body["id"]) == (404, "not_found")

    def public(one):
        return next(each for each in one["networks"]["v4"] if each["type"] == "public")

    following = await account.active_droplet("stranger")
    assert public(following) == public(droplet)
    another = await account.active_droplet("another")
    for one in (another, following):
        await account.delete(f"/v2/droplets/{one['id']}")
    assert public(await account.active_droplet("next")) == public(following)


async def test_a_deleted_droplet_may_still_be_shown_for_a_while(account, control, clock):
    droplet = await account.active_droplet()
    await control.set_delays(delete_visible=5)
    path = f"/v2/droplets/{droplet['id']}"
    assert (await account.delete(path)).status == 204
    again = await account.delete(path)
    assert (again.status, again.message) == (422, "Droplet already has a pending event.")
    assert (await account.get(path)).body["droplet"]["locked"] is True
    clock.advance(5)
    assert (await account.get(path)).status == 404


async def test_a_deleted_droplet_may_stay_in_listings_after_it_is_a_404(account, control, clock):
    droplet = await account.active_droplet(tags=["wave:1"])
    await control.set_delays(delisting=5)
    path = f"/v2/droplets/{droplet['id']}"
    assert (await account.delete(path)).status == 204
    assert (await account.get(path)).status == (await account.delete(path)).status == 404
    assert await account.names() == await account.names(tag_name="wave:1") == ["web-1"]
    clock.advance(5)
    assert await account.names() == await account.names(tag_name="wave:1") == []


async def test_deleting_while_it_is_created_is_refused_until_the_event_is_over(account, clock):
    droplet = await account.create_droplet()
    path = f"/v2/droplets/{droplet['id']}"
    refused = await account.delete(path)
    assert (refused.status, refused.message) == (422, "Droplet already has a pending event.")
    clock.advance(60)
    assert (await account.delete(path)).status == 204


class TestDeletingEarly:
    @pytest.fixture
    def settings(self):
        return Settings(delete_needs_active=False)

    async def test_deleting_while_it_is_created_can_be_allowed(self, account, clock):
        droplet = await account.create_droplet()
        assert (await account.delete(f"/v2/droplets/{droplet['id']}")).status == 204
        clock.advance(60)
        assert await account.names() == []
        assert (await account.get("/v2/actions")).body["actions"][0]["status"] == "errored"


@pytest.mark.parametrize("identifier", ["1", "abc", "-5", "99999999999999999999"])
async def test_a_droplet_that_never_was_is_a_404(account, identifier):
    assert (await account.get(f"/v2/droplets/{identifier}")).status == 404
    assert (await account.delete(f"/v2/droplets/{identifier}")).status == 404


async def test_power_actions_take_time_lock_the_droplet_and_change_its_status(
    account, control, clock
):
    await control.set_delays(action=10)
    droplet = await account.active_droplet()
    path = f"/v2/droplets/{droplet['id']}"
    action = (await account.post(f"{path}/actions", {"type": "power_off"})).body["action"]
    assert action["status"] == "in-progress"
    assert (await account.post(f"{path}/actions", {"type": "reboot"})).status == 422
    assert (await account.delete(path)).status == 422
    assert (await account.get(path)).body["droplet"]["status"] == "active"
    clock.advance(10)
    assert (await account.get(path)).body["droplet"]["status"] == "off"
    assert (await account.get(f"/v2/actions/{action['id']}")).body["action"]["completed_at"]
    assert (await account.post(f"{path}/actions", {"type": "shutdown"})).status == 422
    assert (await account.post(f"{path}/actions", {"type": "power_on"})).status == 201
    clock.advance(10)
    assert (await account.get(path)).body["droplet"]["status"] == "active"
    assert (await account.post(f"{path}/actions", {"type": "reboot"})).status == 201
    clock.advance(10)
    done = (await account.get(f"{path}/actions")).body["actions"]
    assert [one["type"] for one in done] == ["reboot", "power_on", "power_off", "create"]


async def test_a_droplet_can_be_renamed_and_other_actions_are_refused(account, clock):
    droplet = await account.active_droplet("before")
    path = f"/v2/droplets/{droplet['id']}/actions"
    assert (await account.post(path, {"type": "rename", "name": "after"})).status == 201
    clock.advance(1)
    assert await account.names(name="after") == ["after"]
    assert await account.names(name="before") == []
    assert (await account.post(path, {"type": "resize", "size": "c-2"})).status == 422


async def test_a_new_name_shows_when_its_action_has_ended_and_nothing_else_can_be_done_before(
    account, control, clock
):
    droplet = await account.active_droplet("before")
    path = f"/v2/droplets/{droplet['id']}"
    await control.set_delays(action=5)
    rename = {"type": "rename", "name": "after"}
    assert (await account.post(f"{path}/actions", rename)).status == 201
    assert await account.names(name="before") == ["before"]
    for refused in (
        await account.post(f"{path}/actions", rename),
        await account.post(f"{path}/actions", {"type": "power_off"}),
        await account.delete(path),
    ):
        assert (refused.status, refused.body["message"]) == (
            422,
            "Droplet already has a pending event.",
        )
    clock.advance(5)
    shown = (await account.get(path)).body["droplet"]
    assert (shown["name"], shown["status"], shown["locked"]) == ("after", "active", False)
    assert (await account.post(f"{path}/actions", rename)).status == 201  # to the same once more


async def test_a_droplet_that_is_still_made_or_off_the_same_rules_hold(account, control, clock):
    await control.set_delays(boot=5)
    droplet = await account.create_droplet("before")
    path = f"/v2/droplets/{droplet['id']}/actions"
    for name in ("two words", "", None, "x" * 256):
        assert (await account.post(path, {"type": "rename", "name": name})).status == 422
    assert (await account.post(path, {"type": "rename", "name": "after"})).status == 422
    clock.advance(5)
    assert (await account.post(path, {"type": "power_off"})).status == 201
    clock.advance(5)
    assert (await account.post(path, {"type": "rename", "name": "after"})).status == 201
    clock.advance(5)
    assert await account.names(name="after") == ["after"]
    assert (await account.get("/v2/droplets")).body["droplets"][0]["status"] == "off"


async def test_a_rename_may_fail(account, control, clock):
    droplet = await account.active_droplet("before")
    await control.add_faults("POST /v2/droplets/{droplet_id}/actions errored")
    path = f"/v2/droplets/{droplet['id']}/actions"
    action = (await account.post(path, {"type": "rename", "name": "after"})).body["action"]
    clock.advance(5)
    ended = (await account.get(f"/v2/actions/{action['id']}")).body["action"]
    assert ended["status"] == "errored"
    assert await account.names() == ["before"]


async def test_actions_and_deletion_by_tag_reach_all_that_carry_it(account, clock):
    for name in ("a", "b"):
        await account.active_droplet(name, tags=["group"])
    await account.active_droplet("c")
    reply = await account.post("/v2/droplets/actions?tag_name=group", {"type": "power_off"})
    assert len(reply.body["actions"]) == 2
    clock.advance(1)
    assert (await account.delete("/v2/droplets", tag_name="group")).status == 204
    assert await account.names() == ["c"]
    assert (await account.delete("/v2/droplets")).status == 422


async def test_a_new_droplet_may_be_missing_from_listings_by_tag_at_first(account, control, clock):
    await control.set_delays(listing=8)
    await account.create_droplet("late", tags=["wave:1"])
    assert await account.names(tag_name="wave:1") == []
    assert await account.names(name="late") == ["late"]
    clock.advance(8)
    assert await account.names(tag_name="wave:1") == ["late"]


async def test_a_new_droplet_may_answer_404_at_first(account, control, clock):
    await control.set_delays(appear=3)
    droplet = await account.create_droplet("shy", tags=["wave:1"])
    path = f"/v2/droplets/{droplet['id']}"
    assert (await account.get(path)).status == 404
    assert await account.names() == await account.names(tag_name="wave:1") == []
    clock.advance(3)
    assert (await account.get(path)).status == 200


async def test_the_same_seed_gives_the_same_ids(emulator, account):
    twin = Emulator(ManualClock())
    body = b'{"name":"web-1","region":"nyc3","size":"s-1vcpu-1gb","image":"debian-12-x64"}'
    headers = {"authorization": "Bearer local-token"}
    answer = twin.api.call(Request("POST", "/v2/droplets", headers=headers, body=body))
    mine = await account.create_droplet()
    assert answer is not None
    assert answer.document()["droplet"]["id"] == mine["id"]


class TestShells:
    @pytest.fixture
    def settings(self):
        return Settings(shell_address=lambda _name, _tags: "127.0.0.9")

    async def test_an_address_source_gives_shells_their_address(self, account):
        for name in ("a", "b"):
            droplet = await account.active_droplet(name)
            addresses = {one["ip_address"] for one in droplet["networks"]["v4"]}
            assert "127.0.0.9" in addresses
