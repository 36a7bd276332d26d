"""Droplets with machines: what is asked of the host, and in which order."""

import asyncio
import logging

import pytest

from spawnai_local.digitalocean import Settings


class RecordingHost:
    """A host of machines that are only notes."""

    def __init__(self):
        self.on_power_off = None
        self.orders = []
        self.disks = []
        self.next_address = 1
        self.running = set()
        self.hold = None

    def allocate_address(self):
        self.next_address += 1
        return f"127.20.0.{self.next_address}"

    async def boot(self, droplet_id, address, user_data, memory_bytes, image_id=None):
        if self.hold is not None:
            await self.hold.wait()
        if user_data == "broken":
            raise RuntimeError("does not boot")
        self.orders.append(("boot", droplet_id, address, user_data, memory_bytes))
        self.running.add(droplet_id)
        self.disks.append(image_id)

    async def keep_disk(self, droplet_id, image_id):
        self.orders.append(("keep_disk", droplet_id, image_id))

    async def drop_disk(self, image_id):
        self.orders.append(("drop_disk", image_id))

    async def power_off(self, droplet_id):
        self.orders.append(("power_off", droplet_id))
        self.running.discard(droplet_id)

    async def destroy(self, droplet_id):
        self.orders.append(("destroy", droplet_id))
        self.running.discard(droplet_id)


@pytest.fixture
def machines():
    return RecordingHost()


@pytest.fixture
def settings():
    return Settings(shell_tags=frozenset({"shell"}))


async def settle(emulator):
    await emulator.cloud.droplets.drain_machines()


async def test_the_machine_boots_with_the_exact_user_data_when_the_boot_delay_is_over(
    emulator, account, control, clock, machines
):
    await control.set_delays(boot=10)
    text = "#cloud-config\nruncmd:\n- [true]\n"
    droplet = await account.create_droplet(user_data=text, size="s-2vcpu-2gb")
    clock.advance(9)
    await settle(emulator)
    assert machines.orders == []
    clock.advance(1)
    await settle(emulator)
    assert machines.orders == [("boot", droplet["id"], "127.20.0.2", text, 2048 * 1024 * 1024)]


async def test_a_deleted_droplets_machine_is_destroyed_after_it_has_booted(
    emulator, account, machines
):
    machines.hold = asyncio.Event()
    droplet = await account.active_droplet()
    assert (await account.delete(f"/v2/droplets/{droplet['id']}")).status == 204
    machines.hold.set()
    await settle(emulator)
    assert [order[0] for order in machines.orders] == ["boot", "destroy"]
    assert machines.running == set()


async def test_power_actions_reach_the_machine(emulator, account, clock, machines):
    droplet = await account.active_droplet()
    for kind in ("power_off", "power_on", "reboot"):
        await account.post(f"/v2/droplets/{droplet['id']}/actions", {"type": kind})
        clock.advance(1)
    await settle(emulator)
    assert [order[0] for order in machines.orders] == [
        "boot",
        "power_off",
        "boot",
        "power_off",
        "boot",
    ]


async def test_a_machine_that_shuts_itself_down_turns_its_droplet_off(account, machines):
    droplet = await account.active_droplet()
    machines.on_power_off(droplet["id"])
    machines.on_power_off(1)
    shown = (await account.get(f"/v2/droplets/{droplet['id']}")).body["droplet"]
    assert shown["status"] == "off"


async def test_a_machine_that_does_not_boot_is_logged_and_the_droplet_stays_active(
    emulator, account, machines, caplog
):
    with caplog.at_level(logging.CRITICAL + 1, "spawnai_local.digitalocean.machine_host"):
        droplet = await account.active_droplet(user_data="broken")
        await settle(emulator)
    assert droplet["status"] == "active"
    assert (await account.delete(f"/v2/droplets/{droplet['id']}")).status == 204
    await settle(emulator)
    assert machines.orders == [("destroy", droplet["id"])]


async def test_droplets_with_a_shell_tag_have_no_machine(emulator, account, machines):
    droplet = await account.active_droplet(tags=["shell"])
    await account.delete(f"/v2/droplets/{droplet['id']}")
    await settle(emulator)
    assert machines.orders == []


async def test_a_snapshot_keeps_the_machines_disk_for_machines_that_are_made_from_it(
    emulator, account, clock, machines
):
    droplet = await account.active_droplet()
    await account.post(
        f"/v2/droplets/{droplet['id']}/actions", {"type": "snapshot", "name": "baked"}
    )
    clock.advance(60)
    [image] = (await account.get(f"/v2/droplets/{droplet['id']}/snapshots")).body["snapshots"]
    await account.active_droplet(image=image["id"])
    await account.delete(f"/v2/images/{image['id']}")
    await settle(emulator)
    assert machines.disks == [None, image["id"]]
    assert ("keep_disk", droplet["id"], image["id"]) in machines.orders
    assert machines.orders[-1] == ("drop_disk", image["id"])
