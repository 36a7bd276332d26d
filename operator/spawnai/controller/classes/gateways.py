"""What the gateway of a class (mode Wildcard) needs: a certificate, and a name that leads there.

The certificate for `*.domain` lies in a Secret that the gateway's pods mount. Either somebody else
fills it (`spec.exposure.tls`), or the operator orders it by dns-01 and renews it. The key is kept
before an order is placed, the order's URL in the class's ledger before its proof is shown: an order
is never issued twice. What a class shares with others of its domain is the oldest one's to make.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from spawnai import background
from spawnai.acme.certificate import CertificateInfo, CertificateInvalid, check_pair, read_chain
from spawnai.acme.errors import (
    AcmeError,
    AcmeLimited,
    AcmeRefused,
    ChallengeFailed,
    OrderExpired,
)
from spawnai.acme.issuer import Issuer
from spawnai.acme.nameservers import Nameservers
from spawnai.acme.order import CLASSIC, CertificateRequest, Challenge, ChallengeType
from spawnai.api.conditions import ConditionType, is_true
from spawnai.api.names import GATEWAY_SERVICE, GATEWAY_TLS_SECRET, class_certificate_name
from spawnai.api.record import LedgerEntry, RecordStatus, ResourceKind
from spawnai.api.spawnclass import ExposureMode, ExposureSpec
from spawnai.billing import ledger as books
from spawnai.clock import Clock
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.actions.certificates import Acme, Keys, LineStore
from spawnai.controller.cluster import Cluster, ObjectNotFound
from spawnai.controller.failures import failure_of, is_expected
from spawnai.controller.leader import LeadershipLost
from spawnai.controller.store import Store, StoredClass
from spawnai.lifecycle.exposure import began_behind_gateway
from spawnai.telemetry.metrics import GatewayCertificate

from .ledger import ClassLedgers, lines, without
from .records import TTL_SECONDS, ClassRecord, ClassRecords, RecordTaken, RecordUnsettled
from .state import ClassProblem

_LOGGER = logging.getLogger(__name__)

CHECK_INTERVAL = timedelta(hours=1)
"""How often the gateway's name is compared with DigitalOcean's DNS: a call an hour."""

ARI_INTERVAL = timedelta(hours=6)
"""How often the ACME server is asked when it wants the certificate renewed (RFC 9773)."""

FIRST_RETRY, LAST_RETRY = timedelta(seconds=30), timedelta(hours=1)
CHALLENGE_RETRY = timedelta(minutes=15)
"""Let's Encrypt looks for a proof in vain five times an hour at most."""

UNSETTLED_RETRY = timedelta(seconds=10)

EXPIRING = 0.25
"""The part of its life that a certificate of somebody else's has left when it is told of."""

DRAIN_SECONDS = 2 * TTL_SECONDS + 60.0
"""How long the name of a gateway stays when the last session behind it has ended: twice as long as
resolvers may keep it, and a minute for who began while the class was moved."""

_OF_A_GATEWAY = (ResourceKind.DOMAIN_RECORD, ResourceKind.CERTIFICATE)
"""What the ledger of a class lists for its gateway."""

PENDING = "CertificatePending"
PROOF_LABEL = "_acme-challenge"
_LABELS = {"app.kubernetes.io/name": "spawnai", "app.kubernetes.io/component": "gateway"}


@dataclass(frozen=True, slots=True)
class Gateway:
    """What is known of a class's gateway.

    Attributes:
        certificate: what it has in its Secret; None: nothing that can be served.
        renew_at: when the operator renews it; None: that is somebody else's to do.
        address: where its name is to lead; None: not known.
        certificate_trouble: what is wrong with the certificate, or keeps it from being renewed.
        name_trouble: what is wrong with the gateway's name.
        is_named: whether the name was seen to lead somewhere.
    """

    certificate: CertificateInfo | None
    renew_at: datetime | None = None
    address: str | None = None
    certificate_trouble: ClassProblem | None = None
    name_trouble: ClassProblem | None = None
    is_named: bool = False

    def is_expiring(self, now: datetime) -> bool:
        """Whether so little of the certificate's life is left that a person has to look."""
        found = self.certificate
        return found is not None and found.not_after - now < EXPIRING * found.life

    @property
    def problem(self) -> ClassProblem | None:
        """Why no session can begin; None: apps would be reached."""
        if self.certificate is None:
            return self.certificate_trouble
        return None if self.is_named else self.name_trouble


@dataclass(slots=True)
class _Retry:
    """When something that failed is tried again: later each time."""

    failures: int = 0
    at: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        return self.at is None or now >= self.at

    def after(self, error: Exception, now: datetime) -> None:
        """It failed."""
        pause = min(FIRST_RETRY * 2 ** min(self.failures, 10), LAST_RETRY)
        if isinstance(error, RecordUnsettled):
            pause = UNSETTLED_RETRY
        elif isinstance(error, ClassProblem):
            pause = FIRST_RETRY  # what is missing may appear at any moment
        elif isinstance(error, ChallengeFailed):
            pause = max(pause, CHALLENGE_RETRY)
        self.failures += 1
        self.at = now + pause
        if isinstance(error, AcmeLimited):
            self.at = max(self.at, error.retry_at)


@dataclass(slots=True)
class _Memory:
    """One class's gateway, from one look to the next."""

    generation: int
    is_named: bool
    task: asyncio.Task[None] | None = None
    address: str | None = None
    certificate_trouble: ClassProblem | None = None
    name_trouble: ClassProblem | None = None
    name_retry: _Retry = field(default_factory=_Retry)
    certificate_retry: _Retry = field(default_factory=_Retry)
    named_at: datetime | None = None
    """When its name was compared with DNS last."""
    renewal: tuple[int, datetime, datetime] | None = None
    """The serial number of a certificate, when the server wants it renewed, and when it said so."""


@dataclass(slots=True)
class _Leaving:
    """A class that has left the mode, from one look to the next.

    `unused_since`: since when no session is behind its gateway, by the monotonic clock.
    """

    unused_since: float
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class Gateways:
    """Looks after the gateways of all classes.

    Attributes:
        acme: None: the operator has no ACME server.
        wake: has a class looked at.
        on_look: told what was found, by the class's name.
    """

    cluster: Cluster
    store: Store
    ledgers: ClassLedgers
    records: ClassRecords
    acme: Acme | None
    keys: Keys
    nameservers: Nameservers
    clock: Clock
    namespace: str
    wake: Callable[[str], None]
    on_look: Callable[[str, GatewayCertificate | None], None] = lambda _name, _certificate: None
    _memories: dict[str, _Memory] = field(default_factory=dict)
    _leaving: dict[str, _Leaving] = field(default_factory=dict)

    async def look(self, known: StoredClass, account: CloudAccount) -> Gateway | None:
        """What is known of a class's gateway; see `_look`."""
        seen = await self._look(known, account)
        self.on_look(known.name, _for_metrics(known, seen) if seen is not None else None)
        return seen

    async def _look(self, known: StoredClass, account: CloudAccount) -> Gateway | None:
        """What is known; what has to be done is begun, and its end wakes the class.

        Returns None for a class without a gateway.

        Raises:
            ClusterError: the API server could not be asked.
        """
        if known.spec is None:
            self._forget(known.uid)
            return None
        if known.spec.exposure.mode is not ExposureMode.WILDCARD:
            self._forget(known.uid)
            self._leave(known, account)
            return None
        await self._stay(known.uid)
        exposure, now = known.spec.exposure, self.clock.utc_now()
        memory = self._memories.get(known.uid)
        if memory is None:
            named = is_true(known.status.conditions, ConditionType.DNS_READY)
            memory = self._memories[known.uid] = _Memory(known.generation, named)
        if memory.generation != known.generation:
            memory.generation, memory.named_at = known.generation, None
            memory.name_retry, memory.certificate_retry = _Retry(), _Retry()
        stored, trouble = await self._stored(exposure, now)
        is_own = exposure.tls is None
        first = self._first_of_domain(known, exposure)
        if is_own and (other := self._other_domain(known, exposure)) is not None:
            return Gateway(None, certificate_trouble=other)
        renew_at = self._renew_at(memory, stored) if is_own and stored is not None else None
        if is_own:
            trouble = memory.certificate_trouble or trouble
        if first.uid == known.uid:
            due = is_own and (renew_at is None or now >= renew_at)
            if memory.task is None:
                self._begin(known, account, memory, is_due=due, now=now)
        else:
            leader = self._memories.get(first.uid)
            if leader is not None:
                memory.is_named, memory.address = leader.is_named, leader.address
                memory.name_trouble = leader.name_trouble
                trouble = leader.certificate_trouble or trouble if is_own else trouble
        return Gateway(
            certificate=stored,
            renew_at=renew_at,
            address=memory.address,
            certificate_trouble=trouble,
            name_trouble=memory.name_trouble or self._unnamed(memory, exposure),
            is_named=memory.is_named,
        )

    def _leave(self, known: StoredClass, account: CloudAccount) -> None:
        """The class has left the mode. What it has for its gateway goes once no session that began
        behind it is left, and no resolver keeps the name any more.
        """
        record = self.store.record(known.uid)
        if record is None or not any(lines(record.status, kind) for kind in _OF_A_GATEWAY):
            self._leaving.pop(known.uid, None)
            return
        behind = any(
            one.spec.class_name == known.name
            and one.status.completed_at is None
            and began_behind_gateway(one.spec)
            for one in self.store.records()
        )
        now = self.clock.now()
        leaving = self._leaving.setdefault(known.uid, _Leaving(now))
        if behind:
            leaving.unused_since = now
            return
        is_idle = leaving.task is None or leaving.task.done()
        if is_idle and now >= leaving.unused_since + DRAIN_SECONDS:
            leaving.task = background.once(
                self._remove(known, account), name=f"old gateway of class {known.name}"
            )

    async def _remove(self, known: StoredClass, account: CloudAccount) -> None:
        """What is left after it, the next look goes on with; no error may end the process."""
        try:
            await self._end(known, account)
        except LeadershipLost:
            return
        except Exception as error:
            trace = None if isinstance(error, ClassProblem) or is_expected(error) else error
            _LOGGER.warning(
                "What class %s had for its gateway stays yet: %s", known.name, error, exc_info=trace
            )

    async def _stay(self, uid: str) -> None:
        """The class is in the mode, perhaps again, or ends: what it had does not go beside that."""
        leaving = self._leaving.pop(uid, None)
        if leaving is not None and leaving.task is not None:
            leaving.task.cancel()
            await asyncio.wait({leaving.task})

    async def end(self, known: StoredClass, account: CloudAccount) -> bool:
        """Take the next step towards the end of what a class has for its gateway.

        The certificate is not revoked: its names stay with their owner, and its key in the Secret.
        What another class of the domain needs becomes that one's. Returns whether all is done.

        Raises:
            DigitalOceanError, ClusterError: a call failed.
        """
        await self._stay(known.uid)
        return await self._end(known, account)

    async def _end(self, known: StoredClass, account: CloudAccount) -> bool:
        self.on_look(known.name, None)
        memory = self._memories.pop(known.uid, None)
        if memory is not None and memory.task is not None:
            memory.task.cancel()
            await asyncio.wait({memory.task})
        record = await self.ledgers.get(known.uid)
        if record is None or record.status.completed_at is not None:
            return True
        ended = True
        for line in lines(record.status, ResourceKind.DOMAIN_RECORD):
            heir = self._heir(known, line)
            if heir is not None:
                await self._hand_over(known, heir, line)
            elif not await self.records.remove(known, account, line):
                ended = False
        now = self.clock.utc_now()
        if lines(record.status, ResourceKind.CERTIFICATE):
            await self.ledgers.change(known, lambda book: _without_orders(book, now))
        return ended

    async def close(self) -> None:
        """End all that is under way. All of it can be ended half-way and found again."""
        looks = [memory.task for memory in self._memories.values()]
        ends = [leaving.task for leaving in self._leaving.values()]
        tasks = [task for task in (*looks, *ends) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # What is there.

    async def _stored(
        self, exposure: ExposureSpec, now: datetime
    ) -> tuple[CertificateInfo | None, ClassProblem | None]:
        """The certificate in the gateway's Secret, or why there is none that can be served."""
        name = exposure.tls.secret_name if exposure.tls is not None else GATEWAY_TLS_SECRET
        host = f"*.{exposure.domain}"
        try:
            data = await self.cluster.get_secret(self.namespace, name)
        except ObjectNotFound:
            if exposure.tls is None:
                return None, ClassProblem(PENDING, f"The certificate for {host} is being ordered")
            return None, ClassProblem(
                "SecretMissing",
                f"There is no Secret {self.namespace}/{name} with the certificate for {host}: "
                "create it (type kubernetes.io/tls), or have cert-manager fill it",
            )
        try:
            info = check_pair(data.get("tls.crt", b""), data.get("tls.key", b""), [host], now)
        except CertificateInvalid as error:
            return None, ClassProblem(
                "CertificateInvalid", f"Secret {self.namespace}/{name} cannot be served: {error}"
            )
        if exposure.tls is not None and info.not_after - now < EXPIRING * info.life:
            return info, ClassProblem(
                "CertificateExpiring",
                f"Secret {self.namespace}/{name} was not renewed: its certificate for {host} "
                f"expires at {info.not_after:%Y-%m-%dT%H:%M:%SZ}. Look at what fills the Secret",
            )
        return info, None

    def _renew_at(self, memory: _Memory, stored: CertificateInfo) -> datetime:
        if memory.renewal is not None and memory.renewal[0] == stored.serial:
            return memory.renewal[1]
        return stored.renewal_time

    @staticmethod
    def _unnamed(memory: _Memory, exposure: ExposureSpec) -> ClassProblem | None:
        if memory.is_named:
            return None
        return ClassProblem(PENDING, f"*.{exposure.domain} does not lead to the gateway yet")

    # Who does what, where classes share a domain or the Secret.

    def _gateway_classes(self) -> list[StoredClass]:
        """The classes with a gateway that stay, the oldest first."""
        found = [
            one
            for one in self.store.classes()
            if not one.deleting
            and one.spec is not None
            and one.spec.exposure.mode is ExposureMode.WILDCARD
        ]
        return sorted(found, key=lambda one: (one.created_at, one.name))

    def _first_of_domain(self, known: StoredClass, exposure: ExposureSpec) -> StoredClass:
        return next(
            (one for one in self._gateway_classes() if _domain(one) == exposure.domain), known
        )

    def _other_domain(self, known: StoredClass, exposure: ExposureSpec) -> ClassProblem | None:
        """The operator's own Secret is for one domain: that of the class that has ordered for it,
        and before any has, of the oldest. A class that comes into the mode takes it from nobody.
        """

        def rank(one: StoredClass) -> tuple[bool, datetime, str]:
            return self._ordered_domain(one) is None, one.created_at, one.name

        for one in sorted(self.store.classes(), key=rank):
            domain = self._domain_of_secret(one)
            if domain is not None:
                if domain == exposure.domain:
                    return None
                return ClassProblem(
                    "GatewayServesAnotherDomain",
                    f"Secret {GATEWAY_TLS_SECRET} is for *.{domain}, the domain of "
                    f"SpawnClass {one.name!r}: give SpawnClass {known.name!r} a Secret of its own "
                    "in spec.exposure.tls.secretName, and run another gateway for it",
                )
        return None

    def _domain_of_secret(self, one: StoredClass) -> str | None:
        """The domain for which a class needs the operator's own Secret: while it is in the mode, or
        its ledger lists the order, as sessions may be behind the gateway that it has left.
        """
        if one.deleting or one.spec is None:
            return None
        if one.spec.exposure.mode is ExposureMode.WILDCARD:
            return _domain(one) if one.spec.exposure.tls is None else None
        return self._ordered_domain(one)

    def _ordered_domain(self, one: StoredClass) -> str | None:
        """The domain of the certificate for a gateway that a class's ledger lists."""
        record = self.store.record(one.uid)
        orders = lines(record.status, ResourceKind.CERTIFICATE) if record is not None else []
        return next((line.domain.removeprefix("*.") for line in orders if line.domain), None)

    def _heir(self, known: StoredClass, line: LedgerEntry) -> StoredClass | None:
        if line.content is not None:
            return None  # a proof serves its own order alone
        return next(
            (
                one
                for one in self._gateway_classes()
                if one.uid != known.uid and f"*.{_domain(one)}" == line.name
            ),
            None,
        )

    async def _hand_over(self, known: StoredClass, heir: StoredClass, line: LedgerEntry) -> None:
        """The heir's ledger first: killed between both, it is in two ledgers and lost in none."""
        await self.ledgers.change(heir, lambda book: books.with_resource(book, line))
        await self.ledgers.change(known, lambda book: without(book, line))
        self.wake(heir.name)

    # What is done beside the queue.

    def _begin(
        self,
        known: StoredClass,
        account: CloudAccount,
        memory: _Memory,
        *,
        is_due: bool,
        now: datetime,
    ) -> None:
        assert known.spec is not None  # noqa: S101 - `look` has seen to it
        exposure = known.spec.exposure
        works: list[Coroutine[Any, Any, None]] = []
        if memory.name_retry.is_due(now) and (
            memory.named_at is None or now >= memory.named_at + CHECK_INTERVAL
        ):
            works.append(self._work_on_name(known, account, exposure, memory))
        told_at = memory.renewal[2] if memory.renewal is not None else None
        if (
            exposure.tls is None
            and memory.certificate_retry.is_due(now)
            and (is_due or told_at is None or now >= told_at + ARI_INTERVAL)
        ):
            works.append(self._work_on_certificate(known, account, exposure, memory, is_due=is_due))
        if works:
            memory.task = background.once(
                self._work(known.name, memory, works), name=f"gateway of class {known.name}"
            )

    async def _work(
        self, name: str, memory: _Memory, works: list[Coroutine[Any, Any, None]]
    ) -> None:
        try:
            await asyncio.gather(*works)
        finally:
            memory.task = None
            self.wake(name)

    async def _work_on_name(
        self, known: StoredClass, account: CloudAccount, exposure: ExposureSpec, memory: _Memory
    ) -> None:
        try:
            await self._name(known, account, exposure, memory)
        except Exception as error:  # noqa: BLE001 - any is told, and tried again
            memory.is_named = memory.is_named or isinstance(error, RecordTaken)
            memory.name_retry.after(error, self.clock.utc_now())
            memory.name_trouble = self._trouble(error)
        else:
            memory.name_retry, memory.name_trouble = _Retry(), None

    async def _work_on_certificate(
        self,
        known: StoredClass,
        account: CloudAccount,
        exposure: ExposureSpec,
        memory: _Memory,
        *,
        is_due: bool,
    ) -> None:
        try:
            await self._certify(known, account, exposure, memory, is_due=is_due)
        except Exception as error:  # noqa: BLE001 - any is told, and tried again
            memory.certificate_retry.after(error, self.clock.utc_now())
            memory.certificate_trouble = self._trouble(error)
        else:
            memory.certificate_retry, memory.certificate_trouble = _Retry(), None
            if is_due:
                # One that is due at once, by a clock that is wrong, is not ordered in a loop.
                memory.certificate_retry.at = self.clock.utc_now() + LAST_RETRY

    def _trouble(self, error: Exception) -> ClassProblem:
        """What an error means for people."""
        if isinstance(error, ClassProblem):
            return error
        if isinstance(error, RecordTaken | RecordUnsettled):
            reason = "RecordTaken" if isinstance(error, RecordTaken) else PENDING
            return ClassProblem(reason, str(error))
        if not is_expected(error):
            _LOGGER.error("A gateway could not be prepared", exc_info=error)
        failure = failure_of(error, self.clock.utc_now())
        return ClassProblem(failure.reason, failure.message)

    async def _name(
        self, known: StoredClass, account: CloudAccount, exposure: ExposureSpec, memory: _Memory
    ) -> None:
        """Have `*.domain` lead to the gateway.

        Raises:
            ClassProblem: nobody knows where the gateway is.
            RecordTaken, RecordUnsettled, DigitalOceanError, ClusterError: it is tried again.
        """
        address = exposure.gateway_address
        if address is None:
            try:
                found = await self.cluster.service_addresses(self.namespace, GATEWAY_SERVICE)
            except ObjectNotFound:
                found = []
            if not found:
                raise ClassProblem(
                    "GatewayAddressUnknown",
                    f"Service {self.namespace}/{GATEWAY_SERVICE} has no address of a load "
                    "balancer: run the gateway, or write its address in "
                    "spec.exposure.gatewayAddress",
                )
            address = found[0]
        memory.address = address
        wanted = ClassRecord(exposure.domain or "", "*", "A", address)
        await self.records.ensure(known, account, wanted)
        memory.is_named = True
        memory.named_at = self.clock.utc_now()
        ledger = (await self.ledgers.open(known)).status
        for line in lines(ledger, ResourceKind.DOMAIN_RECORD):
            if line.content is None and (line.name, line.ip) != (wanted.name, address):
                # Where the gateway was before. Its domain may be another one now, too.
                await self.records.remove(known, account, line)
                memory.named_at = None

    async def _certify(
        self,
        known: StoredClass,
        account: CloudAccount,
        exposure: ExposureSpec,
        memory: _Memory,
        *,
        is_due: bool,
    ) -> None:
        """Order the certificate if it is due, and ask when the next is."""
        if self.acme is None:
            if not is_due:
                return
            raise ClassProblem(
                "NoACMEServer",
                "The operator has no ACME server, so the gateway needs a certificate of yours: "
                "name its Secret in spec.exposure.tls.secretName, or set "
                "SPAWNAI_ACME_DIRECTORY_URL",
            )
        served = await self._served()
        if is_due:
            served = await self._obtain(known, account, exposure.domain or "", served, self.acme)
        if served is not None:
            info = read_chain(served[0])
            told = None
            with suppress(AcmeError):  # then it is renewed at two thirds
                told = await (await self.acme.account()).renewal_time(served[0])
            memory.renewal = (info.serial, told or info.renewal_time, self.clock.utc_now())
        await self._withdraw(known, account)

    async def _served(self) -> tuple[bytes, bytes] | None:
        try:
            data = await self.cluster.get_secret(self.namespace, GATEWAY_TLS_SECRET)
        except ObjectNotFound:
            return None
        return data.get("tls.crt", b""), data.get("tls.key", b"")

    async def _obtain(
        self,
        known: StoredClass,
        account: CloudAccount,
        domain: str,
        served: tuple[bytes, bytes] | None,
        acme: Acme,
    ) -> tuple[bytes, bytes]:
        """The next certificate: that of the order in the ledger, or of a new one."""
        host = f"*.{domain}"
        book = (await self.ledgers.open(known)).status
        line = next(
            (one for one in lines(book, ResourceKind.CERTIFICATE) if one.domain == host), None
        )
        if line is None:
            line = await self._order(known, domain, acme)
        key = await self.keys.of_class(known.uid, line.name)
        store = LineStore(line, key)
        prover = _DnsProver(self, known, account, domain)
        try:
            kept = await Issuer(await acme.account(), self.clock).obtain(
                store.request, store, prover
            )
        except (OrderExpired, ChallengeFailed, AcmeRefused) as error:
            acme.on_order("refused" if isinstance(error, AcmeRefused) else "failed")
            await self._close(known, line)
            await self._withdraw(known, account)
            raise
        chain = kept.chain_pem or b""
        if served is not None and chain == served[0]:
            # It is the one that is served, and it is due: the next gets an order of its own.
            await self._close(known, line)
            return await self._obtain(known, account, domain, None, acme)
        acme.on_order("issued")
        await self.cluster.put_tls_secret(
            self.namespace, GATEWAY_TLS_SECRET, chain=chain, key=key, labels=_LABELS
        )
        _LOGGER.info("The gateway has a new certificate for %s", host)
        return chain, key

    async def _order(self, known: StoredClass, domain: str, acme: Acme) -> LedgerEntry:
        """Place an order: its key is kept before, its line holds its URL."""
        host = f"*.{domain}"
        request = CertificateRequest((host,), CLASSIC)
        account = await acme.account()
        await self.nameservers.of(domain)
        await self.nameservers.check_caa(host, await account.caa_identities())
        book = (await self.ledgers.open(known)).status
        earlier = [one for one in book.resources if one.kind is ResourceKind.CERTIFICATE]
        name = class_certificate_name(known.uid, len(earlier) + 1)
        await self.keys.of_class(known.uid, name)
        await acme.before_order(request)
        try:
            url = await account.place(request)
        except AcmeLimited:
            acme.on_order("limited")
            raise
        except AcmeRefused:
            acme.on_order("refused")
            raise
        acme.on_order("placed")
        line = LedgerEntry(
            kind=ResourceKind.CERTIFICATE,
            id=url,
            name=name,
            domain=host,
            created_at=self.clock.utc_now().replace(microsecond=0),
        )
        await self.ledgers.change(known, lambda book: books.with_resource(book, line))
        return line

    async def _close(self, known: StoredClass, line: LedgerEntry) -> None:
        now = self.clock.utc_now()
        await self.ledgers.change(known, lambda b: books.with_gone(b, line.kind, line.id, now))

    async def _withdraw(self, known: StoredClass, account: CloudAccount) -> None:
        """Remove the proofs: no order needs them any more."""
        ledger = (await self.ledgers.open(known)).status
        left = [
            line
            for line in lines(ledger, ResourceKind.DOMAIN_RECORD)
            if line.content is not None and not await self.records.remove(known, account, line)
        ]
        for line in left:  # its deletion was accepted: see it gone
            if not await self.records.remove(known, account, line):
                raise RecordUnsettled(line.name, self.clock.utc_now() + UNSETTLED_RETRY)

    def _forget(self, uid: str) -> None:
        memory = self._memories.pop(uid, None)
        if memory is not None and memory.task is not None:
            memory.task.cancel()


class _DnsProver:
    """Shows proofs of dns-01, and waits until the domain's nameservers have them.

    They are withdrawn once the certificate is kept: DigitalOcean may be away just then.
    """

    challenge_type = ChallengeType.DNS_01
    outlives_process = False

    def __init__(
        self, gateways: Gateways, known: StoredClass, account: CloudAccount, domain: str
    ) -> None:
        self._gateways = gateways
        self._known = known
        self._account = account
        self._domain = domain

    async def publish(self, challenge: Challenge) -> None:
        record = ClassRecord(self._domain, PROOF_LABEL, "TXT", challenge.value)
        await self._gateways.records.ensure(self._known, self._account, record)
        await self._gateways.nameservers.await_text(self._domain, record.name, challenge.value)

    async def withdraw(self, challenge: Challenge) -> None:
        """Not yet."""


def _for_metrics(known: StoredClass, seen: Gateway) -> GatewayCertificate:
    is_own = known.spec is None or known.spec.exposure.tls is None
    found = seen.certificate
    return GatewayCertificate(
        source="acme" if is_own else "secret",
        is_ready=found is not None and seen.certificate_trouble is None,
        expiration=found.not_after if found is not None else None,
        not_before=found.not_before if found is not None else None,
        renewal=seen.renew_at,
    )


def _domain(known: StoredClass) -> str | None:
    return known.spec.exposure.domain if known.spec is not None else None


def _without_orders(book: RecordStatus, now: datetime) -> RecordStatus:
    for line in lines(book, ResourceKind.CERTIFICATE):
        book = books.with_gone(book, line.kind, line.id, now)
    return book
