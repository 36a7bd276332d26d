"""One call and its answer: what the adapter makes of everything a network and a server can do.

The server is a real one on a loopback port that answers the next call as a test scripts it.
"""

import asyncio
import builtins
import gzip
import inspect
import json
import logging
import ssl
import traceback
from collections.abc import Callable
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Network
from random import Random

import aiohttp
import azure.core.exceptions
import pytest
from aiohttp import web

from spawnai.clock import SystemClock
from spawnai.digitalocean import errors, failures
from spawnai.digitalocean.account import Catalog
from spawnai.digitalocean.budget import Priority, RateBudget, Slot
from spawnai.digitalocean.client import ApiClient, Call, CallOutcome
from spawnai.digitalocean.dns import DomainRecords
from spawnai.digitalocean.droplets import Droplets
from spawnai.digitalocean.firewalls import Firewalls
from spawnai.digitalocean.listing import list_all
from spawnai.digitalocean.models import DropletOrder, FirewallOrder, Page

TOKEN = "test-token-that-nobody-may-see"
NOT_FOUND = {"id": "not_found", "message": "The resource you requested could not be found."}
ORDER = DropletOrder("spawn-1", "nyc3", "s-1vcpu-1gb", "debian-12-x64", "#cloud-config", ("t",))
NEW = Priority.NEW


def droplet(**changes) -> dict:
    return {
        "id": 3164444,
        "name": "spawn-1",
        "status": "new",
        "locked": False,
        "created_at": "2026-07-21T18:37:44Z",
        "region": {"slug": "nyc3"},
        "size_slug": "s-1vcpu-1gb",
        "size": {"slug": "s-1vcpu-1gb", "price_hourly": 0.00892999954521656},
        "tags": ["spawn-ai", "session:1"],
        "networks": {"v4": [], "v6": []},
        **changes,
    }


def page(name: str, items: list, *, total: int | None = None, next_page: str = "") -> dict:
    links = {"pages": {"next": next_page}} if next_page else {}
    return {name: items, "links": links, "meta": {"total": len(items) if total is None else total}}


Answer = Callable[[web.Request], web.StreamResponse] | web.StreamResponse | None


class Server:
    """Answers the calls that come, one after another, as scripted; keeps what it received."""

    def __init__(self) -> None:
        self.script: list[object] = []
        self.received: list[tuple[str, str, object]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    def answers(self, *script: object) -> None:
        self.script.extend(script)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.received.append((request.method, request.path_qs, body))
        self.headers.append(dict(request.headers))
        answer = self.script.pop(0)
        if callable(answer):
            answer = await answer(request)
        if isinstance(answer, web.StreamResponse):
            return answer
        return web.json_response(answer)


@asynccontextmanager
async def serving(server: Server):
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


@pytest.fixture
async def server():
    async with serving(Server()) as server:
        yield server


@pytest.fixture
def outcomes() -> list[CallOutcome]:
    return []


@pytest.fixture
async def api(server, outcomes):
    api = ApiClient(
        TOKEN, server.url, RateBudget(SystemClock()), on_call=outcomes.append, timeout_seconds=0.5
    )
    yield api
    await api.close()


async def cut(request: web.Request) -> web.StreamResponse:
    """Take the call, then close the connection without a word."""
    request.transport.abort()
    return web.Response()


async def cut_in_the_answer(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"droplet":')
    request.transport.abort()
    return response


async def never(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(5)
    return web.Response()


async def drip(request: web.Request) -> web.StreamResponse:
    """Send a byte now and then, each sooner than any read limit, without end."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(50):
        await response.write(b" ")
        await asyncio.sleep(0.1)
    return response


def status(code: int, document: object, **headers: str) -> web.Response:
    return web.json_response(document, status=code, headers=headers)


def refusal(code: int, message: str) -> web.Response:
    return status(code, {"id": "unprocessable_entity", "message": message, "request_id": "r-1"})


def compressed(content: bytes) -> web.Response:
    """A small answer that is a large one when it is unpacked."""
    return web.Response(body=gzip.compress(content), headers={"Content-Encoding": "gzip"})


UNUSABLE = {
    "500 with DigitalOcean's words": lambda: status(500, {"id": "server_error", "message": "Oh."}),
    "502 as a page": lambda: web.Response(status=502, text="<html>Bad gateway</html>"),
    "503": lambda: status(503, {"id": "service_unavailable", "message": "Later."}),
    "504, empty": lambda: web.Response(status=504),
    "408": lambda: web.Response(status=408),
    "a proxy's 404": lambda: web.Response(status=404, text="<html>Not here</html>"),
    "a proxy's 404 in JSON": lambda: status(404, {"error": "no route matched"}),
    "a proxy's 403": lambda: web.Response(status=403, text="<html>Blocked</html>"),
    "success with a page": lambda: web.Response(text="<html>Welcome</html>"),
    "success without a body": lambda: web.Response(status=200),
    "success, JSON broken off": lambda: web.Response(text='{"droplet": {"id": 1'),
    "success, a list": lambda: web.json_response([1, 2]),
    "success, another object": lambda: web.json_response({"volume": {}}),
    "success, a text for a number": lambda: web.json_response({"droplet": droplet(id="7")}),
    "success, true for a number": lambda: web.json_response({"droplet": droplet(id=True)}),
    "success, no date": lambda: web.json_response({"droplet": droplet(created_at="yesterday")}),
    "success, nested a hundred thousand deep": lambda: web.Response(text="[" * 100_000),
    "success, nested a thousand deep": lambda: web.Response(text="[" * 1_000 + "]" * 1_000),
    "success, a droplet nested deep": lambda: web.Response(
        text='{"droplet": ' + '{"a": ' * 500 + "1" + "}" * 500 + "}"
    ),
    "an error nested deep": lambda: web.Response(status=422, text='{"id": ' * 100_000),
    "success, longer than any answer": lambda: web.Response(body=b" " * (9 * 1024 * 1024)),
    "success, compressed": lambda: compressed(b'{"droplet": ' + b" " * 1_000_000 + b"}"),
    "success, not a number": lambda: web.Response(text='{"droplet": NaN}'),
    "success, networks as text": lambda: web.json_response({"droplet": droplet(networks="x")}),
    "success, networks of numbers": lambda: web.json_response(
        {"droplet": droplet(networks={"v4": [1]})}
    ),
    "success, a name without end": lambda: web.json_response({"droplet": droplet(name="x" * 300)}),
    "success, a tag that is none": lambda: web.json_response({"droplet": droplet(tags=["a b"])}),
    "success, tags without end": lambda: web.json_response({"droplet": droplet(tags=["t" * 300])}),
    "success, a price of text": lambda: web.json_response(
        {"droplet": droplet(size={"price_hourly": "free"})}
    ),
    "success, bytes": lambda: web.Response(body=b"\xff\xfe\x00"),
    "connection cut in the answer": lambda: cut_in_the_answer,
    "no answer": lambda: never,
    "an answer without end": lambda: drip,
}


@pytest.mark.parametrize("answer", UNUSABLE.values(), ids=UNUSABLE.keys())
async def test_a_post_without_a_usable_answer_may_have_happened_and_is_sent_once(
    server, api, answer
):
    server.answers(answer())
    with pytest.raises(errors.Ambiguous) as caught:
        await Droplets(api).create(ORDER, priority=NEW)
    assert "may have been carried out" in str(caught.value)
    assert len(server.received) == 1


@pytest.mark.parametrize("answer", UNUSABLE.values(), ids=UNUSABLE.keys())
async def test_a_get_without_a_usable_answer_says_nothing_and_never_none(server, api, answer):
    server.answers(answer())
    with pytest.raises(errors.Unavailable):
        await Droplets(api).get(1, priority=NEW)
    assert len(server.received) == 1


async def test_answers_are_asked_for_as_they_are(server, api):
    server.answers({"droplet": droplet()})
    await Droplets(api).get(1, priority=NEW)
    assert server.headers[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("raised", [RecursionError("deep"), MemoryError(), KeyError("x")])
async def test_whatever_reading_an_answer_raises_a_post_that_left_is_ambiguous(server, api, raised):
    def read(_document, _sent_at):
        raise raised

    server.answers({}, {})
    with pytest.raises(errors.Ambiguous):
        await api.call(Call("POST", "/v2/droplets", body={}), read, priority=NEW)
    with pytest.raises(errors.Unavailable):
        await api.call(Call("GET", "/v2/droplets"), read, priority=NEW)


async def test_a_connection_cut_without_an_answer_is_ambiguous_for_a_post_which_is_sent_once(
    server, api
):
    server.answers(cut)
    with pytest.raises(errors.Ambiguous):
        await Droplets(api).create(ORDER, priority=NEW)
    assert len(server.received) == 1
    assert api.budget.remaining == 4999


async def test_a_get_or_delete_on_a_connection_that_closes_is_sent_twice_at_most_and_counted(
    server, api
):
    server.answers(cut, cut, cut, web.Response(status=204))
    with pytest.raises(errors.Unavailable):
        await Droplets(api).get(1, priority=NEW)
    assert len(server.received) == 2
    assert await Droplets(api).delete(1, priority=NEW) is True
    assert api.budget.remaining == 4996


async def test_a_call_to_where_nobody_listens_was_never_sent(outcomes):
    api = ApiClient(TOKEN, "http://127.0.0.1:1", RateBudget(SystemClock()), on_call=outcomes.append)
    with pytest.raises(errors.Unavailable, match="never sent"):
        await Droplets(api).create(ORDER, priority=NEW)
    await api.close()
    assert [(o.endpoint, o.result) for o in outcomes] == [("POST /v2/droplets", "unavailable")]
    assert api.budget.remaining == 5000


async def test_a_server_that_speaks_no_tls_was_never_sent_anything(server):
    api = ApiClient(TOKEN, server.url.replace("http:", "https:"), RateBudget(SystemClock()))
    with pytest.raises(errors.Unavailable, match="never sent"):
        await Droplets(api).create(ORDER, priority=NEW)
    await api.close()
    assert server.received == []


async def test_a_kept_connection_that_the_server_closed_does_not_make_a_creation_ambiguous(
    server, api
):
    async def goodbye(_request):
        response = web.json_response({"droplet": droplet()})
        response.force_close()
        return response

    server.answers(goodbye, {"droplet": droplet()})
    await Droplets(api).get(1, priority=NEW)
    assert (await Droplets(api).create(ORDER, priority=NEW)).id == 3164444


class Lease:
    """The right to change something, which this process may lose."""

    def __init__(self) -> None:
        self.is_held = True
        self.asked = 0

    def check(self) -> None:
        self.asked += 1
        if not self.is_held:
            raise PermissionError("the lease is lost")


FIREWALL = FirewallOrder("fw-spawn-1", (), ())
CHANGES = {
    "a droplet is made": lambda api: Droplets(api).create(ORDER, priority=NEW),
    "a droplet is deleted": lambda api: Droplets(api).delete(1, priority=NEW),
    "a name is made": lambda api: DomainRecords(api).create(
        "a.b", "x", "1.2.3.4", 30, priority=NEW
    ),
    "a name is deleted": lambda api: DomainRecords(api).delete("a.b", 1, priority=NEW),
    "a firewall is made": lambda api: Firewalls(api).create(FIREWALL, priority=NEW),
    "a firewall is changed": lambda api: Firewalls(api).update("f", FIREWALL, priority=NEW),
    "a firewall is deleted": lambda api: Firewalls(api).delete("f", priority=NEW),
    "a tag is made": lambda api: Firewalls(api).ensure_tag("t", priority=NEW),
}


@asynccontextmanager
async def all_turns_taken(budget: RateBudget):
    """Nobody else has a turn while the block runs; what took them sent nothing."""
    async with AsyncExitStack() as taken:
        while (slot := await _slot_or_none(taken, budget)) is not None:
            slot.sent = 0
        yield


async def _slot_or_none(stack: AsyncExitStack, budget: RateBudget) -> Slot | None:
    try:
        async with asyncio.timeout(0.01):
            return await stack.enter_async_context(budget.slot(Priority.DESTROY))
    except TimeoutError:
        return None


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_whose_turn_comes_after_the_lease_was_lost_sends_nothing_and_says_so(server, change):
    lease = Lease()
    api = ApiClient(TOKEN, server.url, RateBudget(SystemClock()), before_change=lease.check)
    async with all_turns_taken(api.budget):
        waiting = asyncio.create_task(change(api))
        await asyncio.sleep(0.01)
        lease.is_held = False
    with pytest.raises(PermissionError, match="the lease is lost"):
        await waiting
    await api.close()
    assert server.received == []
    assert api.budget.remaining == 5000


async def test_who_loses_the_lease_while_its_connection_is_made_sends_nothing(server, monkeypatch):
    lease = Lease()
    connect = aiohttp.TCPConnector.connect

    async def connect_and_lose_the_lease(*arguments, **named):
        connection = await connect(*arguments, **named)
        lease.is_held = False
        return connection

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect_and_lose_the_lease)
    api = ApiClient(TOKEN, server.url, RateBudget(SystemClock()), before_change=lease.check)
    with pytest.raises(PermissionError):
        await Droplets(api).create(ORDER, priority=NEW)
    await api.close()
    assert server.received == []


async def test_who_holds_the_lease_sends_and_who_only_looks_is_not_asked(server):
    lease = Lease()
    api = ApiClient(TOKEN, server.url, RateBudget(SystemClock()), before_change=lease.check)
    server.answers({"droplet": droplet()}, {"droplet": droplet()})
    await Droplets(api).create(ORDER, priority=NEW)
    lease.is_held = False
    await Droplets(api).get(3164444, priority=NEW)
    await api.close()
    assert [method for method, *_ in server.received] == ["POST", "GET"]
    assert lease.asked == 1


async def test_a_turn_that_was_waited_for_serves_one_call_and_counts_it_once(server, api):
    server.answers({"droplet": droplet()})
    async with api.turn(NEW) as turn:
        await Droplets(api).create(ORDER, priority=turn)
    assert api.budget.remaining == 4999


async def test_a_turn_in_which_nothing_is_sent_costs_nothing(api):
    async with api.turn(NEW):
        pass
    assert api.budget.remaining == 5000


async def test_a_cancelled_call_ends_at_once_and_is_counted(server, api, outcomes):
    server.answers(never)
    task = asyncio.create_task(Droplets(api).get(1, priority=NEW))
    while not server.received:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [outcome.result for outcome in outcomes] == ["cancelled"]


REFUSALS = [
    (422, "creating this/these droplet(s) will exceed your droplet limit", errors.OverQuota),
    (422, "Size is not available in this region.", errors.NoCapacity),
    (422, "The requested size is currently restricted.", errors.NoCapacity),
    (
        422,
        "The image you specified is not available in the selected region, you can transfer it",
        errors.ImageNotInRegion,
    ),
    (422, "The specified size is currently unavailable in nyc3", errors.NoCapacity),
    (422, "Region is not available", errors.NoCapacity),
    (422, "You specified an invalid size for Droplet creation.", errors.UnknownOption),
    (422, "You specified an invalid region for Droplet creation.", errors.UnknownOption),
    (422, "You specified an invalid image for Droplet creation.", errors.UnknownOption),
    (422, "Droplet already has a pending event.", errors.Busy),
    (409, "The droplet is locked by another request", errors.Busy),
    (423, "Locked", errors.Busy),
    (409, "duplicate name", errors.AlreadyExists),
    (422, "Name is invalid", errors.Refused),
    (400, "Invalid JSON", errors.Refused),
    (403, "You are not authorized to perform this operation", errors.Forbidden),
    (403, "You do not have access for the attempted action.", errors.Forbidden),
    (403, "Load Balancer can't be updated while it processes previous actions", errors.Busy),
    (403, "Make sure the certificate is not in use before deleting it", errors.Busy),
    (422, "there are currently blocking events processing on this resource", errors.Busy),
    (422, "load balancer name is not unique", errors.AlreadyExists),
    (403, "This certificate is used by a load balancer", errors.Refused),
    (401, "Unable to authenticate you.", errors.Unauthorized),
]


@pytest.mark.parametrize(("code", "message", "expected"), REFUSALS)
async def test_a_refusal_is_named_by_what_to_do_next_and_keeps_digitaloceans_words(
    server, api, code, message, expected
):
    server.answers(refusal(code, message))
    with pytest.raises(errors.DigitalOceanError) as caught:
        await Droplets(api).create(ORDER, priority=NEW)
    error = caught.value
    assert type(error) is expected
    assert error.message.startswith(message)
    assert (error.status, error.request_id) == (code, "r-1")
    assert str(code) in str(error)
    assert "POST /v2/droplets" in str(error)


async def test_the_other_form_of_errors_is_understood_too(server, api):
    server.answers(
        status(409, {"error": "duplicate name", "messages": None, "root_causes": []}),
        status(404, {"error": "firewall not found", "root_causes": []}),
    )
    with pytest.raises(errors.AlreadyExists):
        await Firewalls(api).create(FirewallOrder("fw", (), ()), priority=NEW)
    assert await Firewalls(api).get("1", priority=NEW) is None


async def test_a_429_happened_not_and_says_when_to_come_back(server, api):
    server.answers(
        status(429, {"id": "too_many_requests", "message": "Slow."}, **{"retry-after": "29"})
    )
    with pytest.raises(errors.RateLimited) as caught:
        await Droplets(api).create(ORDER, priority=NEW)
    assert caught.value.retry_after_seconds == 29
    assert api.budget.paused_seconds == pytest.approx(29, abs=1)


async def test_the_budget_learns_from_every_answer(server, api):
    server.answers(
        status(404, NOT_FOUND, **{"ratelimit-limit": "5000", "ratelimit-remaining": "1234"})
    )
    await Droplets(api).get(1, priority=NEW)
    assert api.budget.remaining == pytest.approx(1234, abs=1)


async def test_a_redirect_is_not_followed_and_the_token_stays_here(server, api):
    async with serving(Server()) as elsewhere:
        elsewhere.answers({"droplet": droplet()})
        server.answers(web.Response(status=302, headers={"Location": elsewhere.url}))
        with pytest.raises(errors.Refused, match="redirects are not followed"):
            await Droplets(api).get(1, priority=NEW)
        assert elsewhere.received == []


async def test_none_and_false_are_said_only_for_digitaloceans_own_404(server, api):
    server.answers(*[status(404, NOT_FOUND) for _ in range(6)])
    assert await Droplets(api).get(1, priority=NEW) is None
    assert await Droplets(api).delete(1, priority=NEW) is False
    assert await DomainRecords(api).get("example.com", 1, priority=NEW) is None
    assert await DomainRecords(api).delete("example.com", 1, priority=NEW) is False
    assert await DomainRecords(api).domain_exists("example.com", priority=NEW) is False
    assert await Firewalls(api).delete("1", priority=NEW) is False


async def test_a_404_to_anything_that_must_be_there_is_an_error(server, api):
    server.answers(status(404, NOT_FOUND), status(404, NOT_FOUND))
    with pytest.raises(errors.NotFound):
        await DomainRecords(api).create("example.com", "app", "192.0.2.1", 30, priority=NEW)
    with pytest.raises(errors.NotFound):
        await Firewalls(api).update("1", FirewallOrder("fw", (), ()), priority=NEW)


async def test_an_accepted_deletion_has_no_body(server, api):
    server.answers(web.Response(status=204))
    assert await Droplets(api).delete(1, priority=NEW) is True


async def test_a_droplet_is_ordered_without_digitaloceans_agent_and_read_with_its_price(
    server, api
):
    server.answers(status(202, {"droplet": droplet()}))
    made = await Droplets(api).create(ORDER, priority=NEW)
    method, path, body = server.received[0]
    assert (method, path) == ("POST", "/v2/droplets")
    assert body == {
        "name": "spawn-1",
        "region": "nyc3",
        "size": "s-1vcpu-1gb",
        "image": "debian-12-x64",
        "user_data": "#cloud-config",
        "tags": ["t"],
        "monitoring": False,
        "with_droplet_agent": False,
    }
    assert str(made.price_hourly) == "0.00893"
    assert made.public_ip is None
    assert made.tags == {"spawn-ai", "session:1"}
    assert made.created_at.isoformat() == "2026-07-21T18:37:44+00:00"
    assert server.headers[0]["Authorization"] == f"Bearer {TOKEN}"


async def test_only_a_public_address_counts_wherever_it_stands(server, api):
    private = {"type": "private", "ip_address": "10.0.0.7"}
    public = {"type": "public", "ip_address": "192.0.2.7"}
    server.answers(
        {"droplet": droplet(networks={"v4": [private]})},
        {"droplet": droplet(networks={"v4": [private, public]})},
        {"droplet": droplet(networks=None, region=None, size=None)},
    )
    seen = [await Droplets(api).get(1, priority=NEW) for _ in range(3)]
    assert [d.public_ip for d in seen] == [None, "192.0.2.7", None]
    assert seen[0].seen_at < seen[1].seen_at


@pytest.mark.parametrize(
    "address",
    [
        "127.6.6.6",
        "10.0.0.7",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.7",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "1.2.3",
        "01.2.3.4",
        "1.2.3.4/32",
        "localhost",
        "9" * 300,
        " 1.2.3.4",
    ],
)
async def test_an_address_that_is_not_public_is_not_used_and_told_once(
    server, api, caplog, address
):
    shown = droplet(networks={"v4": [{"type": "public", "ip_address": address}]})
    server.answers({"droplet": shown}, {"droplet": shown})
    droplets = Droplets(api)
    for _ in range(2):
        assert (await droplets.get(1, priority=NEW)).public_ip is None
    assert caplog.text.count("is not a public IPv4 address") == 1
    assert len(caplog.records[0].getMessage()) < 250


async def test_a_local_clouds_addresses_count_as_public_where_a_setting_names_its_network(server):
    networks = (IPv4Network("127.64.0.0/16"),)
    api = ApiClient(TOKEN, server.url, RateBudget(SystemClock()), droplet_networks=networks)
    for address in ("127.64.0.7", "127.65.0.7"):
        server.answers(
            {"droplet": droplet(networks={"v4": [{"type": "public", "ip_address": address}]})}
        )
    seen = [await Droplets(api).get(1, priority=NEW) for _ in range(2)]
    assert [one.public_ip for one in seen] == ["127.64.0.7", None]
    await api.close()


ODD_FOREIGNERS = {
    "tags of null": {"tags": None},
    "a tag with a space": {"tags": ["two words"]},
    "no id": {"id": None},
    "no creation time": {"created_at": None},
    "networks of text": {"networks": "none"},
    "a name too long": {"name": "x" * 300},
}


@pytest.mark.parametrize("odd", ODD_FOREIGNERS.values(), ids=ODD_FOREIGNERS.keys())
async def test_one_odd_foreign_droplet_does_not_spoil_the_listing_of_the_account(server, api, odd):
    foreign = droplet(**{"name": "db-1", "tags": ["prod"], **odd})
    server.answers(page("droplets", [foreign, droplet()]))
    assert [one.name for one in await Droplets(api).list_account(priority=NEW)] == ["spawn-1"]


@pytest.mark.parametrize("odd", [{"name": "spawn-2"}, {"tags": ["spawn-ai"]}])
async def test_an_unreadable_droplet_that_may_be_ours_spoils_the_listing(server, api, odd):
    ours = droplet(**{"name": "db-1", "tags": ["prod"], "created_at": None, **odd})
    server.answers(page("droplets", [ours]))
    with pytest.raises(errors.Unavailable, match=r"droplets\[0\].created_at"):
        await Droplets(api).list_account(priority=NEW)


async def test_odd_foreign_records_and_firewalls_are_read_or_left_out(server, api):
    record = {"id": 1, "type": "A", "name": "app", "data": "192.0.2.1", "ttl": 30}
    odd = [{**record, "id": 2, "ttl": None}, {"id": 3, "type": "A", "name": "b", "data": "x"}]
    server.answers(page("domain_records", [record, *odd]))
    listed = await DomainRecords(api).list("example.com", priority=NEW)
    assert [(one.id, one.ttl) for one in listed] == [(1, 30), (2, None), (3, None)]
    firewall = {"id": "f-1", "name": "fw-spawn-1", "status": "succeeded", "tags": None}
    foreign = {"id": "f-2", "name": "web", "status": "succeeded"}
    server.answers(
        page(
            "firewalls",
            [
                firewall,
                {**foreign, "inbound_rules": [{"protocol": "tcp", "ports": "1"}]},
                {**foreign, "id": 5},
                {**foreign, "inbound_rules": "all"},
            ],
        )
    )
    listed = await Firewalls(api).list(priority=NEW)
    assert [(one.id, one.name) for one in listed] == [("f-1", "fw-spawn-1"), ("f-2", "web")]
    assert listed[1].inbound[0].addresses == ()


async def test_a_size_that_cannot_be_read_is_not_on_offer(server, api):
    size = {"slug": "s-1vcpu-1gb", "price_hourly": 0.00893, "regions": None}
    server.answers(page("sizes", [size, {"slug": "gpu", "price_hourly": None}]))
    assert set(await Catalog(api).sizes(priority=NEW)) == {"s-1vcpu-1gb"}


async def test_a_listing_comes_with_all_its_pages(server, api):
    first = page("droplets", [droplet(id=n) for n in range(200)], total=250, next_page="…page=2")
    server.answers(
        first, page("droplets", [droplet(id=n) for n in range(200, 250)], total=250), first
    )
    listed = await Droplets(api).list_by_tag("cluster:1", priority=NEW)
    assert sorted(d.id for d in listed) == list(range(250))
    # How many pages there are, then all of them, the last first.
    assert [path for _, path, _ in server.received] == [
        f"/v2/droplets?tag_name=cluster:1&page={number}&per_page=200" for number in (1, 2, 1)
    ]


class ShiftingPages:
    """A listing of numbers under which something changes after each page that was read."""

    def __init__(self, count: int, change) -> None:
        self.items = list(range(count))
        self.change = change
        self.reads = 0
        self.guess = 1

    async def fetch(self, number: int) -> Page[int]:
        first = (number - 1) * 200
        shown = Page(
            tuple(self.items[first : first + 200]),
            len(self.items),
            is_last=first + 200 >= len(self.items),
        )
        self.reads += 1
        self.change(self)
        return shown

    async def read(self) -> set[int]:
        return set(await list_all(self.fetch, identity=lambda item: item, pages=self.guess))


async def test_nothing_slips_past_a_listing_however_many_are_deleted_while_it_is_read():
    random = Random(1)

    def delete(listing: ShiftingPages) -> None:
        for gone in random.sample(listing.items, 20):
            listing.items.remove(gone)

    listing = ShiftingPages(1000, delete)
    found = await listing.read()
    assert set(listing.items) <= found
    assert listing.reads == 6


@pytest.mark.parametrize(("guess", "reads"), [(5, 5), (1, 6), (3, 6), (6, 6), (40, 6)])
async def test_a_listing_is_whole_whatever_it_was_thought_to_be_and_a_right_guess_saves_a_call(
    guess, reads
):
    listing = ShiftingPages(1000, lambda _: None)
    listing.guess = guess
    assert await listing.read() == set(range(1000))
    assert listing.reads == reads


@pytest.mark.parametrize("guess", [1, 2])
async def test_a_listing_that_has_become_empty_is_empty(guess):
    listing = ShiftingPages(0, lambda _: None)
    listing.guess = guess
    assert await listing.read() == set()


async def test_what_comes_at_the_end_while_a_listing_is_read_is_in_it():
    listing = ShiftingPages(450, lambda one: one.items.append(1000 + one.reads))
    assert set(range(450)) <= await listing.read()
    assert listing.reads <= 10


async def test_a_listing_under_which_something_slipped_past_is_read_again():
    def insert_once(listing: ShiftingPages) -> None:
        if listing.reads == 2:
            listing.items[:0] = [-1, -2]

    listing = ShiftingPages(450, insert_once)
    assert await listing.read() == {-2, -1, *range(450)}


async def test_a_listing_is_complete_or_an_error(server, api):
    first = page("droplets", [droplet()], total=2, next_page="2")
    server.answers(first, status(500, {"id": "server_error", "message": "Oh."}))
    with pytest.raises(errors.Unavailable):
        await Droplets(api).list_by_tag("t", priority=NEW)
    server.answers(*[page("droplets", [droplet()], total=2)] * 3)
    with pytest.raises(errors.Unavailable, match="came out short"):
        await Droplets(api).list_by_tag("t", priority=NEW)
    server.answers(page("droplets", [droplet(), droplet(id=2, tags=None)]))
    with pytest.raises(errors.Unavailable, match=r"droplets\[1\].tags: Input should be a valid"):
        await Droplets(api).list_by_tag("t", priority=NEW)
    server.answers(page("droplets", [], total=0, next_page="2"))
    with pytest.raises(errors.Unavailable, match="empty although"):
        await Droplets(api).list_by_tag("t", priority=NEW)


async def test_records_are_found_by_full_name_and_only_a_records_count(server, api):
    record = {"id": 1, "type": "A", "name": "app", "data": "192.0.2.1", "ttl": 30}
    server.answers(page("domain_records", [record, {**record, "id": 2, "type": "TXT"}]))
    found = await DomainRecords(api).find("app.example.com.", "example.com", priority=NEW)
    assert [(r.id, r.domain, r.name, r.data, r.ttl) for r in found] == [
        (1, "example.com", "app", "192.0.2.1", 30)
    ]
    assert server.received[0][1] == (
        "/v2/domains/example.com/records?name=app.example.com&type=A&page=1&per_page=200"
    )


async def test_the_names_of_a_zone_file_are_the_owners_of_its_records(server, api):
    zone = (
        "$ORIGIN example.com.\n"
        "$TTL 1800\n"
        "example.com. IN SOA ns1.digitalocean.com. hostmaster.example.com. 1 2 3 4 5\n"
        "\n"
        "; not-a-name\n"
        "App-1.example.com. 30 IN A 192.0.2.1\n"
        "app-2 30 IN CNAME other.example.com.\n"
        "      30 IN TXT indented\n"
    )
    server.answers({"domain": {"name": "example.com", "zone_file": zone}})
    names = await DomainRecords(api).zone_names("example.com", priority=NEW)
    assert names == {"example.com", "app-1.example.com", "app-2.example.com"}


@pytest.mark.parametrize("shown", [{}, {"zone_file": None}, {"zone_file": ""}, {"zone_file": 7}])
async def test_a_domain_that_shows_no_zone_file_shows_no_names(server, api, shown):
    server.answers({"domain": {"name": "example.com", **shown}})
    assert await DomainRecords(api).zone_names("example.com", priority=NEW) == frozenset()


async def test_a_record_with_a_ttl_that_digitalocean_refuses_is_not_sent(server, api):
    with pytest.raises(ValueError, match="30 s or more"):
        await DomainRecords(api).create("example.com", "app", "192.0.2.1", 29, priority=NEW)
    assert server.received == []


async def test_sizes_and_account_are_read(server, api):
    size = {"slug": "s-1vcpu-1gb", "price_hourly": 0.00893, "regions": ["nyc3"], "available": True}
    server.answers(
        page("sizes", [size]),
        {"account": {"status": "active", "uuid": "user", "team": {"uuid": "team"}}},
        {"account": {"status": "active", "uuid": "user"}},
    )
    sizes = await Catalog(api).sizes(priority=NEW)
    assert str(sizes["s-1vcpu-1gb"].price_hourly) == "0.00893"
    in_team = await Catalog(api).account(priority=NEW)
    alone = await Catalog(api).account(priority=NEW)
    assert (in_team.uuid, alone.uuid) == ("team", "user")


async def test_a_tag_that_exists_already_is_as_good_as_made(server, api):
    server.answers(status(201, {"tag": {"name": "class:1"}}), refusal(422, "Tag already exists"))
    await Firewalls(api).ensure_tag("class:1", priority=NEW)
    await Firewalls(api).ensure_tag("class:1", priority=NEW)


async def test_a_value_in_a_path_cannot_lead_to_another_endpoint(server, api):
    server.answers(status(404, NOT_FOUND))
    assert await Firewalls(api).get("../droplets?tag_name=x", priority=NEW) is None
    assert server.received[0][1].startswith("/v2/firewalls/..%2Fdroplets%3F")


async def test_every_call_is_counted_under_its_template(server, api, outcomes):
    server.answers({"droplet": droplet()}, status(404, NOT_FOUND), web.Response(status=204))
    await Droplets(api).get(1, priority=NEW)
    await Droplets(api).get(2, priority=NEW)
    await Droplets(api).delete(1, priority=NEW)
    assert [(o.endpoint, o.result) for o in outcomes] == [
        ("GET /v2/droplets/{id}", "ok"),
        ("GET /v2/droplets/{id}", "not_found"),
        ("DELETE /v2/droplets/{id}", "ok"),
    ]
    assert all(0 <= outcome.seconds < 5 for outcome in outcomes)


@pytest.mark.parametrize("answer", ["echo", "page", "cut", "json"])
async def test_the_token_is_in_no_error_log_or_repr(server, api, caplog, answer):
    caplog.set_level(logging.DEBUG)
    bad = {
        "echo": refusal(422, f"you sent Authorization: Bearer {TOKEN}"),
        "page": web.Response(status=502, text=f"<html>{TOKEN}</html>"),
        "cut": cut,
        "json": web.Response(text=f'{{"{TOKEN}"'),
    }
    server.answers(bad[answer])
    with pytest.raises(errors.DigitalOceanError) as caught:
        await Droplets(api).create(ORDER, priority=NEW)
    whole = "".join(traceback.format_exception(caught.value))
    assert TOKEN not in whole + repr(caught.value) + repr(api) + caplog.text
    assert caught.value.__context__ is None
    assert "#cloud-config" not in whole + repr(ORDER)


async def test_a_long_or_many_lined_message_is_shown_as_one_short_line(server, api):
    server.answers(refusal(422, "no\n\x1b[31mno\t" + "x" * 5000))
    with pytest.raises(errors.Refused) as caught:
        await Droplets(api).create(ORDER, priority=NEW)
    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) <= 300


def test_a_token_with_a_line_end_is_trimmed_and_one_with_a_break_inside_is_refused_unseen():
    budget = RateBudget(SystemClock())
    ApiClient("test-token\n", "http://127.0.0.1:1", budget)
    with pytest.raises(ValueError, match="printable ASCII on one line") as caught:
        ApiClient("test-\ntoken", "http://127.0.0.1:1", budget)
    assert "test-" not in str(caught.value)
    with pytest.raises(ValueError, match="must begin with https"):
        ApiClient("test-token", "api.digitalocean.com", budget)


def foreign_exceptions() -> list[type[Exception]]:
    """Every exception class that the libraries below may raise."""
    modules = [azure.core.exceptions, aiohttp, asyncio, json, ssl, builtins]
    found = {
        value
        for module in modules
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, Exception) and value is not ExceptionGroup
    }
    return sorted(found, key=lambda kind: f"{kind.__module__}.{kind.__qualname__}")


def bare(kind: type[Exception]) -> Exception:
    """An instance without its constructor's arguments."""
    error = kind.__new__(kind)
    error.args = ("secret-of-ours: something broke",)
    return error


@pytest.mark.parametrize("kind", foreign_exceptions(), ids=lambda kind: kind.__qualname__)
@pytest.mark.parametrize("has_left", [True, False])
def test_every_foreign_exception_becomes_one_of_ours(kind, has_left):
    error = bare(kind)
    for method, expected in [
        ("POST", errors.Ambiguous if has_left else errors.Unavailable),
        ("GET", errors.Unavailable),
        ("DELETE", errors.Unavailable),
    ]:
        mapped = failures.error_without_answer(
            f"{method} /v2/droplets",
            error,
            has_left=has_left,
            timeout_seconds=1,
            secret="secret-of-ours",
        )
        assert type(mapped) is expected
        assert "secret-of-ours" not in str(mapped)


@pytest.mark.parametrize(
    "raised",
    [
        azure.core.exceptions.ServiceRequestError("x"),
        azure.core.exceptions.DecodeError("x"),
        aiohttp.ClientPayloadError("x"),
        ssl.SSLError("x"),
        ConnectionResetError("x"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "x"),
        RuntimeError("Session is closed"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_pydo_raises_stops_at_the_client(server, api, raised):
    class Broken:
        async def send_request(self, _request, **_options):
            raise raised

        async def close(self):
            pass

    api._connect()
    await api._pydo.close()
    api._pydo = Broken()
    with pytest.raises(errors.Unavailable):
        await Droplets(api).create(ORDER, priority=NEW)


async def test_a_mistake_of_our_own_before_anything_is_sent_is_not_taken_for_the_networks(api):
    with pytest.raises(KeyError):
        await api.call(Call("GET", "/v2/droplets/{id}"), lambda d, _: d, priority=NEW)


def test_the_names_of_results_are_those_of_the_errors_in_snake_case():
    names = {kind.result_name() for kind in errors.DigitalOceanError.__subclasses__()}
    assert {"not_found", "rate_limited", "over_quota", "no_capacity", "ambiguous"} <= names
