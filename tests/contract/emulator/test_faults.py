"""Faults: each does to its call what it says, and nothing to any other."""

import asyncio
import json

import aiohttp
import pytest
from tests.contract.emulator.support import DROPLET, OTHER_SESSION, SESSION

from spawnai_local.digitalocean.client import ControlError
from spawnai_local.digitalocean.faults import Fault, Kind

DISCONNECTED = aiohttp.ServerDisconnectedError


async def exists(account, name):
    return (await account.get(f"/v2/tags/{name}")).status == 200


async def test_an_error_before_the_effect_leaves_nothing(account, control):
    await control.add_faults("POST /v2/tags error_before status=503")
    reply = await account.post("/v2/tags", {"name": "a"})
    assert (reply.status, reply.body["id"]) == (503, "service_unavailable")
    assert not await exists(account, "a")
    assert (await account.post("/v2/tags", {"name": "a"})).status == 201


async def test_an_error_after_the_effect_leaves_what_was_made(account, control):
    await control.add_faults("POST /v2/tags error_after status=500")
    assert (await account.post("/v2/tags", {"name": "a"})).status == 500
    assert await exists(account, "a")


async def test_an_error_may_say_what_it_is_told_to(account, control):
    await control.add_faults("POST /v2/droplets error_before status=422 message=no room, sorry")
    reply = await account.post("/v2/droplets", {"name": "a", **DROPLET})
    assert (reply.status, reply.message) == (422, "no room, sorry")


@pytest.mark.parametrize(("kind", "made"), [("cut_before", False), ("cut_after", True)])
async def test_a_cut_connection_has_no_answer(account, control, kind, made):
    await control.add_faults(f"POST /v2/tags {kind}")
    with pytest.raises(DISCONNECTED):
        await account.post("/v2/tags", {"name": "a"})
    assert await exists(account, "a") == made


@pytest.mark.parametrize(("kind", "made"), [("timeout_before", False), ("timeout_after", True)])
async def test_a_time_out_holds_the_connection_and_then_closes_it(
    account, control, clock, kind, made
):
    [fault] = await control.add_faults(f"POST /v2/tags {kind} seconds=30")
    waiting = asyncio.create_task(account.post("/v2/tags", {"name": "a"}))
    await control.wait_for_fault(fault["id"])
    assert await exists(account, "a") == made
    assert not waiting.done()
    clock.advance(30)
    with pytest.raises(DISCONNECTED):
        await waiting
    assert await exists(account, "a") == made


async def test_a_slow_answer_comes_late_but_is_true(account, control, clock):
    [fault] = await control.add_faults("POST /v2/tags slow seconds=5")
    waiting = asyncio.create_task(account.post("/v2/tags", {"name": "a"}))
    await control.wait_for_fault(fault["id"])
    assert await exists(account, "a")
    assert not waiting.done()
    clock.advance(5)
    assert (await waiting).status == 201


async def test_a_late_effect_happens_even_when_the_caller_has_gone(account, control, clock):
    [fault] = await control.add_faults("POST /v2/tags late seconds=5")
    waiting = asyncio.create_task(account.post("/v2/tags", {"name": "a"}))
    await control.wait_for_fault(fault["id"])
    waiting.cancel()
    assert not await exists(account, "a")
    clock.advance(5)
    async with asyncio.timeout(5):
        while not await exists(account, "a"):
            await asyncio.sleep(0.01)


async def test_a_rate_limit_fault_answers_429_with_and_without_retry_after(account, control):
    await control.add_faults("GET /v2/account rate_limited seconds=7")
    burst = await account.get("/v2/account")
    assert (burst.status, burst.headers["retry-after"]) == (429, "7")
    await control.add_faults("GET /v2/account rate_limited")
    hourly = await account.get("/v2/account")
    assert hourly.status == 429
    assert "retry-after" not in hourly.headers


async def test_an_unlisted_droplet_is_missing_from_listings_by_tag(account, control, clock):
    await control.add_faults("POST /v2/droplets unlisted seconds=20")
    droplet = await account.create_droplet("a", tags=["wave:1"])
    await account.create_droplet("b", tags=["wave:1"])
    assert await account.names(tag_name="wave:1") == ["b"]
    assert (await account.get(f"/v2/droplets/{droplet['id']}")).status == 200
    clock.advance(20)
    assert await account.names(tag_name="wave:1") == ["a", "b"]


async def test_an_unseen_droplet_is_a_404_at_first(account, control, clock):
    await control.add_faults("POST /v2/droplets unseen seconds=20")
    droplet = await account.create_droplet()
    assert (await account.get(f"/v2/droplets/{droplet['id']}")).status == 404
    clock.advance(20)
    assert (await account.get(f"/v2/droplets/{droplet['id']}")).status == 200


async def test_a_vanishing_droplet_was_accepted_is_gone_and_costs_nothing(account, control, clock):
    await control.add_faults("POST /v2/droplets vanish seconds=2")
    droplet = await account.create_droplet()
    assert (await account.get(f"/v2/droplets/{droplet['id']}")).status == 200
    clock.advance(2)
    assert (await account.get(f"/v2/droplets/{droplet['id']}")).status == 404
    assert (await control.bill())["droplets"] == []


async def test_a_ghost_is_a_404_and_still_listed(account, control, clock):
    droplet = await account.active_droplet(tags=["wave:1"])
    await control.add_faults("DELETE /v2/droplets/{droplet_id} ghost seconds=20")
    await account.delete(f"/v2/droplets/{droplet['id']}")
    assert (await account.get(f"/v2/droplets/{droplet['id']}")).status == 404
    assert await account.names(tag_name="wave:1") == ["web-1"]
    clock.advance(20)
    assert await account.names(tag_name="wave:1") == []


async def test_a_listing_can_claim_that_there_is_nothing(account, control):
    await account.create_droplet()
    await control.add_faults("GET /v2/droplets empty")
    reply = await account.get("/v2/droplets")
    assert reply.body == {"droplets": [], "links": {}, "meta": {"total": 0}}
    assert await account.names() == ["web-1"]


async def test_a_page_can_lack_half_of_its_items_and_the_way_to_the_next(account, control):
    for name in ("a", "b", "c", "d", "e"):
        await account.create_droplet(name)
    await control.add_faults("GET /v2/droplets partial")
    reply = await account.get("/v2/droplets", per_page=4)
    assert [droplet["name"] for droplet in reply.body["droplets"]] == ["a", "b"]
    assert (reply.body["links"], reply.body["meta"]["total"]) == ({}, 5)


async def test_a_garbled_answer_ends_in_the_middle_of_what_happened(account, control, emulator):
    emulator.api.observers.clear()  # it cannot be held against any description
    await control.add_faults("POST /v2/tags garbled")
    with pytest.raises(json.JSONDecodeError):
        await account.post("/v2/tags", {"name": "a"})
    assert await exists(account, "a")


async def test_the_nth_call_and_so_many_after_it_suffer(account, control):
    await control.add_faults("GET /v2/account error_before nth=2 times=2")
    statuses = [(await account.get("/v2/account")).status for _ in range(5)]
    assert statuses == [200, 500, 500, 200, 200]


async def test_times_zero_is_without_end_until_it_is_removed(account, control):
    [fault] = await control.add_faults("GET /v2/account error_before times=0")
    assert [(await account.get("/v2/account")).status for _ in range(4)] == [500] * 4
    await control.remove_fault(fault["id"])
    assert (await account.get("/v2/account")).status == 200


async def test_only_the_calls_of_its_session_suffer(account, control):
    await control.add_faults(f"* * error_before times=0 session={SESSION}")
    mine = {"name": "a", "tags": [f"session:{SESSION}"], **DROPLET}
    other = {"name": "a", "tags": [f"session:{OTHER_SESSION}"], **DROPLET}
    assert (await account.post("/v2/droplets", mine)).status == 500
    assert (await account.post("/v2/droplets", other)).status == 202
    assert (await account.get("/v2/droplets", tag_name=f"session:{SESSION}")).status == 500
    assert (await account.get("/v2/droplets")).status == 200


async def test_patterns_match_methods_and_templates(account, control):
    await control.add_faults("* /v2/domains/* error_before times=0")
    assert (await account.get("/v2/domains/example.com/records")).status == 500
    assert (await account.delete("/v2/domains/example.com")).status == 500
    assert (await account.get("/v2/domains")).status == 200


async def test_a_watched_call_goes_well_and_is_counted(account, control):
    await control.add_faults("GET /v2/account watch times=0")
    for _ in range(3):
        assert (await account.get("/v2/account")).status == 200
    assert [one["suffered"] for one in await control.faults()] == [3]


async def test_chance_is_repeated_by_the_seed(account, control):
    await control.add_faults("GET /v2/account error_before times=0 chance=0.5")
    statuses = [(await account.get("/v2/account")).status for _ in range(40)]
    assert {200, 500} == set(statuses)
    assert 8 < statuses.count(500) < 32


async def test_all_faults_are_listed_as_lines_that_can_be_set_again(account, control):
    lines = [
        "POST /v2/droplets error_after status=500 nth=2 times=1 session=abc message=a b=c",
        "* * slow seconds=0.5 nth=1 times=0 chance=0.25",
    ]
    await control.add_faults(*lines)
    listed = [one["line"] for one in await control.faults()]
    assert listed == lines
    await control.clear_faults()
    assert await control.faults() == []


@pytest.mark.parametrize("kind", list(Kind))
def test_a_line_reads_as_the_fault_that_wrote_it(kind):
    line = Fault("POST", "/v2/tags", kind, nth=3, times=2, session="s", message="m n").line
    assert Fault.parse(line).line == line


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("POST /v2/tags", "METHOD PATH KIND"),
        ("POST /v2/tags explode", "is no kind of fault"),
        ("POST /v2/tags slow speed=3", "a fault has no speed"),
        ("POST /v2/tags slow 3", "is no name=value"),
        ("POST /v2/tags error_before status=200", "400 to 599"),
        ("POST /v2/tags slow nth=0", "nth from 1"),
        ("POST /v2/tags slow seconds=-1", "negative"),
        ("POST /v2/tags slow seconds=soon", "soon"),
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused_in_words(control, line, said):
    with pytest.raises(ControlError, match=said):
        await control.add_faults(line)
    assert await control.faults() == []


async def test_delays_change_while_it_runs_and_may_be_drawn_from_a_range(account, control, clock):
    delays = await control.set_delays(answer=(1.0, 2.0), boot=3)
    assert (delays["answer"], delays["boot"]) == ([1.0, 2.0], 3.0)
    waiting = asyncio.create_task(account.get("/v2/account"))
    await asyncio.sleep(0.05)
    clock.advance(0.9)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    clock.advance(1.1)
    assert (await waiting).status == 200
    for wrong in ({"boot": -1}, {"boot": (3, 1)}, {"boot": "x"}, {"lunch": 1}):
        with pytest.raises(ControlError):
            await control.set_delays(**wrong)
