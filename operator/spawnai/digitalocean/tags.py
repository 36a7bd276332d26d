"""Tags of an account, each with how many things carry it. DigitalOcean keeps those of nothing."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AliasPath, Field, TypeAdapter

from spawnai.digitalocean.answers import Tag
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.client import ApiClient, Call
from spawnai.digitalocean.errors import NotFound
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
