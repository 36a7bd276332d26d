"""What goes wrong is told in words that a person can use, whatever went wrong."""

from datetime import UTC, datetime

import pytest

from spawnai.api.record import ResourceKind
from spawnai.controller.actions.actor import _DOING, doing
from spawnai.controller.cluster import ClusterError
from spawnai.controller.failures import NotYet, SessionFailed, failure_of, is_expected
from spawnai.digitalocean.errors import AlreadyExists, Unavailable
from spawnai.droplet.client import AgentUnreachable
from spawnai.generation.errors import GenerationUnavailable
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import FailureKind

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
BY_HAND = "Droplet 7 was left alone; look at it and delete it by hand"

EXPECTED = (
    NotYet(BY_HAND),
    SessionFailed("AppCrashed", BY_HAND),
    Unavailable(BY_HAND),
    GenerationUnavailable(BY_HAND),
    AgentUnreachable(BY_HAND),
    ClusterError("patch session-status team/board", BY_HAND),
)


@pytest.mark.parametrize("error", EXPECTED, ids=lambda error: type(error).__name__)
def test_our_own_errors_are_told_in_their_own_words_and_need_no_trace(error):
    assert BY_HAND in failure_of(error, NOW, "making the droplet").message
    assert is_expected(error)


def test_of_an_error_that_nobody_expected_only_its_kind_is_told_and_what_was_being_done():
    error = KeyError("a-secret")
    failure = failure_of(error, NOW, doing(do.Find(ResourceKind.DROPLET, "spawn-1")))
    assert failure.message == (
        "unexpected KeyError while looking for the droplet; it is tried again, and the operator's "
        "log says more"
    )
    assert not is_expected(error)


def test_a_missing_answer_says_what_it_was_awaited_for():
    failure = failure_of(TimeoutError(), NOW, doing(do.DeployApp("203.0.113.7", "ab", NOW)))
    assert failure.message == (
        "no answer in time while giving the app to the droplet; it is tried again"
    )
    assert is_expected(TimeoutError())


def test_every_action_has_its_words():
    actions = {
        kind for kind in vars(do).values() if isinstance(kind, type) and issubclass(kind, do.Action)
    }
    assert set(_DOING) == actions - {do.Action, do.ResourceAction, do.PaidAction}


def test_a_unique_name_that_is_taken_may_be_our_own_lost_post_so_it_is_looked_for():
    assert failure_of(AlreadyExists("duplicate name"), NOW).kind is FailureKind.AMBIGUOUS
