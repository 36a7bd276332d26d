"""What the reaper of a leading operator does to an account, and what it leaves alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.contract.reaper.world import (
    CLUSTER,
    DOMAIN,
    OTHER_UID,
    TOKEN,
    UID,
    World,
    lacking,
    tags,
)

from spawnai.api.names import API_VERSION, SESSION_UID_LABEL
from spawnai.controller.classes.state import ClassState
from spawnai.controller.reaping import reaper
from spawnai.controller.reaping.reaper import ReaperSettings
from spawnai.digitalocean.inventory import Sweep
from spawnai.lifecycle.reaping import ReapingRules

COMPLETED = "2026-01-02T11:00:00Z"


def line(number: int, presence: str = "Present") -> dict[str, str]:
    gone = {"goneAt": COMPLETED, "deletionAcceptedAt": COMPLETED} if presence == "Gone" else {}
    return {
        "kind": "Droplet",
        "id": str(number),
        "name": f"spawn-{UID}",
        "priceHourly": "0.00893",
        "createdAt": "2026-11-23T10:00:00Z",
        "presence": presence,
        **gone,
    }


def with_class(world: World, *, uid: str = "class-uid") -> None:
    world.controller.store.put_class(
        {
            "apiVersion": API_VERSION,
            "kind": "SpawnClass",
            "metadata": {
                "name": "standard",
                "uid": uid,
                "resourceVersion": "1",
                "generation": 1,
                "creationTimestamp": "2026-11-23T10:00:00Z",
            },
            "spec": {
                "credentials": {"secretName": "spawnai-credentials"},
                "exposure": {"domain": DOMAIN},
            },
        }
    )


@pytest.fixture
def reaped(world):
    return lambda result: world.sample("spawnai_reaped_total", result=result)


async def test_an_orphan_goes_after_two_sweeps(world, reaped):
    made = await world.droplet()
    await world.sweep()
    assert await world.left() == {made["id"]}
    assert world.sample("spawnai_orphans") == 1
    await world.sweep()
    assert await world.left() == set()
    assert reaped("deleted") == 1
    await world.sweep()
    assert world.sample("spawnai_orphans") == 0


async def test_its_names_go_first_and_its_own_firewall_last(world):
    with_class(world)
    made = await world.droplet()
    await world.name("retro-board-5e550000", made["public_address"])
    await world.name("www-2", made["public_address"])
    await world.firewall(f"fw-spawn-{UID}", droplet_ids=[made["id"]])
    await world.sweep(2)
    assert await world.left() == set()
    assert await world.firewalls() == set()
    left = {name for name, data in await world.names() if data == made["public_address"]}
    assert left == {"www-2"}, "a name that is not ours stays, wherever it points"
    deletions = [
        call["endpoint"].split()[1]
        for call in await world.control.call_log()
        if call["endpoint"].startswith("DELETE")
    ]
    assert deletions == [
        "/v2/domains/{domain_name}/records/{domain_record_id}",
        "/v2/droplets/{droplet_id}",
        "/v2/firewalls/{firewall_id}",
    ]


async def test_the_domain_of_its_ledger_is_searched_when_no_class_has_it_any_more(world):
    made = await world.droplet()
    label = "retro-board-5e550000"
    world.api_server.put_record(
        UID,
        {"completedAt": COMPLETED},
        planned=({"kind": "DomainRecord", "name": f"{label}.{DOMAIN}"},),
    )
    world.controller.on_record("ADDED", world.api_server.records[UID])
    await world.name(label, made["public_address"])
    await world.sweep(2)
    assert (label, made["public_address"]) not in await world.names()
    assert await world.left() == set()


async def test_a_droplet_stays_while_a_name_still_points_at_it(world, reaped):
    with_class(world)
    made = await world.droplet()
    await world.name("retro-board-5e550000", made["public_address"])
    (fault,) = await world.control.add_faults(
        "DELETE /v2/domains/*/records/* error_before status=500"
    )
    await world.sweep(2)
    assert (await world.control.wait_for_fault(fault["id"], seconds=1))["suffered"] == 1
    assert await world.left() == {made["id"]}
    assert reaped("left") == 1
    await world.sweep()
    assert await world.left() == set()


@pytest.mark.parametrize(
    "covers", [{"tags": ["production"]}, {"droplet_ids": "another"}], ids=["a tag", "a droplet"]
)
async def test_a_firewall_that_covers_something_else_too_stays(world, covers):
    made = await world.droplet()
    if covers.get("droplet_ids") == "another":
        world.api_server.put_session(OTHER_UID, "Running")
        other = await world.droplet(OTHER_UID)
        covers = {"droplet_ids": [made["id"], other["id"]]}
    await world.firewall(f"fw-spawn-{UID}", **covers)
    await world.sweep(2)
    assert made["id"] not in await world.left()
    assert await world.firewalls() == {f"fw-spawn-{UID}"}


@pytest.mark.parametrize("tag", ["spawn-ai", "ephemeral", "session:", "cluster:"])
async def test_what_lacks_one_mark_stays(world, tag):
    made = await world.droplet(tags=lacking(tag))
    await world.sweep(3)
    assert await world.left() == {made["id"]}


async def test_what_is_young_stays(world):
    made = await world.droplet(old=False)
    await world.sweep(3)
    assert await world.left() == {made["id"]}


async def test_what_an_open_ledger_lists_stays(world):
    made = await world.droplet()
    world.api_server.put_record(UID, {"resources": [line(made["id"])]})
    await world.sweep(3)
    assert await world.left() == {made["id"]}


@pytest.mark.parametrize("phase", ["Requested", "Running", "Destroying"])
async def test_what_a_living_session_may_have_stays(world, phase):
    made = await world.droplet()
    world.api_server.put_session(UID, phase)
    await world.sweep(3)
    assert await world.left() == {made["id"]}


async def test_a_tombstone_explains_nothing(world):
    await world.droplet()
    world.api_server.put_session(UID, "Destroyed")
    await world.sweep(2)
    assert await world.left() == set()


async def test_a_ledger_on_the_last_page_of_many_explains_its_droplet(world):
    made = await world.droplet()
    for number in range(7):
        world.api_server.put_record(f"5e55000{number}-0000-4000-8000-00000000000f", {})
    world.api_server.put_record(UID, {"resources": [line(made["id"])]})
    await world.sweep(3)
    assert await world.left() == {made["id"]}


async def test_the_operator_s_cache_is_enough_at_rest(world):
    """No question to the API server, and one to DigitalOcean for each walk."""
    made = await world.droplet()
    record = world.api_server.put_record(UID, {"resources": [line(made["id"])]})
    world.controller.on_record("ADDED", record)
    await world.sweep(3)
    assert world.api_server.lists == []
    assert world.sample("spawnai_reaper_looks_total", result="ok") == 3


async def test_a_cache_that_lags_behind_is_not_believed_to_delete(world):
    """The watch has not shown the ledger yet; the API server has it."""
    made = await world.droplet()
    world.api_server.put_record(UID, {"resources": [line(made["id"])]})
    await world.sweep(3)
    assert "spawnrecords" in world.api_server.lists
    assert await world.left() == {made["id"]}


async def test_a_closed_ledger_gets_a_line_and_a_sum_for_what_was_reaped(world):
    made = await world.droplet()
    world.api_server.put_record(UID, {"completedAt": COMPLETED, "totalCost": "0.5"})
    await world.sweep(2)
    assert await world.left() == set()
    status = world.api_server.records[UID]["status"]
    (entry,) = status["resources"]
    assert (entry["id"], entry["presence"]) == (str(made["id"]), "Gone")
    assert status["totalCost"] == entry["cost"] == "0.01", (
        "an hour of the smallest, at least a cent"
    )
    assert status["completedAt"] == COMPLETED


async def test_a_line_that_said_gone_too_early_is_corrected(world):
    made = await world.droplet()
    world.api_server.put_record(
        UID,
        {"completedAt": COMPLETED, "resources": [{**line(made["id"], "Gone"), "cost": "0.000001"}]},
    )
    await world.sweep(2)
    (entry,) = world.api_server.records[UID]["status"]["resources"]
    assert entry["presence"] == "Gone"
    assert entry["goneAt"] > COMPLETED
    assert entry["cost"] == "0.01"


@pytest.mark.parametrize(
    ("plural", "position", "status", "document"),
    [
        ("spawnrecords", "", 500, {"message": "etcd is not there"}),
        ("spawnrecords", "", 403, {"message": "forbidden"}),
        ("spawnrecords", "2", 410, {"message": "the continue token has expired"}),
        ("spawnsessions", "", 503, {"message": "come again"}),
        ("spawnrecords", "", 200, {}),
        ("spawnrecords", "", 200, {"metadata": {}, "items": None}),
        ("spawnrecords", "", 200, {"metadata": {}, "items": [{"metadata": {}}]}),
        (
            "spawnrecords",
            "",
            200,
            {"metadata": {}, "items": [{"metadata": {"name": UID}, "status": {"resources": 7}}]},
        ),
    ],
)
async def test_without_all_ledgers_nothing_goes(world, plural, position, status, document):
    made = await world.droplet()
    for number in range(3):
        world.api_server.put_record(f"5e55000{number}-0000-4000-8000-00000000000f", {})
    world.api_server.instead[plural, position] = (status, document)
    await world.sweep(4)
    assert await world.left() == {made["id"]}
    assert world.sample("spawnai_reaper_looks_total", result="doubt") == 4
    world.api_server.instead.clear()
    await world.sweep(2)
    assert await world.left() == set()


async def test_without_an_api_server_nothing_goes(world):
    made = await world.droplet()
    await world.api_server.stop()
    await world.sweep(3)
    assert await world.left() == {made["id"]}


async def test_no_ledgers_where_the_watch_knew_of_some_is_an_accident(world):
    made = await world.droplet()
    for number in range(3):
        uid = f"5e55000{number}-0000-4000-8000-00000000000f"
        world.controller.on_record("ADDED", world.api_server.put_record(uid, {}))
    world.api_server.records.clear()
    await world.sweep(3)
    assert await world.left() == {made["id"]}


async def test_a_walk_that_broke_off_proves_nothing(world):
    made = await world.droplet()
    await world.sweep()
    for _ in range(3):
        world.controller.reaper.on_sweep(
            world.account, Sweep((), world.account.inventory._clock.utc_now(), complete=False)
        )
        await world.settled()
    assert world.sample("spawnai_reaper_looks_total", result="doubt") == 3
    assert await world.left() == {made["id"]}
    await world.sweep()
    assert await world.left() == {made["id"]}, "the sighting before the doubt does not count"
    await world.sweep()
    assert await world.left() == set()


async def test_a_listing_that_breaks_off_proves_nothing(world):
    made = await world.droplet()
    await world.sweep()
    sweep = Sweep(
        tuple(world.account.inventory._known.values()),
        world.account.inventory._clock.utc_now(),
        complete=True,
    )
    await world.control.add_faults("GET /v2/droplets error_before status=500")
    world.controller.reaper.on_sweep(world.account, sweep)
    await world.settled()
    assert await world.left() == {made["id"]}
    assert world.sample("spawnai_reaper_looks_total", result="doubt") == 1


@pytest.mark.parametrize("checks_left", [0, 1])
async def test_who_does_not_lead_any_more_deletes_nothing(world, checks_left):
    """Also when the lease passes between the decision and the deletion itself."""
    made = await world.droplet()
    await world.sweep()
    world.lease.checks_left = checks_left
    await world.sweep()
    assert await world.left() == {made["id"]}


async def test_a_spare_droplet_of_an_open_ledger_is_entered_there_at_once(world):
    world.controller.on_record("ADDED", world.api_server.put_record(UID, {"resources": [line(1)]}))
    spare = await world.droplet()
    await world.sweep()
    book = world.controller.memories.of(UID).book
    assert [entry.id for entry in book.resources] == ["1", str(spare["id"])]
    assert book.resources[-1].price_hourly == "0.00893"
    assert world.controller.queue.depth == 1
    assert await world.left() == {spare["id"]}, "its session's own plan deletes it"


async def test_a_droplet_seen_before_its_ledger_was_known_is_entered_by_the_second_sweep(world):
    spare = await world.droplet()
    world.api_server.put_record(UID, {"resources": [line(1)]})
    await world.sweep(2)
    book = world.controller.memories.of(UID).book
    assert [entry.id for entry in book.resources] == ["1", str(spare["id"])]
    assert await world.left() == {spare["id"]}


async def test_a_droplet_that_an_open_ledger_wrongly_calls_gone_lives_again_as_the_last(world):
    lost = await world.droplet()
    world.api_server.put_record(UID, {"resources": [line(lost["id"], "Gone"), line(1)]})
    await world.sweep(2)
    book = world.controller.memories.of(UID).book
    assert [(one.id, str(one.presence)) for one in book.resources] == [
        ("1", "Present"),
        (str(lost["id"]), "Present"),
    ]


async def test_a_droplet_without_all_marks_is_not_entered_in_a_ledger(world):
    world.controller.on_record("ADDED", world.api_server.put_record(UID, {"resources": [line(1)]}))
    await world.droplet(name="spawn-me-another-beer")
    await world.sweep(3)
    assert [one.id for one in world.controller.store.record(UID).status.resources] == ["1"]
    assert world.controller.memories.of(UID).ledger is None


async def test_people_are_told_beside_the_ledger(world):
    await world.droplet()
    record = world.api_server.put_record(UID, {"completedAt": COMPLETED})
    world.controller.on_record("ADDED", record)
    await world.sweep(2)
    assert await world.events() == [
        ("OrphanFound", "SpawnRecord"),
        ("OrphanDeleted", "SpawnRecord"),
    ]


async def test_people_are_told_beside_the_class_until_there_is_a_ledger(world):
    with_class(world, uid="class-of-the-tag")
    changed = [one for one in tags() if not one.startswith("class:")]
    await world.droplet(tags=[*changed, "class:class-of-the-tag"])
    await world.sweep(2)
    assert await world.events() == [("OrphanFound", "SpawnClass"), ("OrphanDeleted", "SpawnRecord")]


async def test_an_orphan_without_a_ledger_gets_one_with_what_it_cost(world):
    with_class(world)
    made = await world.droplet()
    name = await world.name("retro-board-5e550000", made["public_address"])
    await world.firewall(f"fw-spawn-{UID}", droplet_ids=[made["id"]])
    await world.sweep(2)
    assert await world.left() == set()
    record = world.api_server.records[UID]
    assert record["metadata"]["labels"] == {SESSION_UID_LABEL: UID}
    assert record["spec"]["owner"] == {"kind": "SpawnSession", "name": "retro-board", "uid": UID}
    assert (record["spec"]["clusterUid"], record["spec"]["orphaned"]) == (CLUSTER, True)
    planned = [(one["kind"], one["name"]) for one in record["spec"]["planned"]]
    assert planned == [
        ("Droplet", f"spawn-{UID}"),
        ("DomainRecord", f"retro-board-5e550000.{DOMAIN}"),
        ("Firewall", f"fw-spawn-{UID}"),
    ]
    status = record["status"]
    assert [one["presence"] for one in status["resources"]] == ["Gone"] * 3
    droplet, named, _ = status["resources"]
    assert (droplet["id"], droplet["cost"]) == (str(made["id"]), "0.01")
    assert droplet["createdAt"] < droplet["deletionAcceptedAt"] <= droplet["goneAt"]
    assert f"{named['domain']}/{named['id']}" == name
    assert (status["totalCost"], status["terminationReason"]) == ("0.01", "Orphaned")
    assert status["residuals"] == []
    assert status["completedAt"]


async def test_a_tombstone_tells_whose_the_lost_ledger_was(world):
    world.api_server.put_session(UID, "Destroyed")
    world.controller.on_session("ADDED", world.api_server.sessions[UID])
    await world.droplet()
    await world.sweep(2)
    owner = world.api_server.records[UID]["spec"]["owner"]
    assert owner == {
        "kind": "SpawnSession",
        "namespace": "shop",
        "name": "retro-board",
        "uid": UID,
        "user": "shop",
    }


@pytest.mark.parametrize("verb", ["create", "patch"])
async def test_nothing_goes_before_its_line_is_written(world, verb):
    made = await world.droplet()
    world.api_server.refuses[verb] = 503
    await world.sweep(3)
    assert await world.left() == {made["id"]}
    world.api_server.refuses.clear()
    await world.sweep(2)
    assert await world.left() == set()
    assert world.api_server.records[UID]["status"]["totalCost"] == "0.01"


async def test_a_ledger_that_was_opened_meanwhile_keeps_its_droplet(world, monkeypatch):
    made = await world.droplet()
    census = reaper.take_census

    async def then_opened(*arguments, **others):
        listed = await census(*arguments, **others)
        world.api_server.put_record(UID, {})
        return listed

    await world.sweep()
    monkeypatch.setattr(reaper, "take_census", then_opened)
    await world.sweep()
    assert await world.left() == {made["id"]}


async def test_what_a_dead_operator_began_is_ended_by_the_next(world):
    """Its droplet had been deleted, its firewall had not, and nobody wrote the receipt."""
    with_class(world)
    account = world.controller.accounts.open(TOKEN)
    known = world.controller.store.spawn_class("standard")
    memory = world.controller.classes._memories.of(known.name, known.uid)
    memory.state = ClassState(account=account)
    firewall = await world.firewall(f"fw-spawn-{UID}")
    world.controller.on_record(
        "ADDED",
        world.api_server.put_record(
            UID,
            {
                "completedAt": COMPLETED,
                "resources": [
                    line(1),
                    {**line(1), "kind": "Firewall", "id": firewall, "name": f"fw-spawn-{UID}"},
                ],
                "residuals": [f"Droplet 1 (spawn-{UID})"],
            },
        )
        | {"spec": {**world.api_server.records[UID]["spec"], "className": "standard"}},
    )
    await world.sweep()
    assert await world.firewalls() == set()
    status = world.api_server.records[UID]["status"]
    assert [one["presence"] for one in status["resources"]] == ["Gone", "Gone"]
    assert status["residuals"] == []
    assert status["totalCost"]
    written = list(world.api_server.writes)
    await world.sweep(2)
    assert world.api_server.writes == written


async def test_what_another_reaper_writes_into_a_closed_ledger_is_not_written_back(world):
    """`spawnai reap` runs beside an operator that remembers the ledger as it was."""
    record = world.api_server.put_record(UID, {"completedAt": COMPLETED})
    world.controller.on_record("ADDED", record)
    world.controller.memories.of(UID).ledger = world.controller.store.record(UID).status
    record = world.api_server.put_record(
        UID, {"completedAt": COMPLETED, "resources": [line(1)], "residuals": ["Droplet 1"]}
    )
    world.controller.on_record("MODIFIED", record)
    assert [one.id for one in world.controller.memories.of(UID).book.resources] == ["1"]


async def test_what_another_account_may_have_is_not_called_gone(world):
    with_class(world)
    record = world.api_server.put_record(
        UID,
        {"completedAt": COMPLETED, "resources": [line(1)], "residuals": ["Droplet 1"]},
    )
    world.controller.on_record("ADDED", record)
    await world.sweep(2)
    assert world.api_server.records[UID]["status"]["resources"][0]["presence"] == "Present"


async def test_the_accounts_own_walks_reach_the_reaper(world):
    await world.sweep()
    assert world.sample("spawnai_reaper_looks_total", result="ok") == 1
    assert world.controller.accounts.open(TOKEN) is world.account


class TestDryRun:
    @pytest.fixture
    def reaper_settings(self) -> ReaperSettings:
        return ReaperSettings(ReapingRules(between_sightings=timedelta(0)), dry_run=True)

    async def test_it_tells_and_deletes_nothing(self, world, reaped):
        made = await world.droplet()
        await world.sweep(4)
        assert await world.left() == {made["id"]}
        assert (reaped("dry_run"), reaped("deleted")) == (1, 0)


class TestLimit:
    @pytest.fixture
    def reaper_settings(self) -> ReaperSettings:
        rules = ReapingRules(between_sightings=timedelta(0), most_per_hour=2)
        return ReaperSettings(rules)

    async def test_no_more_than_the_limit_goes_within_an_hour(self, world, reaped):
        world.api_server.put_record(OTHER_UID, {})
        for number in range(4):
            await world.droplet(f"5e55100{number}-0000-4000-8000-00000000000f")
        await world.sweep(5)
        assert len(await world.left()) == 2
        assert reaped("deleted") == 2
        assert world.sample("spawnai_orphans") == 2

    async def test_a_new_leader_goes_on_with_what_is_left_of_the_hour(self, world):
        with_class(world)
        world.api_server.put_record(OTHER_UID, {})
        for number in range(4):
            await world.droplet(f"5e55100{number}-0000-4000-8000-00000000000f")
        await world.sweep(3)
        assert len(await world.left()) == 2
        world.controller.reaper._deletions.clear()  # in a new process nothing is remembered
        await world.sweep(3)
        assert len(await world.left()) == 2

    async def test_what_sessions_ended_themselves_does_not_count(self, world):
        now = datetime.now(UTC).replace(microsecond=0)
        closed, ended = now.isoformat(), (now + timedelta(milliseconds=400)).isoformat()
        by_itself = {**line(77, "Gone"), "deletionAcceptedAt": ended, "goneAt": ended}
        for number in range(3):
            uid = f"5e55200{number}-0000-4000-8000-00000000000f"
            world.api_server.put_record(
                uid, {"completedAt": closed, "resources": [{**by_itself, "id": str(number)}]}
            )
        await world.droplet()
        await world.sweep(2)
        assert await world.left() == set()


class TestShippedRules:
    @pytest.fixture
    def reaper_settings(self) -> ReaperSettings:
        return ReaperSettings()

    async def test_two_looks_in_a_row_are_one_sighting(self, world):
        made = await world.droplet()
        await world.sweep(4)
        assert await world.left() == {made["id"]}
        assert replace(ReapingRules(), minimum_age=timedelta(minutes=10)) == ReapingRules()
        assert CLUSTER in str(made["tags"])
