"""What is usual at DigitalOcean is on by default, and docs/local-cloud.md says the same."""

import re
from pathlib import Path

import pytest
from tests.contract.emulator.support import DROPLET
from tests.contract.emulator.test_firewalls import made, order, shown

from spawnai_local.cloud_settings import CloudSettings
from spawnai_local.digitalocean import Delays, Settings

TEXT = (Path(__file__).parents[3] / "docs" / "local-cloud.md").read_text()


@pytest.fixture
def settings() -> Settings:
    """As an emulator is made that is told nothing."""
    return Settings()


def test_what_is_late_only_on_request_is_told_and_everything_else_is_late_by_default():
    [(by_default, on_request)] = re.findall(r"^\| late \| (.+) \| (.+) \|$", TEXT, re.MULTILINE)
    at_once = {name for name, seconds in Delays().document().items() if seconds == 0}
    assert set(re.findall(r"`(\w+)`", on_request)) == at_once
    for word in ("addresses", "`active`", "tags", "firewalls", "load balancers", "certificates"):
        assert word in by_default


def test_the_local_cloud_makes_nothing_kinder_by_itself():
    assert CloudSettings().delays == {}
    assert CloudSettings().boot_seconds[0] >= Delays().boot.low


async def test_tags_and_firewalls_are_late(account, clock):
    droplet = await account.create_droplet(tags=["class:1"])
    assert (droplet["tags"], droplet["locked"], droplet["networks"]["v4"]) == ([], True, [])
    firewall = await made(account, tags=["class:1"])
    clock.advance(Delays().tags.high)
    seen = await shown(account, firewall)
    assert seen["status"] == "waiting"
    assert [one["droplet_id"] for one in seen["pending_changes"]] == [droplet["id"]]
    clock.advance(Delays().firewall.high)
    assert (await shown(account, firewall))["status"] == "succeeded"
    # On every change, and for each droplet that comes.
    changed = await account.put(f"/v2/firewalls/{seen['id']}", order(tags=["class:1"]))
    assert changed.status == 200
    assert (await shown(account, firewall))["status"] == "waiting"
    clock.advance(Delays().firewall.high)
    await account.create_droplet("web-2", tags=["class:1"])
    clock.advance(Delays().tags.high)
    assert (await shown(account, firewall))["status"] == "waiting"


async def test_a_droplet_is_locked_at_first_and_its_password_is_mailed(account, control):
    droplet = await account.create_droplet()
    refused = await account.delete(f"/v2/droplets/{droplet['id']}")
    assert (refused.status, droplet["locked"]) == (422, True)
    assert "password mailed" in [one["what"] for one in await control.history()]


async def test_nothing_follows_from_a_path_that_is_not_emulated(account):
    assert (await account.get("/v2/databases")).status == 501
    assert "is a 501, never a 404" in TEXT


async def test_a_post_that_is_sent_twice_makes_two(account):
    for _ in range(2):
        assert (await account.post("/v2/droplets", {"name": "twin", **DROPLET})).status == 202
    assert await account.names(name="twin") == ["twin", "twin"]


async def test_a_token_has_its_hour_and_its_minute(account):
    replies = [await account.get("/v2/account") for _ in range(251)]
    assert [one.status for one in replies[-2:]] == [200, 429]
    assert replies[0].headers["ratelimit-limit"] == "5000"
    assert "retry-after" in replies[-1].headers
    assert "5,000 requests an hour, 250 of them in a minute" in TEXT
