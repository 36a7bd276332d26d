"""A session's own certificate: ordered, proven through its droplet, served there, revoked.

The key is kept in a Secret of the operator's namespace before anything is ordered for it, the
order's URL in the ledger before the server looks for a proof. So an order is never issued twice,
and what was issued can be fetched again by its URL.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import httpx

from spawnai.acme.client import AcmeAccount
from spawnai.acme.errors import (
    AccountRefused,
    AcmeError,
    AcmeLimited,
    AcmeRefused,
    AcmeUnavailable,
    ChallengeFailed,
    OrderExpired,
)
from spawnai.acme.issuer import Issuer
from spawnai.acme.limits import PlacedOrder, Remaining, check, of_account
from spawnai.acme.nameservers import Nameservers
from spawnai.acme.order import (
    CLASSIC,
    SHORTLIVED,
    CertificateRequest,
    Challenge,
    ChallengeType,
    KeptOrder,
    is_address,
    new_key,
)
from spawnai.api.names import SESSION_UID_LABEL, session_certificate_name
from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.clock import Clock
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.cluster import Cluster, Conflict, ObjectNotFound
from spawnai.digitalocean.budget import Priority, Slot
from spawnai.digitalocean.resource import Found
from spawnai.droplet.client import AgentClient, AgentUnreachable
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.kinds import WantedCertificate

from .agents import Agents
from .bundles import ledger_owner
from .resources import Steps
from .work import Work

_KEY = "tls.key"
_KNOCK_SECONDS = 0.2
"""Between two tries to show a proof at a droplet that boots, or two looks whether it shows."""

_LOOK_SECONDS = 3.0

REVOKED_WITHIN_SECONDS = 60.0
"""How long the end of a session may wait for its certificate's revocation. The droplet is gone by
then, and with it the only place where the certificate was served."""

_CHECKED_FOR_SECONDS = 3600.0
"""How long it is believed that a domain is delegated, and that no CAA record is in the way."""

_LOGGER = logging.getLogger(__name__)


class Keys:
    """Private keys in the operator's namespace, each written once, before it is used."""

    def __init__(
        self, cluster: Cluster, namespace: str, ledger_uid: Callable[[str], str | None]
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._ledger_uid = ledger_uid

    async def of_account(self, name: str) -> bytes:
        """The key of an ACME account."""
        return await self._key(name, {"app.kubernetes.io/name": "spawnai"}, None)

    async def of_session(self, uid: str) -> bytes:
        """The key of a session's certificate; it goes with the session's ledger."""
        ledger = self._ledger_uid(uid)
        owner = ledger_owner(uid, ledger) if ledger is not None else None
        return await self._key(session_certificate_name(uid), {SESSION_UID_LABEL: uid}, owner)

    async def of_class(self, uid: str, name: str) -> bytes:
        """The key of a class's certificate; it goes with the class's ledger."""
        ledger = self._ledger_uid(uid)
        owner = ledger_owner(uid, ledger) if ledger is not None else None
        return await self._key(name, {"app.kubernetes.io/name": "spawnai"}, owner)

    async def _key(self, name: str, labels: dict[str, str], owner: dict[str, str] | None) -> bytes:
        try:
            data = await self._cluster.get_secret(self._namespace, name)
        except ObjectNotFound:
            with suppress(Conflict):  # another process was faster
                await self._cluster.create_secret(
                    self._namespace, name, {_KEY: new_key()}, labels=labels, owner=owner
                )
            data = await self._cluster.get_secret(self._namespace, name)
        return data[_KEY]


async def shows_proof(url: str, host: str, proof: str) -> bool:
    """Whether a proof is seen at a URL, as the ACME server will look for it."""
    async with httpx.AsyncClient(timeout=_LOOK_SECONDS, trust_env=False) as client:
        try:
            answer = await client.get(url, headers={"Host": host})
        except httpx.HTTPError:
            return False
    return answer.is_success and answer.text.strip() == proof


@dataclass(frozen=True, slots=True)
class AcmeServer:
    """The ACME server that certificates are ordered from, and how proofs are looked at before it.

    Attributes:
        host: its name, by which the key of the account there is kept.
        open_account: opens the account that has a key.
        nameservers: asked about domains.
        shows_proof: looks at a proof by HTTP: its URL, the host name, and what it is to say.
    """

    host: str
    open_account: Callable[[bytes], AcmeAccount]
    nameservers: Nameservers
    shows_proof: Callable[[str, str, str], Awaitable[bool]] = shows_proof


class Acme:
    """The account of this installation at one ACME server, opened when it is first needed."""

    def __init__(
        self,
        keys: Keys,
        clock: Clock,
        server: AcmeServer,
        *,
        history: Callable[[], Iterable[PlacedOrder]],
        on_order: Callable[[str], None] = lambda _result: None,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._server = server
        self._history = history
        self.on_order = on_order
        self._opening = asyncio.Lock()
        self._account: AcmeAccount | None = None

    async def account(self) -> AcmeAccount:
        """The account."""
        async with self._opening:
            if self._account is None:
                # A key for each server: its host is a valid part of a Secret's name.
                key = await self._keys.of_account(f"spawnai-acme-{self._server.host}")
                self._account = self._server.open_account(key)
            return self._account

    async def before_order(self, request: CertificateRequest) -> None:
        """Refuse what the server would refuse.

        Raises:
            AcmeLimited: a limit is used up.
        """
        try:
            check(request.identifiers, self._history(), self._clock.utc_now())
        except AcmeLimited:
            self.on_order("limited")
            raise

    def limits(self, names: Iterable[str]) -> Iterator[Remaining]:
        """What is left of each limit, for an account that orders for these names (`of_account`)."""
        return of_account(names, self._history(), self._clock.utc_now())

    async def close(self) -> None:
        """Close its connections."""
        if self._account is not None:
            await self._account.close()


class CertificateSteps(Steps):
    """Certificates of sessions. `http_port`: where droplets of a class answer HTTP."""

    def __init__(
        self, acme: Acme, keys: Keys, agents: Agents, server: AcmeServer, clock: Clock
    ) -> None:
        self._acme = acme
        self._server = server
        self._keys = keys
        self._agents = agents
        self._clock = clock
        self._resource = CertificateResource(acme, keys, server.nameservers, clock)

    def adapter(self, account: CloudAccount) -> "CertificateResource":  # noqa: ARG002
        """Certificates come from the ACME server, whatever the account at DigitalOcean."""
        return self._resource

    def order(self, work: Work, wanted: WantedCertificate) -> tuple[str, WantedCertificate]:
        """What is ordered."""
        return work.uid, wanted

    @asynccontextmanager
    async def turn(self, work: Work, creation: do.Create) -> AsyncIterator[Slot | None]:
        """No call to DigitalOcean is made, so none is waited for."""
        work.memory.note_turn(creation.key, work.utc_now())
        yield None

    async def wait(self, work: Work, action: do.Await) -> None:
        """Prove, fetch, and have the droplet serve it."""
        line = next(
            entry
            for entry in work.memory.book.resources
            if entry.kind is ResourceKind.CERTIFICATE and entry.id == action.id
        )
        droplet = next(
            entry
            for entry in reversed(work.memory.book.resources)
            if entry.kind is ResourceKind.DROPLET and entry.ip is not None
        )
        address = str(droplet.ip)
        host = _host_of(line)
        account = await self._acme.account()
        store = LineStore(line, await self._keys.of_session(work.uid))
        async with self._agents.client(work.session, address) as agent:
            port = work.backing.spec.exposure.http_port
            prover = DropletProver(agent, address, port, self._server, self._clock)
            try:
                kept = await Issuer(account, self._clock).obtain(store.request, store, prover)
            except (OrderExpired, ChallengeFailed, AcmeRefused) as error:
                self._acme.on_order("refused" if isinstance(error, AcmeRefused) else "failed")
                # The server has given the order up: the next one gets a line of its own.
                work.saw_gone(line.kind, line.id)
                raise
            self._acme.on_order("issued")
            assert kept.chain_pem is not None  # noqa: S101 - that is what obtain returns
            chain, key = kept.chain_pem.decode(), kept.key_pem.decode()
            await agent.put_certificate(chain, key, [host])
            await agent.put_hosts(sorted({host, address}), redirect_http=True)


class CertificateResource:
    """The contract of a kind (digitalocean/resource.py), for orders at the ACME server."""

    def __init__(self, acme: Acme, keys: Keys, nameservers: Nameservers, clock: Clock) -> None:
        self._acme = acme
        self._keys = keys
        self._nameservers = nameservers
        self._clock = clock
        self._in_vain_since: dict[str, float] = {}
        self._checked: dict[str, float] = {}

    async def create(self, order: tuple[str, WantedCertificate], turn: Slot | None) -> Found:  # noqa: ARG002
        """Place the order: its key is kept before, its line holds its URL."""
        uid, wanted = order
        request = request_for(wanted.host)
        if not is_address(wanted.host):
            await self._check_domain(wanted.host.partition(".")[2])
        await self._keys.of_session(uid)
        await self._acme.before_order(request)
        try:
            url = await (await self._acme.account()).place(request)
        except AcmeLimited:
            self._acme.on_order("limited")
            raise
        except (AcmeRefused, AccountRefused):
            self._acme.on_order("refused")
            raise
        self._acme.on_order("placed")
        return Found(
            LedgerEntry(
                kind=ResourceKind.CERTIFICATE,
                id=url,
                name=wanted.name,
                domain=None if is_address(wanted.host) else wanted.host,
                ip=wanted.ip,
                created_at=self._clock.utc_now().replace(microsecond=0),
            )
        )

    async def find(self, name: str, owner: str, address: str | None) -> Sequence[Found]:  # noqa: ARG002
        """None: an order whose URL was lost is never finalized, so nothing comes of it."""
        return ()

    async def is_ours(self, line: LedgerEntry, owner: str, priority: Priority) -> bool | None:  # noqa: ARG002
        """Whether our account has the order. None, too, when nobody was there to ask for so long
        that the certificate is left to expire by itself.
        """
        try:
            await (await self._acme.account()).order(line.id)
        except OrderExpired:
            return None
        except (AcmeUnavailable, AccountRefused) as error:
            if self._is_given_up(line, error):
                return None
            raise
        return True

    def _is_given_up(self, line: LedgerEntry, error: AcmeError) -> bool:
        """Whether the revocation was tried for long enough."""
        now = self._clock.now()
        if now < self._in_vain_since.setdefault(line.id, now) + REVOKED_WITHIN_SECONDS:
            return False
        del self._in_vain_since[line.id]
        self._acme.on_order("unrevoked")
        _LOGGER.warning(
            "The certificate for %s was not revoked and is left to expire by itself: %s",
            _host_of(line),
            error.message,
        )
        return True

    async def _check_domain(self, domain: str) -> None:
        """Refuse an order for a name that the server could not find, or may not certify.

        The name itself is not asked for: its record is new, and a "no" would be remembered.

        Raises:
            AcmeRefused: the domain is not delegated to DigitalOcean, or CAA records forbid it.
        """
        if self._clock.now() < self._checked.get(domain, float("-inf")) + _CHECKED_FOR_SECONDS:
            return
        try:
            await self._nameservers.of(domain)
            identities = await (await self._acme.account()).caa_identities()
            await self._nameservers.check_caa(domain, identities)
        except AcmeUnavailable as error:
            # DNS may be closed to this process; the server's own word counts then.
            _LOGGER.info("The domain %s could not be checked: %s", domain, error.message)
        self._checked[domain] = self._clock.now()

    def seems_changed(self, line: LedgerEntry, owner: str) -> bool:  # noqa: ARG002
        """Nobody else can change an order."""
        return False

    async def delete(self, line: LedgerEntry) -> bool:
        """Revoke what was issued; an order that was not finished expires by itself."""
        try:
            account = await self._acme.account()
            order = await account.order(line.id)
            if order.certificate_url is not None:
                await account.revoke(await account.chain(order.certificate_url))
        except OrderExpired:
            return False
        except (AcmeUnavailable, AccountRefused) as error:
            if self._is_given_up(line, error):
                return False
            raise
        self._in_vain_since.pop(line.id, None)
        return True

    async def is_gone(self, line: LedgerEntry) -> bool:  # noqa: ARG002
        """Accepted is done: a revocation is not taken back."""
        return True

    async def is_unlisted(self, line: LedgerEntry) -> bool:  # noqa: ARG002
        """An order that the server does not know does not appear later."""
        return True


class UnrevokedCertificate:
    """The contract of a kind, for certificates that a ledger lists while the operator has no ACME
    server: they expire by themselves.
    """

    async def create(self, order: object, turn: Slot | None) -> Found:
        """Never: nothing plans it without a server."""
        raise NotImplementedError

    async def find(self, name: str, owner: str, address: str | None) -> Sequence[Found]:  # noqa: ARG002
        """None."""
        return ()

    async def is_ours(self, line: LedgerEntry, owner: str, priority: Priority) -> bool | None:  # noqa: ARG002
        """Nothing is there that could be revoked."""
        return None

    def seems_changed(self, line: LedgerEntry, owner: str) -> bool:  # noqa: ARG002
        """Nobody changes it."""
        return False

    async def delete(self, line: LedgerEntry) -> bool:  # noqa: ARG002
        """Nothing is there that could be revoked."""
        return False

    async def is_gone(self, line: LedgerEntry) -> bool:  # noqa: ARG002
        """It is left alone."""
        return True

    async def is_unlisted(self, line: LedgerEntry) -> bool:  # noqa: ARG002
        """Nothing appears later."""
        return True


class DropletProver:
    """Shows proofs of http-01 at the droplet's port 80."""

    challenge_type = ChallengeType.HTTP_01
    outlives_process = False

    def __init__(
        self, agent: AgentClient, address: str, http_port: int, server: AcmeServer, clock: Clock
    ) -> None:
        self._agent = agent
        self._url = f"http://{address}:{http_port}/.well-known/acme-challenge/"
        self._server = server
        self._clock = clock

    async def publish(self, challenge: Challenge) -> None:
        """Have the agent show the proof, and see it from outside: the server looks only once."""
        while True:
            try:
                await self._agent.put_challenge(challenge.token, challenge.proof)
                break
            except AgentUnreachable:
                await self._clock.sleep(_KNOCK_SECONDS)
        url = f"{self._url}{challenge.token}"
        while not await self._server.shows_proof(url, challenge.identifier, challenge.proof):
            await self._clock.sleep(_KNOCK_SECONDS)

    async def withdraw(self, challenge: Challenge) -> None:
        """Take it away; a droplet that does not answer shows nothing either."""
        with suppress(AgentUnreachable):
            await self._agent.delete_challenge(challenge.token)


class LineStore:
    """An order with its URL in the ledger and its key in a Secret: nothing is left to save."""

    def __init__(self, line: LedgerEntry, key: bytes) -> None:
        self.request = request_for(_host_of(line))
        self._kept = KeptOrder(self.request, key, url=line.id)

    async def load(self) -> KeptOrder | None:
        """The order as the ledger has it."""
        return self._kept

    async def save(self, order: KeptOrder) -> None:
        """The chain is fetched again by its order's URL when it is needed."""
        self._kept = order


def request_for(host: str) -> CertificateRequest:
    """The certificate of one name or address. Only one profile is for addresses."""
    return CertificateRequest((host,), SHORTLIVED if is_address(host) else CLASSIC)


def orders_in(lines: Iterable[LedgerEntry]) -> Iterable[PlacedOrder]:
    """The orders that a ledger lists, for the count of the server's limits."""
    return (
        PlacedOrder((_host_of(line),), line.created_at)
        for line in lines
        if line.kind is ResourceKind.CERTIFICATE
    )


def _host_of(line: LedgerEntry) -> str:
    return str(line.domain or line.ip)
