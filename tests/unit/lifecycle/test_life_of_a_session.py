"""The whole life of a session, read from its plans."""

from dataclasses import replace
from datetime import timedelta

import pytest
from life import DIGEST, IP, START, Life, a_session, an_offer, is_a

from spawnai.api.conditions import find_condition
from spawnai.api.record import Presence, RecordStatus, ResourceKind
from spawnai.api.session import AppType, DropletStatus, Phase, SessionSpec, SessionStatus
from spawnai.billing import ledger as books
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import AppView, DropletView, Effort, Failure, FailureKind
from spawnai.lifecycle.status import STEPS

WITH_DOMAIN = {"exposure": {"domain": "spawn-ai.test"}}
PER_SESSION = {"firewall": {"mode": "PerSession"}}


def running(**spec) -> Life:
    life = Life(offer=an_offer(**spec)).settle()
    assert life.status.phase is Phase.RUNNING
    return life


# --- From order to app ------------------------------------------------------------------------


def test_nothing_outside_the_cluster_before_finalizer_and_ledger_are_written():
    life = Life(held={do.AddFinalizer}).settle()
    assert life.kinds_done() == ["AddFinalizer", "CreateRecord"]
    life = Life(held={do.CreateRecord}).settle()
    assert life.kinds_done() == ["AddFinalizer", "CreateRecord"]


def test_a_ledger_seen_before_its_answer_is_not_taken_for_one_of_an_earlier_life():
    life = Life(held={do.CreateRecord}).settle()
    life.see_effect_of(life.done[-1])
    assert life.kinds_done() == ["AddFinalizer", "CreateRecord"]
    life.efforts[do.key_of(do.CreateRecord)] = Effort(started_at=life.now, done_at=life.now)
    assert "FindDroplet" not in life.settle().kinds_done()
    assert life.status.phase is Phase.RUNNING


def test_the_droplet_boots_while_claude_writes():
    life = Life(held={do.GenerateApp, "CreateDroplet"}).settle()
    assert {"GenerateApp", "CreateDroplet"} <= set(life.kinds_done())


def test_no_droplet_is_paid_for_before_claude_begins_to_write():
    life = Life(held={do.GenerateApp}, claude_answers=False).settle()
    assert "CreateDroplet" not in life.kinds_done()
    life.claude_answers = True
    assert "CreateDroplet" in life.settle().kinds_done()


def test_an_order_on_its_way_needs_no_word_of_its_own_where_claude_takes_others_of_the_class():
    life = Life(held={do.GenerateApp}, claude_answers=False).settle()
    assert "CreateDroplet" not in life.kinds_done()
    life.offer = replace(life.offer, claude_answers=True)
    assert "CreateDroplet" in life.settle().kinds_done()


def test_another_session_s_answer_is_no_sign_for_one_whose_own_order_failed():
    life = Life(claude_answers=False)
    life.offer = replace(life.offer, claude_answers=True)
    life.failing[do.GenerateApp] = lambda _action: life.fail(
        FailureKind.TRANSIENT, "ClaudeUnavailable", "Claude answered 529 overloaded_error"
    )
    assert "CreateDroplet" not in life.settle().kinds_done()


def test_a_session_that_claude_refuses_says_what_its_droplet_waits_for():
    life = Life(claude_answers=False)
    life.failing[do.GenerateApp] = lambda _action: life.fail(
        FailureKind.NEEDS_PERSON, "ClaudeNoCredit", "the account has no credit"
    )
    life.settle()
    assert life.condition("Stalled") == ("True", "ClaudeNoCredit")
    assert life.condition("DropletReady") == ("False", "WaitingForClaude")
    assert "CreateDroplet" not in life.kinds_done()


def test_a_session_says_what_holds_it_up_while_claude_is_overloaded():
    life = Life(claude_answers=False)
    life.failing[do.GenerateApp] = lambda _action: life.fail(
        FailureKind.TRANSIENT, "ClaudeUnavailable", "Claude answered 529 overloaded_error"
    )
    life.settle()
    assert life.status.message == "Claude answered 529 overloaded_error"
    assert life.condition("Generated") == ("False", "Retrying")


def test_an_app_that_is_stored_needs_no_word_from_claude_for_its_droplet():
    life = Life(held={"CreateDroplet"}).settle()
    life.claude_answers = False
    life.efforts.pop(life.key("CreateDroplet"))
    assert any(is_a(action, "CreateDroplet") for action in life.plan().actions)


def test_the_app_is_offered_to_a_droplet_that_has_an_address_and_still_boots():
    life = Life(held={"AwaitDroplet", do.DeployApp})
    life.new_droplet_status = "new"
    life.settle()
    assert life.kinds_done().count("DeployApp") == 1
    assert life.condition("DropletReady") == ("False", "Booting")
    life.efforts[next(key for key in life.efforts if key.action == "DeployApp")] = Effort(
        started_at=life.now, done_at=life.now
    )
    life.app = AppView("running", None, life.now)
    life.settle()
    assert life.status.phase is Phase.RUNNING, "an agent that answers has booted"


def test_the_droplet_of_a_running_session_that_is_off_is_not_waited_for():
    life = Life().settle()
    assert life.status.phase is Phase.RUNNING
    life.restart()
    life.droplet = DropletView(77, "off", IP)
    life.done.clear()
    life.settle()
    assert "AwaitDroplet" not in life.kinds_done()


def test_a_droplet_that_a_user_wrote_into_the_status_gets_no_app():
    forged = SessionStatus(
        phase=Phase.PROVISIONING,
        started_at=START,
        droplet=DropletStatus(id=9, name="foreign", ip="203.0.113.99"),
    )
    life = Life(session=a_session(status=forged), held={"CreateDroplet"}).settle()
    assert "DeployApp" not in life.kinds_done()
    assert "CreateDomainRecord" not in life.kinds_done()


def test_the_app_is_handed_over_only_behind_a_firewall_in_force():
    life = Life(held={"AwaitFirewall"}).settle()
    assert "DeployApp" not in life.kinds_done()
    assert life.condition("FirewallReady") == ("False", "Pending")


def test_with_a_domain_the_session_is_ready_only_when_its_name_is_made():
    life = Life(offer=an_offer(**WITH_DOMAIN), held={"CreateDomainRecord"}).settle()
    assert life.status.phase is Phase.DEPLOYING
    assert life.status.ready_at is None
    life = running(**WITH_DOMAIN)
    assert life.status.url == "http://retro-board-11111111.spawn-ai.test"


def test_without_a_domain_the_url_is_the_address():
    assert running().status.url == f"http://{IP}"


def test_a_running_session_is_current_for_kstatus():
    life = running()
    assert life.condition("Ready") == ("True", "Running")
    assert life.condition("Reconciling") is None
    assert life.condition("Stalled") is None
    assert life.status.progress == 100
    assert life.status.generation is not None
    assert life.status.generation.bundle_digest == DIGEST


def test_a_session_under_way_is_in_progress_for_kstatus():
    life = Life(held={do.GenerateApp}).settle()
    assert life.condition("Ready") == ("False", "Generating")
    assert life.condition("Reconciling") == ("True", "Generating")


def test_phases_only_take_the_steps_of_the_table():
    life = running(**WITH_DOMAIN).pass_time(hours=3)
    before = Phase.REQUESTED
    for status in life.statuses:
        assert status.phase is before or status.phase in STEPS[before]
        before = status.phase
    assert before is Phase.DESTROYED


def test_a_bundle_that_is_there_first_still_passes_through_generating():
    life = Life(held={"AwaitFirewall"}).settle()
    assert [status.phase for status in life.statuses] == [
        Phase.PROVISIONING,
        Phase.GENERATING,
        Phase.DEPLOYING,
    ]


def test_progress_never_goes_back():
    life = running().pass_time(hours=3)
    shown = [status.progress or 0 for status in life.statuses]
    assert shown == sorted(shown)


def test_a_settled_session_asks_for_nothing_and_says_nothing_new():
    life = running()
    again = life.plan()
    assert again.actions == ()
    assert again.notices == ()
    assert again.status in (None, life.status)


# --- TTL --------------------------------------------------------------------------------------


def test_the_session_wakes_at_its_expiry_to_the_second():
    life = running().pass_time(hours=2, seconds=-1)
    assert life.status.phase is Phase.RUNNING
    life.pass_time(seconds=1)
    assert life.status.phase is Phase.DESTROYED
    assert life.status.termination_reason == "Expired"


def test_a_warning_comes_once_five_minutes_before_the_end():
    life = running().pass_time(minutes=115, seconds=-1)
    assert "ExpiringSoon" not in life.reasons()
    life.pass_time(seconds=1).pass_time(minutes=2)
    assert life.reasons().count("ExpiringSoon") == 1
    assert life.condition("ExpiringSoon") == ("True", "NearEnd")


def test_an_extension_arms_the_warning_again():
    life = running().pass_time(minutes=116)
    life.change(ttl="4h")
    assert life.condition("ExpiringSoon") is None
    life.pass_time(hours=2)
    assert life.reasons().count("ExpiringSoon") == 2
    assert life.reasons().count("ExpiryChanged") == 1


def hours_told(life: Life) -> list[float]:
    """What the droplet's switch was told, in hours from the start."""
    told = [action.expires_at for action in life.done if isinstance(action, do.SetExpiry)]
    return [(time - START) / timedelta(hours=1) for time in told]


def test_the_droplet_s_switch_is_told_the_promise_at_once_when_the_app_is_ready():
    assert hours_told(running()) == [2]


def test_an_extension_moves_the_droplet_s_switch():
    assert hours_told(running().change(ttl="4h")) == [2, 4]


def test_the_switch_follows_an_expiry_that_goes_back_to_what_it_was():
    life = running().change(ttl="4h").change(ttl="2h").change(ttl="4h")
    assert hours_told(life) == [2, 4, 2, 4]
    assert life.status.expiration_time == START + timedelta(hours=4)


def test_of_two_changes_the_second_waits_until_the_switch_has_answered_the_first():
    life = running()
    life.held = {do.SetExpiry}
    life.change(ttl="4h").change(ttl="3h")
    assert hours_told(life) == [2, 4]
    assert life.status.expiration_time == START + timedelta(hours=2), "nothing longer was told yet"
    life.held = set()
    life.efforts[do.key_of(do.SetExpiry)] = Effort(started_at=life.now, done_at=life.now)
    life.see_effect_of(life.done[-1])
    assert hours_told(life) == [2, 4, 3]
    assert life.status.expiration_time == START + timedelta(hours=3)


def test_a_longer_life_is_never_promised_before_the_switch_knows_of_it():
    life = running()
    life.failing[do.SetExpiry] = lambda _: life.fail(FailureKind.TRANSIENT, message="no answer")
    life.change(ttl="4h")
    assert life.status.expiration_time == START + timedelta(hours=2)
    life.pass_time(minutes=10)
    assert life.status.expiration_time == START + timedelta(hours=2), "however often it failed"
    ready = next(one for one in life.status.conditions if one.type == "Ready")
    assert ready.message == "The app answers; the later end waits until the droplet has taken it in"
    del life.failing[do.SetExpiry]
    life.pass_time(seconds=40)
    assert life.status.expiration_time == START + timedelta(hours=4)


def test_whoever_cannot_be_told_of_a_longer_life_ends_at_the_time_that_was_promised():
    life = running()
    life.failing[do.SetExpiry] = lambda _: life.fail(FailureKind.TRANSIENT, message="no answer")
    life.change(ttl="4h")
    life.pass_time(hours=2, minutes=1)
    assert life.status.phase is Phase.DESTROYED
    assert life.status.termination_reason == "Expired"


def test_a_switch_that_may_have_been_told_something_else_is_told_again():
    life = running()
    life.failing[do.SetExpiry] = lambda _: life.fail(FailureKind.TRANSIENT, message="no answer")
    life.change(ttl="4h")
    life.switch = None
    life.change(ttl="2h")
    del life.failing[do.SetExpiry]
    life.pass_time(seconds=2)
    assert life.switch == START + timedelta(hours=2)


def test_after_a_restart_the_agent_s_answer_shows_what_the_switch_was_told():
    life = running().pass_time(minutes=1).restart().pass_time(minutes=6)
    assert life.switch == START + timedelta(hours=2)
    assert hours_told(life) == [2]


def test_a_switch_that_stands_at_another_end_after_a_restart_is_told_the_promise():
    life = running().pass_time(minutes=1)
    life.switch_told = START + timedelta(hours=1)
    life.restart().settle()
    assert hours_told(life) == [2], "nobody knows yet that it stands at another"
    life.pass_time(minutes=6)
    assert hours_told(life) == [2, 2]


def test_a_switch_that_has_forgotten_its_end_is_told_again():
    life = running().pass_time(minutes=1)
    life.switch_told = START + timedelta(hours=1)
    life.pass_time(minutes=30)
    assert hours_told(life) == [2, 2]


def test_a_ttl_above_the_maximum_is_capped_and_says_so_once():
    life = running().change(ttl="10d").pass_time(hours=1)
    assert life.status.expiration_time == START + timedelta(hours=72)
    assert life.reasons().count("ExpiryCapped") == 1


def test_a_ttl_in_the_past_ends_the_session_after_the_notice():
    life = running().pass_time(hours=1).change(ttl="10m")
    assert life.status.phase is Phase.RUNNING
    assert "ExpiryOnNotice" in life.reasons()
    life.pass_time(minutes=2, seconds=-1)
    assert life.status.phase is Phase.RUNNING
    life.pass_time(seconds=1)
    assert life.status.phase is Phase.DESTROYED


@pytest.mark.parametrize("change", [{"ttl": "0s"}, {"expires_at": "now"}])
def test_zero_and_now_end_the_session_at_once(change):
    life = running().pass_time(minutes=10).change(**change)
    assert life.status.phase is Phase.DESTROYED
    assert life.status.termination_reason == "Expired"


def test_an_invalid_ttl_on_a_new_session_makes_nothing_and_says_what_to_write():
    life = Life(session=a_session(ttl="soon")).settle().pass_time(hours=1)
    assert life.done == []
    assert life.condition("Stalled") == ("True", "InvalidExpiry")
    assert "write a duration" in (life.status.message or "")
    assert len(life.statuses) == 1


def test_a_mended_ttl_lets_the_session_begin():
    life = Life(session=a_session(ttl="soon")).settle().change(ttl="1h")
    assert life.status.phase is Phase.RUNNING
    assert life.condition("Stalled") is None


def test_an_invalid_ttl_on_a_running_session_keeps_the_expiry_and_is_told_once():
    life = running().change(ttl="soon").pass_time(minutes=10)
    assert life.status.expiration_time == START + timedelta(hours=2)
    assert life.reasons().count("InvalidExpiry") == 1
    assert life.condition("Ready") == ("True", "Running")


def test_an_expiry_before_anything_was_made_is_a_quiet_end():
    life = Life(session=a_session(expires_at="2026-11-23T11:00:00Z")).settle().pass_time(days=1)
    assert life.kinds_done() == ["ConfirmNoRecord"]
    assert life.status.phase is Phase.DESTROYED
    assert len(life.statuses) == 1
    assert life.wake_at is None


# --- The end ----------------------------------------------------------------------------------


def deletions_of(life: Life) -> list[str]:
    return [action.line.id for action in life.done if isinstance(action, do.Delete)]


def test_the_droplet_does_not_wait_for_a_name_that_is_somebody_else_s_now():
    life = running(**WITH_DOMAIN)
    life.held = {do.Delete}
    life.book(lambda book: books.with_unknown(book, ResourceKind.DOMAIN_RECORD, "5"))
    life.change(deleting=True)
    assert deletions_of(life) == ["5", "77"]


def test_a_name_that_is_somebody_else_s_now_is_named_until_it_is_gone():
    life = running(**WITH_DOMAIN)
    life.book(lambda book: books.with_unknown(book, ResourceKind.DOMAIN_RECORD, "5"))
    life.failing[do.Delete] = lambda _: life.fail(
        FailureKind.NEEDS_PERSON, "NotOurs", "it was left alone: look at it and delete it by hand"
    )
    life.change(deleting=True).pass_time(seconds=20)
    assert life.session is not None
    assert "DomainRecord 5" in (life.status.message or "")
    assert "delete it by hand" in (life.status.message or "")
    life.failing.clear()
    life.pass_time(seconds=5)
    assert life.session is None


def test_the_droplet_does_not_wait_for_a_young_name_that_answers_404():
    life = running(**WITH_DOMAIN)
    life.held = {do.Delete}
    life.missing = frozenset({(ResourceKind.DOMAIN_RECORD, "5")})
    life.change(deleting=True)
    assert deletions_of(life) == ["5", "77"]


def test_the_name_goes_before_the_droplet_and_the_droplet_before_its_firewall():
    life = running(**WITH_DOMAIN, **PER_SESSION).pass_time(hours=2)
    deleted = [action.line.kind for action in life.done if isinstance(action, do.Delete)]
    assert deleted == [ResourceKind.DOMAIN_RECORD, ResourceKind.DROPLET, ResourceKind.FIREWALL]


def test_the_droplet_stays_while_a_name_points_at_it():
    life = running(**WITH_DOMAIN)
    life.failing[do.Delete] = lambda _: life.fail(FailureKind.TRANSIENT)
    life.pass_time(hours=2, minutes=10)
    tried = {action.line.kind for action in life.done if isinstance(action, do.Delete)}
    assert tried == {ResourceKind.DOMAIN_RECORD}


def test_what_is_to_be_deleted_is_in_the_stored_ledger_first():
    life = running(**WITH_DOMAIN)
    life.record = replace(life.record, stored=RecordStatus())
    life.session = replace(life.session, deleting=True)
    made = life.plan()
    assert made.store_ledger
    assert not any(isinstance(action, do.Delete) for action in made.actions)
    life.record = replace(life.record, stored=None)
    made = life.plan()
    assert not made.store_ledger
    assert any(isinstance(action, do.Delete) for action in made.actions)


def test_the_finalizer_stays_until_everything_was_seen_gone():
    life = running()
    life.failing[do.Verify] = lambda _: life.fail(FailureKind.TRANSIENT, message="still there")
    life.pass_time(hours=3)
    assert life.session is not None
    assert life.session.has_finalizer
    assert life.status.phase is Phase.DESTROYING
    assert life.condition("CleanupComplete") == ("False", "Destroying")
    assert "Droplet 77" in (life.status.message or "")
    assert "still there" in (life.status.message or "")
    life.failing.clear()
    life.pass_time(minutes=1)
    assert life.status.phase is Phase.DESTROYED
    assert not life.session.has_finalizer


def test_what_keeps_a_teardown_from_its_end_is_told_of_each_thing():
    life = running(**WITH_DOMAIN)
    life.failing[do.Verify] = lambda _: life.fail(
        FailureKind.TRANSIENT, message="DomainRecord 5 is still there"
    )
    life.failing[do.Delete] = lambda action: life.fail(
        FailureKind.TRANSIENT, message=f"{action.line.kind} {action.line.id}: delete it by hand"
    )
    assert life.record is not None
    [name] = life.record.living(ResourceKind.DOMAIN_RECORD)
    life.book(lambda book: books.with_deletion_accepted(book, name.kind, name.id, life.now))
    life.change(expires_at="now")
    life.pass_time(seconds=16)
    for words in ("DomainRecord 5 is still there", "Droplet 77: delete it by hand"):
        assert words in life.status.message
        assert words in find_condition(life.status.conditions, "CleanupComplete").message


def test_an_orderly_tombstone_is_current_for_kstatus():
    life = running().pass_time(hours=2)
    assert life.condition("Ready") is None
    assert life.condition("Reconciling") is None
    assert life.condition("Stalled") is None
    assert life.condition("Expired") == ("True", "Expired")
    assert life.condition("CleanupComplete") == ("True", "SeenGone")


def test_a_tombstone_stays_and_does_nothing_for_weeks():
    life = running().pass_time(hours=2)
    done, written = len(life.done), len(life.statuses)
    life.pass_time(days=20)
    assert (len(life.done), len(life.statuses)) == (done, written)
    assert life.session is not None


def test_the_ledger_is_dropped_after_its_time_of_keeping():
    life = running().pass_time(hours=2).pass_time(days=30, seconds=-1)
    assert life.record is not None
    life.pass_time(seconds=1)
    assert life.record is None


def test_the_receipt_names_each_thing_with_its_times_and_the_sum():
    life = running(**WITH_DOMAIN).pass_time(hours=2)
    assert life.record is not None
    ledger = life.record.status
    assert all(entry.presence is Presence.GONE for entry in ledger.resources)
    assert all(entry.deletion_accepted_at and entry.gone_at for entry in ledger.resources)
    # 2 h of $0.00893 and $0.04 of tokens
    assert ledger.total_cost == "0.05786"
    assert life.status.cost is not None
    assert life.status.cost.actual == "0.05786"


def test_deleting_the_session_destroys_everything_and_lets_it_go():
    life = running(**WITH_DOMAIN).pass_time(minutes=5)
    life.change(deleting=True)
    assert life.session is None
    assert life.record is not None
    assert life.record.status.termination_reason == "Deleted"
    assert not life.record.living(ResourceKind.DROPLET)


@pytest.mark.parametrize(
    "held", [do.AddFinalizer, do.CreateRecord, do.GenerateApp, "AwaitFirewall", do.DeployApp]
)
def test_a_session_can_be_deleted_in_every_phase(held):
    life = Life(offer=an_offer(**WITH_DOMAIN), held={held}).settle()
    life.held.clear()
    life.efforts = {key: effort for key, effort in life.efforts.items() if not effort.running}
    life.change(deleting=True)
    assert life.session is None or not life.session.has_finalizer
    assert life.record is None or not life.record.living(ResourceKind.DROPLET)


def test_a_creation_under_way_is_waited_for_before_the_end():
    life = Life(held={"CreateDroplet"}).settle().change(deleting=True)
    assert life.session is not None
    assert "RemoveFinalizer" not in life.kinds_done()
    life.pass_time(minutes=5)
    assert life.session is not None


def test_a_ledger_without_its_session_is_torn_down_once_the_api_server_confirms():
    life = running()
    life.session = None
    life.settle()
    assert "ConfirmSessionGone" in life.kinds_done()
    assert life.record is not None
    assert not life.record.living(ResourceKind.DROPLET)
    assert life.record.status.termination_reason == "SessionRemoved"


# --- What goes wrong --------------------------------------------------------------------------


def lost_answer(life: Life) -> None:
    life.failing["CreateDroplet"] = lambda _: life.fail(FailureKind.AMBIGUOUS)


def test_a_lost_answer_is_looked_for_before_the_post_is_sent_again():
    life = Life()
    lost_answer(life)
    life.settle().pass_time(seconds=29)
    assert life.kinds_done().count("CreateDroplet") == 1
    assert life.kinds_done().count("FindDroplet") >= 3
    life.failing.clear()
    life.pass_time(seconds=10)
    assert life.kinds_done().count("CreateDroplet") == 2
    assert life.status.phase is Phase.RUNNING


def test_a_droplet_found_after_a_lost_answer_is_adopted():
    life = Life()
    lost_answer(life)
    life.settle().pass_time(seconds=5)
    life.note(ResourceKind.DROPLET, "78", ip=IP, region="nyc3", size="s-1vcpu-1gb")
    life.settle()
    assert life.kinds_done().count("CreateDroplet") == 1
    assert life.status.droplet is not None
    assert life.status.droplet.id == 78


def test_of_two_droplets_one_is_deleted():
    life = running()
    life.note(ResourceKind.DROPLET, "78", ip=IP)
    life.settle()
    deleted = [action.line.id for action in life.done if isinstance(action, do.Delete)]
    assert deleted == ["78"]
    assert life.status.phase is Phase.RUNNING


def test_a_restart_in_mid_creation_looks_before_it_creates():
    life = Life(held={"CreateDroplet"}).settle().pass_time(seconds=1)
    life.held.clear()
    life.restart().settle()
    assert life.kinds_done().count("CreateDroplet") == 1
    assert "FindDroplet" in life.kinds_done()


def test_a_stored_app_is_looked_for_unless_nobody_can_have_ordered_one():
    life = Life(held={do.GenerateApp}).settle()
    life.restart().settle()
    assert [a.is_first for a in life.done if isinstance(a, do.GenerateApp)] == [True, False]


def test_a_stored_app_is_looked_for_when_the_session_had_to_wait_before():
    problem = Failure(FailureKind.NEEDS_PERSON, "SecretMissing", "no Secret", START)
    life = Life(offer=replace(an_offer(), problem=problem)).settle()
    life.offer = an_offer()
    life.pass_time(seconds=30)
    assert [a.is_first for a in life.done if isinstance(a, do.GenerateApp)] == [False]


def test_a_stored_app_is_looked_for_when_an_order_failed():
    life = Life()
    life.failing[do.GenerateApp] = lambda _: life.fail(FailureKind.TRANSIENT)
    life.settle().pass_time(seconds=1)
    assert [a.is_first for a in life.done if isinstance(a, do.GenerateApp)] == [True, False]


def test_a_restart_of_a_running_session_writes_and_makes_nothing():
    life = running().pass_time(minutes=1)
    done, written = len(life.done), len(life.statuses)
    life.restart()
    made = life.plan()
    assert made.actions == ()
    assert (len(life.done), len(life.statuses)) == (done, written)


def test_a_restart_never_moves_the_phase_on_or_back():
    life = Life(held={do.DeployApp}).settle()
    assert life.status.phase is Phase.DEPLOYING
    life.held |= {do.GenerateApp, "AwaitDroplet"}
    life.restart().settle().pass_time(seconds=20)
    assert life.status.phase is Phase.DEPLOYING


def test_that_a_ledger_is_missing_is_asked_before_it_is_believed():
    life = Life(held={do.ConfirmNoRecord}, session=a_session(deleting=True, has_finalizer=True))
    assert life.settle().kinds_done() == ["ConfirmNoRecord"]
    life.held.clear()
    life.restart().settle()
    assert life.kinds_done()[-1] == "RemoveFinalizer"


def test_no_room_in_one_region_leads_to_the_next():
    life = Life()
    said = []

    def refuse(action: do.Action) -> Failure:
        assert is_a(action, "CreateDroplet")
        said.append(life.status.message)
        failure = life.fail(FailureKind.NO_CAPACITY, "NoCapacity", "sold out")
        life.rejected[(action.wanted.placement.region, action.wanted.placement.size)] = failure
        if action.wanted.placement.region == "sfo3":
            life.failing.clear()
        return failure

    life.failing["CreateDroplet"] = refuse
    life.settle().pass_time(seconds=5)
    tried = [
        action.wanted.placement.region for action in life.done if is_a(action, "CreateDroplet")
    ]
    assert tried == ["nyc3", "sfo3", "ams3"]
    assert life.status.region == "ams3"
    assert said[1] == "No room for s-1vcpu-1gb in nyc3, trying sfo3: sold out"


def test_a_location_that_the_class_does_not_have_is_answered_with_those_it_has():
    spec = SessionSpec(prompt="A retro board", app_type=AppType.WEBAPP, location="moon")
    offer = an_offer(locations={"europe": ["ams3"], "asia": ["sgp1"]})
    life = Life(session=a_session(spec=spec), offer=offer).settle()
    assert life.condition("Stalled") == ("True", "UnknownRegionOrSize")
    assert (
        "SpawnClass 'standard' has no location 'moon' (it has: asia, europe)" in life.status.message
    )


def test_the_droplet_limit_is_waited_for_and_no_deadline_runs():
    life = Life()
    life.failing["CreateDroplet"] = lambda _: life.fail(
        FailureKind.OVER_QUOTA, "WaitingForDropletLimit", "will exceed your droplet limit"
    )
    life.settle().pass_time(hours=1)
    assert life.condition("DropletReady") == ("False", "WaitingForDropletLimit")
    assert life.status.termination_reason is None
    life.failing.clear()
    life.pass_time(minutes=1)
    assert life.status.phase is Phase.RUNNING


def test_a_wrong_key_stalls_and_heals_by_itself():
    life = Life()
    life.failing[do.GenerateApp] = lambda _: life.fail(
        FailureKind.NEEDS_PERSON, "ClaudeUnauthorized", "the key is wrong"
    )
    life.held.add("CreateDroplet")
    life.settle()
    assert life.condition("Stalled") == ("True", "ClaudeUnauthorized")
    life.failing.clear()
    life.pass_time(seconds=5)
    assert life.condition("Stalled") is None


def test_what_is_not_ready_by_the_deadline_is_cleaned_up_and_failed():
    life = Life(held={do.DeployApp}).settle().pass_time(minutes=10, seconds=-1)
    assert life.status.phase is Phase.DEPLOYING
    life.held.clear()
    life.pass_time(seconds=1)
    assert life.status.phase is Phase.DESTROYED
    assert life.condition("Stalled") == ("True", "ProvisioningDeadlineExceeded")
    assert life.record is not None
    assert not life.record.living(ResourceKind.DROPLET)


def test_an_app_that_fails_ends_the_session_with_its_reason():
    life = Life()
    life.failing[do.DeployApp] = lambda _: life.fail(
        FailureKind.FINAL, "AppCrashed", "the app died; its last lines: boom"
    )
    life.settle()
    assert life.status.termination_reason == "AppCrashed"
    assert "boom" in (life.status.message or "")
    assert life.condition("Stalled") == ("True", "AppCrashed")
    assert life.status.phase is Phase.DESTROYED


def test_a_droplet_that_was_deleted_by_hand_ends_a_session_that_wants_no_other():
    life = running()
    life.offer = an_offer(health={"onDropletFailure": "Keep"})
    life.book(
        lambda book: book.model_copy(
            update={"resources": [replace_presence(entry) for entry in book.resources]}
        )
    )
    life.settle()
    assert life.status.termination_reason == "DropletLost"
    assert life.status.phase is Phase.DESTROYED


def replace_presence(entry):
    return entry.model_copy(
        update={"presence": Presence.GONE, "gone_at": START, "deletion_accepted_at": START}
    )


def test_without_a_class_nothing_is_made_and_the_message_names_what_is_missing():
    life = Life(offer=None)
    life.problem = Failure(
        FailureKind.NEEDS_PERSON, "ClassNotFound", "There is no SpawnClass 'gold'", START
    )
    life.settle()
    assert life.done == []
    assert life.condition("Stalled") is None
    assert life.condition("Reconciling") == ("True", "ClassNotFound")
    life.offer = an_offer()
    life.pass_time(minutes=1)
    assert life.status.phase is Phase.RUNNING


def test_a_class_with_a_problem_makes_nothing_until_it_is_mended():
    offer = an_offer()
    broken = replace(
        offer, problem=Failure(FailureKind.NEEDS_PERSON, "SecretMissing", "no Secret", START)
    )
    life = Life(offer=broken).settle()
    assert life.done == []
    assert life.condition("Stalled") is None
    assert life.condition("Reconciling") == ("True", "SecretMissing")
    assert [one.reason for one in life.notices].count("SecretMissing") == 1


def test_a_closed_ledger_is_never_built_on_again_whatever_a_status_says():
    life = running().pass_time(hours=2)
    assert life.session is not None
    life.session = replace(life.session, status=type(life.status)(), has_finalizer=True)
    done = len(life.done)
    life.settle()
    assert not [a for a in life.done[done:] if is_a(a, "CreateDroplet") or is_a(a, do.GenerateApp)]


@pytest.mark.parametrize(
    ("app_type", "size"),
    [
        (AppType.WEBAPP, "s-1vcpu-1gb"),
        (AppType.API, "s-2vcpu-2gb"),
        (AppType.SCRIPT, "s-2vcpu-2gb"),
    ],
)
def test_the_app_type_decides_the_default_tier(app_type, size):
    spec = SessionSpec(prompt="x", app_type=app_type)
    life = Life(session=a_session(spec=spec)).settle()
    assert life.status.size == size


def test_a_script_that_has_ended_well_is_not_said_to_answer():
    spec = SessionSpec(prompt="A report", app_type=AppType.SCRIPT)
    life = Life(session=a_session(spec=spec, ttl="2h")).settle().pass_time(minutes=10)
    ended = "The script has ended with exit code 0"
    conditions = {one.type: one.message for one in life.status.conditions}
    assert (conditions["AppHealthy"], conditions["Ready"]) == (ended, ended)
    assert life.status.message == f"{ended}; its output is at {life.status.url}"
    assert not [one.message for one in life.notices if "answers" in one.message]
    assert life.status.ran_seconds is None  # an agent from before does not say


def test_how_long_a_script_ran_is_told():
    spec = SessionSpec(prompt="A report", app_type=AppType.SCRIPT)
    life = Life(session=a_session(spec=spec, ttl="2h"))
    life.app_says = AppView("finished", None, life.now, ran_seconds=11.6)
    life.app = life.app_says
    life.settle().pass_time(minutes=10)
    assert life.status.ran_seconds == 12


def test_a_name_is_made_only_once_its_droplet_s_address_is_stored():
    life = Life(offer=an_offer(**WITH_DOMAIN), held={"CreateDomainRecord"}).settle()
    life.efforts.pop(life.key("CreateDomainRecord"))
    assert life.record is not None
    stored = life.record
    life.record = replace(stored, stored=RecordStatus())
    assert not [one for one in life.plan().actions if is_a(one, "CreateDomainRecord")]
    life.record = stored
    assert [one for one in life.plan().actions if is_a(one, "CreateDomainRecord")]


def test_a_running_session_whose_droplet_no_listing_shows_is_asked_after_at_once():
    life = running().pass_time(seconds=10)
    assert "CheckApp" not in life.kinds_done()
    life.droplet_unseen = True
    assert [one for one in life.plan().actions if isinstance(one, do.CheckApp)]
