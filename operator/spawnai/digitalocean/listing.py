"""DigitalOcean's paged listings, read to the end or not at all."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from spawnai.digitalocean.answers import Fields, Malformed
from spawnai.digitalocean.errors import Unavailable
from spawnai.digitalocean.models import Page

Item = TypeVar("Item")

# The most that DigitalOcean gives in one page; its default is 20.
PER_PAGE = 200
# 100,000 objects; a listing that goes on for longer has lost its way.
MOST_PAGES = 500
_WALKS = 3


def read_page(document: Any, name: str, read: Callable[[Fields], Item]) -> Page[Item]:
    """Read one page of a listing.

    Args:
        document: the answer.
        name: the field that holds the list, such as "droplets".
        read: reads one object of it.

    Raises:
        Malformed: the list, the total, or any one object is not as described. One unreadable
            object spoils the page: a listing with a hole must not pass for a complete one.
    """
    fields = Fields(document)
    items = tuple(read(item) for item in fields.objects(name))
    total = fields.object("meta").whole("total") if fields.has("meta") else len(items)
    has_next = False
    if fields.has("links") and fields.object("links").has("pages"):
        has_next = fields.object("links").object("pages").has("next")
    if has_next and not items:
        raise Malformed(f"{name} is empty although another page is to follow")
    return Page(items, total, is_last=not has_next)


async def list_all(
    fetch: Callable[[int], Awaitable[Page[Item]]], *, identity: Callable[[Item], Hashable]
) -> tuple[Item, ...]:
    """Read all pages, counted from 1.

    When something is deleted between two pages, what follows moves up and an object can slip
    past. That shows as fewer objects than the listing said it has; then the walk is done again.

    Raises:
        Unavailable: three walks in a row came out short, or there was no end of pages.
    """
    for _ in range(_WALKS):
        found: dict[Hashable, Item] = {}
        total = 0
        for number in range(1, MOST_PAGES + 1):
            page = await fetch(number)
            found.update((identity(item), item) for item in page.items)
            # The most that any page told: what was deleted in between is among those found.
            total = max(total, page.total)
            if page.is_last:
                if len(found) >= total:
                    return tuple(found.values())
                break
        else:
            raise Unavailable(f"a listing has more than {MOST_PAGES} pages of {PER_PAGE}")
    raise Unavailable(
        f"a listing came out short {_WALKS} times in a row, because things were deleted while it"
        " was read; it says nothing until it is quiet"
    )
