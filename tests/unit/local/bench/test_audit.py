"""What counts as a write of the operator, and what stands apart."""

import json

from spawnai_local.bench.audit import WriteKind, merged, read_writes, write_policy


def entry(resource, verb="patch", *, name="a", request=None, code=200):
    kind, _, subresource = resource.partition("/")
    reference = {"resource": kind, "namespace": "default", "name": name}
    if subresource:
        reference["subresource"] = subresource
    return {
        "verb": verb,
        "objectRef": reference,
        "requestReceivedTimestamp": "2026-11-23T02:40:18.652572Z",
        "responseStatus": {"code": code},
        **({} if request is None else {"requestObject": request}),
    }


def kinds(tmp_path, *entries):
    log = tmp_path / "audit.log"
    log.write_text("".join(json.dumps(one) + "\n" for one in entries))
    return [write.kind for write in read_writes(log)]


def status(**fields):
    return entry("spawnsessions/status", request={"status": fields})


def condition(type_, value, reason="Because", message=""):
    return {"type": type_, "status": value, "reason": reason, "message": message}


def test_events_and_lease_renewals_stand_apart(tmp_path):
    assert kinds(tmp_path, entry("events", "create"), entry("leases")) == [
        WriteKind.EVENT,
        WriteKind.LEASE,
    ]


def test_a_refused_write_is_a_write(tmp_path):
    assert kinds(tmp_path, entry("spawnrecords", "create", code=409)) == [WriteKind.STATE]


def test_a_status_that_only_moves_on_is_progress(tmp_path):
    assert kinds(
        tmp_path,
        status(phase="Generating", progress=20, message="writing"),
        status(progress=25, message="still writing", cost={"estimated": "0.1"}),
    ) == [WriteKind.STATE, WriteKind.PROGRESS]


def test_other_words_for_a_condition_ride_along_with_progress_and_are_none_alone(tmp_path):
    assert kinds(
        tmp_path,
        status(progress=5, conditions=[condition("Ready", "False", message="5 %")]),
        status(progress=6, conditions=[condition("Ready", "False", message="6 %")]),
        status(conditions=[condition("Ready", "False", message="six per cent")]),
    ) == [WriteKind.STATE, WriteKind.PROGRESS, WriteKind.STATE]


def test_a_condition_that_turns_is_no_progress(tmp_path):
    assert kinds(
        tmp_path,
        status(conditions=[condition("Ready", "False")]),
        status(progress=100, conditions=[condition("Ready", "True")]),
    ) == [WriteKind.STATE, WriteKind.STATE]


def test_a_field_that_goes_is_no_progress(tmp_path):
    assert kinds(tmp_path, status(url="http://a"), status(url=None)) == [
        WriteKind.STATE,
        WriteKind.STATE,
    ]


def test_each_session_has_a_status_of_its_own(tmp_path):
    assert kinds(
        tmp_path,
        status(phase="Running"),
        entry("spawnsessions/status", name="b", request={"status": {"phase": "Running"}}),
    ) == [WriteKind.STATE, WriteKind.STATE]


def test_a_merge_patch_replaces_lists_and_removes_what_is_null():
    old = {"a": {"b": 1, "c": 2}, "d": [1, 2]}

    assert merged(old, {"a": {"b": None}, "d": [3]}) == {"a": {"c": 2}, "d": [3]}


def test_nothing_is_logged_but_the_writes_of_the_operator(tmp_path):
    write_policy(tmp_path / "policy.json", "spawnai-system:spawnai-operator")

    rules = json.loads((tmp_path / "policy.json").read_text())["rules"]

    assert rules[0] == {"level": "None", "verbs": ["get", "list", "watch"]}
    assert rules[-1] == {"level": "None"}
    assert all(
        rule["users"] == ["system:serviceaccount:spawnai-system:spawnai-operator"]
        for rule in rules[1:-1]
    )
