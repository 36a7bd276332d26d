"""Droplets: made once, looked at, listed by tag, deleted by id."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from spawnai.api.names import TAG_PRODUCT
from spawnai.digitalocean.answers import is_public, member, read
from spawnai.digitalocean.budget import Priority, Slot
from spawnai.digitalocean.client import ApiClient, Call
from spawnai.digitalocean.errors import NotFound
from spawnai.digitalocean.images import read_action
from spawnai.digitalocean.listing import (
    PER_PAGE,
    has_no_name_of_ours,
    list_all,
    pages_of,
    read_page,
)
from spawnai.digitalocean.models import Action, Droplet, DropletOrder, Page, Snapshot

_LOGGER = logging.getLogger(__name__)
_DROPLET = TypeAdapter(Droplet)
_SNAPSHOT = TypeAdapter(Snapshot)
# Droplets whose address was found unusable, remembered so that each is told once.
_MOST_TOLD = 1000


class Droplets:
    """The calls below /v2/droplets. Each may raise any DigitalOceanError."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._told: set[int] = set()
        # How many pages a tag's listing had last time, where it had several.
        self._pages: dict[str, int] = {}

    async def create(self, order: DropletOrder, *, priority: Priority | Slot) -> Droplet:
        """Order one droplet. It has no address yet, and its tags may show a little later.

        Raises:
            Ambiguous: it may have been made. Names are not unique and there is no idempotency
                key, so look for it, for as long as a listing may lag, before ordering again.
            OverQuota, NoCapacity, UnknownOption, Refused: nothing was made.
        """
        body: dict[str, Any] = {
            "name": order.name,
            "region": order.region,
            "size": order.size,
            "image": order.image,
            "user_data": order.user_data,
            "tags": list(order.tags),
            "monitoring": False,
            "with_droplet_agent": False,
        }
        if order.ssh_keys:
            body["ssh_keys"] = list(order.ssh_keys)
        return await self._api.call(
            Call("POST", "/v2/droplets", body=body), self._read, priority=priority
        )

    async def get(self, droplet_id: int, *, priority: Priority) -> Droplet | None:
        """The droplet, or None when DigitalOcean itself says that there is none."""
        try:
            return await self._api.call(
                Call("GET", "/v2/droplets/{id}", {"id": droplet_id}),
                self._read,
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

    async def act(
        self, droplet_id: int, kind: str, *, name: str | None = None, priority: Priority | Slot
    ) -> Action:
        """Begin an action: "power_off", "power_on", "reboot", "shutdown" or "snapshot".

        The droplet is locked meanwhile. A snapshot's image is found by `name`, which has to be
        unique: see snapshots(). It is clean when the droplet's status is "off", not when the action
        that powers it off has ended.

        Raises:
            Ambiguous: it may have begun: the droplet and its snapshots tell.
            Busy: another action is under way.
            NotFound: there is no such droplet.
        """
        body = {"type": kind} if name is None else {"type": kind, "name": name}
        return await self._api.call(
            Call("POST", "/v2/droplets/{id}/actions", {"id": droplet_id}, body=body),
            read_action,
            priority=priority,
        )

    async def rename(self, droplet_id: int, name: str, *, priority: Priority | Slot) -> Action:
        """Begin to give the droplet another name: it shows when the action has ended.

        The droplet is locked meanwhile, also for its deletion. Safe to repeat.

        Raises:
            Busy: another action is under way, such as this one, when its answer was lost.
            NotFound: there is no such droplet.
        """
        return await self._api.call(
            Call(
                "POST",
                "/v2/droplets/{id}/actions",
                {"id": droplet_id},
                body={"type": "rename", "name": name},
                repeatable=True,
            ),
            read_action,
            priority=priority,
        )

    async def action(self, droplet_id: int, action_id: int, *, priority: Priority) -> Action | None:
        """An action of the droplet as it is now; None: there is none."""
        try:
            return await self._api.call(
                Call(
                    "GET",
                    "/v2/droplets/{id}/actions/{action}",
                    {"id": droplet_id, "action": action_id},
                ),
                read_action,
                priority=priority,
            )
        except NotFound:
            return None

    async def snapshots(self, droplet_id: int, *, priority: Priority) -> tuple[Snapshot, ...]:
        """The snapshots of the droplet, complete or not at all.

        Raises:
            NotFound: there is no such droplet: its images are in Images.list_own().
        """

        async def fetch(page: int) -> Page[Snapshot]:
            return await self._api.call(
                Call(
                    "GET",
                    "/v2/droplets/{id}/snapshots",
                    {"id": droplet_id},
                    {"page": page, "per_page": PER_PAGE},
                ),
                lambda document, _sent_at: read_page(document, "snapshots", _SNAPSHOT),
                priority=priority,
            )

        return await list_all(fetch, identity=lambda snapshot: snapshot.id)

    async def list_by_tag(self, tag: str, *, priority: Priority) -> tuple[Droplet, ...]:
        """All droplets with the tag, from all pages.

        A droplet that was just made may still be missing, and one that was just deleted may
        still be there.

        Raises:
            Unavailable: among others, when the pages kept shifting while they were read.
        """
        listed = await list_all(
            lambda page: self.list_page(tag, page, priority=priority),
            identity=lambda droplet: droplet.id,
            pages=self._pages.get(tag, 1),
        )
        # Most tags have one: there are new ones every ten minutes.
        self._pages.pop(tag, None)
        if (pages := pages_of(len(listed))) > 1:
            self._pages[tag] = pages
        return listed

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
            lambda document, sent_at: self._with_usable_addresses(
                read_page(
                    document,
                    "droplets",
                    _DROPLET,
                    also={"seen_at": sent_at},
                    # What a tag of ours lists is ours.
                    is_foreign=lambda shown: not filters and _looks_foreign(shown),
                )
            ),
            priority=priority,
        )

    def _read(self, document: Any, sent_at: datetime) -> Droplet:
        shown = member(document, "droplet")
        also = {**shown, "seen_at": sent_at} if isinstance(shown, dict) else shown
        return self._with_usable_address(read(_DROPLET, also, "droplet"))

    def _with_usable_addresses(self, page: Page[Droplet]) -> Page[Droplet]:
        return replace(page, items=tuple(map(self._with_usable_address, page.items)))

    def _with_usable_address(self, droplet: Droplet) -> Droplet:
        """The droplet, without an address that the operator must not connect to."""
        address = droplet.public_ip
        if address is None or is_public(address, self._api.droplet_networks):
            return droplet
        if droplet.id not in self._told:
            if len(self._told) >= _MOST_TOLD:
                self._told.clear()
            self._told.add(droplet.id)
            _LOGGER.warning(
                "Droplet %s shows %.40r as its address, which is not a public IPv4 address: it is"
                " not used. A local cloud's network is named by SPAWNAI_DROPLET_NETWORKS",
                droplet.id,
                address,
            )
        return replace(droplet, public_ip=None)


def _looks_foreign(shown: Mapping[str, Any]) -> bool:
    """Whether an unreadable droplet of the account shows neither a name nor a tag of ours."""
    tags = shown.get("tags")
    tagged = isinstance(tags, list) and TAG_PRODUCT in tags
    return has_no_name_of_ours(shown) and not tagged
