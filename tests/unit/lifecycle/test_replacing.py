"""A droplet that is lost or does not come back is replaced once, and nothing else changes.

The app is Ready at 12:00:00, and its time is over at 14:00:00.
"""

from datetime import timedelta

import pytest
from tests.unit.lifecycle.life import DIGEST, IP, START, Life, a_session, an_offer

from spawnai.api.record import Presence, ResourceKind
from spawnai.api.session import AppType, Phase, SessionSpec
from spawnai.billing import ledger as books
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import (
    DropletView,
    FailureKind,
    OutsideView,
    Reachability,
    Sight,
)

OTHER_IP = "203.0.113.8"
END = START + timedelta(hours=2)
SEES = Sight(others_answer=True)


def running(health: dict | None = None, **spec) -> Life:
    order = SessionSpec(prompt="An app about ferns", app_type=AppType.API)
    offer = an_offer(health=health or {}, **spec)
    life = Life(session=a_session(spec=order, ttl="2h"), offer=offer).settle()
    life.pass_time(minutes=10)
    life.new_ip = OTHER_IP
    return life


def lose(life: Life, id_: str = "77") -> Life:
    """DigitalOcean says that the droplet is gone, and nobody here deleted it."""
    life.book(lambda book: books.with_gone(book, ResourceKind.DROPLET, id_, life.now))
    return life


def silence(life: Life) -> Life:
    """Neither agent nor app answers any more; DigitalOcean shows the droplet as active."""
    life.failing[do.CheckApp] = lambda _: life.fail(FailureKind.TRANSIENT, "AgentUnreachable")
    life.outside = OutsideView(Reachability.SILENT, life.now)
    life.silent_since = life.now
    life.sight = SEES
    return life.settle()


def confirmed_for(life: Life, minutes: int) -> Life:
    """Time goes by, in which each question to DigitalOcean is answered."""
    for _ in range(minutes * 4):
        life.confirmed_at = life.now
        life.pass_time(seconds=15)
    return life


def count(life: Life, name: str) -> int:
    return life.kinds_done().count(name)


def test_a_lost_droplet_is_replaced_and_the_session_goes_on_as_it_was():
    life = running()
    before = life.status
    lose(life).settle()
    after = life.status
    assert (after.phase, after.expiration_time) == (Phase.RUNNING, before.expiration_time)
    assert after.ready_at == before.ready_at
    assert after.url == f"http://{OTHER_IP}"
    assert after.droplet is not None
    assert (after.droplet.id, after.droplet.ip) == (78, OTHER_IP)
    assert life.condition("Ready") == ("True", "Running")
    assert life.condition("Reconciling") is None
    assert [one for one in life.reasons() if one.startswith("Repla")] == ["Replacing", "Replaced"]
    deployed = [one for one in life.done if isinstance(one, do.DeployApp)]
    assert [(one.ip, one.digest) for one in deployed] == [(IP, DIGEST), (OTHER_IP, DIGEST)]


def test_no_app_is_ordered_for_it_and_both_droplets_stand_in_the_ledger():
    life = lose(running()).settle()
    assert count(life, "GenerateApp") == 1
    assert life.record is not None
    droplets = [
        (one.id, one.presence)
        for one in life.record.status.resources
        if one.kind is ResourceKind.DROPLET
    ]
    assert droplets == [("77", Presence.GONE), ("78", Presence.PRESENT)]
    [entry] = life.record.status.replacements
    assert (entry.reason, entry.replaced) == ("DropletLost", ["77"])
    assert entry.finished_at is not None


def test_the_person_sees_that_it_is_replaced():
    life = running()
    life.held.add("CreateDroplet")
    lose(life).settle()
    assert life.condition("Ready") == ("False", "Replacing")
    assert life.condition("Reconciling") == ("True", "Replacing")
    assert life.condition("Stalled") is None
    assert life.status.url is None
    assert "another droplet" in (life.status.message or "")


def test_the_name_is_taken_away_before_the_droplet_and_leads_to_the_new_one():
    life = running(exposure={"domain": "apps.example"})
    url = life.status.url
    lose(life).settle()
    names = life.kinds_done()
    assert (
        names.index("DeleteDomainRecord")
        < [index for index, name in enumerate(names) if name == "CreateDroplet"][1]
    )
    assert life.status.url == url
    assert life.record is not None
    [living] = life.record.living(ResourceKind.DOMAIN_RECORD)
    assert living.ip == OTHER_IP


def test_a_firewall_of_its_own_is_made_again_around_the_new_droplet():
    life = lose(running(firewall={"mode": "PerSession"})).settle()
    assert life.record is not None
    [living] = life.record.living(ResourceKind.FIREWALL)
    assert living.id == "firewall-2"


def test_a_droplet_that_is_off_is_switched_on_once_and_serves_again():
    life = running()
    life.droplet = DropletView(77, "off", IP)
    life.settle()
    done = [one for one in life.done if isinstance(one, do.RecoverDroplet)]
    assert [(one.id, one.how) for one in done] == [("77", "power_on")]
    assert life.pass_time(minutes=5).status.droplet.id == 77
    assert count(life, "ReplaceDroplet") == 0


def test_a_droplet_that_stays_off_is_given_up_and_seen_gone_before_there_is_another():
    life = running()
    life.failing[do.RecoverDroplet] = lambda _: life.fail(FailureKind.TRANSIENT)
    life.droplet = DropletView(77, "off", IP)
    life.settle()
    life.held.add("VerifyDroplet")
    life.pass_time(seconds=30)
    assert count(life, "RecoverDroplet") == 3
    assert (count(life, "DeleteDroplet"), count(life, "CreateDroplet")) == (1, 1)
    assert life.record is not None
    assert [one.reason for one in life.record.status.replacements] == ["DropletFailed"]
    life.held.clear()
    life.efforts = {k: v for k, v in life.efforts.items() if k.action != "Verify"}
    life.settle()
    assert count(life, "CreateDroplet") == 2
    assert life.condition("Ready") == ("True", "Running")


def test_a_silent_droplet_is_rebooted_after_three_minutes_and_replaced_two_later():
    life = silence(running())
    confirmed_for(life, 2)
    assert count(life, "RecoverDroplet") == 0
    confirmed_for(life, 2)
    assert [one.how for one in life.done if isinstance(one, do.RecoverDroplet)] == ["reboot"]
    assert count(life, "ReplaceDroplet") == 0
    confirmed_for(life, 3)
    assert count(life, "ReplaceDroplet") == 1


@pytest.mark.parametrize(
    "sight",
    [Sight(is_blind=True, others_answer=True), Sight(others_answer=False)],
    ids=["many are silent", "nobody else answers"],
)
def test_nothing_is_touched_while_the_operator_may_be_the_one_who_does_not_see(sight):
    life = silence(running())
    life.sight = sight
    confirmed_for(life, 8)
    assert count(life, "RecoverDroplet") + count(life, "ReplaceDroplet") == 0
    assert life.status.phase is Phase.RUNNING
    assert life.condition("Ready")[0] == "Unknown"


def test_nothing_is_touched_while_digitalocean_does_not_answer():
    life = silence(running())
    life.confirmed_at = life.now
    life.pass_time(minutes=30)
    assert count(life, "RecoverDroplet") + count(life, "ReplaceDroplet") == 0


def test_silence_counts_anew_when_the_operator_sees_again():
    life = silence(running())
    life.sight = Sight(is_blind=True)
    confirmed_for(life, 10)
    life.sight = Sight(others_answer=True, blind_until=life.now)
    confirmed_for(life, 2)
    assert count(life, "RecoverDroplet") == 0
    confirmed_for(life, 2)
    assert count(life, "RecoverDroplet") == 1


def test_it_waits_for_its_turn_where_another_was_replaced_just_now():
    life = running()
    life.may_replace = False
    lose(life).settle()
    life.pass_time(seconds=30)
    assert count(life, "ReplaceDroplet") == 0
    assert life.condition("Ready") == ("False", "Replacing")
    life.may_replace = True
    life.pass_time(seconds=5)
    assert count(life, "ReplaceDroplet") == 1


def test_a_second_loss_ends_the_session():
    life = lose(running()).settle()
    lose(life, "78").settle()
    assert life.status.termination_reason == "DropletLost"
    assert count(life, "ReplaceDroplet") == 1


def test_a_replacement_whose_own_droplet_is_lost_ends_the_session():
    life = running()
    life.held.add(do.DeployApp)
    lose(life).settle()
    lose(life, "78").settle()
    assert life.status.termination_reason == "DropletLost"


def test_nothing_is_replaced_when_less_life_is_left_than_a_start_takes():
    life = running()
    life.pass_time(seconds=(END - timedelta(seconds=20) - life.now).total_seconds())
    lose(life).settle()
    assert life.status.termination_reason == "DropletLost"
    assert count(life, "ReplaceDroplet") == 0


def test_a_replacement_that_does_not_come_up_ends_with_its_reason():
    life = running()
    life.held.add(do.DeployApp)
    lose(life).settle()
    life.pass_time(minutes=9)
    assert life.status.termination_reason is None
    life.pass_time(minutes=2)
    assert life.status.termination_reason == "ReplacementFailed"
    assert life.record is not None
    assert not life.record.living(ResourceKind.DROPLET)


def test_another_operator_goes_on_with_it():
    life = running()
    life.held.add("CreateDroplet")
    lose(life).settle()
    life.held.clear()
    life.restart().settle()
    life.pass_time(minutes=3)
    assert life.condition("Ready") == ("True", "Running")
    assert (count(life, "ReplaceDroplet"), count(life, "GenerateApp")) == (1, 1)
    assert life.switch_told == life.status.expiration_time


def test_its_time_ends_while_it_is_replaced():
    life = running()
    life.held.add(do.DeployApp)
    life.pass_time(seconds=(END - timedelta(minutes=5) - life.now).total_seconds())
    lose(life).settle()
    life.pass_time(minutes=5)
    assert life.status.termination_reason == "Expired"
    assert life.record is not None
    assert not life.record.living(ResourceKind.DROPLET)


@pytest.mark.parametrize(("policy", "reason"), [("End", "DropletFailed"), ("Keep", None)])
def test_the_class_says_what_becomes_of_a_broken_droplet(policy, reason):
    life = running({"onDropletFailure": policy})
    life.failing[do.RecoverDroplet] = lambda _: life.fail(FailureKind.TRANSIENT)
    life.droplet = DropletView(77, "off", IP)
    life.settle().pass_time(minutes=5)
    assert life.status.termination_reason == reason
    assert count(life, "ReplaceDroplet") == 0
    assert count(life, "RecoverDroplet") == (3 if policy == "End" else 0)


def test_an_extension_that_comes_while_it_is_replaced_is_promised_and_told():
    life = running()
    life.held.add(do.DeployApp)
    lose(life).settle()
    life.change(ttl="3h")
    assert life.status.expiration_time == END + timedelta(hours=1)
    life.held.clear()
    life.efforts = {k: v for k, v in life.efforts.items() if k.action != "DeployApp"}
    life.settle()
    assert life.switch_told == END + timedelta(hours=1)
