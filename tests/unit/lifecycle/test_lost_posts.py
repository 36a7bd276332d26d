"""A POST without an answer may take effect late: what is looked for, and for how long."""

from dataclasses import replace
from datetime import timedelta

from life import IP, Life, an_offer

from spawnai.api.record import ResourceKind
from spawnai.api.session import Phase
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import FailureKind

NAMED = {"exposure": {"domain": "spawn-ai.test"}}
FENCED = {"firewall": {"mode": "PerSession"}}


def after_a_lost_post(kind: type[do.Action], **spec) -> Life:
    """The first POST of that kind had no answer, and nothing has been found since."""
    life = Life(offer=an_offer(**spec))
    life.failing[kind] = lambda _: life.fail(FailureKind.AMBIGUOUS)
    life.settle()
    life.failing.clear()
    return life


def after_a_second_post(kind: type[do.Action], **spec) -> Life:
    life = after_a_lost_post(kind, **spec).pass_time(seconds=40)
    assert life.kinds_done().count(kind.__name__) == 2
    return life


def deletions(life: Life) -> list[str]:
    return [action.entry.id for action in life.done if isinstance(action, do.DeleteResource)]


def test_a_name_that_was_made_at_once_is_not_looked_for_when_its_session_ends():
    life = Life(offer=an_offer(**NAMED)).settle().change(deleting=True)
    assert life.session is None
    assert "FindDomainRecord" not in life.kinds_done()


def test_a_second_name_is_looked_for_and_deleted_before_the_droplet():
    life = after_a_second_post(do.CreateDomainRecord, **NAMED)
    life.finds[do.FindDomainRecord] = lambda: life.note(ResourceKind.DOMAIN_RECORD, "6", ip=IP)
    life.change(deleting=True).pass_time(seconds=3)
    assert deletions(life) == ["5", "6", "77"]


def test_the_droplet_waits_for_the_look_that_may_find_a_second_name():
    life = after_a_second_post(do.CreateDomainRecord, **NAMED)
    life.held = {do.FindDomainRecord}
    life.change(deleting=True).pass_time(seconds=5)
    assert deletions(life) == ["5"]


def test_a_name_that_was_found_after_a_lost_post_is_the_only_one():
    life = after_a_lost_post(do.CreateDomainRecord, **NAMED)
    life.note(ResourceKind.DOMAIN_RECORD, "5", ip=IP)
    life.settle()
    looks = life.kinds_done().count("FindDomainRecord")
    life.change(deleting=True)
    assert life.session is None
    assert life.kinds_done().count("FindDomainRecord") == looks


def test_a_second_name_is_looked_for_where_the_operator_died_soon_after_it_made_the_first():
    life = Life(offer=an_offer(**NAMED)).settle().pass_time(minutes=1)
    life.restart().change(deleting=True)
    assert life.session is None
    assert life.kinds_done().count("FindDomainRecord") == 1


def test_a_second_name_is_looked_for_two_minutes_after_the_lost_answer_while_the_session_lives():
    life = after_a_second_post(do.CreateDomainRecord, **NAMED)
    looks = life.kinds_done().count("FindDomainRecord")
    life.pass_time(minutes=30)
    assert life.kinds_done().count("FindDomainRecord") == looks + 1


def test_a_look_that_was_made_before_the_deletions_began_does_not_count():
    life = after_a_second_post(do.CreateDomainRecord, **NAMED).pass_time(minutes=1)
    looks = life.kinds_done().count("FindDomainRecord")
    life.change(deleting=True).pass_time(seconds=1)
    assert life.kinds_done().count("FindDomainRecord") == looks + 1


def test_after_a_restart_a_name_that_the_ledger_has_listed_for_long_costs_no_look():
    life = Life(offer=an_offer(**NAMED)).settle().pass_time(minutes=6)
    life.restart().change(deleting=True)
    assert life.session is None
    assert "FindDomainRecord" not in life.kinds_done()


def test_a_ledger_that_a_dead_operator_closed_is_believed_though_no_status_tells_of_the_end():
    """Its class may be let go already: nothing is looked for, which could not be done any more."""
    life = Life(offer=an_offer(**NAMED, **FENCED)).settle().pass_time(minutes=1)
    life.held = {do.RemoveFinalizer}
    life.change(deleting=True)
    assert life.record is not None
    assert life.record.status.completed_at is not None
    life.held.clear()
    told = next(one for one in life.statuses if one.phase is Phase.DESTROYING)
    life.restart()
    life.session, life.offer = replace(life.session, status=told), None
    life.done.clear()
    life.settle()
    assert life.kinds_done() == ["RemoveFinalizer"]
    assert life.session is None


def test_a_ledger_stays_open_for_two_minutes_after_a_post_that_nothing_accounts_for():
    for kind, found, spec in (
        (do.CreateDomainRecord, do.FindDomainRecord, NAMED),
        (do.CreateFirewall, do.FindFirewall, FENCED),
    ):
        life = after_a_lost_post(kind, **spec)
        begun = life.now
        life.change(deleting=True).pass_time(seconds=60)
        assert "77" in deletions(life), "the droplet waits for no more than the settling time"
        life.pass_time(seconds=(begun + timedelta(seconds=119) - life.now).total_seconds())
        assert life.session is not None
        looks = life.kinds_done().count(found.__name__)
        life.pass_time(seconds=1)
        assert life.kinds_done().count(found.__name__) == looks + 1
        assert life.session is None


def test_what_the_last_look_finds_is_deleted_before_the_ledger_is_closed():
    life = after_a_lost_post(do.CreateDomainRecord, **NAMED)
    life.change(deleting=True).pass_time(seconds=60)
    life.finds[do.FindDomainRecord] = lambda: life.note(ResourceKind.DOMAIN_RECORD, "6", ip=IP)
    life.pass_time(seconds=70)
    assert deletions(life)[-1] == "6"
    assert life.session is None
