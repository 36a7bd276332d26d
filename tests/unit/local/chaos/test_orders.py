"""Each call of an order is known for its session's, by what the ACME server answered before."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from spawnai_local.acme.front import AcmeCall
from spawnai_local.chaos.calls import Edge
from spawnai_local.chaos.orders import Orders, refusal

SERVER = "https://127.0.0.1:14000"
ADDRESS = "127.1.2.3"
UID = "2f1c0c52-8d25-4c5e-9f07-0e6d7a0c9f11"
NEW_ORDER = {"identifiers": [{"type": "ip", "value": ADDRESS}]}


def asked(path: str, payload=None) -> AcmeCall:
    return AcmeCall("POST", path, "account", "key", payload or {})


def answered(document, status=200, **headers) -> web.Response:
    return web.Response(status=status, body=json.dumps(document).encode(), headers=headers)


@pytest.fixture
def orders():
    orders = Orders({ADDRESS: UID}.get)
    order = {"authorizations": [f"{SERVER}/authZ/a"], "finalize": f"{SERVER}/finalize-order/1"}
    new = answered(order, 201, Location=f"{SERVER}/my-order/1")
    orders.learn(asked("/order-plz", NEW_ORDER), new)
    orders.learn(asked("/authZ/a"), answered({"challenges": [{"url": f"{SERVER}/chalZ/c"}]}))
    return orders


@pytest.fixture
def certificate(orders) -> x509.Certificate:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    orders.learn(asked("/my-order/1"), answered({"certificate": f"{SERVER}/certZ/x"}))
    pem = made.public_bytes(Encoding.PEM)
    orders.learn(asked("/certZ/x"), web.Response(body=pem))
    return made


def revocation(certificate: x509.Certificate) -> AcmeCall:
    der = certificate.public_bytes(Encoding.DER)
    text = base64.urlsafe_b64encode(der).decode().rstrip("=")
    return asked("/revoke-cert", {"certificate": text, "reason": 5})


@pytest.mark.parametrize(
    ("path", "name", "writes"),
    [
        ("/my-order/1", "POST order", False),
        ("/authZ/a", "POST authorization", False),
        ("/chalZ/c", "POST challenge", True),
        ("/finalize-order/1", "POST finalize", True),
    ],
)
def test_what_belongs_to_an_order_is_its_sessions(orders, path, name, writes):
    call = orders.call(asked(path))
    assert (call.edge, call.name, call.writes, call.hints) == (Edge.ACME, name, writes, (UID,))


def test_an_order_is_told_by_the_address_that_it_is_for(orders):
    call = orders.call(asked("/order-plz", NEW_ORDER))
    assert (call.name, call.writes, call.hints) == ("POST newOrder", True, (UID,))


def test_a_revocation_is_told_by_the_certificate_that_was_fetched(orders, certificate):
    call = orders.call(revocation(certificate))
    assert (call.name, call.hints) == ("POST revokeCert", (UID,))


def test_a_nonce_is_nobodys(orders):
    assert orders.call(AcmeCall("HEAD", "/nonce-plz", "", "", {})).hints == ()


def test_what_was_issued_and_revoked_counts_once(orders, certificate):
    for _ in range(2):
        orders.learn(asked("/finalize-order/1"), answered({}))
        orders.learn(revocation(certificate), web.Response())
    assert (orders.issued[UID], orders.revoked[UID]) == (1, 1)


def test_what_was_refused_does_not_count(orders, certificate):
    orders.learn(asked("/finalize-order/1"), answered({}, 400))
    orders.learn(revocation(certificate), web.Response(status=403))
    assert (orders.issued[UID], orders.revoked[UID]) == (0, 0)


def test_too_many_requests_are_refused_as_lets_encrypt_does():
    answer = refusal(429, 2)
    assert json.loads(answer.body)["type"] == "urn:ietf:params:acme:error:rateLimited"
    assert answer.headers["Retry-After"] == "2"
    assert json.loads(refusal(500, None).body)["type"].endswith(":serverInternal")
