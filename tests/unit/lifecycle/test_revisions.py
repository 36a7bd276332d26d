"""A prompt that changes while the session runs: when the app is changed, and what is said of it."""

from tests.unit.lifecycle.life import Life, a_session

from spawnai.api.session import SessionSpec
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import Failure, FailureKind, Revised
from spawnai.lifecycle.revisions import prompt_digest

FIRST, SECOND = "A page about ferns", "A page about ferns and mosses"


def running() -> Life:
    life = Life(session=a_session(spec=SessionSpec(prompt=FIRST, app_type="webapp"))).settle()
    assert life.status.ready_at is not None
    life.held.add(do.ReviseApp)
    return life


def prompted(life: Life, prompt: str) -> Life:
    return life.change(spec=SessionSpec(prompt=prompt, app_type="webapp")).settle()


def ended(life: Life, prompt: str, number: int, failure: Failure | None = None) -> Life:
    life.efforts.pop(do.key_of(do.ReviseApp), None)
    life.revised = Revised(prompt_digest(prompt), number, "d" * 64, life.now, failure, "Mosses too")
    return life.settle()


def is_changed(life: Life) -> bool:
    """Whether the app is being changed now."""
    effort = life.efforts.get(do.key_of(do.ReviseApp))
    return effort is not None and effort.running


def test_the_first_version_is_named_with_the_moment_the_app_is_ready():
    life = running()
    assert life.status.revision == 1
    [entry] = life.status.revisions
    assert entry.prompt_digest == prompt_digest(FIRST)
    assert not is_changed(life)


def test_a_new_prompt_has_the_app_changed():
    life = prompted(running(), SECOND)
    assert is_changed(life)
    assert life.status.revision == 1


def test_a_version_that_works_is_told_once():
    life = ended(prompted(running(), SECOND), SECOND, 2)
    assert (life.status.revision, life.status.note) == (2, "Mosses too")
    assert [one.revision for one in life.status.revisions] == [1, 2]
    assert not is_changed(life)
    written = len(life.statuses)
    life.settle()
    assert len(life.statuses) == written


def test_one_that_does_not_work_leaves_the_one_before_and_is_not_tried_again():
    life = prompted(running(), SECOND)
    failure = Failure(FailureKind.FINAL, "AppCrashed", "it crashed", life.now)
    ended(life, SECOND, 2, failure)
    assert life.condition("UpdateFailed") is not None
    assert life.status.revision == 1
    assert not is_changed(life)
    assert is_changed(prompted(life, "another one"))


def test_the_prompt_before_takes_the_failure_back_without_any_action():
    life = prompted(running(), SECOND)
    failure = Failure(FailureKind.FINAL, "AppCrashed", "it crashed", life.now)
    ended(life, SECOND, 2, failure)
    prompted(life, FIRST)
    assert not is_changed(life)
    assert life.condition("UpdateFailed") is None


def test_only_the_last_five_versions_are_named():
    life = running()
    for number in range(2, 9):
        prompt = f"version {number}"
        prompted(life, prompt)
        ended(life, prompt, number)
    assert [one.revision for one in life.status.revisions] == [4, 5, 6, 7, 8]


def test_what_claude_says_of_the_app_stands_beside_its_address():
    life = ended(prompted(running(), SECOND), SECOND, 2)
    assert life.status.message == f"Running at {life.status.url}. Mosses too"


def test_a_change_that_is_under_way_is_told_and_the_session_is_in_progress_meanwhile():
    life = prompted(running(), SECOND)
    assert "is being changed for its new prompt" in life.status.message
    assert life.condition("Reconciling") == ("True", "Updating")
    assert life.condition("Ready") == ("True", "Running")
    ended(life, SECOND, 2)
    assert "is being changed" not in life.status.message
    assert life.condition("Reconciling") is None
