"""The certificate that DigitalOcean holds for a class's load balancers (mode LoadBalancer).

One for `*.domain` serves the load balancers of all sessions of the class. DigitalOcean gets it from
Let's Encrypt and renews it; or a Secret brings it (`spec.exposure.tls`), and is uploaded again when
it changes. Its line stands in the class's ledger before it is made. It is found by its name, which
holds the class's UID: the id changes at each renewal. One that no new load balancer needs goes when
DigitalOcean does not call it in use any more.
"""

import hashlib
from contextlib import suppress
from datetime import timedelta
from functools import partial

from spawnai.acme.certificate import CertificateInvalid, check_pair
from spawnai.api.names import hosted_certificate_name
from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.api.spawnclass import ClassSpec, ExposureMode
from spawnai.billing import ledger as books
from spawnai.clock import Clock
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.cluster import Cluster, ObjectNotFound
from spawnai.controller.store import Store, StoredClass
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.errors import AlreadyExists, Ambiguous, Busy, Refused
from spawnai.digitalocean.hosted_certificate_resource import (
    HostedCertificateResource,
    HostedOrder,
)
from spawnai.digitalocean.models import Certificate, CertificateUpload
from spawnai.lifecycle.exposure import began_with_load_balancer
from spawnai.lifecycle.resources import may_still_appear

from .ledger import ClassLedgers, lines
from .state import ClassProblem, Hosted

PENDING = "CertificatePending"
FAILED = "CertificateFailed"
REFUSED = "CertificateRefused"

FAILED_TRIED_AGAIN = timedelta(minutes=15)
"""How long one that could not be had is kept before another one is ordered: Let's Encrypt fails a
name five times an hour at most."""

_END_OF_PEM = b"-----END CERTIFICATE-----"


class HostedCertificates:
    """Orders, uploads and removes them."""

    def __init__(
        self, ledgers: ClassLedgers, cluster: Cluster, store: Store, clock: Clock, namespace: str
    ) -> None:
        self._ledgers = ledgers
        self._cluster = cluster
        self._store = store
        self._clock = clock
        self._namespace = namespace

    def adapter(self, account: CloudAccount) -> HostedCertificateResource:
        """The kind's adapter in an account."""
        return HostedCertificateResource(account.certificates, self._clock)

    async def ensure(
        self, known: StoredClass, spec: ClassSpec, account: CloudAccount
    ) -> Hosted | None:
        """Find or order what the class needs now, and remove what it does not need any more.
        Returns what new load balancers use; None: the class has none.

        Raises:
            ClassProblem: it cannot be used yet, or a person has to mend something.
            DigitalOceanError, ClusterError: a call failed.
        """
        host = f"*.{spec.exposure.domain}"
        if spec.exposure.mode is not ExposureMode.LOAD_BALANCER:
            kept = self._still_needed(known)
            await self._remove(known, account, but=kept)
            return Hosted(kept, host) if kept is not None else None
        name, order = await self._wanted(known, spec, host)
        found = await account.certificates.find(name, priority=Priority.NEW)
        if found is None:
            found = await self._make(known, account, name, order)
        else:
            await self._enter(known, account, name)
        if found.state == "error":
            await self._give_up(known, account, found, host)
        if found.state != "verified":
            raise ClassProblem(PENDING, f"DigitalOcean gets the certificate for {host}")
        await self._remove(known, account, but=name)
        return Hosted(name, host, found.not_after)

    async def _wanted(
        self, known: StoredClass, spec: ClassSpec, host: str
    ) -> tuple[str, HostedOrder]:
        tls = spec.exposure.tls
        if tls is None:
            name = hosted_certificate_name(known.uid, _digest(host.encode()))
            return name, (name, (host,))
        where = f"Secret {self._namespace}/{tls.secret_name}"
        try:
            data = await self._cluster.get_secret(self._namespace, tls.secret_name)
        except ObjectNotFound as error:
            raise ClassProblem(
                "SecretMissing",
                f"There is no {where} with the certificate for {host}: create it (type "
                "kubernetes.io/tls), or have cert-manager fill it",
            ) from error
        chain, key = data.get("tls.crt", b""), data.get("tls.key", b"")
        try:
            check_pair(chain, key, [host], self._clock.utc_now())
        except CertificateInvalid as error:
            raise ClassProblem(
                "CertificateInvalid", f"{where} cannot be served: {error}"
            ) from error
        leaf, end, rest = chain.partition(_END_OF_PEM)
        name = hosted_certificate_name(known.uid, _digest(chain))
        return name, CertificateUpload(
            name=name,
            certificate_pem=(leaf + end).decode(),
            chain_pem=rest.strip().decode(),
            private_key_pem=key.decode(),
        )

    async def _make(
        self, known: StoredClass, account: CloudAccount, name: str, order: HostedOrder
    ) -> Certificate:
        await self._enter(known, account, name)
        try:
            made = await self.adapter(account).create(order, Priority.NEW)
        except (AlreadyExists, Ambiguous) as error:
            # Names are unique: the next look finds it, or makes it.
            raise ClassProblem(PENDING, error.message) from error
        except Refused as error:
            raise ClassProblem(
                REFUSED, f"DigitalOcean refuses the certificate {name}: {error.message}"
            ) from error
        shown: Certificate = made.shown
        return shown

    async def _enter(self, known: StoredClass, account: CloudAccount, name: str) -> None:
        """Its line, as of now where the one of before was seen gone."""
        ledger = (await self._ledgers.open(known)).status
        if all(line.name != name for line in lines(ledger, ResourceKind.HOSTED_CERTIFICATE)):
            line = self.adapter(account).line_of(name)
            await self._ledgers.change(known, lambda book: books.with_found(book, line))

    async def _give_up(
        self, known: StoredClass, account: CloudAccount, found: Certificate, host: str
    ) -> None:
        """DigitalOcean could not get it: say so, and try again with another one later."""
        if self._clock.utc_now() >= found.created_at + FAILED_TRIED_AGAIN:
            await account.certificates.delete(found.id, priority=Priority.NEW)
        raise ClassProblem(
            FAILED,
            f"DigitalOcean could not get the certificate {found.name} for {host}: see that the "
            "domain is delegated to ns1, ns2 and ns3.digitalocean.com, and that its CAA records "
            f"allow letsencrypt.org; SpawnClass {known.name!r} tries it again every 15 minutes",
        )

    async def _remove(self, known: StoredClass, account: CloudAccount, *, but: str | None) -> None:
        """Remove all others of the class; those in use stay until a later look."""
        record = self._store.record(known.uid)
        if record is None:
            return
        for line in lines(record.status, ResourceKind.HOSTED_CERTIFICATE):
            if line.name != but:
                with suppress(Busy):
                    await self._remove_one(known, account, line)

    async def _remove_one(
        self, known: StoredClass, account: CloudAccount, line: LedgerEntry
    ) -> None:
        now = self._clock.utc_now()
        if await self.adapter(account).delete(line):
            change = partial(books.with_deletion_accepted, kind=line.kind, id_=line.id, at=now)
        elif line.deletion_accepted_at is None and may_still_appear(line.created_at, now):
            return
        else:
            change = partial(books.with_gone, kind=line.kind, id_=line.id, at=now)
        await self._ledgers.change(known, change)

    def _still_needed(self, known: StoredClass) -> str | None:
        """The one for sessions that began with a load balancer, while there are any."""
        record = self._store.record(known.uid)
        living = lines(record.status, ResourceKind.HOSTED_CERTIFICATE) if record else []
        is_needed = living and any(
            one.spec.class_name == known.name
            and one.status.completed_at is None
            and began_with_load_balancer(one.spec)
            for one in self._store.records()
        )
        return living[-1].name if is_needed else None


def _digest(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()[:12]
