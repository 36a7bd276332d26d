"""When a certificate is ordered, how long it is waited for, and what is shown without one."""

from dataclasses import replace
from datetime import timedelta

import pytest
from life import IP, Life, an_offer

from spawnai.api.record import Presence, ResourceKind
from spawnai.api.session import Phase
from spawnai.billing import ledger as books
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.exposure import as_begun, began_behind_gateway
from spawnai.lifecycle.https import PATIENCE, ordered_name
from spawnai.lifecycle.observation import FailureKind

DOMAIN = "spawn-ai.test"
URL = f"https://{IP}"


def a_life(**life) -> Life:
    exposure = life.pop("exposure", {})
    return Life(offer=replace(an_offer(exposure=exposure), certificates=True), **life)


def order_given_up(life: Life) -> None:
    """The server voided the order, and the operator noted so."""
    for line in life.record.living(ResourceKind.CERTIFICATE):
        life.book(lambda book, line=line: books.with_gone(book, line.kind, line.id, life.now))


def test_an_app_without_a_domain_is_served_at_its_address():
    life = a_life().settle()
    assert life.status.url == URL
    assert life.condition("CertificateReady") == ("True", "Served")


def test_the_intent_names_the_certificate_before_anything_is_made():
    life = a_life(held={"CreateDroplet"}).settle()
    assert ResourceKind.CERTIFICATE in {one.kind for one in life.record.spec.planned}


def test_it_is_ordered_while_the_app_is_written():
    life = a_life(held={do.GenerateApp}).settle()
    assert "CreateCertificate" in life.kinds_done()
    assert "AwaitCertificate" in life.kinds_done()


def test_its_proof_waits_for_the_firewall():
    life = a_life(held={"AwaitFirewall"}).settle()
    assert "CreateCertificate" in life.kinds_done()
    assert "AwaitCertificate" not in life.kinds_done()


def test_its_proof_waits_for_the_name():
    life = a_life(exposure={"domain": DOMAIN}, held={"CreateDomainRecord"}).settle()
    assert "CreateCertificate" in life.kinds_done()
    assert "AwaitCertificate" not in life.kinds_done()


def test_nothing_is_proven_before_the_ledger_stores_the_order():
    life = a_life(held={do.GenerateApp, "AwaitCertificate"}).settle()
    stored = life.record.status.model_copy(
        update={
            "resources": [
                line
                for line in life.record.status.resources
                if line.kind is not ResourceKind.CERTIFICATE
            ]
        }
    )
    life.record = replace(life.record, stored=stored)
    life.efforts.pop(life.key("AwaitCertificate"))
    made = life.plan()
    assert made.store_ledger
    assert not any(action.key.action == "Await" for action in made.actions)


def test_a_class_that_is_off_orders_none():
    life = a_life(exposure={"https": "Off"}).settle()
    assert life.status.url == f"http://{IP}"
    assert "CreateCertificate" not in life.kinds_done()
    assert life.condition("CertificateReady") is None


def test_without_an_acme_server_none_is_ordered():
    life = Life().settle()
    assert life.status.url == f"http://{IP}"
    assert "CreateCertificate" not in life.kinds_done()


def test_an_app_that_answers_waits_for_its_certificate():
    life = a_life(held={"AwaitCertificate"}).settle()
    assert life.status.ready_at is None
    assert life.condition("AppHealthy")[0] == "True"


def test_after_half_a_minute_it_is_shown_by_http_and_said_so():
    life = a_life(held={"AwaitCertificate"}).settle()
    life.pass_time(seconds=PATIENCE.total_seconds() - 1)
    assert life.status.ready_at is None
    life.pass_time(seconds=1)
    assert life.status.phase is Phase.RUNNING
    assert life.status.url == f"http://{IP}"
    assert life.condition("CertificateReady") == ("False", "TooSlow")
    assert life.reasons().count("NoCertificate") == 1


def test_a_limit_is_not_waited_for():
    life = a_life()
    life.failing["CreateCertificate"] = lambda _: life.fail(
        FailureKind.OVER_QUOTA, "CertificateLimitReached", "5 certificates in 7 days"
    )
    life.settle()
    assert life.status.url == f"http://{IP}"
    assert life.condition("CertificateReady") == ("False", "CertificateLimitReached")


def test_a_class_that_requires_https_never_shows_an_app_by_http():
    life = a_life(exposure={"https": "Require"})
    life.failing["CreateCertificate"] = lambda _: life.fail(
        FailureKind.OVER_QUOTA, "CertificateLimitReached", "5 certificates in 7 days"
    )
    life.settle().pass_time(seconds=300)
    assert life.status.ready_at is None
    assert life.condition("CertificateReady") == ("False", "CertificateLimitReached")
    life.pass_time(minutes=6)
    assert life.status.termination_reason == "ProvisioningDeadlineExceeded"


def test_an_order_that_was_given_up_is_followed_by_another_one():
    life = a_life()

    def fail_once(_action):
        order_given_up(life)
        life.failing.clear()
        return life.fail(FailureKind.TRANSIENT, "ChallengeFailed", "the proof was not found")

    life.failing["AwaitCertificate"] = fail_once
    life.settle().pass_time(seconds=5)
    assert life.status.url == URL
    assert life.kinds_done().count("CreateCertificate") == 2


def test_a_restart_before_ready_fetches_and_does_not_order_again():
    life = a_life(held={do.GenerateApp}).settle()
    orders = life.kinds_done().count("CreateCertificate")
    life.held.clear()
    life.restart().settle().pass_time(seconds=150)
    assert life.status.url == URL
    assert life.kinds_done().count("CreateCertificate") == orders == 1


def test_a_restart_of_a_running_app_does_nothing_about_its_certificate():
    life = a_life().settle()
    life.done.clear()
    life.restart().settle()
    assert not any("Certificate" in name for name in life.kinds_done())
    assert life.status.url == URL


def test_it_is_revoked_once_the_droplet_is_gone_and_nothing_waits_for_it():
    life = a_life(held={"DeleteCertificate"}).settle()
    life.change(deleting=True).pass_time(seconds=150)
    names = life.kinds_done()
    assert names.index("VerifyDroplet") < names.index("DeleteCertificate")
    assert life.session.has_finalizer
    life.held.clear()
    life.efforts.clear()
    life.pass_time(seconds=5)
    assert life.session is None
    assert all(line.presence is Presence.GONE for line in life.record.status.resources)


def test_a_late_app_is_not_held_up_by_a_certificate_that_came_before():
    life = a_life(held={do.GenerateApp}).settle()
    life.now += timedelta(seconds=20)
    life.held.clear()
    life.efforts.pop(do.key_of(do.GenerateApp))
    life.settle()
    assert life.status.ready_at == life.now


def limited(life: Life):
    return lambda _: life.fail(
        FailureKind.OVER_QUOTA, "CertificateLimitReached", "5 certificates in 7 days"
    )


def test_an_app_shown_by_http_gets_its_certificate_when_the_limit_is_over():
    life = a_life()
    life.failing["CreateCertificate"] = limited(life)
    life.settle()
    assert life.status.url == f"http://{IP}"
    tries = len(life.kinds_done())
    life.failing.clear()
    life.pass_time(minutes=59)
    assert life.status.url == f"http://{IP}"
    assert len(life.kinds_done()) - tries < 20
    life.pass_time(minutes=2)
    assert life.status.url == URL
    assert life.condition("CertificateReady") == ("True", "Served")
    assert life.reasons().count("Secured") == 1


def test_a_certificate_that_came_too_late_is_taken_when_it_comes():
    life = a_life(held={"AwaitCertificate"}).settle()
    life.pass_time(seconds=PATIENCE.total_seconds())
    assert life.status.url == f"http://{IP}"
    life.held.clear()
    life.restart().settle().pass_time(minutes=11)
    assert life.status.url == URL
    assert life.kinds_done().count("CreateCertificate") == 1


def test_a_class_that_is_off_tries_nothing_later():
    life = a_life(exposure={"https": "Off"}).settle()
    life.pass_time(minutes=61)
    assert "CreateCertificate" not in life.kinds_done()


LONG = {"max": "20d"}


def a_long_life(**life) -> Life:
    offer = an_offer(lifetime=LONG)
    return Life(offer=replace(offer, certificates=True), **life).settle().change(ttl="20d").settle()


def test_a_session_that_outlives_two_thirds_of_its_certificate_gets_another():
    life = a_long_life()
    life.pass_time(hours=105)
    assert life.kinds_done().count("CreateCertificate") == 1
    life.pass_time(hours=2)
    assert life.kinds_done().count("CreateCertificate") == 2
    assert life.kinds_done().count("AwaitCertificate") == 2
    assert life.status.url == URL
    life.pass_time(hours=104)
    assert life.kinds_done().count("CreateCertificate") == 2
    life.change(deleting=True).pass_time(seconds=150)
    assert life.kinds_done().count("DeleteCertificate") == 2


def test_a_renewal_that_a_restart_cut_off_is_finished_with_the_same_order():
    life = a_long_life()
    life.held.add("AwaitCertificate")
    life.pass_time(hours=107)
    assert life.kinds_done().count("CreateCertificate") == 2
    life.held.clear()
    served = life.kinds_done().count("AwaitCertificate")
    life.restart().settle()
    assert life.kinds_done().count("CreateCertificate") == 2
    assert life.kinds_done().count("AwaitCertificate") == served + 1


def test_a_renewal_that_fails_is_tried_again_and_changes_nothing_meanwhile():
    life = a_long_life()
    life.failing["CreateCertificate"] = limited(life)
    life.pass_time(hours=107)
    assert life.status.url == URL
    assert life.condition("CertificateReady") == ("True", "Served")
    life.failing.clear()
    life.pass_time(hours=1, minutes=1)
    assert life.kinds_done().count("AwaitCertificate") == 2


# --- Behind a gateway -------------------------------------------------------------------------

WILDCARD = {"mode": "Wildcard", "domain": DOMAIN}
BEHIND = f"https://retro-board-11111111.{DOMAIN}"


def test_an_app_behind_a_gateway_costs_no_name_and_no_certificate():
    life = a_life(exposure=WILDCARD).settle()
    assert life.status.url == BEHIND
    assert {line.kind for line in life.record.status.resources} == {ResourceKind.DROPLET}
    assert {one.kind for one in life.record.spec.planned} == {ResourceKind.DROPLET}


def test_an_app_behind_a_gateway_needs_no_acme_server():
    life = Life(offer=an_offer(exposure=WILDCARD)).settle()
    assert life.status.url == BEHIND


# --- A class that moves from one mode to another ----------------------------------------------

NAMED, ADDRESSED = {"domain": DOMAIN}, {}
ELSEWHERE = {"domain": "other.test"}
MOVES = [
    (NAMED, WILDCARD),
    (WILDCARD, NAMED),
    (ADDRESSED, WILDCARD),
    (WILDCARD, ADDRESSED),
    (ADDRESSED, NAMED),
    (NAMED, ADDRESSED),
    (NAMED, ELSEWHERE),
]


def move_class(life: Life, exposure, **spec) -> None:
    """The class says something else now; a session sees it as `controller/observe.py` shows it."""
    offer = replace(an_offer(exposure=exposure, **spec), certificates=True)
    life.offer = replace(offer, spec=as_begun(offer.spec, life.record.spec))


@pytest.mark.parametrize(("before", "after"), MOVES)
def test_a_class_that_moves_leaves_running_apps_where_they_are(before, after):
    """No step is taken and no word changes, also not when it moves back, or after a restart."""
    life = a_life(exposure=before).settle()
    url, lines = life.status.url, life.record.status.resources
    steps = len(life.done)
    for exposure in (after, before, after):
        move_class(life, exposure)
        life.settle().pass_time(minutes=5)
    changes = {do.Create, do.Delete}
    assert not [one for one in life.done[steps:] if type(one) in changes]
    life.restart().settle()
    assert life.status.url == url
    assert life.record.status.resources == lines


@pytest.mark.parametrize(("before", "after"), MOVES)
def test_an_app_that_is_just_being_made_is_finished_as_its_ledger_says(before, after):
    """What is made is what the intent names: a teardown looks for nothing else."""
    moved = a_life(exposure=before, held={do.GenerateApp}).settle()
    move_class(moved, after)
    moved.held.clear()
    moved.restart().settle()
    stayed = a_life(exposure=before).settle()
    assert moved.status.url == stayed.status.url
    assert {line.kind for line in moved.record.status.resources} == {
        line.kind for line in stayed.record.status.resources
    }


def test_a_certificate_is_renewed_although_the_class_is_behind_a_gateway_by_now():
    life = a_long_life()
    move_class(life, WILDCARD, lifetime=LONG)
    life.settle().pass_time(hours=107)
    assert life.kinds_done().count("CreateCertificate") == 2


def test_a_ledger_of_an_older_version_says_nothing_and_the_class_holds():
    offer = an_offer(exposure=WILDCARD)
    life = a_life(exposure=NAMED).settle()
    assert as_begun(offer.spec, life.record.spec) != offer.spec
    older = life.record.spec.model_copy(update={"exposure": None})
    assert as_begun(offer.spec, older) is offer.spec
    assert as_begun(offer.spec, None) is offer.spec


def test_only_what_began_behind_the_gateway_holds_its_name():
    assert began_behind_gateway(a_life(exposure=WILDCARD).settle().record.spec)
    assert not began_behind_gateway(a_life(exposure=NAMED).settle().record.spec)


@pytest.mark.parametrize(
    ("exposure", "name"),
    [
        ({"domain": DOMAIN}, DOMAIN),
        ({}, None),
        ({"domain": DOMAIN, "https": "Off"}, None),
        ({"domain": DOMAIN, "mode": "Wildcard"}, f"*.{DOMAIN}"),
        ({"domain": DOMAIN, "mode": "Wildcard", "tls": {"secretName": "ours"}}, None),
        ({"domain": DOMAIN, "mode": "LoadBalancer"}, None),
    ],
)
def test_the_orders_of_a_class_are_for_its_domain_or_for_its_gateway(exposure, name):
    assert ordered_name(an_offer(exposure=exposure).spec.exposure) == name
