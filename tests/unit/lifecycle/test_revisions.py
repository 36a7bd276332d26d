"""A prompt that changes while the session runs: when the app is changed, and what is said of it."""

from datetime import timedelta

from tests.unit.lifecycle.life import DIGEST, START, Life, a_session, an_offer

from spawnai.api.record import GenerationEntry
from spawnai.api.session import SessionSpec
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import (
    AppView,
    Failure,
    FailureKind,
    Revised,
    StoredBundle,
)
from spawnai.lifecycle.revisions import prompt_digest

FIRST, SECOND = "A page about ferns", "A page about ferns and mosses"


def running(**health) -> Life:
    life = Life(session=a_session(spec=SessionSpec(prompt=FIRST, app_type="webapp")))
    life.offer = an_offer(health=health)
    life.settle()
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


def test_a_prompt_that_changes_before_the_app_is_ready_is_the_next_change():
    paid = GenerationEntry(model="claude-sonnet-5-5", started_at=START, outcome="Stored")
    written = StoredBundle(DIGEST, paid, prompt_digest=prompt_digest(FIRST))
    order = a_session(spec=SessionSpec(prompt=SECOND, app_type="webapp"))
    life = Life(session=order, bundle=written, held={do.ReviseApp}).settle()
    [entry] = life.status.revisions
    assert entry.prompt_digest == prompt_digest(FIRST)
    assert is_changed(life)


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


def test_the_prompt_before_ends_the_wait_for_a_change_that_could_not_be_made():
    life = running()
    prompted(life, SECOND)
    life.answered(do.ReviseApp, life.fail(FailureKind.NEEDS_PERSON, "SecretRefused", "a quota"))
    assert life.condition("UpdateFailed") == ("True", "SecretRefused")
    assert life.condition("Reconciling") == ("True", "Updating")
    prompted(life, FIRST)
    assert not is_changed(life)
    assert life.condition("UpdateFailed") is None
    assert life.condition("Reconciling") is None


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


def crashed(life: Life) -> Life:
    life.now += timedelta(minutes=1)
    life.app = life.app_says = AppView("failed", "AppCrashed", life.now, "it died")
    return life.settle()


def test_where_the_class_wants_it_an_app_that_stopped_is_repaired():
    life = crashed(running(onAppFailure="Repair"))
    assert is_changed(life)
    assert life.condition("Ready") == ("False", "AppCrashed")
    assert life.condition("Stalled") is None
    assert life.condition("Reconciling") == ("True", "Updating")
    life.app = life.app_says = AppView("running", None, life.now)
    ended(life, FIRST, 2)
    assert life.status.revision == 2
    assert life.condition("Ready") == ("True", "Running")
    assert not is_changed(life)


def test_elsewhere_it_is_not():
    assert not is_changed(crashed(running(onAppFailure="Keep")))


def test_one_that_cannot_be_repaired_is_told_and_not_tried_again():
    life = crashed(running(onAppFailure="Repair"))
    ended(life, FIRST, 2, Failure(FailureKind.FINAL, "AppCrashed", "it crashed", life.now))
    assert not is_changed(life)
    assert life.condition("Stalled") == ("True", "AppCrashed")
    assert life.condition("UpdateFailed") == ("True", "AppCrashed")
    life.restart()
    life.pass_time(minutes=5)
    assert not is_changed(life)


def test_a_repaired_app_that_stops_again_is_repaired_again():
    """The repairs that an app has in all are counted where they are stored, beside its text."""
    life = crashed(running(onAppFailure="Repair"))
    life.app = life.app_says = AppView("running", None, life.now)
    assert is_changed(crashed(ended(life, FIRST, 2)))


def test_a_failure_that_only_the_status_tells_of_is_not_repaired():
    life = crashed(running(onAppFailure="Keep")).restart()
    life.app = None
    life.app_says = AppView("running", None, life.now)
    life.offer = an_offer(health={"onAppFailure": "Repair"})
    assert not is_changed(life.settle())
