"""Tags of an account, each with how many things carry it. DigitalOcean keeps those of nothing."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AliasPath, Field, TypeAdapter

from spawnai.digitalocean.answers import Tag, member, read
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.client import ApiClient, Call
from spawnai.digitalocean.errors import AlreadyExists, NotFound
from spawnai.digitalocean.listing import PER_PAGE, list_all, read_page
from spawnai.digitalocean.models import Page


@dataclass(frozen=True, slots=True)
class CountedTag:
    """A tag, and how many things of any kind carry it."""

    name: Tag
    count: Annotated[
        int, Field(strict=True, ge=0, validation_alias=AliasPath("resources", "count"))
    ]


_TAG = TypeAdapter(CountedTag)
_NAME: TypeAdapter[str] = TypeAdapter(Tag)


class Tags:
    """The calls below /v2/tags. Each may raise any DigitalOceanError."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def list(self, *, priority: Priority) -> tuple[CountedTag, ...]:
        """All tags of the account that can be read, complete or not at all."""

        async def fetch(page: int) -> Page[CountedTag]:
            return await self._api.call(
                Call("GET", "/v2/tags", query={"page": page, "per_page": PER_PAGE}),
                lambda document, _sent_at: read_page(
                    document, "tags", _TAG, is_foreign=lambda _tag: True
                ),
                priority=priority,
            )

        return await list_all(fetch, identity=lambda tag: tag.name)

    async def ensure(self, name: str, *, priority: Priority) -> str:
        """Make the tag exist. Returns it as it is spelled: the first spelling of a name stays.

        A tag is its name, so doing it again changes nothing.
        """
        try:
            return await self._api.call(
                Call("POST", "/v2/tags", body={"name": name}, repeatable=True),
                lambda document, _sent_at: read(
                    _NAME, member(member(document, "tag"), "name"), "tag"
                ),
                priority=priority,
            )
        except AlreadyExists:
            return name

    async def tag(self, name: str, droplet_id: int, *, priority: Priority) -> None:
        """Put the tag on the droplet, and make it where there is none: two calls.

        It may show on the droplet a little later, as do the tags of a new droplet. Safe to repeat.

        Raises:
            NotFound: there is no such droplet.
        """
        spelled = await self.ensure(name, priority=priority)
        await self._api.call(
            Call(
                "POST",
                "/v2/tags/{name}/resources",
                {"name": spelled},
                body=_resources(droplet_id),
                repeatable=True,
            ),
            lambda _document, _sent_at: None,
            priority=priority,
        )

    async def untag(self, name: str, droplet_id: int, *, priority: Priority) -> bool:
        """Take the tag off the droplet. True: it is off. False: no such tag, or no such droplet.

        It may still show on the droplet for a little while. Safe to repeat.
        """
        try:
            await self._api.call(
                Call(
                    "DELETE",
                    "/v2/tags/{name}/resources",
                    {"name": name},
                    body=_resources(droplet_id),
                ),
                lambda _document, _sent_at: None,
                priority=priority,
            )
        except NotFound:
            return False
        return True

    async def delete(self, name: str, *, priority: Priority) -> bool:
        """Delete the tag, also from whatever carries it. True: done. False: it was gone already."""
        try:
            await self._api.call(
                Call("DELETE", "/v2/tags/{name}", {"name": name}),
                lambda _document, _sent_at: None,
                priority=priority,
            )
        except NotFound:
            return False
        return True


def _resources(droplet_id: int) -> dict[str, Any]:
    return {"resources": [{"resource_id": str(droplet_id), "resource_type": "droplet"}]}
