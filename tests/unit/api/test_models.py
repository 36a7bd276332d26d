"""The models: what is written is read back, and what is odd does not end the operator."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from spawnai.api.base import LONGEST_TEXT
from spawnai.api.conditions import MEANINGS, Condition, ConditionStatus, ConditionType
from spawnai.api.record import RecordStatus
from spawnai.api.session import AppType, SessionSpec, SessionStatus
from spawnai.api.spawnclass import ClassSpec

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_an_order_is_read_from_its_manifest():
    spec = SessionSpec.model_validate({"prompt": "A clock", "appType": "webapp", "className": "x"})
    assert spec.app_type is AppType.WEBAPP
    assert spec.class_name == "x"
    assert spec.document() == {"prompt": "A clock", "appType": "webapp", "className": "x"}


def test_fields_of_a_newer_version_are_ignored():
    spec = SessionSpec.model_validate({"prompt": "A clock", "appType": "api", "colour": "red"})
    assert "colour" not in spec.document()


def test_2000_characters_are_counted_as_characters_and_not_as_bytes():
    assert SessionSpec(prompt="😀" * 2000, app_type=AppType.API).prompt
    with pytest.raises(ValidationError):
        SessionSpec(prompt="😀" * 2001, app_type=AppType.API)


def test_an_empty_class_is_a_whole_offer():
    spec = ClassSpec.model_validate({})
    assert spec.tiers.light.sizes == ["s-1vcpu-1gb"]
    assert spec.lifetime.max == "72h"


def test_a_class_with_an_unreadable_duration_is_a_problem_that_names_the_field():
    with pytest.raises(ValidationError, match=r"lifetime\.max(.|\n)*write a duration such as"):
        ClassSpec.model_validate({"lifetime": {"max": "3 days"}})


def test_a_long_message_is_cut_when_it_is_written():
    status = SessionStatus(message="x" * (LONGEST_TEXT + 1))
    written = status.document()["message"]
    assert len(written) == LONGEST_TEXT
    assert written.endswith("x…")


def test_long_texts_are_cut_however_they_got_there():
    condition = Condition(
        type=ConditionType.STALLED,
        status=ConditionStatus.TRUE,
        reason="Refused",
        message="x" * (LONGEST_TEXT * 2),
        last_transition_time=NOON,
    )
    status = SessionStatus().model_copy(update={"conditions": [condition]})
    assert len(status.document()["conditions"][0]["message"]) == LONGEST_TEXT
    record = RecordStatus().model_copy(update={"log": ["x" * (LONGEST_TEXT * 2)]})
    assert len(record.document()["log"][0]) == LONGEST_TEXT


def test_every_condition_has_a_meaning():
    assert set(MEANINGS) == set(ConditionType)
