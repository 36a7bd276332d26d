"""DigitalOcean's paged listings, read to the end or not at all."""

from collections.abc import Awaitable, Callable, Hashable
from math import ceil
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
    """Read all pages, counted from 1; several from the last to the first.

    When something is deleted meanwhile, what follows it moves up: to pages that are still to be
    read, so nothing slips past, and deletions by the hundred do not spoil a listing. New objects
    come at the end, which is looked at once more. If the listing says that it has more objects
    than were found even so, the walk is done again.

    Raises:
        Unavailable: three walks in a row came out short, or there are too many pages.
    """
    for _ in range(_WALKS):
        page = await fetch(1)
        found = {identity(item): item for item in page.items}
        if not page.is_last:
            found.clear()
            last = _pages(page)
            # The last page comes again when what it showed is not all that there is by then.
            for number in (*range(last, 0, -1), last):
                page = await fetch(number)
                found.update((identity(item), item) for item in page.items)
                if number == 1 and len(found) >= page.total:
                    break
        if len(found) >= page.total:
            return tuple(found.values())
    raise Unavailable(
        f"a listing came out short {_WALKS} times in a row, because it changed while it was read;"
        " it says nothing until it is quiet"
    )


def _pages(first: Page[Item]) -> int:
    """How many pages a listing has, by its first one."""
    pages = ceil(first.total / len(first.items))
    if pages > MOST_PAGES:
        raise Unavailable(f"a listing has more than {MOST_PAGES} pages of {PER_PAGE}")
    return max(2, pages)
