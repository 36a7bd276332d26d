"""A session takes over a spare: afterwards the droplet is as if it had booted as the session's."""

import asyncio
import contextlib
import json
import os
import re
import signal
import ssl
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from tests.contract.machines.support import (
    ANSWERING_SERVER,
    HOST_LABEL,
    MASTER_KEY,
    STATIC_PAGE,
    UID,
    bootstrap,
    bundle,
    eventually,
    new_credentials,
    now,
    said_by_the_app,
)

from spawnai.droplet.agent.web import ADMIN_SOCKET, _SocketConnection
from spawnai.droplet.client import (
    AgentClient,
    AgentError,
    AgentRejected,
    AgentUnreachable,
    AgentUntrusted,
    _mutual,
    take_over,
)
from spawnai.droplet.cloud_config import AGENT_PORT, AppHealth, session_document
from spawnai.droplet.credentials import derive_droplets_authority, gateway_host_name

pytestmark = pytest.mark.asyncio(loop_scope="session")

OTHER = "99999999-8888-7777-6666-555555555555"


def session(app_type="webapp", **more):
    """A session that wants a droplet."""
    return bootstrap(app_type, new_credentials(), **more)


async def spare_of(machine):
    spare = machine(None)
    await spare.be_a_spare()
    return spare


async def hand_over(spare, to):
    await take_over(spare.address, spare.credentials, to)
    await use_keys_of(spare, to)


async def use_keys_of(spare, to):
    """From now on the machine's client is the session's."""
    await spare.agent.close()
    spare.agent = AgentClient(spare.address, AGENT_PORT, to.credentials)


def asked_by(spare, credentials):
    return AgentClient(spare.address, AGENT_PORT, credentials)


def stored(spare):
    return json.loads((spare.folder / "session.json").read_text())


async def test_a_spare_runs_the_sessions_app_within_moments(machine):
    spare = await spare_of(machine)
    agents = spare.agents()
    wanted = session("api")

    started = time.monotonic()
    await hand_over(spare, wanted)
    seconds = time.monotonic() - started

    assert seconds < 2, "it takes a third of a second, most of it until the switch has looked"
    assert (await spare.agent.status()).state == "idle"
    await spare.agent.push(bundle("api", {"server.js": ANSWERING_SERVER}))
    await spare.until("running")
    assert (await spare.browser.get("/")).text == "pong"
    assert spare.agents() == agents, "the agent itself goes on"


async def test_afterwards_only_the_sessions_keys_open_the_door(machine):
    spare = await spare_of(machine)
    wanted = session()
    await hand_over(spare, wanted)

    with pytest.raises(AgentUntrusted):
        async with asked_by(spare, spare.credentials) as before:
            await before.status()
    # Each part alone: the spare's operator who trusts the new certificate, and his token.
    for part in (
        replace(spare.credentials, certificate_pem=wanted.credentials.certificate_pem),
        replace(wanted.credentials, token=spare.credentials.token),
    ):
        with pytest.raises(AgentError) as refusal:
            async with asked_by(spare, part) as mixed:
                await mixed.status()
        assert isinstance(refusal.value, AgentUnreachable) or refusal.value.status == 401


async def test_no_key_of_the_spare_is_left_on_its_disk(machine):
    spare = await spare_of(machine)
    await hand_over(spare, session())
    secret = spare.credentials.private_key_pem.splitlines()[1]
    holders = [
        file for file in spare.folder.rglob("*") if file.is_file() and secret in _text_of(file)
    ]
    assert holders == []
    assert (spare.folder / "session.json").stat().st_mode & 0o777 == 0o600


def _text_of(file: Path) -> str:
    return file.read_text("utf-8", "replace")


@pytest.mark.parametrize("app_type", ["webapp", "api", "fullstack", "script"])
async def test_it_is_what_a_droplet_of_its_own_would_be(machine, app_type):
    wanted = session(app_type, health=AppHealth(interval=7, failures=4, grace=11))
    spare = await spare_of(machine)
    await hand_over(spare, wanted)
    fresh = machine(app_type)
    fresh.credentials = wanted.credentials
    await fresh.boot(fresh.user_data())
    await use_keys_of(fresh, wanted)
    await fresh.until_it_answers()
    await fresh.until_caddy_answers()

    assert {**stored(spare), "expiry": None} == {**session_document(wanted), "expiry": None}
    assert configured(spare) == configured(fresh)
    status, born = await spare.agent.status(), await fresh.agent.status()
    assert replace(status, expires_at=born.expires_at, runtime="") == replace(born, runtime="")


def configured(machine):
    """What Caddy goes by, without what two droplets cannot have in common."""
    connection = _SocketConnection(machine.folder / "web", ADMIN_SOCKET)
    connection.putrequest("GET", "/config/", skip_host=True)
    connection.putheader("Host", "")
    connection.endheaders()
    text = connection.getresponse().read().decode()
    connection.close()
    text = text.replace(str(machine.folder), "FOLDER").replace(machine.address, "ADDRESS")
    port = int(
        re.search(r"^APP_PORT=(\d+)", (machine.folder / "machine.env").read_text(), re.MULTILINE)[1]
    )
    config = json.loads(text.replace(str(port), "PORT").replace(str(port + 1), "SECOND"))
    # The same session's certificate is made anew in this test: its date differs.
    (certificate,) = config["apps"]["tls"]["certificates"]["load_pem"]
    certificate.clear()
    return config


async def test_a_gateway_knows_it_by_the_sessions_certificate(machine):
    spare = await spare_of(machine)
    await hand_over(spare, session())
    context = ssl.create_default_context(cadata=derive_droplets_authority(MASTER_KEY))
    name = gateway_host_name(HOST_LABEL)
    _, writer = await asyncio.open_connection(
        spare.address, spare.host.https_port, ssl=context, server_hostname=name
    )
    writer.close()


async def test_its_health_is_judged_by_the_sessions_settings(machine):
    spare = await spare_of(machine)
    await hand_over(spare, session("api", health=AppHealth(grace=0.5)))
    await spare.agent.push(bundle("api", {"server.js": "setInterval(() => 0, 1000)"}))

    async def is_judged():
        return (await spare.agent.status()).reason

    assert await eventually(is_judged) == "AppNeverAnswered"


async def test_its_switch_counts_the_sessions_lifetime_and_grace(machine):
    spare = await spare_of(machine)
    # By its date it would end in a day: the duration decides.
    wanted = session(expires_in=86_400, lifetime=timedelta(hours=2), grace_seconds=60)
    await hand_over(spare, wanted)
    promise = spare.switch()
    assert promise["expires_at"] == int(wanted.expires_at.timestamp())
    assert 7200 < promise["left_seconds"] <= 7260
    await spare.agent.set_expiry(now(), remaining=timedelta(hours=1))
    assert 3600 < spare.switch()["left_seconds"] <= 3660


async def test_nobody_has_to_come_for_its_switch_to_end_it(machine):
    spare = await spare_of(machine)
    await hand_over(spare, session(lifetime=timedelta(seconds=1), grace_seconds=0))
    await spare.until_off()


async def test_nothing_of_the_spares_time_is_told_as_the_sessions(tight_machine):
    spare = await spare_of(tight_machine)

    async def has_sampled():
        samples, _ = await spare.agent.read_usage()
        return len(samples) > 5

    await eventually(has_sampled)
    await hand_over(spare, session())
    samples, _ = await spare.agent.read_usage()
    assert len(samples) < 5
    assert (await spare.agent.read_log()).lines == ()


async def test_asked_again_it_says_yes_and_changes_nothing(machine):
    spare = await spare_of(machine)
    wanted = session("webapp")
    await hand_over(spare, wanted)
    await spare.agent.push(bundle("webapp", STATIC_PAGE))
    await spare.until("running")
    before = stored(spare)

    later = replace(wanted, expires_at=wanted.expires_at + timedelta(hours=1))
    await take_over(spare.address, spare.credentials, later)

    assert stored(spare) == before
    assert (await spare.agent.status()).state == "running"


async def test_another_session_comes_too_late(machine):
    spare = await spare_of(machine)
    wanted, other = session(), session(uid=OTHER)
    await hand_over(spare, wanted)
    with pytest.raises(AgentUntrusted):
        await take_over(spare.address, spare.credentials, other)
    with pytest.raises(AgentRejected, match="another session's") as refusal:
        await spare.agent.put_session(session_document(other))
    assert refusal.value.status == 409
    assert stored(spare)["sessionUid"] == UID


async def test_of_two_sessions_at_once_one_has_it(machine):
    spare = await spare_of(machine)
    both = session(), session(uid=OTHER)
    ends = await asyncio.gather(
        *(take_over(spare.address, spare.credentials, one) for one in both),
        return_exceptions=True,
    )
    ((winner, _),) = [one for one in zip(both, ends, strict=True) if one[1] is None]
    (failure,) = [end for end in ends if end is not None]
    assert isinstance(failure, AgentError)
    assert stored(spare)["sessionUid"] == winner.session_uid
    await use_keys_of(spare, winner)
    assert (await spare.agent.status()).state == "idle"


async def test_a_droplet_that_booted_for_a_session_is_never_handed_over(machine):
    webapp = machine("webapp")
    await webapp.run(bundle("webapp", STATIC_PAGE))
    with pytest.raises(AgentRejected) as refusal:
        await webapp.agent.put_session(session_document(session(uid=OTHER)))
    assert refusal.value.status == 409
    own = replace(session(), credentials=webapp.credentials)
    await take_over(webapp.address, new_credentials(), own)  # it is the session's already
    assert (await webapp.agent.status()).state == "running"


async def test_a_spare_takes_nothing_that_a_session_would_inherit(machine):
    spare = await spare_of(machine)
    orders = [
        spare.agent.push(bundle("webapp", STATIC_PAGE)),
        spare.agent.set_environment({"KEY": "value"}),
        spare.agent.put_hosts(["example.com"], redirect_http=True),
        spare.agent.put_certificate("chain", "key", ["example.com"]),
        spare.agent.put_challenge("token", "token.thumbprint"),
        spare.agent.stop(),
    ]
    for order in orders:
        with pytest.raises(AgentRejected, match="spare") as refusal:
            await order
        assert refusal.value.status == 409
    assert not list((spare.folder / "revisions").iterdir())
    await spare.agent.set_expiry(now() + timedelta(hours=9))  # its own life it has


async def test_an_order_of_the_spares_that_is_under_way_has_no_effect(machine):
    spare = await spare_of(machine)
    wanted = session(lifetime=timedelta(hours=2))
    reader, writer = await asyncio.open_connection(
        spare.address, AGENT_PORT, ssl=_mutual(spare.credentials)
    )
    body = json.dumps({"expiresAt": now().timestamp(), "lifetimeSeconds": -10_000})
    writer.write(
        f"PUT /v1/expiry HTTP/1.1\r\nAuthorization: Bearer {spare.credentials.token}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
    )
    await writer.drain()
    await spare.agent.status()  # its head was read by now
    await hand_over(spare, wanted)
    with contextlib.suppress(OSError):
        writer.write(body.encode())
        answer = await asyncio.wait_for(reader.read(), 20)
        assert not answer or answer.startswith(b"HTTP/1.1 401 ")
    writer.close()
    assert spare.switch()["left_seconds"] > 7000
    assert spare.host.is_on(spare.id)


MALFORMED = {
    "null": lambda _: None,
    "a list": lambda _: [],
    "a text": lambda _: "session",
    "empty": lambda _: {},
    "a spare's": lambda whole: whole | {"appType": None},
    "no app type": lambda whole: whole | {"appType": "desktop"},
    "an app type that is a list": lambda whole: whole | {"appType": ["webapp"]},
    "half a hash": lambda whole: whole | {"tokenSha256": "ab"},
    "no certificate": lambda whole: whole | {"agent": None},
    "another's key": lambda whole: (
        whole | {"agent": whole["agent"] | {"key": new_credentials().private_key_pem}}
    ),
    "noise for a certificate": lambda whole: whole | {"operatorCertificate": "\ud800 noise"},
    "no operator": lambda whole: whole | {"operatorCertificate": ""},
    "half a gateway": lambda whole: whole | {"gateway": {"certificate": "x"}},
    "a gateway's wrong key": lambda whole: whole | {"gateway": whole["agent"] | {"key": "x"}},
    "no time": lambda whole: whole | {"expiresAt": float("nan")},
    "milliseconds": lambda whole: whole | {"expiresAt": whole["expiresAt"] * 1000},
    "an endless life": lambda whole: whole | {"lifetimeSeconds": float("inf")},
    "an endless grace": lambda whole: whole | {"graceSeconds": float("inf")},
    "another door": lambda whole: whole | {"agentPort": 9443},
    "no number": lambda whole: whole | {"restarts": "many"},
}


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_no_session_takes_nothing_over(idle_spare, change):
    before = (idle_spare.folder / "session.json").read_bytes()
    document = change(session_document(session()))
    answer = await put_raw(idle_spare, json.dumps(document))
    assert answer.status_code == 422
    assert "PRIVATE" not in answer.text
    assert (idle_spare.folder / "session.json").read_bytes() == before
    assert (await idle_spare.agent.status()).state == "idle"


async def put_raw(spare, body):
    """Also what the operator's own client would never send."""
    async with httpx.AsyncClient(
        base_url=f"https://{spare.address}:{AGENT_PORT}",
        verify=_mutual(spare.credentials),
        headers={"Authorization": f"Bearer {spare.credentials.token}"},
        trust_env=False,
    ) as operator:
        return await operator.put("/v1/session", content=body)


# The agent is cut off at two points that a test can hold it at: before a byte of the session is on
# the disk (a pipe that nobody reads stands where the file is written), and after it changed hands,
# while it waits for the switch (which is stopped).


async def cut_before(spare, wanted, end):
    part = spare.folder / "session.json.part"
    os.mkfifo(part)
    asking = asyncio.create_task(take_over(spare.address, spare.credentials, wanted))
    (agent,) = spare.agents()
    await eventually(lambda: _opens(agent))
    await end(spare)
    part.unlink()
    return asking


async def _opens(pid):
    """Whether a thread of it waits for somebody to open the pipe's other end."""
    waits = [(task / "wchan").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return any("fifo" in each or "wait_for_partner" in each for each in waits)


async def cut_after(spare, wanted, end):
    (switch,) = spare.processes("agent.pyz switch")
    os.kill(switch, signal.SIGSTOP)
    asking = asyncio.create_task(take_over(spare.address, spare.credentials, wanted))

    async def is_taken():
        return stored(spare)["sessionUid"] == wanted.session_uid

    await eventually(is_taken)
    await end(spare)
    with contextlib.suppress(ProcessLookupError):
        os.kill(switch, signal.SIGCONT)
    return asking


async def killed(spare):
    (agent,) = spare.agents()
    os.kill(agent, signal.SIGKILL)


async def powered_off(spare):
    await spare.host.power_off(spare.id)
    await spare.boot(spare.user_data())


@pytest.mark.parametrize("end", [killed, powered_off])
@pytest.mark.parametrize("cut", [cut_before, cut_after])
async def test_cut_off_at_any_point_it_is_wholly_the_one_or_the_other(machine, cut, end):
    spare = await spare_of(machine)
    wanted = session(lifetime=timedelta(hours=2))
    asking = await cut(spare, wanted, end)

    changed_hands = cut is cut_after
    keys, others = wanted.credentials, spare.credentials
    if not changed_hands:
        keys, others = others, keys
    with contextlib.suppress(AgentError):
        await asking
    if stored(spare)["sessionUid"] == wanted.session_uid:  # also by the second try of the same call
        keys, others = wanted.credentials, spare.credentials
    else:
        assert not changed_hands
    async with asked_by(spare, keys) as owner, asked_by(spare, others) as stranger:

        async def answers():
            with contextlib.suppress(AgentUnreachable):
                return await owner.status()

        await eventually(answers)
        with pytest.raises(AgentUntrusted):
            await stranger.status()

    await hand_over(spare, wanted)
    assert 7200 < spare.switch()["left_seconds"] <= 7200 + wanted.grace_seconds
    await spare.agent.push(bundle("webapp", STATIC_PAGE))
    await spare.until("running")


async def test_killed_at_any_moment_it_ends_up_the_sessions(machine):
    for milliseconds in (0, 3, 8, 15):
        spare = await spare_of(machine)
        wanted = session()
        asking = asyncio.create_task(take_over(spare.address, spare.credentials, wanted))
        await asyncio.sleep(milliseconds / 1000)
        await killed(spare)
        with contextlib.suppress(AgentError):
            await asking

        async def is_handed_over(spare=spare, wanted=wanted):
            with contextlib.suppress(AgentUnreachable):
                await take_over(spare.address, spare.credentials, wanted)
                return True

        await eventually(is_handed_over)
        await use_keys_of(spare, wanted)
        assert (await spare.agent.status()).state == "idle"
        await spare.close()


async def test_after_a_reboot_it_still_is_the_sessions(machine):
    spare = await spare_of(machine)
    await hand_over(spare, session())
    await spare.agent.push(bundle("webapp", STATIC_PAGE))
    await spare.until("running")
    await powered_off(spare)
    await spare.until("running")
    await spare.until_caddy_answers()


async def test_a_lost_answer_is_found_out_by_whose_keys_the_agent_has(machine):
    spare = await spare_of(machine)
    wanted = session()
    async with losing_the_answer(spare, wanted) as (address, lost):
        await take_over(address, spare.credentials, wanted)
    assert lost == [True]
    await use_keys_of(spare, wanted)
    assert (await spare.agent.status()).state == "idle"


@contextlib.asynccontextmanager
async def losing_the_answer(spare, wanted):
    """An address that leads to the agent, and breaks the connection that brings the first yes."""
    lost: list[bool] = []
    tasks = set()

    async def forward(reader, writer, *, loses=False):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if loses and not lost and stored(spare)["sessionUid"] == wanted.session_uid:
                    lost.append(True)
                    break
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader, writer):
        to_agent = await asyncio.open_connection(spare.address, AGENT_PORT)
        for one in (
            forward(reader, to_agent[1]),
            forward(to_agent[0], writer, loses=True),
        ):
            tasks.add(asyncio.create_task(one))

    address = spare.host.allocate_address()
    async with await asyncio.start_server(serve, address, AGENT_PORT):
        yield address, lost
    await asyncio.gather(*tasks)


async def test_where_neither_answers_nobody_is_taken_over(machine):
    webapp = machine("webapp")
    await webapp.boot()
    await webapp.until_it_answers()
    with pytest.raises(AgentUntrusted):
        await take_over(webapp.address, new_credentials(), session(uid=OTHER))
    with pytest.raises(AgentUnreachable):
        await take_over(webapp.host.allocate_address(), new_credentials(), session(uid=OTHER))


async def test_an_app_with_all_that_a_droplet_was_told_cannot_hand_it_on(machine):
    # user_data can be read by whoever reaches the metadata service, and stays as it was: here the
    # app has it all, of the spare and of its own session, and more: the spare's operator's keys.
    spare = await spare_of(machine)
    wanted = session("script")
    await hand_over(spare, wanted)
    old = spare.credentials
    files = {
        "main.py": HOSTILE.format(address=spare.address, port=AGENT_PORT, token=old.token),
        "spares.pem": old.operator_certificate_pem + old.operator_key_pem,
        "sessions.pem": wanted.credentials.certificate_pem + wanted.credentials.private_key_pem,
        "theft.json": json.dumps(session_document(session(uid=OTHER))),
    }
    await spare.agent.push(bundle("script", files))
    status = await spare.until("finished")
    assert set(said_by_the_app(status)) == {"nobody let it in"}
    assert stored(spare)["sessionUid"] == UID


HOSTILE = """
import socket, ssl
document = open("theft.json").read()
for shown in ("spares.pem", "sessions.pem", None):
    for source in ("{address}", "127.0.0.1"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if shown:
            context.load_cert_chain(shown)
        try:
            raw = socket.create_connection(("{address}", {port}), 5, source_address=(source, 0))
            with context.wrap_socket(raw) as secure:
                secure.sendall(
                    b"PUT /v1/session HTTP/1.1\\r\\nAuthorization: Bearer {token}\\r\\n"
                    + f"Content-Length: {{len(document)}}\\r\\n\\r\\n{{document}}".encode()
                )
                answer = secure.recv(1000)
            print(answer.decode() or "nobody let it in")
        except OSError:
            print("nobody let it in")
"""
