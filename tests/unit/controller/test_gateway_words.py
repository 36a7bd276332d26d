"""What a class's status says of its gateway, and when sessions of the class can begin."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from spawnai.acme.certificate import CertificateInfo
from spawnai.api.spawnclass import ClassSpec, ClassStatus
from spawnai.controller.classes.gateways import Gateway
from spawnai.controller.classes.memory import ClassMemory
from spawnai.controller.classes.state import ClassProblem, ClassState
from spawnai.controller.classes.words import SILENT, answer_words, gateway_conditions, runtime_words

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
HOST = "*.apps.example"
KNOWN = SimpleNamespace(
    name="wild",
    generation=3,
    spec=ClassSpec.model_validate({"exposure": {"mode": "Wildcard", "domain": "apps.example"}}),
    status=ClassStatus(),
)
TROUBLE = ClassProblem("ACMEServerUnavailable", "the ACME server gave no answer")


def certificate(days_left: float = 60.0) -> CertificateInfo:
    end = NOW + timedelta(days=days_left)
    return CertificateInfo((HOST,), end - timedelta(days=90), end, 1, "CN=test")


def said(gateway: Gateway) -> dict[str, tuple[str, str, str]]:
    return {
        one.type: (one.status, one.reason, one.message)
        for one in gateway_conditions(KNOWN, gateway, NOW)
    }


def served(**changes) -> Gateway:
    values = {
        "certificate": certificate(),
        "renew_at": NOW + timedelta(days=30),
        "address": "203.0.113.9",
        "is_named": True,
    }
    return Gateway(**(values | changes))


def test_a_gateway_with_which_nothing_is_wrong_says_until_when_and_where():
    told = said(served())
    assert told["CertificateReady"] == (
        "True",
        "Valid",
        (
            "*.apps.example until 2027-01-28T12:00:00Z; the operator renews it from "
            "2026-12-29T12:00:00Z on"
        ),
    )
    assert told["DNSReady"][0] == "True"
    assert "203.0.113.9" in told["DNSReady"][2]
    assert {reason for _, reason, _ in told.values()} <= SILENT


def test_a_class_without_a_gateway_says_nothing_of_one():
    assert gateway_conditions(KNOWN, None, NOW) == []


@pytest.mark.parametrize(("days_left", "status"), [(30, "True"), (22, "False")])
def test_a_renewal_that_fails_is_told_at_once_and_is_false_with_a_quarter_left(days_left, status):
    gateway = served(certificate=certificate(days_left), certificate_trouble=TROUBLE)
    told = said(gateway)["CertificateReady"]
    assert told[:2] == (status, "ACMEServerUnavailable")
    assert "gave no answer" in told[2]
    assert gateway.problem is None  # what is valid is served on


def memory_with(gateway: Gateway) -> ClassMemory:
    return ClassMemory("uid", state=ClassState(checked_at=NOW), gateway=gateway)


def test_no_session_begins_before_the_gateway_can_serve_it():
    gateway = Gateway(None, certificate_trouble=TROUBLE, is_named=True)
    offered = memory_with(gateway).offered()
    assert not offered.is_usable
    assert offered.problem.reason == "ACMEServerUnavailable"
    assert memory_with(served()).offered().is_usable


def test_no_session_begins_before_a_name_leads_to_the_gateway():
    nowhere = ClassProblem("GatewayAddressUnknown", "it has no address yet")
    gateway = served(is_named=False, name_trouble=nowhere)
    assert memory_with(gateway).offered().problem.reason == "GatewayAddressUnknown"
    assert said(gateway)["DNSReady"][:2] == ("False", "GatewayAddressUnknown")


def test_a_name_that_leads_to_somebody_else_is_told_and_stops_nothing():
    taken = ClassProblem("RecordTaken", "it leads to 198.51.100.1")
    gateway = served(name_trouble=taken)
    assert memory_with(gateway).offered().is_usable
    assert said(gateway)["DNSReady"][:2] == ("True", "RecordTaken")


def test_a_class_without_the_hash_of_nodejs_says_what_its_droplets_install_and_what_to_do():
    assert "`spawnai runtime lock`" in runtime_words(KNOWN)
    spec = ClassSpec.model_validate({"runtime": {"nodeSha256": "a" * 64}})
    assert runtime_words(SimpleNamespace(spec=spec)) == ""


def test_a_class_whose_answers_may_come_too_late_says_which_limits_to_change():
    spec = ClassSpec.model_validate(
        {"model": {"name": "claude-opus-5-5", "maxOutputTokens": 64000}}
    )
    words = answer_words(SimpleNamespace(spec=spec))
    assert "maxOutputTokens (64000)" in words
    assert "may take 27m10s" in words
    assert "provisioningDeadline is 10m" in words


def test_the_limits_of_a_class_fit_each_other_by_default():
    assert answer_words(SimpleNamespace(spec=ClassSpec())) == ""
