"""Droplets: made once, looked at, listed by tag, deleted by id."""

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from spawnai.digitalocean.answers import Fields
from spawnai.digitalocean.budget import Priority, Slot
from spawnai.digitalocean.client import ApiClient, Call
from spawnai.digitalocean.errors import NotFound
from spawnai.digitalocean.listing import PER_PAGE, list_all, read_page
from spawnai.digitalocean.models import Droplet, DropletOrder, Page


class Droplets:
    """The calls below /v2/droplets. Each may raise any DigitalOceanError."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def create(self, order: DropletOrder, *, priority: Priority | Slot) -> Droplet:
        """Order one droplet. It has no address yet, and its tags may show a little later.

        Raises:
            Ambiguous: it may have been made. Names are not unique and there is no idempotency
                key, so look for it, for as long as a listing may lag, before ordering again.
            OverQuota, NoCapacity, UnknownOption, Refused: nothing was made.
        """
        body = {
            "name": order.name,
            "region": order.region,
            "size": order.size,
            "image": order.image,
            "user_data": order.user_data,
            "tags": list(order.tags),
            "monitoring": order.monitoring,
            "with_droplet_agent": False,
        }
        return await self._api.call(
            Call("POST", "/v2/droplets", body=body), _read_droplet, priority=priority
        )

    async def get(self, droplet_id: int, *, priority: Priority) -> Droplet | None:
        """The droplet, or None when DigitalOcean itself says that there is none."""
        try:
            return await self._api.call(
                Call("GET", "/v2/droplets/{id}", {"id": droplet_id}),
                _read_droplet,
                priority=priority,
            )
        except NotFound:
            return None

    async def delete(self, droplet_id: int, *, priority: Priority) -> bool:
        """Have the droplet destroyed. True: accepted, it goes soon. False: it is gone already.

        Raises:
            Busy: an action on it is still running.
        """
        try:
            await self._api.call(
                Call("DELETE", "/v2/droplets/{id}", {"id": droplet_id}),
                lambda _document, _sent_at: None,
                priority=priority,
            )
        except NotFound:
            return False
        return True

    async def list_by_tag(self, tag: str, *, priority: Priority) -> tuple[Droplet, ...]:
        """All droplets with the tag, from all pages.

        A droplet that was just made may still be missing, and one that was just deleted may
        still be there.

        Raises:
            Unavailable: among others, when the pages kept shifting while they were read.
        """
        return await list_all(
            lambda page: self.list_page(tag, page, priority=priority),
            identity=lambda droplet: droplet.id,
        )

    async def list_by_name(self, name: str, *, priority: Priority) -> tuple[Droplet, ...]:
        """All droplets of exactly that name. Names are not unique."""
        return await list_all(
            lambda page: self._page({"name": name}, page, priority=priority),
            identity=lambda droplet: droplet.id,
        )

    async def list_account(self, *, priority: Priority) -> tuple[Droplet, ...]:
        """All droplets of the account, whosever they are: many calls in a large one."""
        return await list_all(
            lambda page: self._page({}, page, priority=priority),
            identity=lambda droplet: droplet.id,
        )

    async def list_page(self, tag: str, page: int, *, priority: Priority) -> Page[Droplet]:
        """One page (counted from 1) of the droplets with the tag, 200 at most."""
        return await self._page({"tag_name": tag}, page, priority=priority)

    async def _page(
        self, filters: Mapping[str, str], page: int, *, priority: Priority
    ) -> Page[Droplet]:
        return await self._api.call(
            Call("GET", "/v2/droplets", query={**filters, "page": page, "per_page": PER_PAGE}),
            lambda document, sent_at: read_page(
                document, "droplets", lambda fields: droplet_of(fields, sent_at)
            ),
            priority=priority,
        )


def _read_droplet(document: Any, sent_at: datetime) -> Droplet:
    return droplet_of(Fields(document).object("droplet"), sent_at)


def droplet_of(fields: Fields, seen_at: datetime) -> Droplet:
    """Read one droplet.

    Raises:
        Malformed: id, name, status, tags or creation time are missing or of another type.
    """
    # Slugs are the same for thousands of droplets: one copy of each is enough.
    return Droplet(
        id=fields.whole("id"),
        name=fields.text("name"),
        status=sys.intern(fields.text("status")),
        region=sys.intern(fields.object("region").text("slug", "") if fields.has("region") else ""),
        size=sys.intern(fields.text("size_slug", "")),
        tags=frozenset(map(sys.intern, fields.texts("tags"))),
        public_ip=_public_ip(fields),
        created_at=fields.date("created_at"),
        price_hourly=(
            fields.object("size").price("price_hourly")
            if fields.has("size") and fields.object("size").has("price_hourly")
            else None
        ),
        locked=fields.truth("locked", default=False),
        seen_at=seen_at,
    )


def _public_ip(fields: Fields) -> str | None:
    """The public IPv4 address. A droplet's private address may come first, or alone."""
    if not fields.has("networks"):
        return None
    for network in fields.object("networks").objects("v4", optional=True):
        if network.text("type", "") == "public":
            return network.text("ip_address")
    return None
