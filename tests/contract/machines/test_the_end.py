"""The dead man's switch, with times of a few seconds."""

import contextlib
import os
import signal
import socket
from datetime import timedelta
from ipaddress import IPv4Address

import pytest
from tests.contract.machines.support import (
    ANSWERING_SERVER,
    PATIENCE_SECONDS,
    STATIC_PAGE,
    bundle,
    eventually,
    now,
)

from spawnai.droplet.client import AgentUnreachable
from spawnai.droplet.cloud_config import AGENT_PORT

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_past_expiry_and_grace_the_droplet_powers_itself_off(machine):
    api = machine("api")
    heard = []
    api.host.on_power_off = heard.append
    await api.boot(api.user_data(expires_in=3600, grace_seconds=1))
    await api.until_it_answers()
    await api.agent.push(bundle("api", {"server.js": ANSWERING_SERVER}))
    await api.until("running")
    await api.agent.set_expiry(now())
    await api.until_off()

    async def it_was_told():
        return heard == [api.id]

    await eventually(it_was_told)
    with pytest.raises(AgentUnreachable):
        await api.agent.status()


async def test_within_the_grace_it_stays_on(machine):
    webapp = machine("webapp")
    await webapp.boot(webapp.user_data(expires_in=-5, grace_seconds=3600))
    await webapp.until_it_answers()
    await webapp.agent.push(bundle("webapp", STATIC_PAGE))
    assert (await webapp.until("running")).expires_at < now()


async def test_the_first_expiry_holds_when_no_operator_ever_comes(machine):
    webapp = machine("webapp")
    await webapp.boot(webapp.user_data(expires_in=1.5, grace_seconds=0))
    await webapp.until_off()


async def test_the_operator_moves_it(machine):
    webapp = machine("webapp")
    await webapp.boot(webapp.user_data(expires_in=3, grace_seconds=PATIENCE_SECONDS))
    await webapp.until_it_answers()
    later = now().replace(microsecond=0) + timedelta(hours=3)
    await webapp.agent.set_expiry(later)
    assert (await webapp.agent.status()).expires_at == later
    promise = webapp.switch()
    assert promise["expires_at"] == later.timestamp()
    assert 3 * 3600 < promise["left_seconds"] <= 3 * 3600 + PATIENCE_SECONDS


async def test_a_reboot_neither_forgets_the_moved_expiry_nor_outlives_it(machine):
    webapp = machine("webapp")
    await webapp.run(bundle("webapp", STATIC_PAGE))
    later = now().replace(microsecond=0) + timedelta(hours=3)
    await webapp.agent.set_expiry(later)
    await webapp.host.power_off(webapp.id)
    await webapp.boot()
    assert (await webapp.until("running")).expires_at == later
    # Over while it was off: it comes up only to power off again.
    await webapp.agent.set_expiry(now() - timedelta(hours=1))
    await webapp.until_off()
    await webapp.boot()
    await webapp.until_off()


async def test_an_unreadable_state_cannot_lengthen_a_life(machine):
    webapp = machine("webapp")
    await webapp.boot(webapp.user_data(expires_in=-10, grace_seconds=0))
    await webapp.until_off()
    (webapp.folder / "switch.json").write_text("nothing useful")
    await webapp.boot()
    await webapp.until_off()


async def test_a_wrong_date_neither_ends_nor_lengthens_a_life(machine):
    # The droplet is told a date and how long that is from now. Here the date is a day off, as when
    # the operator's clock is, or the droplet's.
    early, late = machine("webapp"), machine("webapp")
    day = 86_400.0
    await early.boot(early.user_data(expires_in=-day, grace_seconds=0, lifetime=timedelta(hours=1)))
    await late.boot(late.user_data(expires_in=day, grace_seconds=0, lifetime=timedelta(seconds=1)))
    await late.until_off()
    await early.until_it_answers()
    await early.agent.set_expiry(now() - timedelta(days=2), remaining=timedelta(hours=2))
    assert (await early.agent.status()).state == "idle"
    await early.agent.set_expiry(now() + timedelta(days=2), remaining=timedelta(0))
    await early.until_off()


async def test_what_is_promised_is_what_the_switch_has_taken_in(machine):
    webapp = machine("webapp")
    await webapp.boot()
    before = (await webapp.until_it_answers()).expires_at
    (switch,) = webapp.processes("agent.pyz switch")
    os.kill(switch, signal.SIGSTOP)
    with pytest.raises(AgentUnreachable, match="switch does not answer"):
        await webapp.agent.set_expiry(now() + timedelta(hours=9))
    assert (await webapp.agent.status()).expires_at == before
    os.kill(switch, signal.SIGCONT)
    later = now().replace(microsecond=0) + timedelta(hours=9)
    await webapp.agent.set_expiry(later)
    assert (await webapp.agent.status()).expires_at == later


async def test_the_switch_needs_no_agent_and_comes_back_when_killed(machine):
    webapp = machine("webapp")
    await webapp.boot(webapp.user_data(expires_in=3600, grace_seconds=4))
    await webapp.until_it_answers()
    (switch,) = webapp.processes("agent.pyz switch")
    os.kill(switch, signal.SIGKILL)

    async def another_runs():
        return set(webapp.processes("agent.pyz switch")) - {switch}

    await eventually(another_runs)
    await webapp.agent.set_expiry(now())
    for agent in webapp.agents():
        os.kill(agent, signal.SIGSTOP)
    await webapp.until_off()


async def test_a_crowd_of_slow_connections_does_not_put_off_the_end(machine, network):
    # What once used up the tasks of a process that had the health port, the operator's door and
    # the switch in one: 160 callers, each from an address of its own, that never finish asking.
    webapp = machine("webapp")
    await webapp.run(bundle("webapp", STATIC_PAGE))
    first = int(network.network_address) + 3000
    starts = {webapp.host.http_port: b"GET /health HTTP/1.1\r\n", AGENT_PORT: b"\x16"}
    with contextlib.ExitStack() as crowd:
        held = []
        for port, start in starts.items():
            for number in range(160):
                caller = str(IPv4Address(first + number))
                one = socket.create_connection((webapp.address, port), 5, (caller, 0))
                held.append(crowd.enter_context(one))
                one.send(start)
        await webapp.agent.set_expiry(now() - timedelta(seconds=600))
        for one in held:
            with contextlib.suppress(OSError):
                one.send(b"X-Slow: 1\r\n")
        await webapp.until_off()
