"""Certificates that DigitalOcean holds: for load balancers only, since the key cannot be had.

A certificate keeps its name for life, but its id changes at each renewal: find it by name. Names
are unique in an account, so a name with the owner's UID is a mark of it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from spawnai.digitalocean.answers import member, read
from spawnai.digitalocean.budget import Priority, Slot
from spawnai.digitalocean.client import ApiClient, Call
from spawnai.digitalocean.errors import NotFound
from spawnai.digitalocean.listing import PER_PAGE, has_no_name_of_ours, list_all, read_page
from spawnai.digitalocean.models import Certificate, CertificateUpload, Page

_CERTIFICATE = TypeAdapter(Certificate)


class Certificates:
    """The calls below /v2/certificates. Each may raise any DigitalOceanError."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def order(
        self, name: str, dns_names: Sequence[str], *, priority: Priority | Slot
    ) -> Certificate:
        """Order a certificate of Let's Encrypt. It is pending for some ten seconds.

        Args:
            name: unique in the account.
            dns_names: each within a domain that this account's DNS serves; "*.example.com" too.
            priority: what the call is for.

        Raises:
            AlreadyExists: one of this name is there.
            Ambiguous: it may have been ordered: find() tells.
            Refused: a domain is not in the account.
        """
        body = {"name": name, "type": "lets_encrypt", "dns_names": list(dns_names)}
        return await self._create(body, priority)

    async def upload(self, upload: CertificateUpload, *, priority: Priority | Slot) -> Certificate:
        """Upload a certificate with its key. It can be used at once.

        Raises:
            AlreadyExists: one of this name is there.
            Ambiguous: it may have been uploaded: find() tells.
            Refused: the key does not fit, or the chain cannot be read.
        """
        body = {
            "name": upload.name,
            "type": "custom",
            "private_key": upload.private_key_pem,
            "leaf_certificate": upload.certificate_pem,
            "certificate_chain": upload.chain_pem,
        }
        return await self._create(body, priority)

    async def get(self, identifier: str, *, priority: Priority) -> Certificate | None:
        """The certificate of that id, or None when DigitalOcean itself says that there is none.

        None may mean that it was renewed: find() tells.
        """
        try:
            return await self._api.call(
                Call("GET", "/v2/certificates/{id}", {"id": identifier}),
                _read,
                priority=priority,
            )
        except NotFound:
            return None

    async def find(self, name: str, *, priority: Priority) -> Certificate | None:
        """The certificate of exactly that name, under the id that it has now."""
        found = await self._list({"name": name}, priority)
        return next((one for one in found if one.name == name), None)

    async def list(self, *, priority: Priority) -> tuple[Certificate, ...]:
        """All certificates of the account, complete or not at all."""
        return await self._list({}, priority)

    async def delete(self, identifier: str, *, priority: Priority) -> bool:
        """Delete the certificate. True: done. False: it was gone already, or was renewed.

        Raises:
            Busy: a load balancer uses it, or did some seconds ago.
        """
        try:
            await self._api.call(
                Call("DELETE", "/v2/certificates/{id}", {"id": identifier}),
                lambda _document, _sent_at: None,
                priority=priority,
            )
        except NotFound:
            return False
        return True

    async def _create(self, body: dict[str, Any], priority: Priority | Slot) -> Certificate:
        return await self._api.call(
            Call("POST", "/v2/certificates", body=body), _read, priority=priority
        )

    async def _list(self, filters: dict[str, str], priority: Priority) -> tuple[Certificate, ...]:
        async def fetch(page: int) -> Page[Certificate]:
            return await self._api.call(
                Call(
                    "GET",
                    "/v2/certificates",
                    query={**filters, "page": page, "per_page": PER_PAGE},
                ),
                lambda document, _sent_at: read_page(
                    document, "certificates", _CERTIFICATE, is_foreign=has_no_name_of_ours
                ),
                priority=priority,
            )

        return await list_all(fetch, identity=lambda one: one.id)


def _read(document: Any, _sent_at: datetime) -> Certificate:
    return read(_CERTIFICATE, member(document, "certificate"), "certificate")
