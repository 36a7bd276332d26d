"""Five hundred sessions expire in the same minute against DigitalOcean's 250 calls a minute.

Deletions take all of it, none is lost, none is sent twice, and creations wait and say so.
"""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from statistics import mean

import pytest
from tests.simulation.pressure import DELETED, LIMITED, MISSING, Crowd
from tests.simulation.world import prepared
from tests.support.virtual_time import virtual_time

from spawnai.controller.actions.droplets import wave_tag
from spawnai_local.bench.pressure import ideal_seconds, unused_shares

MINUTE = 60.0
ALLOWED = 250


@virtual_time
async def test_five_hundred_that_end_in_one_minute_are_deleted_once_each_and_as_fast_as_allowed():
    with prepared():
        crowd = Crowd(500)
        await crowd.operate()
        assert crowd.phases() == {"Running": 500}
        await crowd.expire(first=60, within=MINUTE)
        await asyncio.sleep(45)
        new = [crowd.order(f"new-{number}") for number in range(20)]
        await crowd.until(lambda: not crowd.droplets(crowd.uids), 3600)
        await asyncio.sleep(5)
        sent = crowd.deletions()
        # None is lost, none is sent twice: a name and a droplet for each session.
        answers = [[status for _, status in tries] for tries in sent.values()]
        assert answers == [[DELETED]] * 1000
        # No 429 at all, and the last one went as early as the limit lets it, to 95 per cent.
        assert sum(call.status == LIMITED for call in crowd.calls()) == 0
        last = max(at for tries in sent.values() for at, _ in tries)
        due = [at for at in crowd.expiries() for _ in ("name", "droplet")]
        assert last <= ideal_seconds(due) / 0.95
        assert mean(unused_shares(crowd.moments(), 0, last - MINUTE)) <= 0.05
        # The orders of that time waited, and said so.
        orders = [call.received_at for call in crowd.orders()]
        deleted = [call.received_at for call in crowd.calls() if call.endpoint.startswith("DELETE")]
        assert not orders or min(orders) > max(deleted)
        assert crowd.events.reasons["WaitingForCalls"] == len(new)
        ended_at = deleted[-1]
        # And everything is seen gone, and every order carried out.
        await crowd.until(lambda: crowd.phases() == {"Destroyed": 500}, 1200)
        await crowd.until(lambda: crowd.droplets(new) == new, 600)
        records = [crowd.server.get("record", uid)["status"] for uid in crowd.uids]
        lines = [line for record in records for line in record["resources"]]
        assert {line["presence"] for line in lines} == {"Gone"}
        assert not any(record.get("residuals") for record in records)
        assert sum(call.status == LIMITED for call in crowd.calls()) == 0
        # One look for each droplet, and hardly any for names: few listings show all of them.
        looks = Counter(call.endpoint for call in crowd.calls() if call.received_at > ended_at)
        assert looks["GET /v2/domains/{domain_name}/records"] <= 30
        gone = [call for call in crowd.calls() if call.status == MISSING]
        assert len(gone) <= 600
        await crowd.close()


@virtual_time
async def test_a_hundred_that_end_within_a_minute_are_deleted_at_once_and_seen_gone_in_seconds():
    """Their deletions alone are 200 of the minute's 250 calls. Ten sessions go on."""
    with prepared():
        crowd = Crowd(110, agents_answer=True)
        await crowd.operate()
        crowd.uids = crowd.uids[:100]
        await crowd.expire(first=60, within=MINUTE)
        began = asyncio.get_running_loop().time()
        seen_gone: dict[str, float] = {}

        def all_gone() -> bool:
            since = asyncio.get_running_loop().time() - began
            for uid in crowd.uids:
                if crowd.session(uid)["status"]["phase"] == "Destroyed":
                    seen_gone.setdefault(uid, since)
            return len(seen_gone) == 100

        await crowd.until(all_gone, 2 * MINUTE)
        ends = dict(zip(crowd.uids, crowd.expiries(), strict=True))
        assert max(seen_gone[uid] - end for uid, end in ends.items()) <= 10
        assert [len(tries) for tries in crowd.deletions().values()] == [1] * 200
        assert sum(call.status == LIMITED for call in crowd.calls()) == 0
        looks = [at for at in crowd.moments() if at >= 0]
        assert len(looks) <= 200 + 60
        await crowd.close()


@pytest.mark.parametrize(("after", "within"), [(0, MINUTE), (10, 0.1), (20, MINUTE)])
def test_whenever_the_resting_listing_is_due_it_does_not_come_between_the_deletions(after, within):
    """250 sessions are exactly two minutes' calls: one more, and the last waits for a third."""

    @virtual_time
    async def story():
        with prepared():
            crowd = Crowd(250)
            await crowd.operate()
            await asyncio.sleep(after)
            await crowd.expire(first=120, within=within)
            await crowd.until(lambda: not crowd.droplets(crowd.uids), 600)
            sent = crowd.deletions()
            assert all(len(tries) == 1 for tries in sent.values())
            last = max(at for tries in sent.values() for at, _ in tries)
            due = [at for at in crowd.expiries() for _ in ("name", "droplet")]
            assert last <= ideal_seconds(due) / 0.95
            # The listing is late, not lost.
            await asyncio.sleep(MINUTE)
            listed = [
                at
                for at, call in zip(crowd.moments(), crowd.calls(), strict=True)
                if call.endpoint == "GET /v2/droplets"
            ]
            assert not any(0 <= at <= last for at in listed)
            assert max(listed) > last
            await crowd.close()

    story()


@virtual_time
async def test_orders_that_come_just_before_a_crowd_ends_wait_for_it_too_and_say_so():
    with prepared():
        crowd = Crowd(500)
        await crowd.operate()
        await crowd.expire(first=120, within=MINUTE)
        new = [crowd.order(f"new-{number}") for number in range(20)]
        await crowd.until(lambda: not crowd.droplets(crowd.uids), 600)
        assert crowd.droplets(new) == []
        last = max(at for tries in crowd.deletions().values() for at, _ in tries)
        due = [at for at in crowd.expiries() for _ in ("name", "droplet")]
        assert last <= ideal_seconds(due) / 0.95
        assert crowd.events.reasons["WaitingForCalls"] == len(new)
        await crowd.until(lambda: crowd.droplets(new) == new, 120)
        await crowd.close()


async def with_orders_that_wait(names: list[str]) -> tuple[Crowd, list[str]]:
    """Orders that came just before a crowd ends, and wait for their calls."""
    crowd = Crowd(400)
    await crowd.operate()
    await crowd.expire(first=50, within=0)
    new = [crowd.order(name) for name in names]
    await asyncio.sleep(10)
    assert crowd.events.reasons["WaitingForCalls"] == len(new)
    assert crowd.orders() == []
    return crowd, new


@virtual_time
async def test_an_order_that_is_deleted_while_it_waits_for_a_call_ends_at_once_and_makes_nothing():
    with prepared():
        crowd, (_, stays) = await with_orders_that_wait(["goes", "stays"])
        crowd.delete("goes")
        await asyncio.sleep(3)
        assert crowd.server.get("session", "team/goes") is None
        await crowd.until(lambda: crowd.droplets([stays]) == [stays], 600)
        await asyncio.sleep(MINUTE)
        assert len(crowd.orders()) == 1
        await crowd.close()


@virtual_time
async def test_the_times_on_a_droplet_count_from_when_its_order_is_sent():
    with prepared():
        crowd, (uid,) = await with_orders_that_wait(["new"])
        await crowd.until(lambda: crowd.droplets([uid]) == [uid], 600)
        (order,) = crowd.orders()
        assert order.received_at > crowd.began_at(uid) + 30
        (droplet,) = (one for one in crowd.emulator.cloud.droplets.all() if one.session == uid)
        (ends_at,) = (int(tag[4:]) for tag in droplet.tags if tag.startswith("ttl:"))
        # Ten minutes, the class's provisioning deadline, less what the network takes.
        assert 599 - 1 <= ends_at - order.received_at <= 600
        assert wave_tag(datetime.fromtimestamp(order.received_at, UTC)) in droplet.tags
        await crowd.close()


@virtual_time
async def test_who_loses_the_lease_while_its_orders_wait_for_calls_sends_none_of_them():
    with prepared():
        crowd, _ = await with_orders_that_wait(["one", "two"])
        crowd.leads = False
        await asyncio.sleep(600)
        assert crowd.orders() == []
        await crowd.close()


@virtual_time
async def test_deletions_are_due_from_a_minute_before_the_end_until_they_are_accepted():
    with prepared():
        crowd = Crowd(10)
        await crowd.operate()
        await crowd.expire(first=58, within=0)
        counted = {0: crowd.deletions_due()}
        await asyncio.sleep(0.01)  # the deletions are on their way
        counted[1] = crowd.deletions_due()
        await crowd.until(lambda: not crowd.droplets(crowd.uids), 5)
        await asyncio.sleep(1)
        counted[2] = crowd.deletions_due()
        assert counted == {0: 20, 1: 20, 2: 0}
        await crowd.close()


@virtual_time
async def test_the_overrun_is_how_late_each_deletion_was_accepted_with_the_wait_for_its_turn():
    """500 deletions at one moment: the last droplet goes two minutes late."""
    with prepared():
        crowd = Crowd(250)
        await crowd.operate()
        await crowd.expire(first=120, within=0)
        await crowd.until(lambda: not crowd.droplets(crowd.uids), 600)
        await asyncio.sleep(1)
        deleted = [
            at
            for path, tries in crowd.deletions().items()
            if path.startswith("/v2/droplets")
            for at, _ in tries
        ]
        assert max(deleted) > MINUTE
        assert crowd.metric("spawnai_ttl_overrun_seconds_count") == len(deleted) == 250
        seen = crowd.metric("spawnai_ttl_overrun_seconds_sum")
        assert sum(deleted) <= seen <= sum(deleted) + 250
        at_once = crowd.metric("spawnai_ttl_overrun_seconds_bucket", le="30.0")
        assert abs(at_once - sum(at < 30 for at in deleted)) <= 5
        await crowd.close()


@virtual_time
async def test_an_end_that_is_asked_for_at_once_counts_in_the_overrun_too():
    with prepared():
        crowd = Crowd(1)
        await crowd.operate()
        await asyncio.sleep(0.7)
        crowd.end_now(crowd.uids[0])
        await crowd.until(lambda: not crowd.droplets(crowd.uids), 30)
        await asyncio.sleep(1)
        assert crowd.metric("spawnai_ttl_overrun_seconds_count") == 1
        assert crowd.metric("spawnai_ttl_overrun_seconds_sum") < 0.6
        await crowd.close()


@virtual_time
async def test_a_session_that_is_deleted_before_its_end_counts_in_no_overrun():
    with prepared():
        crowd = Crowd(1)
        await crowd.operate()
        crowd.server.delete("user", "session", crowd.key(crowd.uids[0]))
        await crowd.until(lambda: not crowd.droplets(crowd.uids), 30)
        await asyncio.sleep(1)
        assert crowd.metric("spawnai_ttl_overrun_seconds_count") == 0
        await crowd.close()


@virtual_time
async def test_another_program_with_half_of_the_calls_starves_no_deletion_and_makes_no_storm():
    with prepared():
        crowd = Crowd(300)
        other = asyncio.create_task(crowd.other_program(ALLOWED / 2))
        await crowd.operate()
        await asyncio.sleep(200)
        await crowd.expire(first=60, within=MINUTE)
        before = len(crowd.calls())
        await crowd.until(lambda: not crowd.droplets(crowd.uids), 3600)
        sent = crowd.deletions()
        accepted = [
            [at for at, status in answers if status == DELETED] for answers in sent.values()
        ]
        assert [len(times) for times in accepted] == [1] * 600
        refused = sum(call.status == LIMITED for call in crowd.calls()[before:])
        assert refused <= 0.1 * 600
        assert max(at for times in accepted for at in times) <= 600 / (ALLOWED / 2) * MINUTE / 0.8
        await crowd.until(lambda: crowd.phases() == {"Destroyed": 300}, 1200)
        other.cancel()
        await crowd.close()
