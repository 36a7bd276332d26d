"""Domain records: A records that lead somewhere, and TXT records; found by name, deleted by id."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from spawnai.digitalocean.answers import Name, member, read
from spawnai.digitalocean.budget import Priority, Slot
from spawnai.digitalocean.client import ApiClient, Call
from spawnai.digitalocean.errors import NotFound
from spawnai.digitalocean.listing import PER_PAGE, list_all, pages_of, read_page
from spawnai.digitalocean.models import DomainRecord, Page


@dataclass(frozen=True, slots=True)
class _Domain:
    name: Name


_RECORD = TypeAdapter(DomainRecord)
_DOMAIN = TypeAdapter(_Domain)
# DigitalOcean's smallest TTL for a record, in seconds.
SHORTEST_TTL_SECONDS = 30


class DomainRecords:
    """The calls below /v2/domains. Each may raise any DigitalOceanError."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        # How many pages a domain's listing had last time.
        self._pages: dict[str, int] = {}

    async def create(
        self,
        domain: str,
        name: str,
        data: str,
        ttl: int,
        *,
        type_: str = "A",
        priority: Priority | Slot,
    ) -> DomainRecord:
        """Make a record.

        Args:
            domain: a domain that the account's DNS serves.
            name: relative to the domain, "retro-board-7f3a".
            data: an IPv4 address, or the text of a TXT record.
            ttl: seconds, 30 or more.
            type_: A or TXT.
            priority: what the call is for.

        Raises:
            Ambiguous: it may have been made. DigitalOcean accepts the same record twice: find()
                before a second try.
            NotFound: the account has no such domain.
        """
        if ttl < SHORTEST_TTL_SECONDS:
            raise ValueError(
                f"A DNS record's TTL must be {SHORTEST_TTL_SECONDS} s or more, not {ttl} s"
            )
        return await self._api.call(
            Call(
                "POST",
                "/v2/domains/{domain}/records",
                {"domain": domain},
                body={"type": type_, "name": name, "data": data, "ttl": ttl},
            ),
            lambda document, _sent_at: _read_record(document, domain),
            priority=priority,
        )

    async def get(self, domain: str, record_id: int, *, priority: Priority) -> DomainRecord | None:
        """The record, or None when DigitalOcean itself says that there is none."""
        try:
            return await self._api.call(
                Call(
                    "GET",
                    "/v2/domains/{domain}/records/{id}",
                    {"domain": domain, "id": record_id},
                ),
                lambda document, _sent_at: _read_record(document, domain),
                priority=priority,
            )
        except NotFound:
            return None

    async def delete(self, domain: str, record_id: int, *, priority: Priority) -> bool:
        """Delete the record. True: done. False: it was gone already."""
        try:
            await self._api.call(
                Call(
                    "DELETE",
                    "/v2/domains/{domain}/records/{id}",
                    {"domain": domain, "id": record_id},
                ),
                lambda _document, _sent_at: None,
                priority=priority,
            )
        except NotFound:
            return False
        return True

    async def find(
        self, fqdn: str, domain: str, *, type_: str = "A", priority: Priority
    ) -> tuple[DomainRecord, ...]:
        """All records of that type and full name ("retro-board-7f3a.example.com"), of which there
        may be several.
        """
        return await self._list(domain, {"name": fqdn.rstrip("."), "type": type_}, priority)

    async def list(self, domain: str, *, priority: Priority) -> tuple[DomainRecord, ...]:
        """All A records of the domain, complete or not at all."""
        return await self._list(domain, {"type": "A"}, priority)

    async def domain_exists(self, domain: str, *, priority: Priority) -> bool:
        """Whether the account's DNS serves the domain."""
        try:
            await self._api.call(
                Call("GET", "/v2/domains/{domain}", {"domain": domain}),
                lambda document, _sent_at: member(member(document, "domain"), "name"),
                priority=priority,
            )
        except NotFound:
            return False
        return True

    async def zone_names(self, domain: str, *, priority: Priority) -> frozenset[str]:
        """The full names of all records of the domain, from its zone file: one call, however many
        there are. Empty when DigitalOcean shows no zone file.

        Raises:
            NotFound: the account has no such domain.
        """
        return await self._api.call(
            Call("GET", "/v2/domains/{domain}", {"domain": domain}),
            lambda document, _sent_at: _names_in(member(document, "domain"), domain),
            priority=priority,
        )

    async def domains(self, *, priority: Priority) -> tuple[str, ...]:
        """The names of all domains that the account's DNS serves, complete or not at all."""

        async def fetch(page: int) -> Page[_Domain]:
            return await self._api.call(
                Call("GET", "/v2/domains", query={"page": page, "per_page": PER_PAGE}),
                lambda document, _sent_at: read_page(document, "domains", _DOMAIN),
                priority=priority,
            )

        found = await list_all(fetch, identity=lambda domain: domain.name)
        return tuple(domain.name for domain in found)

    async def _list(
        self, domain: str, filters: Mapping[str, str], priority: Priority
    ) -> tuple[DomainRecord, ...]:
        async def fetch(page: int) -> Page[DomainRecord]:
            return await self._api.call(
                Call(
                    "GET",
                    "/v2/domains/{domain}/records",
                    {"domain": domain},
                    {**filters, "page": page, "per_page": PER_PAGE},
                ),
                lambda document, _sent_at: read_page(
                    document, "domain_records", _RECORD, also={"domain": domain}
                ),
                priority=priority,
            )

        whole = filters.keys() == {"type"}
        records = await list_all(
            fetch,
            identity=lambda record: record.id,
            pages=self._pages.get(domain, 1) if whole else 1,
        )
        if whole:
            self._pages[domain] = pages_of(len(records))
        return tuple(record for record in records if record.type == filters["type"])


def _names_in(shown: Any, domain: str) -> frozenset[str]:
    """The owners of all records in a zone file (RFC 1035, section 5)."""
    zone = shown.get("zone_file") if isinstance(shown, dict) else None
    names: set[str] = set()
    for line in zone.splitlines() if isinstance(zone, str) else ():
        if line[:1] in ("", "$", ";", " ", "\t"):
            continue
        owner = line.split(maxsplit=1)[0].lower()
        names.add(owner.removesuffix(".") if owner.endswith(".") else f"{owner}.{domain}")
    return frozenset(names)


def _read_record(document: Any, domain: str) -> DomainRecord:
    shown = member(document, "domain_record")
    also = {**shown, "domain": domain} if isinstance(shown, dict) else shown
    return read(_RECORD, also, "domain_record")
