"""Models that are kept in thousands share what is the same in all of them."""

from datetime import UTC

from spawnai.api.conditions import Condition
from spawnai.api.session import SessionStatus

DOCUMENT = {
    "phase": "Running",
    "message": "Running at http://app",
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Running",
            "message": "The app answers",
            "lastTransitionTime": "2026-11-23T05:00:00Z",
        }
    ],
    "droplet": {"id": 7, "name": "spawn-7", "ip": "192.0.2.7"},
}


def read() -> SessionStatus:
    # Each text anew, as each answer of the API server brings it.
    return SessionStatus.model_validate_json(
        SessionStatus.model_validate(DOCUMENT).model_dump_json()
    )


def test_a_compact_model_is_equal_to_the_one_it_was():
    assert read().compact() == read()
    assert read().compact().document() == read().document()


def test_what_is_the_same_is_there_once():
    one, other = read().compact(), read().compact()
    assert one.conditions[0].message is other.conditions[0].message
    assert one.conditions[0].model_fields_set is other.conditions[0].model_fields_set


def test_a_changed_copy_changes_nothing_of_the_others():
    one, other = read().compact(), read().compact()
    given = set(other.model_fields_set)
    changed = one.model_copy(update={"url": "http://app"})
    assert changed.url == "http://app"
    assert other.model_fields_set == one.model_fields_set == given
    assert isinstance(changed.conditions[0], Condition)


def test_every_time_in_utc_has_the_one_time_zone():
    ready = read().compact().conditions[0]
    assert ready.last_transition_time == read().conditions[0].last_transition_time
    assert ready.last_transition_time.tzinfo is UTC


def test_a_time_of_another_zone_stays_as_it_was_written():
    status = SessionStatus.model_validate({"readyAt": "2026-11-23T07:00:00+02:00"})
    assert status.compact().document()["readyAt"] == "2026-11-23T07:00:00+02:00"
