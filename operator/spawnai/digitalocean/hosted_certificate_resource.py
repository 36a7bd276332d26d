"""Certificates that DigitalOcean holds as a kind of external resource: known by their name, which
holds the class's UID. Their id changes at each renewal, so a line has the name in its place.
"""

from collections.abc import Sequence

from spawnai.api.names import hosted_certificate_prefix
from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.clock import Clock
from spawnai.digitalocean.budget import Priority, Slot
from spawnai.digitalocean.certificates import Certificates
from spawnai.digitalocean.models import CertificateUpload
from spawnai.digitalocean.resource import Found

HostedOrder = tuple[str, Sequence[str]] | CertificateUpload
"""A name and the names that Let's Encrypt is to certify, or a certificate to upload."""


class HostedCertificateResource:
    """Implements `Resource` for hosted certificates."""

    def __init__(self, certificates: Certificates, clock: Clock) -> None:
        self._certificates = certificates
        self._clock = clock

    async def create(self, order: HostedOrder, turn: Slot | Priority) -> Found:
        """Order it, or upload it."""
        if isinstance(order, CertificateUpload):
            made = await self._certificates.upload(order, priority=turn)
        else:
            made = await self._certificates.order(*order, priority=turn)
        return Found(self.line_of(made.name), made)

    async def find(self, name: str, owner: str, address: str | None) -> Sequence[Found]:  # noqa: ARG002
        """The one of that name: names are unique."""
        found = await self._certificates.find(name, priority=Priority.RUNNING)
        return [] if found is None else [Found(self.line_of(name), found)]

    async def is_ours(self, line: LedgerEntry, owner: str, priority: Priority) -> bool | None:
        """By its name."""
        if await self._certificates.find(line.name, priority=priority) is None:
            return None
        return line.name.startswith(hosted_certificate_prefix(owner))

    def seems_changed(self, line: LedgerEntry, owner: str) -> bool:  # noqa: ARG002
        """No listing is kept."""
        return False

    async def delete(self, line: LedgerEntry) -> bool:
        """By the id that it has now."""
        found = await self._certificates.find(line.name, priority=Priority.DESTROY)
        if found is None:
            return False
        return await self._certificates.delete(found.id, priority=Priority.DESTROY)

    async def is_gone(self, line: LedgerEntry) -> bool:
        """By a listing of its name."""
        return await self._certificates.find(line.name, priority=Priority.PROOF) is None

    async def is_unlisted(self, line: LedgerEntry) -> bool:  # noqa: ARG002
        """A listing is all there is."""
        return False

    def line_of(self, name: str) -> LedgerEntry:
        """Its line, which is written before it is made."""
        return LedgerEntry(
            kind=ResourceKind.HOSTED_CERTIFICATE,
            id=name,
            name=name,
            created_at=self._clock.utc_now().replace(microsecond=0),
        )
