"""A thousand sessions expire in the same minute against DigitalOcean's 250 calls a minute.

Deletions take all of it, none is lost, none is sent twice, and creations wait and say so.
"""

import asyncio
from collections import Counter
from statistics import mean

from tests.simulation.pressure import DELETED, LIMITED, MISSING, Crowd
from tests.simulation.world import prepared
from tests.support.virtual_time import virtual_time

from spawnai_local.bench.pressure import ideal_seconds, unused_shares

MINUTE = 60.0
ALLOWED = 250


@virtual_time
async def test_a_thousand_that_end_in_one_minute_are_deleted_once_each_and_as_fast_as_allowed():
    with prepared():
        crowd = Crowd(1000)
        await crowd.operate()
        assert crowd.phases() == {"Running": 1000}
        await crowd.expire(first=60, within=MINUTE)
        await asyncio.sleep(45)
        new = [crowd.order(f"new-{number}") for number in range(20)]
        await crowd.until(lambda: not crowd.droplets(crowd.uids), 3600)
        await asyncio.sleep(5)
        sent = crowd.deletions()
        # None is lost, none is sent twice: a name and a droplet for each session.
        answers = [[status for _, status in tries] for tries in sent.values()]
        assert answers == [[DELETED]] * 2000
        # No 429 at all, and the last one went as early as the limit lets it, to 95 per cent.
        assert sum(call.status == LIMITED for call in crowd.calls()) == 0
        last = max(at for tries in sent.values() for at, _ in tries)
        due = [at for at in crowd.expiries() for _ in ("name", "droplet")]
        before = [at for at in crowd.moments() if -MINUTE < at < 0]
        assert last <= ideal_seconds(due, before) / 0.95
        assert mean(unused_shares(crowd.moments(), 0, last - MINUTE)) <= 0.05
        # The orders of that time waited, and said so.
        orders = [
            call.received_at for call in crowd.calls() if call.endpoint == "POST /v2/droplets"
        ]
        deleted = [call.received_at for call in crowd.calls() if call.endpoint.startswith("DELETE")]
        assert not orders or min(orders) > max(deleted)
        assert crowd.events.reasons["WaitingForCalls"] == len(new)
        ended_at = deleted[-1]
        # And everything is seen gone, and every order carried out.
        await crowd.until(lambda: crowd.phases() == {"Destroyed": 1000}, 1200)
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
        assert len(gone) <= 1200
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
