"""An ACME server as RFC 8555 and Let's Encrypt describe it, for certificates of droplets.

It looks for a proof where the name or the address leads at that moment, once; it takes its time;
it issues once for each order; and it is away when the story says so.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from spawnai.acme.client import AuthorizationView, OrderView
from spawnai.acme.errors import AcmeUnavailable, ChallengeFailed, OrderExpired
from spawnai.acme.nameservers import Nameserver
from spawnai.acme.order import CertificateRequest, Challenge, ChallengeType
from spawnai.controller.actions.certificates import AcmeServer

from .apps import SimulatedAgents
from .cloud import Cloud
from .edges import Wire

ACME = "the ACME server"
SECONDS_FOR_A_STEP = (0.5, 2.0)


@dataclass(slots=True)
class Order:
    """One order, and what came of it."""

    url: str
    identifier: str
    placed_at: float
    token: str
    status: str = "pending"
    moves_at: float | None = None
    issued_at: float | None = None
    revoked_at: float | None = None
    key: bytes | None = None

    @property
    def chain(self) -> bytes:
        return f"chain of {self.url}".encode()


@dataclass(slots=True)
class SimulatedAcme:
    """The server, and the client of every operator's account."""

    wire: Wire
    cloud: Cloud
    agents: SimulatedAgents
    orders: dict[str, Order] = field(default_factory=dict)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def server(self) -> AcmeServer:
        return AcmeServer("acme.example", lambda _key: self, _Delegated(), self.shows_proof)

    # What the world does.

    def _settle(self, order: Order) -> None:
        now = self.wire.loop.time()
        if order.moves_at is None or now < order.moves_at:
            return
        if order.status == "pending":
            order.status = "ready" if self._proof_is_there(order) else "invalid"
        elif order.status == "processing":
            order.status, order.issued_at = "valid", order.moves_at
        order.moves_at = None

    def _proof_is_there(self, order: Order) -> bool:
        for ip in self._addresses(order.identifier):
            droplet = self.agents.droplet(ip)
            if droplet is not None and order.token in self.agents.machine(droplet).proofs:
                return True
        return False

    def _addresses(self, identifier: str) -> list[str]:
        led = [
            known.record.data
            for known in self.cloud.records.values()
            if f"{known.record.name}.{known.record.domain}" == identifier
            and self.wire.loop.time() < known.gone
        ]
        return led or [identifier]

    async def shows_proof(self, url: str, host: str, proof: str) -> bool:
        """A look of an operator; it is no call of a story."""
        ip, token = url.split("/")[2].partition(":")[0], url.rpartition("/")[2]
        droplet = self.agents.droplet(ip)
        return droplet is not None and token in self.agents.machine(droplet).proofs

    # The steps of an account, as `AcmeAccount` takes them.

    async def _call(self, name: str, effect: Callable[[], Any], words: str = "") -> Any:
        return await self.wire.call(name, ACME, effect, AcmeUnavailable, words=words)

    def _order(self, url: str) -> Order:
        order = self.orders.get(url)
        if order is None:
            raise OrderExpired("no such order")
        self._settle(order)
        return order

    async def close(self) -> None:
        """Nothing is open."""

    async def caa_identities(self) -> tuple[str, ...]:
        return ("acme.example",)

    async def place(self, request: CertificateRequest) -> str:
        (identifier,) = request.identifiers

        def effect() -> str:
            number = next(self._numbers)
            url = f"https://acme.example/order/{number}"
            now = self.wire.loop.time()
            self.orders[url] = Order(url, identifier, now, f"token-{number}")
            return url

        return await self._call("ACME place", effect, identifier)

    async def order(self, url: str) -> OrderView:
        def effect() -> OrderView:
            order = self._order(url)
            failed = ChallengeFailed("the proof was not found")
            return OrderView(
                status=order.status,
                authorizations=(url,),
                finalize_url=url,
                certificate_url=url if order.status == "valid" else None,
                error=failed if order.status == "invalid" else None,
            )

        return await self._call("ACME order", effect, url)

    async def authorization(self, url: str, wanted: ChallengeType) -> AuthorizationView:
        def effect() -> AuthorizationView:
            order = self._order(url)
            challenge = Challenge(wanted, order.identifier, order.token, order.token, "", "")
            is_answered = order.status != "pending" or order.moves_at is not None
            status = "pending" if order.status == "pending" else "valid"
            return AuthorizationView(status, challenge, url, is_answered, None)

        return await self._call("ACME authorization", effect, url)

    async def answer(self, challenge_url: str, challenge: Challenge) -> None:
        def effect() -> None:
            order = self._order(challenge_url)
            if order.status == "pending" and order.moves_at is None:
                order.moves_at = self._soon()

        await self._call("ACME answer", effect, challenge.identifier)

    async def finalize(self, finalize_url: str, request: CertificateRequest, key: bytes) -> None:
        def effect() -> None:
            order = self._order(finalize_url)
            if order.status != "ready":
                raise AcmeUnavailable(f"the order is {order.status}")
            order.status, order.moves_at, order.key = "processing", self._soon(), key

        await self._call("ACME finalize", effect, request.identifiers[0])

    async def chain(self, certificate_url: str) -> bytes:
        return await self._call("ACME chain", lambda: self._order(certificate_url).chain)

    async def revoke(self, chain_pem: bytes) -> None:
        def effect() -> None:
            for order in self.orders.values():
                if order.chain == chain_pem and order.revoked_at is None:
                    order.revoked_at = self.wire.loop.time()

        await self._call("ACME revoke", effect)

    def _soon(self) -> float:
        return self.wire.loop.time() + self.wire.random.uniform(*SECONDS_FOR_A_STEP)


class _Delegated:
    """Nameservers of domains with which nothing is wrong."""

    async def of(self, _domain: str) -> list[Nameserver]:
        return []

    async def check_caa(self, _name: str, _identities: Any) -> None:
        pass
