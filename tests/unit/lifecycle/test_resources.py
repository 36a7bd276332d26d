"""The life of an external resource: what a lost answer leaves behind, and who waits for whom."""

from dataclasses import replace
from datetime import timedelta

from life import IP, Life, an_offer

from spawnai.api.record import RecordStatus, ResourceKind
from spawnai.api.session import Phase
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.kinds import KINDS, TEARDOWN
from spawnai.lifecycle.observation import FailureKind

NAMED = {"exposure": {"domain": "spawn-ai.test"}}
FENCED = {"firewall": {"mode": "PerSession"}}


def after_a_lost_post(kind: str, **spec) -> Life:
    """The first POST of that kind had no answer, and nothing has been found since."""
    life = Life(offer=an_offer(**spec))
    life.failing[kind] = lambda _: life.fail(FailureKind.AMBIGUOUS)
    life.settle()
    life.failing.clear()
    return life


def deletions(life: Life) -> list[str]:
    return [action.line.id for action in life.done if isinstance(action, do.Delete)]


def test_a_name_that_was_made_at_once_is_not_looked_for_when_its_session_ends():
    life = Life(offer=an_offer(**NAMED)).settle().change(deleting=True)
    assert life.session is None
    assert "FindDomainRecord" not in life.kinds_done()


def test_a_name_that_was_found_after_a_lost_post_is_the_only_one():
    life = after_a_lost_post("CreateDomainRecord", **NAMED)
    life.note(ResourceKind.DOMAIN_RECORD, "5", ip=IP)
    life.settle()
    looks = life.kinds_done().count("FindDomainRecord")
    life.change(deleting=True)
    assert life.session is None
    assert life.kinds_done().count("FindDomainRecord") == looks


def test_a_second_name_is_made_only_once_the_first_can_have_no_effect_any_more():
    life = after_a_lost_post("CreateDomainRecord", **NAMED).pass_time(seconds=119)
    assert life.kinds_done().count("CreateDomainRecord") == 1
    life.pass_time(seconds=1)
    assert life.kinds_done().count("CreateDomainRecord") == 2
    looks = life.kinds_done().count("FindDomainRecord")
    life.pass_time(minutes=30).change(deleting=True)
    assert life.session is None, "no third one can come"
    assert life.kinds_done().count("FindDomainRecord") == looks


def test_a_firewall_is_looked_for_once_and_made_again_its_name_is_unique():
    life = after_a_lost_post("CreateFirewall", **FENCED).pass_time(seconds=1)
    assert life.kinds_done().count("CreateFirewall") == 2
    assert life.kinds_done().count("FindFirewall") == 1


def test_a_lost_answer_is_looked_for_soon_and_then_ever_more_rarely():
    """0, 3, 6, 9, 13.5, 20, 30, 46, 68, 103 and 120 s after it."""
    life = after_a_lost_post("CreateDomainRecord", **NAMED).pass_time(seconds=10)
    assert life.kinds_done().count("FindDomainRecord") == 4
    life.pass_time(seconds=110)
    assert life.kinds_done().count("FindDomainRecord") == 11


def test_the_droplet_waits_while_a_name_that_leads_to_it_may_come():
    life = after_a_lost_post("CreateDomainRecord", **NAMED)
    life.change(deleting=True).pass_time(seconds=119)
    assert deletions(life) == []
    life.pass_time(seconds=2)
    assert deletions(life) == ["77"]
    assert life.session is None


def test_a_name_that_comes_late_is_deleted_before_the_droplet():
    life = after_a_lost_post("CreateDomainRecord", **NAMED).change(deleting=True)
    life.finds["FindDomainRecord"] = lambda: life.note(ResourceKind.DOMAIN_RECORD, "6", ip=IP)
    life.pass_time(seconds=30)
    assert deletions(life) == ["6", "77"]
    assert life.session is None


def test_after_a_restart_a_name_that_no_ledger_lists_is_looked_for_before_it_is_made():
    life = Life(offer=an_offer(**NAMED), held={"CreateDomainRecord"}).settle()
    life.pass_time(seconds=1).restart()
    life.held.clear()
    life.settle()
    assert life.kinds_done().count("CreateDomainRecord") == 1
    life.finds["FindDomainRecord"] = lambda: life.note(ResourceKind.DOMAIN_RECORD, "6", ip=IP)
    life.pass_time(seconds=5)
    assert life.kinds_done().count("CreateDomainRecord") == 1
    assert life.status.phase is Phase.RUNNING


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
    assert life.kinds_done() == ["RemoveFinalizer", "ReleaseRecord"]
    assert life.session is None


def test_a_ledger_stays_open_for_two_minutes_while_a_firewall_may_come():
    life = after_a_lost_post("CreateFirewall", **FENCED)
    life.held = {"CreateFirewall"}
    begun = life.now
    life.change(deleting=True).pass_time(seconds=5)
    assert deletions(life) == ["77"], "the droplet does not wait for it"
    life.pass_time(seconds=(begun + timedelta(seconds=119) - life.now).total_seconds())
    assert life.session is not None
    life.pass_time(seconds=1)
    assert life.session is None


def test_what_the_last_look_finds_is_deleted_before_the_ledger_is_closed():
    life = after_a_lost_post("CreateFirewall", **FENCED)
    life.change(deleting=True).pass_time(seconds=110)
    life.finds["FindFirewall"] = lambda: life.note(ResourceKind.FIREWALL, "6")
    life.pass_time(seconds=10)
    assert deletions(life)[-1] == "6"
    assert life.session is None


def test_every_kind_has_a_row_a_condition_and_a_place_in_the_teardown():
    assert set(KINDS) == set(ResourceKind) == set(TEARDOWN)
    assert TEARDOWN.index(ResourceKind.DOMAIN_RECORD) < TEARDOWN.index(ResourceKind.DROPLET)
    assert TEARDOWN.index(ResourceKind.DROPLET) < TEARDOWN.index(ResourceKind.FIREWALL)
    of_sessions = set(KINDS) - {ResourceKind.HOSTED_CERTIFICATE}  # a class's, which says the same
    assert len({KINDS[kind].condition for kind in of_sessions}) == len(of_sessions)


def test_a_line_is_stored_when_its_kind_and_its_id_are():
    life = Life(offer=an_offer(**NAMED)).settle()
    assert life.record is not None
    droplet, name = life.record.status.resources
    stored = RecordStatus(resources=[droplet, name.model_copy(update={"id": "6"})])
    record = replace(life.record, stored=stored)
    assert record.stores(droplet)
    assert not record.stores(name), "another one of its kind is"
    assert not record.stores(droplet.model_copy(update={"kind": ResourceKind.FIREWALL}))


def test_a_teardown_says_all_the_time_why_it_is_one():
    life = Life().settle()
    life.failing[do.Verify] = lambda _: life.fail(FailureKind.TRANSIENT, message="still there")
    life.change(deleting=True).pass_time(minutes=1)
    reconciling = next(one for one in life.status.conditions if one.type == "Reconciling")
    assert reconciling.message == "The session was deleted: destroying everything it used"
    assert (str(reconciling.status), reconciling.reason) == ("True", "Destroying")
