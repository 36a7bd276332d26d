"""What people read of an app that its agent calls failed."""

import pytest
from tests.unit.lifecycle.life import START

from spawnai.api.session import AppType
from spawnai.controller.actions.deploy import APP_FAILURES, failure_of_app
from spawnai.droplet.client import AgentStatus


def failed(reason: str | None, *log: str) -> AgentStatus:
    return AgentStatus(None, "failed", reason, None, 0, log, START, "1")


def test_it_is_the_agent_s_reason_in_a_sentence_with_the_last_five_lines():
    lines = [f"line {number}" for number in range(9)]
    reason, words = failure_of_app(failed("OutOfMemory", *lines), AppType.API)
    assert reason == "OutOfMemory"
    last = "line 4 | line 5 | line 6 | line 7 | line 8"
    assert words == f"the app used more memory than it may; its last lines: {last}"


def test_a_script_that_never_ends_did_not_fail_to_answer():
    status = failed("AppNeverAnswered", "AppNeverAnswered: the script ran longer than 300 s")
    _, words = failure_of_app(status, AppType.SCRIPT)
    assert words.startswith("the script ran longer than a script may; ")
    assert "300 s" in words
    assert failure_of_app(status, AppType.API)[1].startswith(APP_FAILURES["AppNeverAnswered"])


@pytest.mark.parametrize("reason", [None, "", "no reason at all", "x" * 1000, "Expired"])
def test_a_reason_that_no_agent_of_ours_gives_is_none(reason):
    assert failure_of_app(failed(reason), AppType.API)[0] == "AppFailed"
