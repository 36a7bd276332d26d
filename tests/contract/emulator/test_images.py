"""Images: snapshots of droplets, their transfer to other regions, and uploaded ones."""

import pytest
from tests.contract.emulator.support import DROPLET

MONTH = 672 * 3600


async def snapshotted(account, name="baked", **parts):
    """A droplet's snapshot, found as a client must: by its name."""
    droplet = await account.active_droplet(**parts)
    path = f"/v2/droplets/{droplet['id']}"
    reply = await account.post(f"{path}/actions", {"type": "snapshot", "name": name})
    assert reply.status == 201, reply
    account.clock.advance(60)
    found = (await account.get(f"{path}/snapshots")).body["snapshots"]
    return droplet, next(one for one in found if one["name"] == name)


async def image(account, identifier):
    return (await account.get(f"/v2/images/{identifier}")).body["image"]


async def test_a_droplet_is_locked_while_its_snapshot_is_made(account, control, clock):
    await control.set_delays(snapshot=40)
    droplet = await account.active_droplet()
    path = f"/v2/droplets/{droplet['id']}"
    action = (await account.post(f"{path}/actions", {"type": "snapshot", "name": "baked"})).body[
        "action"
    ]
    assert (action["status"], action["type"]) == ("in-progress", "snapshot")
    assert (await account.get(path)).body["droplet"]["locked"]
    for method, where, body in (
        ("DELETE", path, None),
        ("POST", f"{path}/actions", {"type": "power_off"}),
    ):
        refused = await account.send(method, where, body)
        assert (refused.status, refused.message) == (422, "Droplet already has a pending event.")
    clock.advance(40)
    assert (await account.get(f"/v2/actions/{action['id']}")).body["action"]["status"] == (
        "completed"
    )
    shown = (await account.get(path)).body["droplet"]
    assert not shown["locked"]
    [made] = (await account.get(f"{path}/snapshots")).body["snapshots"]
    assert shown["snapshot_ids"] == [made["id"]]


async def test_a_snapshot_is_in_its_region_and_fits_on_no_smaller_disk(account):
    droplet, made = await snapshotted(account, size="s-1vcpu-2gb")
    assert (made["regions"], made["min_disk_size"]) == (["nyc3"], droplet["disk"])
    shown = await image(account, made["id"])
    assert (shown["type"], shown["public"], shown["slug"]) == ("snapshot", False, None)
    elsewhere = {**DROPLET, "name": "b", "image": made["id"], "region": "ams3"}
    refused = await account.post("/v2/droplets", {**elsewhere, "size": "s-1vcpu-2gb"})
    assert refused.status == 422
    assert "not available in the selected region, you can transfer it" in refused.message
    smaller = await account.post("/v2/droplets", {**elsewhere, "region": "nyc3"})
    assert (smaller.status, "larger disk" in smaller.message) == (422, True)
    fits = {**elsewhere, "region": "nyc3", "size": "s-1vcpu-2gb"}
    assert (await account.post("/v2/droplets", fits)).status == 202
    named = await account.post("/v2/droplets", {**fits, "image": "baked"})
    assert named.status == 422, "an image of one's own is named by its number"


async def test_a_transfer_takes_it_to_another_region(account, control, clock):
    await control.set_delays(transfer=1800)
    _, made = await snapshotted(account)
    path = f"/v2/images/{made['id']}"
    action = (await account.post(f"{path}/actions", {"type": "transfer", "region": "ams3"})).body
    assert (action["status"], action["resource_type"]) == ("in-progress", "image")
    again = await account.post(f"{path}/actions", {"type": "transfer", "region": "lon1"})
    assert (again.status, again.message) == (422, "Image already has a pending event.")
    clock.advance(1799)
    assert (await image(account, made["id"]))["regions"] == ["nyc3"]
    clock.advance(1)
    assert (await image(account, made["id"]))["regions"] == ["nyc3", "ams3"]
    shown = (await account.get(f"{path}/actions/{action['id']}")).body
    assert shown["status"] == "completed"
    order = {**DROPLET, "name": "b", "image": made["id"], "region": "ams3"}
    assert (await account.post("/v2/droplets", order)).status == 202


async def test_a_snapshot_or_a_transfer_may_end_in_error(account, control, clock):
    _, made = await snapshotted(account)
    await control.add_faults(
        "POST /v2/droplets/{droplet_id}/actions errored",
        "POST /v2/images/{image_id}/actions errored",
    )
    droplet = await account.active_droplet("other")
    path = f"/v2/droplets/{droplet['id']}"
    action = (await account.post(f"{path}/actions", {"type": "snapshot", "name": "x"})).body
    order = {"type": "transfer", "region": "ams3"}
    transfer = (await account.post(f"/v2/images/{made['id']}/actions", order)).body
    clock.advance(60)
    for number in (action["action"]["id"], transfer["id"]):
        assert (await account.get(f"/v2/actions/{number}")).body["action"]["status"] == "errored"
    assert (await account.get(f"{path}/snapshots")).body["snapshots"] == []
    assert (await image(account, made["id"]))["regions"] == ["nyc3"]


async def test_it_is_listed_as_an_image_and_as_a_snapshot_until_it_is_deleted(account):
    droplet, made = await snapshotted(account)
    own = (await account.get("/v2/images", private="true")).body["images"]
    assert [one["id"] for one in own] == [made["id"]]
    public = (await account.get("/v2/images", type="distribution")).body["images"]
    assert made["id"] not in {one["id"] for one in public}
    [snapshot] = (await account.get("/v2/snapshots", resource_type="droplet")).body["snapshots"]
    assert (snapshot["id"], snapshot["resource_id"]) == (str(made["id"]), str(droplet["id"]))
    assert (await account.delete(f"/v2/snapshots/{made['id']}")).status == 204
    assert (await account.delete(f"/v2/images/{made['id']}")).status == 404
    assert (await account.get("/v2/snapshots")).body["snapshots"] == []


async def test_it_outlives_its_droplet_and_costs_by_its_size(account, control, clock):
    droplet, made = await snapshotted(account)
    await account.delete(f"/v2/droplets/{droplet['id']}")
    clock.advance(MONTH)
    await account.delete(f"/v2/images/{made['id']}")
    clock.advance(MONTH)
    [line] = (await control.bill())["others"]
    assert line["kind"] == "image"
    # 2.58 GB at $0.06 a month, for a month and the rest of the minute in which it was made.
    assert line["dollars"].startswith("0.1548")


@pytest.mark.parametrize(
    ("parts", "status"),
    [({}, 422), ({"ssh_keys": True}, 202), ({"ssh_keys": True, "monitoring": True}, 422)],
)
async def test_a_custom_image_needs_an_ssh_key_and_takes_no_monitoring(
    account, clock, parts, status
):
    upload = {"name": "own", "url": "https://example.com/a.img", "region": "nyc3"}
    made = (await account.post("/v2/images", {**upload, "distribution": "Debian"})).body["image"]
    assert made["status"] == "NEW"
    order = {**DROPLET, "name": "a", "image": made["id"], **parts}
    if order.get("ssh_keys"):
        public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHVudGVzdHVudGVzdHVudGVzdHVudGVzdHVudGVz me"
        key = await account.post("/v2/account/keys", {"name": "k", "public_key": public})
        order["ssh_keys"] = [key.body["ssh_key"]["id"]]
    assert (await account.post("/v2/droplets", order)).status == 422, "not available yet"
    clock.advance(60)
    assert (await account.post("/v2/droplets", order)).status == status
