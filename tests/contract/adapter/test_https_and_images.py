"""Load balancers, certificates, images and keys on an emulated account, with faults."""

from dataclasses import replace

import pytest

from spawnai.digitalocean import errors
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.certificates import Certificates
from spawnai.digitalocean.firewalls import session_rules
from spawnai.digitalocean.images import Images
from spawnai.digitalocean.load_balancers import LoadBalancers
from spawnai.digitalocean.models import (
    CertificateUpload,
    DropletOrder,
    FirewallOrder,
    ForwardingRule,
    LoadBalancerOrder,
)
from spawnai.digitalocean.ssh_keys import SshKeys
from spawnai_local.certificates import CertificateAuthority

NEW, DESTROY = Priority.NEW, Priority.DESTROY
DOMAIN = "example.com"
NAME = "spawn-0a1b2c3d-0000-4000-8000-000000000001"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHVudGVzdHVudGVzdHVudGVzdHVudGVzdHVudGVz me"
DROPLET = DropletOrder(NAME, "nyc3", "s-1vcpu-1gb", "debian-12-x64", "#cloud-config\n", ())
BALANCER = LoadBalancerOrder(NAME, "nyc3", (ForwardingRule("http", 80, "http", 80),), (), "web")


@pytest.fixture
def balancers(adapter) -> LoadBalancers:
    return LoadBalancers(adapter.api)


@pytest.fixture
def certificates(adapter) -> Certificates:
    return Certificates(adapter.api)


@pytest.fixture
def images(adapter) -> Images:
    return Images(adapter.api)


@pytest.fixture
async def domain(control) -> str:
    await control.seed(domains=[{"name": DOMAIN}])
    return DOMAIN


async def test_a_load_balancer_is_made_seen_changed_and_gone(balancers, control):
    await control.set_delays(load_balancer=3600)
    made = await balancers.create(BALANCER, priority=NEW)
    assert (made.status, made.ip, made.name, made.region) == ("new", None, NAME, "nyc3")
    with pytest.raises(errors.Busy, match="processes previous actions"):
        await balancers.update(made.id, BALANCER, priority=NEW)
    with pytest.raises(errors.AlreadyExists):
        await balancers.create(BALANCER, priority=NEW)
    assert [one.id for one in await balancers.list(priority=NEW)] == [made.id]
    assert await balancers.delete(made.id, priority=DESTROY) is True
    await control.set_delays(load_balancer=0)
    made = await balancers.create(BALANCER, priority=NEW)
    seen = await balancers.get(made.id, priority=NEW)
    assert (seen.status, seen.tag, seen.nodes) == ("active", "web", 1)
    assert seen.ip.startswith("127.")
    assert seen.rules == BALANCER.rules
    two = await balancers.update(seen.id, replace(BALANCER, nodes=2), priority=NEW)
    assert two.nodes == 2
    assert await balancers.delete(seen.id, priority=DESTROY) is True
    assert await balancers.delete(seen.id, priority=DESTROY) is False
    assert await balancers.get(seen.id, priority=NEW) is None


async def test_a_load_balancer_never_writes_records_of_its_own(
    adapter, balancers, certificates, domain
):
    """At the apex of the domain it would take down whatever lives there."""
    wild = await certificates.order("spawn-wild", [f"*.{DOMAIN}"], priority=NEW)
    https = ForwardingRule("https", 443, "http", 80, wild.id)
    made = await balancers.create(replace(BALANCER, rules=(https,)), priority=NEW)
    seen = await balancers.get(made.id, priority=NEW)
    assert (seen.status, seen.writes_records) == ("active", False)
    assert await adapter.records.list(DOMAIN, priority=NEW) == ()


async def test_a_load_balancer_may_fail_and_an_account_has_a_limit(balancers, control):
    await control.set_limits(load_balancers=1)
    await control.add_faults("POST /v2/load_balancers errored")
    made = await balancers.create(BALANCER, priority=NEW)
    assert (await balancers.get(made.id, priority=NEW)).status == "errored"
    with pytest.raises(errors.OverQuota, match="load balancer limit"):
        await balancers.create(replace(BALANCER, name="spawn-2"), priority=NEW)


async def test_a_droplets_firewall_lets_a_load_balancer_in_by_its_id(adapter, balancers):
    balancer = await balancers.create(BALANCER, priority=NEW)
    inbound, outbound = session_rules(
        agent_port=8443, web_addresses=[f"load_balancer:{balancer.id}"]
    )
    made = await adapter.firewalls.create(FirewallOrder("fw", inbound, outbound), priority=NEW)
    assert made.inbound[0].addresses == (f"load_balancer:{balancer.id}",)


async def test_a_certificate_is_found_by_its_name_whatever_its_id_becomes(
    certificates, balancers, control, domain
):
    await control.set_delays(certificate=3600)
    pending = await certificates.order("spawn-slow", [f"a.{DOMAIN}"], priority=NEW)
    assert (pending.state, pending.not_after) == ("pending", None)
    await control.set_delays(certificate=0)
    made = await certificates.order("spawn-wild", [f"*.{DOMAIN}"], priority=NEW)
    seen = await certificates.find("spawn-wild", priority=NEW)
    assert (seen.id, seen.state, seen.dns_names) == (made.id, "verified", (f"*.{DOMAIN}",))
    https = ForwardingRule("https", 443, "http", 80, seen.id)
    balancer = await balancers.create(replace(BALANCER, rules=(https,)), priority=NEW)
    renewed = await control.renew_certificate(seen.id)
    assert await certificates.get(seen.id, priority=NEW) is None
    assert (await certificates.find("spawn-wild", priority=NEW)).id == renewed["id"]
    used = await balancers.get(balancer.id, priority=NEW)
    assert used.rules[0].certificate_id == renewed["id"]
    assert await certificates.find("spawn", priority=NEW) is None


async def test_a_certificate_in_use_is_busy_and_goes_later(certificates, balancers, domain):
    made = await certificates.order("spawn-wild", [f"*.{DOMAIN}"], priority=NEW)
    https = ForwardingRule("https", 443, "http", 80, made.id)
    balancer = await balancers.create(replace(BALANCER, rules=(https,)), priority=NEW)
    with pytest.raises(errors.Busy, match="not in use before deleting"):
        await certificates.delete(made.id, priority=DESTROY)
    await balancers.delete(balancer.id, priority=DESTROY)
    assert await certificates.delete(made.id, priority=DESTROY) is True
    assert await certificates.delete(made.id, priority=DESTROY) is False


async def test_a_certificate_for_a_domain_of_nobody_is_refused_and_a_twin_is_there_already(
    certificates, domain
):
    with pytest.raises(errors.Refused):
        await certificates.order("spawn-x", ["*.nobody.example"], priority=NEW)
    await certificates.order("spawn-wild", [f"*.{DOMAIN}"], priority=NEW)
    with pytest.raises(errors.AlreadyExists):
        await certificates.order("spawn-wild", [f"*.{DOMAIN}"], priority=NEW)


async def test_a_certificate_is_uploaded_and_its_key_is_not_shown(certificates, tmp_path):
    authority = CertificateAuthority(tmp_path, "test")
    pair = authority.issue_server("one", [f"app.{DOMAIN}"])
    upload = CertificateUpload(
        "spawn-own",
        pair.certificate.read_text(),
        authority.certificate_path.read_text(),
        pair.key.read_text(),
    )
    assert "PRIVATE KEY" not in repr(upload)
    made = await certificates.upload(upload, priority=NEW)
    assert (made.type, made.state, made.dns_names) == ("custom", "verified", (f"app.{DOMAIN}",))
    assert made.not_after is not None


async def test_an_image_is_baked_moved_used_and_gone(adapter, images, control):
    builder = await adapter.droplets.create(DROPLET, priority=NEW)
    assert (await adapter.droplets.get(builder.id, priority=NEW)).status == "active"
    off = await adapter.droplets.act(builder.id, "power_off", priority=NEW)
    assert off.type == "power_off"
    ended = await adapter.droplets.action(builder.id, off.id, priority=NEW)
    assert (ended.status, ended.resource_id) == ("completed", builder.id)
    assert (await adapter.droplets.get(builder.id, priority=NEW)).status == "off"
    await adapter.droplets.act(builder.id, "snapshot", name="spawn-baked-1", priority=NEW)
    [snapshot] = await adapter.droplets.snapshots(builder.id, priority=NEW)
    assert snapshot.name == "spawn-baked-1"
    image = await images.get(snapshot.id, priority=NEW)
    assert (image.type, image.regions, image.min_disk_size) == ("snapshot", {"nyc3"}, 25)
    there = replace(DROPLET, image=str(image.id), region="ams3")
    with pytest.raises(errors.ImageNotInRegion):
        await adapter.droplets.create(there, priority=NEW)
    transfer = await images.transfer(image.id, "ams3", priority=NEW)
    assert (await images.action(image.id, transfer.id, priority=NEW)).status == "completed"
    assert (await images.get(image.id, priority=NEW)).regions == {"nyc3", "ams3"}
    await adapter.droplets.create(there, priority=NEW)
    assert [one.id for one in await images.list_own(priority=NEW)] == [image.id]
    assert await images.delete(image.id, priority=DESTROY) is True
    assert await images.delete(image.id, priority=DESTROY) is False
    assert await images.get(image.id, priority=NEW) is None
    assert (await images.get("debian-12-x64", priority=NEW)).slug == "debian-12-x64"


async def test_a_droplet_and_an_image_take_one_action_at_a_time(adapter, images, control):
    builder = await adapter.droplets.create(DROPLET, priority=NEW)
    await adapter.droplets.act(builder.id, "snapshot", name="spawn-1", priority=NEW)
    [snapshot] = await adapter.droplets.snapshots(builder.id, priority=NEW)
    await control.set_delays(snapshot=3600, transfer=3600)
    await adapter.droplets.act(builder.id, "snapshot", name="spawn-2", priority=NEW)
    assert (await adapter.droplets.get(builder.id, priority=NEW)).locked
    with pytest.raises(errors.Busy):
        await adapter.droplets.act(builder.id, "snapshot", name="spawn-3", priority=NEW)
    with pytest.raises(errors.Busy):
        await adapter.droplets.delete(builder.id, priority=DESTROY)
    await images.transfer(snapshot.id, "ams3", priority=NEW)
    with pytest.raises(errors.Busy):
        await images.transfer(snapshot.id, "lon1", priority=NEW)
    with pytest.raises(errors.NotFound):
        await adapter.droplets.act(1, "power_off", priority=NEW)


async def test_a_custom_image_takes_a_droplet_with_a_key_and_no_other(adapter, images, emulator):
    uploaded = emulator.cloud.images.upload(
        {"name": "own", "url": "https://example.com/a.img", "region": "nyc3"}
    )
    emulator.cloud.timeline.settle()
    custom = replace(DROPLET, image=str(uploaded.id))
    with pytest.raises(errors.Refused, match="needs an SSH key"):
        await adapter.droplets.create(custom, priority=NEW)
    keys = SshKeys(adapter.api)
    key = await keys.create("spawn", KEY, priority=NEW)
    await adapter.droplets.create(replace(custom, ssh_keys=(key.id,)), priority=NEW)
    assert [one.fingerprint for one in await keys.list(priority=NEW)] == [key.fingerprint]
    assert await keys.delete(key.id, priority=DESTROY) is True
    assert await keys.delete(key.id, priority=DESTROY) is False


def creations(adapter, droplet_id, image_id):
    return {
        "POST /v2/load_balancers": lambda: LoadBalancers(adapter.api).create(
            BALANCER, priority=NEW
        ),
        "POST /v2/certificates": lambda: Certificates(adapter.api).order(
            "spawn-wild", [f"*.{DOMAIN}"], priority=NEW
        ),
        "POST /v2/droplets/{droplet_id}/actions": lambda: adapter.droplets.act(
            droplet_id, "snapshot", name="spawn-1", priority=NEW
        ),
        "POST /v2/images/{image_id}/actions": lambda: Images(adapter.api).transfer(
            image_id, "ams3", priority=NEW
        ),
        "POST /v2/account/keys": lambda: SshKeys(adapter.api).create("k", KEY, priority=NEW),
    }


@pytest.mark.parametrize(
    "fault", ["error_before status=503", "error_after status=500", "cut_after", "garbled"]
)
async def test_every_creation_is_sent_once_and_may_have_happened(adapter, control, domain, fault):
    builder = await adapter.droplets.create(DROPLET, priority=NEW)
    await adapter.droplets.act(builder.id, "snapshot", name="spawn-0", priority=NEW)
    [snapshot] = await adapter.droplets.snapshots(builder.id, priority=NEW)
    for endpoint, create in creations(adapter, builder.id, snapshot.id).items():
        await control.clear_faults()
        await control.add_faults(f"{endpoint} {fault} times=0")
        with pytest.raises(errors.Ambiguous):
            await create()
        assert [one["matched"] for one in await control.faults()] == [1], endpoint
