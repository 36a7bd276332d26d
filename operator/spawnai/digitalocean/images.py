"""Images of the account: made by a droplet's snapshot action, moved between regions, deleted.

A snapshot exists in the region of its droplet until the action `transfer` has taken it to another
one, which may take half an hour. Nothing but its name tells which action made it.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter

from spawnai.digitalocean.answers import member, read
from spawnai.digitalocean.budget import Priority, Slot
from spawnai.digitalocean.client import ApiClient, Call
from spawnai.digitalocean.errors import NotFound
from spawnai.digitalocean.listing import PER_PAGE, has_no_name_of_ours, list_all, read_page
from spawnai.digitalocean.models import Action, Image, Page

GIGABYTE_PRICE_MONTHLY = Decimal("0.06")
"""Dollars for a gigabyte and month of a snapshot, however many regions have it. DigitalOcean's
price list of 2026-11; no call tells it.
"""

_IMAGE = TypeAdapter(Image)
_ACTION = TypeAdapter(Action)


class Images:
    """The calls below /v2/images. Each may raise any DigitalOceanError."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def get(self, identifier: int | str, *, priority: Priority) -> Image | None:
        """The image of that id or slug, or None when DigitalOcean itself says that there is none.

        DigitalOcean retires the slugs of its own images.
        """
        try:
            return await self._api.call(
                Call("GET", "/v2/images/{id}", {"id": identifier}),
                lambda document, _sent_at: read(_IMAGE, member(document, "image"), "image"),
                priority=priority,
            )
        except NotFound:
            return None

    async def list_own(self, *, priority: Priority) -> tuple[Image, ...]:
        """All images of the account, complete or not at all."""

        async def fetch(page: int) -> Page[Image]:
            return await self._api.call(
                Call(
                    "GET",
                    "/v2/images",
                    query={"private": "true", "page": page, "per_page": PER_PAGE},
                ),
                lambda document, _sent_at: read_page(
                    document, "images", _IMAGE, is_foreign=has_no_name_of_ours
                ),
                priority=priority,
            )

        return await list_all(fetch, identity=lambda image: image.id)

    async def transfer(self, image_id: int, region: str, *, priority: Priority | Slot) -> Action:
        """Begin to copy the image to another region.

        Raises:
            Ambiguous: it may have begun: the image's regions and actions tell.
            Busy: another action of the image is under way.
            NotFound: there is no such image.
        """
        return await self._api.call(
            Call(
                "POST",
                "/v2/images/{id}/actions",
                {"id": image_id},
                body={"type": "transfer", "region": region},
            ),
            read_action,
            priority=priority,
        )

    async def action(self, image_id: int, action_id: int, *, priority: Priority) -> Action | None:
        """An action of the image as it is now; None: there is none."""
        try:
            return await self._api.call(
                Call(
                    "GET",
                    "/v2/images/{id}/actions/{action}",
                    {"id": image_id, "action": action_id},
                ),
                read_action,
                priority=priority,
            )
        except NotFound:
            return None

    async def delete(self, image_id: int, *, priority: Priority) -> bool:
        """Delete the image in all its regions. True: done. False: it was gone already."""
        try:
            await self._api.call(
                Call("DELETE", "/v2/images/{id}", {"id": image_id}),
                lambda _document, _sent_at: None,
                priority=priority,
            )
        except NotFound:
            return False
        return True


def read_action(document: Any, _sent_at: datetime) -> Action:
    """Read an action. Those of images come in no envelope by DigitalOcean's description.

    Raises:
        Malformed: it is none.
    """
    enveloped = isinstance(document, dict) and "action" in document
    return read(_ACTION, document["action"] if enveloped else document, "action")
