"""Plans are made of recorded calls: a new call joins by itself, and none comes twice."""

import json

import pytest

from spawnai_local.chaos.calls import Call, Edge, Request, of_api_server
from spawnai_local.chaos.faults import Fault
from spawnai_local.chaos.plans import (
    OF_EACH_START,
    Flavour,
    Situation,
    all_plans,
    boundaries,
    sample,
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


def test_reads_from_the_api_server_are_no_boundaries():
    assert boundaries(recorded(READ)) == []


def test_what_comes_with_each_start_is_a_boundary_of_a_start_alone():
    assert boundaries(recorded(WALK)) == []
    assert len(boundaries(recorded(WALK, situation=Situation.READY))) == 1


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
        (f"{RECORD}/status", {"status": {"resources": [{}, {"presence": "Gone"}]}}, "resources:2"),
        (f"{RECORD}/status", {"status": {"completedAt": "x", "resources": []}}, "closed"),
    ],
)
def test_a_write_is_called_by_what_it_writes(path, body, name):
    call = patch(path, body)
    assert name in call.name
    assert call.writes


def test_a_call_is_known_by_the_names_and_uids_in_it():
    assert "plan-0001" in patch(SESSION, {"metadata": {}}).hints
    assert "2f1c0c52-8d25-4c5e-9f07-0e6d7a0c9f11" in patch(f"{RECORD}/status", {}).hints
    event = {"metadata": {"name": "x"}, "regarding": {"name": "plan-0001"}}
    path = "/apis/events.k8s.io/v1/namespaces/chaos/events"
    assert (
        "plan-0001"
        in of_api_server(Request("POST", path, {}, {}, json.dumps(event).encode())).hints
    )
