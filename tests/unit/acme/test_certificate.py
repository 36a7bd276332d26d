from datetime import timedelta

import pytest
from tests.support.tls_pairs import DAY, NOW, Pair

from spawnai.acme.certificate import CertificateInvalid, check_pair, read_chain
from spawnai.acme.order import new_key

WILDCARD = "*.apps.example.com"


def test_a_fitting_pair_is_taken_and_tells_its_times():
    pair = Pair(WILDCARD)
    info = check_pair(pair.chain_pem, pair.key_pem, [WILDCARD, "a.apps.example.com"], NOW)
    assert info.names == (WILDCARD,)
    assert info.renewal_time == NOW - DAY + 60 * DAY


@pytest.mark.parametrize(
    ("hosts", "why"),
    [
        (["a.b.apps.example.com"], r"for \*\.apps\.example\.com, not for a\.b\."),
        (["apps.example.com"], "not for apps.example.com"),
        (["*.example.com"], r"not for \*\.example\.com"),
    ],
)
def test_a_certificate_for_other_names_is_refused_with_both(hosts, why):
    pair = Pair(WILDCARD)
    with pytest.raises(CertificateInvalid, match=why):
        check_pair(pair.chain_pem, pair.key_pem, hosts, NOW)


def test_a_key_of_another_certificate_is_refused():
    with pytest.raises(CertificateInvalid, match="does not belong to the first certificate"):
        check_pair(Pair(WILDCARD).chain_pem, new_key(), [WILDCARD], NOW)


def test_a_chain_in_disorder_is_refused():
    pair, other = Pair(WILDCARD), Pair(WILDCARD)
    leaf = pair.chain_pem.removesuffix(pair.root)
    with pytest.raises(CertificateInvalid, match="the chain is in disorder"):
        check_pair(leaf + other.root, pair.key_pem, [WILDCARD], NOW)


@pytest.mark.parametrize(
    ("dates", "why"),
    [
        ({"begin": NOW - 2 * DAY, "end": NOW}, "expired at 2026-11-29T12"),
        ({"begin": NOW + timedelta(seconds=1)}, "not valid before 2026-11-29T12:00:01"),
    ],
)
def test_a_certificate_out_of_its_time_is_refused(dates, why):
    pair = Pair(WILDCARD, **dates)
    with pytest.raises(CertificateInvalid, match=why):
        check_pair(pair.chain_pem, pair.key_pem, [WILDCARD], NOW)


@pytest.mark.parametrize("rubbish", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\n"])
def test_rubbish_is_no_chain(rubbish):
    with pytest.raises(CertificateInvalid, match="no certificate in it"):
        read_chain(rubbish)


def test_rubbish_is_no_key():
    with pytest.raises(CertificateInvalid, match="the private key cannot be read"):
        check_pair(Pair(WILDCARD).chain_pem, b"no key", [WILDCARD], NOW)
