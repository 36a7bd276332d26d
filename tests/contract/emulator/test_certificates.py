"""Certificates: of Let's Encrypt through DigitalOcean, and uploaded ones."""

import pytest
from tests.contract.emulator.test_load_balancers import RULE, order

from spawnai_local.certificates import CertificateAuthority

NAMES = {"name": "wild", "type": "lets_encrypt", "dns_names": ["*.example.com", "example.com"]}
DAY = 86_400


@pytest.fixture
async def domain(account):
    await account.post("/v2/domains", {"name": "example.com"})


async def ordered(account, **parts):
    reply = await account.post("/v2/certificates", {**NAMES, **parts})
    assert reply.status == 201, reply
    return reply.body["certificate"]


async def shown(account, one):
    return (await account.get(f"/v2/certificates/{one['id']}")).body["certificate"]


async def verified(account, **parts):
    one = await ordered(account, **parts)
    account.clock.advance(60)
    return await shown(account, one)


async def test_one_of_lets_encrypt_is_pending_and_then_verified(account, control, clock, domain):
    await control.set_delays(certificate=12)
    one = await ordered(account)
    assert (one["state"], one["sha1_fingerprint"]) == ("pending", "")
    clock.advance(12)
    one = await shown(account, one)
    assert one["state"] == "verified"
    assert len(one["sha1_fingerprint"]) == 40
    assert one["dns_names"] == ["*.example.com", "example.com"]
    assert "private_key" not in one


async def test_one_may_end_in_error(account, control, clock, domain):
    await control.add_faults("POST /v2/certificates errored")
    one = await ordered(account)
    clock.advance(60)
    assert (await shown(account, one))["state"] == "error"


@pytest.mark.parametrize("names", [["*.nobody.example"], [], None, [""]])
async def test_a_domain_that_is_not_in_the_account_is_refused(account, domain, names):
    refused = await account.post("/v2/certificates", {**NAMES, "dns_names": names})
    assert refused.status == 422


async def test_names_are_unique_and_a_listing_finds_one_by_its_name(account, domain):
    one = await ordered(account)
    refused = await account.post("/v2/certificates", NAMES)
    assert (refused.status, refused.message) == (422, "certificate name is not unique")
    await ordered(account, name="other")
    found = await account.get("/v2/certificates", name="wild")
    assert [known["id"] for known in found.body["certificates"]] == [one["id"]]


async def test_it_is_renewed_at_two_thirds_of_its_life_under_a_new_id(account, clock, domain):
    one = await verified(account)
    clock.advance(59 * DAY)
    assert (await shown(account, one))["id"] == one["id"]
    clock.advance(2 * DAY)
    assert (await account.get(f"/v2/certificates/{one['id']}")).status == 404
    [renewed] = (await account.get("/v2/certificates")).body["certificates"]
    assert (renewed["name"], renewed["state"]) == ("wild", "verified")
    assert renewed["not_after"] > one["not_after"]


async def test_one_in_use_is_not_deleted_and_for_a_moment_afterwards_neither(
    account, control, clock, domain
):
    await control.set_delays(certificate_release=5)
    one = await verified(account)
    https = {**RULE, "entry_protocol": "https", "entry_port": 443, "certificate_id": one["id"]}
    reply = await account.post("/v2/load_balancers", order(forwarding_rules=[https]))
    refused = await account.delete(f"/v2/certificates/{one['id']}")
    assert (refused.status, refused.body["id"]) == (403, "forbidden")
    assert refused.message == "Make sure the certificate is not in use before deleting it"
    await account.delete(f"/v2/load_balancers/{reply.body['load_balancer']['id']}")
    assert (await account.delete(f"/v2/certificates/{one['id']}")).status == 403
    clock.advance(5)
    assert (await account.delete(f"/v2/certificates/{one['id']}")).status == 204
    assert (await account.delete(f"/v2/certificates/{one['id']}")).status == 404


async def test_one_can_be_uploaded_if_its_key_fits(account, tmp_path):
    authority = CertificateAuthority(tmp_path, "test")
    one = authority.issue_server("one", ["app.example.com"])
    two = authority.issue_server("two", ["app.example.com"])
    upload = {
        "name": "own",
        "type": "custom",
        "leaf_certificate": one.certificate.read_text(),
        "private_key": one.key.read_text(),
        "certificate_chain": authority.certificate_path.read_text(),
    }
    made = (await account.post("/v2/certificates", upload)).body["certificate"]
    assert (made["state"], made["dns_names"]) == ("verified", ["app.example.com"])
    for wrong in ({"private_key": two.key.read_text()}, {"leaf_certificate": "none"}):
        assert (await account.post("/v2/certificates", {**upload, **wrong})).status == 422
