"""The end of a session's certificate: revoked if anyhow possible, and waited for only so long."""

from datetime import UTC, datetime

import pytest
from tests.support.virtual_time import VirtualClock, virtual_time

from spawnai.acme.client import OrderView
from spawnai.acme.errors import AcmeRefused, AcmeUnavailable, OrderExpired
from spawnai.acme.nameservers import Nameserver
from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.controller.actions.certificates import (
    REVOKED_WITHIN_SECONDS,
    CertificateResource,
    UnrevokedCertificate,
)
from spawnai.digitalocean.budget import Priority
from spawnai.lifecycle.kinds import WantedCertificate

UID = "7f3a0c52-0d3c-4b5e-9a52-0c2f6b1f6a11"
LINE = LedgerEntry(
    kind=ResourceKind.CERTIFICATE,
    id="https://acme.example/order/1",
    name=f"spawn-{UID}-certificate",
    ip="203.0.113.7",
    created_at=datetime(2026, 11, 29, 12, tzinfo=UTC),
)


class Server:
    """An ACME server that is there, away, or has forgotten the order."""

    def __init__(self) -> None:
        self.raises: Exception | None = None
        self.certificate_url: str | None = "https://acme.example/certificate/1"
        self.revoked: list[bytes] = []
        self.placed = 0
        self.counted: list[str] = []

    # As `Acme`, the account of an installation.

    async def account(self):
        return self

    async def before_order(self, _request) -> None:
        pass

    def on_order(self, result: str) -> None:
        self.counted.append(result)

    # As `AcmeAccount`.

    async def order(self, _url: str) -> OrderView:
        if self.raises is not None:
            raise self.raises
        return OrderView("valid", (), "", self.certificate_url, None)

    async def chain(self, _url: str) -> bytes:
        return b"chain"

    async def revoke(self, chain: bytes) -> None:
        self.revoked.append(chain)

    async def caa_identities(self) -> tuple[str, ...]:
        return ("acme.example",)

    async def place(self, _request) -> str:
        self.placed += 1
        return "https://acme.example/order/2"


class Keys:
    async def of_session(self, _uid: str) -> bytes:
        return b"key"


class Dns:
    """Nameservers that delegate nothing, or cannot be asked, as a test says."""

    def __init__(self) -> None:
        self.raises: Exception | None = None
        self.asked: list[str] = []

    async def of(self, domain: str):
        self.asked.append(domain)
        if self.raises is not None:
            raise self.raises
        return [Nameserver("127.0.0.1")]

    async def check_caa(self, _name: str, _identities) -> None:
        pass


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def dns() -> Dns:
    return Dns()


@pytest.fixture
def resource(server, dns) -> CertificateResource:
    return CertificateResource(server, Keys(), dns, VirtualClock())


@virtual_time
async def test_what_was_issued_is_revoked(server, resource):
    assert await resource.is_ours(LINE, UID, Priority.DESTROY)
    assert await resource.delete(LINE)
    assert server.revoked == [b"chain"]


@virtual_time
async def test_an_order_that_was_never_finished_is_left(server, resource):
    server.certificate_url = None
    assert await resource.delete(LINE)
    assert server.revoked == []


@virtual_time
async def test_a_server_that_is_away_holds_the_end_up_for_a_minute_at_most(server, resource):
    clock = VirtualClock()
    server.raises = AcmeUnavailable("no answer")
    began = clock.now()
    while True:
        try:
            ours = await resource.is_ours(LINE, UID, Priority.DESTROY)
        except AcmeUnavailable:
            await clock.sleep(5)
        else:
            break
    assert ours is None  # as good as gone: it expires by itself
    assert clock.now() - began == pytest.approx(REVOKED_WITHIN_SECONDS)
    assert server.counted == ["unrevoked"]


@virtual_time
async def test_a_server_that_comes_back_in_time_revokes(server, resource):
    server.raises = AcmeUnavailable("no answer")
    with pytest.raises(AcmeUnavailable):
        await resource.delete(LINE)
    await VirtualClock().sleep(REVOKED_WITHIN_SECONDS - 1)
    server.raises = None
    assert await resource.delete(LINE)
    assert server.revoked == [b"chain"]
    assert server.counted == []


@virtual_time
async def test_an_order_that_the_server_forgot_is_gone(server, resource):
    server.raises = OrderExpired("no such order")
    assert await resource.is_ours(LINE, UID, Priority.DESTROY) is None
    assert not await resource.delete(LINE)


@virtual_time
async def test_without_an_acme_server_an_end_waits_for_nothing():
    assert await UnrevokedCertificate().is_ours(LINE, UID, Priority.DESTROY) is None
    assert await UnrevokedCertificate().is_unlisted(LINE)


WANTED = WantedCertificate("name", "retro-board-7f3a0c52.apps.example", "203.0.113.7")


@virtual_time
async def test_a_domain_that_is_not_delegated_costs_no_order(server, dns, resource):
    dns.raises = AcmeRefused("elsewhere", reason="DomainNotDelegated")
    with pytest.raises(AcmeRefused):
        await resource.create((UID, WANTED), None)
    assert server.placed == 0


@virtual_time
async def test_a_domain_is_asked_about_once_an_hour_and_never_by_a_sessions_name(dns, resource):
    for _ in range(3):
        await resource.create((UID, WANTED), None)
    assert dns.asked == ["apps.example"]
    await VirtualClock().sleep(3601)
    await resource.create((UID, WANTED), None)
    assert dns.asked == ["apps.example"] * 2


@virtual_time
async def test_dns_that_is_closed_to_the_operator_holds_no_order_up(server, dns, resource):
    dns.raises = AcmeUnavailable("port 53 is closed")
    await resource.create((UID, WANTED), None)
    assert server.placed == 1
