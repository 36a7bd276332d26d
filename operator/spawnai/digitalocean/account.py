"""What DigitalOcean offers and what the account may use."""

from collections.abc import Collection

from pydantic import TypeAdapter

from spawnai.digitalocean.answers import member, read
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.client import ApiClient, Call
from spawnai.digitalocean.images import Images
from spawnai.digitalocean.listing import PER_PAGE, list_all, read_page
from spawnai.digitalocean.models import Account, Image, Page, Size, owner_of
from spawnai.digitalocean.scopes import Scope, missing_scopes

_SIZE = TypeAdapter(Size)
_ACCOUNT = TypeAdapter(Account)


class Catalog:
    """Sizes with their prices, and the account. Each call may raise any DigitalOceanError."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._images = Images(api)

    async def sizes(self, *, priority: Priority) -> dict[str, Size]:
        """All sizes by slug, with today's prices. One that cannot be read is not on offer."""

        async def fetch(page: int) -> Page[Size]:
            return await self._api.call(
                Call("GET", "/v2/sizes", query={"page": page, "per_page": PER_PAGE}),
                lambda document, _sent_at: read_page(
                    document, "sizes", _SIZE, is_foreign=lambda _size: True
                ),
                priority=priority,
            )

        sizes = await list_all(fetch, identity=lambda size: size.slug)
        return {size.slug: size for size in sizes}

    async def missing_scopes(
        self, wanted: Collection[Scope], *, priority: Priority
    ) -> tuple[Scope, ...]:
        """Which of the scopes the token lacks.

        Raises:
            Unauthorized: the token is wrong.
        """
        return await missing_scopes(self._api, wanted, priority=priority)

    async def image(self, image_id: int, *, priority: Priority) -> Image | None:
        """An image by its number; None when there is none."""
        return await self._images.get(image_id, priority=priority)

    async def account(self, *, priority: Priority) -> Account:
        """The account that the token belongs to.

        Raises:
            Unauthorized: the token is wrong, or may not read the account.
        """
        return await self._api.call(
            Call("GET", "/v2/account"),
            lambda document, _sent_at: read(
                _ACCOUNT, owner_of(member(document, "account")), "account"
            ),
            priority=priority,
        )
