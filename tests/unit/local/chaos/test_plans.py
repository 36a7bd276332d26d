"""Plans are made of recorded calls: a new call joins by itself, and none comes twice."""

import json

import pytest

from spawnai_local.chaos.calls import EVENTS, Call, Edge, Request, of_api_server
from spawnai_local.chaos.faults import KILLS, Fault
from spawnai_local.chaos.plans import (
    OF_EACH_START,
    Flavour,
    Recorded,
    Situation,
    all_plans,
    batches,
    boundaries,
    sample,
    told_apart,
)

POST = Call(Edge.DIGITALOCEAN, "POST /v2/droplets", ("lane-00",), writes=True)
GET = Call(Edge.DIGITALOCEAN, "GET /v2/droplets/{droplet_id}")
READ = Call(Edge.API_SERVER, "GET secrets")
WALK = Call(Edge.DIGITALOCEAN, OF_EACH_START)
OWN, SHARED = Flavour.OWN_FIREWALL, Flavour.SHARED_FIREWALL


def recorded(*calls, situation=Situation.CREATING, flavour=OWN):
    return [(situation, flavour, call) for call in calls]


def test_a_call_is_one_boundary_in_each_situation_however_often_it_was_made():
    found = boundaries(
        [
            *recorded(POST, POST),
            *recorded(POST, flavour=SHARED),
            *recorded(POST, situation=Situation.DELETED),
        ]
    )
    assert [(one.situation, one.flavour) for one in found] == [
        (Situation.CREATING, OWN),
        (Situation.DELETED, OWN),
    ]


def test_what_only_some_lives_of_a_kind_called_for_is_left_out_and_told():
    lives = [(kind, f"{kind}-{number}") for kind in ("expires", "deleted") for number in (0, 1)]
    calls = [Recorded(kind, life, Situation.CREATING, OWN, POST) for kind, life in lives]
    for kind, life in (("expires", "expires-0"), ("deleted", "deleted-1")):
        calls.append(Recorded(kind, life, Situation.CREATING, OWN, GET))
    known, by_chance = told_apart(calls)
    assert [one.call.name for one in known] == [POST.name]
    assert [one.call.name for one in by_chance] == [GET.name]


def test_what_each_life_of_one_kind_called_for_is_a_boundary_whatever_other_kinds_do():
    known, by_chance = told_apart(
        [
            Recorded("expires", "a", Situation.CREATING, OWN, POST),
            Recorded("expires", "a", Situation.CREATING, OWN, GET),
            Recorded("deleted", "b", Situation.CREATING, OWN, POST),
        ]
    )
    assert [one.call.name for one in known] == [POST.name, GET.name]
    assert by_chance == []


def test_reads_from_the_api_server_are_no_boundaries():
    assert boundaries(recorded(READ)) == []


def test_what_comes_with_each_start_is_a_boundary_of_a_start_alone():
    assert boundaries(recorded(WALK)) == []
    assert len(boundaries(recorded(WALK, situation=Situation.READY))) == 1


def test_a_situation_that_is_come_to_by_way_of_another_has_only_what_no_other_has():
    found = boundaries(
        [
            *recorded(POST, GET, situation=Situation.SETTLING),
            *recorded(POST),
        ]
    )
    assert [(one.situation, one.call.name) for one in found] == [
        (Situation.CREATING, POST.name),
        (Situation.SETTLING, GET.name),
    ]


def test_a_write_suffers_every_fault_and_a_read_those_that_exist_for_it():
    write, read = (all_plans(boundaries(recorded(call))) for call in (POST, GET))
    assert {plan.fault for plan in write} == set(Fault)
    assert {plan.fault for plan in read} == set(Fault) - {Fault.KILLED_AFTER, Fault.ERROR_AFTER}


def test_a_plans_id_says_what_it_is():
    plans = all_plans(boundaries(recorded(POST)))
    assert plans[0].id == "creating:digitalocean:post-v2-droplets:killed-before"


def test_a_sample_is_the_same_for_the_same_seed_and_has_something_of_everything():
    plans = all_plans(
        boundaries(
            [
                *recorded(POST, GET),
                *recorded(POST, GET, situation=Situation.EXPIRING),
                *recorded(POST, situation=Situation.DELETED),
            ]
        )
    )
    chosen = sample(plans, 10, seed=3)
    assert chosen == sample(list(reversed(plans)), 10, seed=3)
    assert chosen != sample(plans, 10, seed=4)
    assert {plan.fault for plan in chosen} == set(Fault)
    assert {plan.boundary.situation for plan in chosen} == {
        Situation.CREATING,
        Situation.EXPIRING,
        Situation.DELETED,
    }


def a_write(name, edge=Edge.API_SERVER):
    return Call(edge, name, writes=True)


def rough(*calls, situation=Situation.CREATING):
    plans = all_plans(boundaries(recorded(*calls, situation=situation)))
    return [plan for plan in plans if plan.needs_restart]


def test_those_who_are_killed_together_come_to_their_calls_one_after_the_other():
    plans = rough(*(a_write(f"POST thing-{number}") for number in range(9)))
    made = batches(plans, 4)
    assert [plan for batch in made for plan in batch] == plans
    assert max(len(batch) for batch in made) <= 4


def test_a_batch_is_of_one_situation_and_starts_are_apart_from_kills():
    plans = [
        *rough(POST, GET),
        *rough(POST, GET, situation=Situation.READY),
        *rough(a_write("GET /v1/status", Edge.AGENT), situation=Situation.DELETED),
    ]
    made = batches(plans, 20)
    for batch in made:
        assert len({plan.boundary.situation for plan in batch}) == 1
        assert len({plan.fault in KILLS for plan in batch}) == 1
    assert sorted(plan.id for batch in made for plan in batch) == sorted(plan.id for plan in plans)


def test_two_events_are_never_held_at_once():
    plans = rough(a_write(EVENTS), POST, GET)
    made = batches(plans, 20)
    assert [sum(plan.boundary.call.name == EVENTS for plan in batch) for batch in made] == [1, 1]
    assert sum(map(len, made)) == len(plans)


def test_the_plans_of_the_lease_are_a_batch_of_their_own():
    lease = rough(a_write("PATCH leases"), situation=Situation.READY)
    made = batches([*lease, *rough(POST, situation=Situation.READY)], 20)
    assert lease in made


def patch(path, body):
    return of_api_server(Request("PATCH", path, {}, {}, json.dumps(body).encode()))


SESSION = "/apis/spawn-ai.com/v1alpha1/namespaces/chaos/spawnsessions/plan-0001"
RECORD = "/apis/spawn-ai.com/v1alpha1/spawnrecords/2f1c0c52-8d25-4c5e-9f07-0e6d7a0c9f11"


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        (f"{SESSION}/status", {"status": {"phase": "Running"}}, "phase=Running"),
        (f"{SESSION}/status", {"status": {"expirationTime": "x"}}, "expirationTime"),
        (f"{SESSION}/status", {"status": {"message": "x"}}, "progress"),
        (SESSION, {"metadata": {"finalizers": ["spawn-ai.com/cleanup"]}}, "hold"),
        (SESSION, {"metadata": {"finalizers": []}}, "let go"),
        (f"{RECORD}/status", {"status": {"completedAt": "x", "resources": [{}]}}, "closed"),
        (f"{RECORD}/status", {"status": {"residuals": ["x"]}}, "progress"),
    ],
)
def test_a_write_is_called_by_what_it_writes(path, body, name):
    call = patch(path, body)
    assert name in call.name
    assert call.also == ()
    assert call.writes


FIREWALL = {"kind": "Firewall", "id": "f"}
DROPLET = {"kind": "Droplet", "id": "1"}
ADDRESSED = DROPLET | {"ip": "127.1.2.3"}
NAME = {"kind": "DomainRecord", "id": "2", "ip": "127.1.2.3"}


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ([FIREWALL], "a firewall"),
        ([DROPLET], "a droplet"),
        ([DROPLET, FIREWALL], "a droplet"),
        ([ADDRESSED], "an address"),
        ([ADDRESSED, FIREWALL], "an address"),
        ([ADDRESSED, FIREWALL, NAME], "a name"),
        ([FIREWALL | {"deletionAcceptedAt": "x"}], "a deletion"),
    ],
)
def test_a_ledgers_write_is_called_by_the_furthest_thing_in_it_however_many_lines_it_has(
    lines, name
):
    assert patch(f"{RECORD}/status", {"status": {"resources": lines}}).names == (
        f"PATCH spawnrecords/status {name}",
    )


def test_a_write_that_serves_two_purposes_bears_both_names_and_makes_both_boundaries():
    both = patch(
        f"{RECORD}/status", {"status": {"generations": [{}], "resources": [ADDRESSED, NAME]}}
    )
    assert both.names == (
        "PATCH spawnrecords/status an order",
        "PATCH spawnrecords/status a name",
    )
    assert [one.call.name for one in boundaries(recorded(both))] == list(both.names)


def test_a_call_is_known_by_the_names_and_uids_in_it():
    assert "plan-0001" in patch(SESSION, {"metadata": {}}).hints
    assert "2f1c0c52-8d25-4c5e-9f07-0e6d7a0c9f11" in patch(f"{RECORD}/status", {}).hints
    event = {"metadata": {"name": "x"}, "involvedObject": {"name": "plan-0001"}}
    path = "/api/v1/namespaces/chaos/events"
    assert (
        "plan-0001"
        in of_api_server(Request("POST", path, {}, {}, json.dumps(event).encode())).hints
    )
