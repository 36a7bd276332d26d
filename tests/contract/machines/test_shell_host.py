"""Shells answer as a droplet's agent does: the operator's own client speaks to them."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network

import pytest

from spawnai.controller.actions.certificates import shows_proof
from spawnai.droplet.client import (
    AgentClient,
    AgentRejected,
    AgentUnreachable,
    AgentUntrusted,
    take_over,
)
from spawnai.droplet.cloud_config import DropletBootstrap, render_user_data, session_document
from spawnai.droplet.credentials import derive_credentials
from spawnai_local.address_block import claim_address_block
from spawnai_local.machines.shell_host import ShellError, ShellHost, ShellPace

CREATED = datetime(2026, 11, 1, tzinfo=UTC)
BUNDLE = {
    "digest": "d" * 64,
    "appType": "webapp",
    "entrypoint": "index.html",
    "files": [],
    "dependencies": {},
}


def credentials(uid="one"):
    return derive_credentials(b"k" * 32, uid, CREATED)


def bootstrap(uid="one", *, app_type="webapp", lives=timedelta(hours=1), grace_seconds=60):
    return DropletBootstrap(
        session_uid=uid,
        app_type=app_type,
        credentials=credentials(uid),
        agent_source="",
        expires_at=datetime.now(UTC) + lives,
        grace_seconds=grace_seconds,
    )


@pytest.fixture
def block():
    with claim_address_block() as claimed:
        yield claimed


@pytest.fixture
async def host(block):
    shells = ShellHost(block.network, ShellPace(install=0.2, start=0.2))
    yield shells
    await shells.close()


async def boot(host, droplet_id=1, **arguments):
    address = host.allocate_address()
    await host.boot(droplet_id, address, render_user_data(bootstrap(**arguments)), 1024)
    return address


@pytest.mark.parametrize(("app_type", "last"), [("webapp", "running"), ("script", "finished")])
async def test_an_app_is_installed_then_started_then_runs_or_has_run(block, app_type, last):
    passed = 0.0
    host = ShellHost(block.network, ShellPace(install=2, start=1), seconds=lambda: passed)
    address = await boot(host, app_type=app_type)
    async with AgentClient(address, 8443, credentials()) as agent:
        assert (await agent.status()).state == "idle"
        await agent.push(BUNDLE)

        for passed, state in ((1.9, "installing"), (2.9, "starting"), (3.0, last)):  # noqa: B007
            assert (await agent.status()).state == state
    await host.close()


async def test_who_waits_for_another_state_is_told_it(block):
    host = ShellHost(block.network, ShellPace(install=0.2, start=0.1))
    address = await boot(host)
    async with AgentClient(address, 8443, credentials()) as agent:
        await agent.push(BUNDLE)

        assert (await agent.status(after="installing")).state == "starting"
        assert (await agent.status(after="starting")).state == "running"
    await host.close()


async def test_the_same_bundle_is_taken_once_and_another_is_a_revision(host):
    address = await boot(host)
    async with AgentClient(address, 8443, credentials()) as agent:
        await agent.push(BUNDLE)
        await agent.push(BUNDLE)
        assert (await agent.status()).update is None

        await agent.push({**BUNDLE, "digest": "e" * 64})
        status = await agent.status()

    assert (status.bundle_digest, status.update.bundle_digest) == ("e" * 64, "e" * 64)


async def test_what_the_real_agent_is_told_of_its_doors_a_shell_takes_too(host):
    address = await boot(host)
    async with AgentClient(address, 8443, credentials()) as agent:
        await agent.put_challenge("token", "token.thumbprint")
        await agent.delete_challenge("token")
        await agent.put_certificate("chain", "key", ["example.com"])
        await agent.put_hosts(["example.com"], redirect_http=True)
        await agent.set_environment({"KEY": "value"})
        assert (await agent.read_log()).lines == ()
        assert await agent.read_usage() == ((), 0)
        await agent.stop()


async def test_a_proof_is_shown_to_who_looks_for_it_until_it_is_withdrawn(host):
    address = host.allocate_address()
    data = render_user_data(replace(bootstrap(), http_port=8080))
    await host.boot(1, address, data, 1024)
    url = f"http://{address}:8080/.well-known/acme-challenge/token"

    async with AgentClient(address, 8443, credentials()) as agent:
        assert not await shows_proof(url, address, "token.thumbprint")
        await agent.put_challenge("token", "token.thumbprint")
        assert await shows_proof(url, address, "token.thumbprint")
        await agent.delete_challenge("token")
        assert not await shows_proof(url, address, "token.thumbprint")


async def test_another_token_is_refused(host):
    address = await boot(host)
    pretender = replace(credentials(), token=credentials("two").token)
    async with AgentClient(address, 8443, pretender) as agent:
        with pytest.raises(AgentRejected) as refusal:
            await agent.status()

    assert refusal.value.status == 401


async def test_each_shell_shows_the_certificate_of_its_own_user_data(host):
    address = await boot(host)
    async with AgentClient(address, 8443, credentials("two")) as agent:
        with pytest.raises(AgentUntrusted):
            await agent.status()


async def test_a_spare_takes_no_app_until_a_session_has_taken_it_over(host):
    address = await boot(host, uid="spare", app_type=None)
    wanted, other = bootstrap("one"), bootstrap("two")
    async with AgentClient(address, 8443, credentials("spare")) as spare:
        assert (await spare.status()).runtime == "ok"
        with pytest.raises(AgentRejected, match="spare"):
            await spare.push(BUNDLE)

        await take_over(address, credentials("spare"), wanted)
        await take_over(address, credentials("spare"), wanted)

    with pytest.raises(AgentUntrusted):
        await take_over(address, credentials("spare"), other)
    async with AgentClient(address, 8443, credentials("one")) as session:
        with pytest.raises(AgentRejected, match="another session's"):
            await session.put_session(session_document(other))
        await session.push(BUNDLE)
        assert (await session.status()).bundle_digest == BUNDLE["digest"]


async def test_a_moved_expiry_is_told(host):
    address = await boot(host)
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    async with AgentClient(address, 8443, credentials()) as agent:
        await agent.set_expiry(later)

        assert (await agent.status()).expires_at == later


async def test_a_shell_past_its_time_and_grace_powers_itself_off(host):
    off = []
    host.on_power_off = off.append
    address = await boot(host, droplet_id=7, lives=timedelta(seconds=-1), grace_seconds=0)

    deadline = time.monotonic() + 10
    async with AgentClient(address, 8443, credentials()) as agent:
        while time.monotonic() < deadline:
            try:
                await agent.status()
            except AgentUnreachable:
                break
    assert off == [7]


async def test_a_destroyed_shell_is_gone_and_its_address_free(host):
    address = await boot(host)

    await host.destroy(1)

    async with AgentClient(address, 8443, credentials()) as agent:
        with pytest.raises(AgentUnreachable):
            await agent.status()


async def test_no_two_shells_share_an_address():
    host = ShellHost(IPv4Network("127.250.0.0/16"), ShellPace())

    assert len({host.allocate_address() for _ in range(1000)}) == 1000


async def test_user_data_of_another_maker_is_no_shell(host):
    with pytest.raises(ShellError, match="no #cloud-config"):
        await host.boot(1, host.allocate_address(), "#!/bin/sh\n", 1024)
