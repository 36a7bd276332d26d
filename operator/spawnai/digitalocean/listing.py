"""DigitalOcean's paged listings, read to the end or not at all."""

from collections.abc import Awaitable, Callable, Hashable, Mapping
from math import ceil
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter

from spawnai.digitalocean.answers import Malformed, member, read
from spawnai.digitalocean.errors import Unavailable
from spawnai.digitalocean.models import Page

Item = TypeVar("Item")

# The most that DigitalOcean gives in one page; its default is 20.
PER_PAGE = 200
# 100,000 objects; a listing that goes on for longer has lost its way.
MOST_PAGES = 500
_WALKS = 3
_TOTAL: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(strict=True, ge=0)])
_NOTHING: Mapping[str, Any] = MappingProxyType({})
# Droplets, firewalls, load balancers and images of ours have it in their names.
_OUR_NAMES = "spawn"


def read_page(
    document: Any,
    name: str,
    adapter: TypeAdapter[Item],
    *,
    also: Mapping[str, Any] = _NOTHING,
    is_foreign: Callable[[Mapping[str, Any]], bool] = lambda _object: False,
) -> Page[Item]:
    """Read one page of a listing.

    Args:
        document: the answer.
        name: the field that holds the list, such as "droplets".
        adapter: the model of one object of it.
        also: what every object is given besides its own fields, such as when it was seen.
        is_foreign: whether an object that cannot be read is certainly not ours. It is left out
            then, and counted.

    Raises:
        Malformed: the list, the total, or an object that may be ours is not as described. A
            listing with a hole must not pass for a complete one.
    """
    objects = member(document, name)
    if not isinstance(objects, list):
        raise Malformed(f"{name} should be a list")
    items: list[Item] = []
    unreadable = 0
    for index, one in enumerate(objects):
        try:
            shown = {**one, **also} if isinstance(one, dict) else one
            items.append(read(adapter, shown, f"{name}[{index}]"))
        except Malformed:
            if not isinstance(one, dict) or not is_foreign(one):
                raise
            unreadable += 1
    total = len(objects)
    if document.get("meta") is not None:
        total = read(_TOTAL, member(document["meta"], "total"), "meta.total")
    has_next = _has_next(document)
    if has_next and not objects:
        raise Malformed(f"{name} is empty although another page is to follow")
    return Page(tuple(items), total, is_last=not has_next, unreadable=unreadable)


def has_no_name_of_ours(shown: Mapping[str, Any]) -> bool:
    """Whether an unreadable object has a readable name, and it is none that this product gives."""
    name = shown.get("name")
    return isinstance(name, str) and _OUR_NAMES not in name.lower()


def _has_next(document: Mapping[str, Any]) -> bool:
    links = document.get("links")
    pages = links.get("pages") if isinstance(links, dict) else None
    return isinstance(pages, dict) and pages.get("next") is not None


async def list_all(
    fetch: Callable[[int], Awaitable[Page[Item]]],
    *,
    identity: Callable[[Item], Hashable],
    pages: int = 1,
) -> tuple[Item, ...]:
    """Read all pages, counted from 1; several from the last to the first.

    When something is deleted meanwhile, what follows it moves up: to pages that are still to be
    read, so nothing slips past, and deletions by the hundred do not spoil a listing. New objects
    come at the end, which is looked at once more. If the listing says that it has more objects
    than were found even so, the walk is done again.

    Args:
        fetch: reads a page.
        identity: tells objects apart.
        pages: about how many there are. A right guess saves a call.

    Raises:
        Unavailable: three walks in a row came out short, or there are too many pages.
    """
    last = pages
    for _ in range(_WALKS):
        page = await fetch(last)
        if not page.is_last or (last > 1 and not page.items):
            last = _pages(page)
            page = await fetch(last)
        found: dict[Hashable, Item] = {}
        unreadable: dict[int, int] = {}
        # The last page comes again when what it showed is not all that there is by then.
        for number in (*range(last, 0, -1), last):
            if unreadable:
                page = await fetch(number)
            unreadable[number] = page.unreadable
            found.update((identity(item), item) for item in page.items)
            if number == 1 and (last == 1 or _count(found, unreadable) >= page.total):
                break
        if _count(found, unreadable) >= page.total:
            return tuple(found.values())
    raise Unavailable(
        f"a listing came out short {_WALKS} times in a row, because it changed while it was read;"
        " it says nothing until it is quiet"
    )


def _count(found: Mapping[Hashable, object], unreadable: Mapping[int, int]) -> int:
    return len(found) + sum(unreadable.values())


def _pages(page: Page[Item]) -> int:
    """How many pages a listing has, by one of them that is full, or by one behind its end."""
    size = PER_PAGE if page.is_last else len(page.items) + page.unreadable
    pages = ceil(page.total / size)
    if pages > MOST_PAGES:
        raise Unavailable(f"a listing has more than {MOST_PAGES} pages of {PER_PAGE}")
    return max(1 if page.is_last else 2, pages)


def pages_of(count: int) -> int:
    """How many pages so many objects take."""
    return max(1, ceil(count / PER_PAGE))
