"""What goes in and out of the emulator, apart from any HTTP server."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode

from spawnai_local.digitalocean import errors
from spawnai_local.digitalocean.state.droplets import AS_USUAL, Anomalies

Item = TypeVar("Item")
LARGEST_PAGE = 200
USUAL_PAGE = 20


@dataclass(slots=True)
class Request:
    """A request as it came in.

    Headers are found by their lower-case names; `parameters` holds what the path's template names.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    base_url: str = "http://127.0.0.1"
    parameters: dict[str, str] = field(default_factory=dict)
    anomalies: Anomalies = AS_USUAL
    _document: Any = None

    def document(self) -> dict[str, Any]:
        """Return the body, which must be a JSON object.

        Raises:
            ApiError: 400, it is none.
        """
        if self._document is None:
            try:
                document = json.loads(self.body or b"{}")
            except ValueError:
                raise errors.bad_request("error parsing request body") from None
            if not isinstance(document, dict):
                raise errors.bad_request("error parsing request body")
            self._document = document
        return dict(self._document)

    def number(self, parameter: str) -> int:
        """Return a parameter of the path that is an id.

        Raises:
            ApiError: 404, it is no number, so there is no such object.
        """
        text = self.parameters[parameter]
        if not text.isascii() or not text.isdigit():
            raise errors.not_found()
        return int(text)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: a status, JSON text (None: no body) and headers beside the usual ones."""

    status: int
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> Any:
        """Return the body as Python values; None if there is none."""
        return None if self.body is None else json.loads(self.body)


Handler = Callable[[Request], Answer]


def answer(status: int, document: Any) -> Answer:
    """Return an answer with a JSON body."""
    return Answer(status, json.dumps(document).encode())


def nothing() -> Answer:
    """Return 204 without a body."""
    return Answer(204)


def refusal(error: errors.ApiError, request_id: str) -> Answer:
    """Return an error as the API answers it."""
    document = {"id": error.identifier, "message": error.message, "request_id": request_id}
    return Answer(error.status, json.dumps(document).encode(), error.headers)


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a listing is wanted; pages count from 1."""

    number: int
    size: int

    @classmethod
    def of(cls, request: Request) -> "Page":
        """Read `page` and `per_page`: 20 items unless told, never more than 200."""
        return cls(
            max(1, _number(request.query.get("page"), 1)),
            min(LARGEST_PAGE, max(1, _number(request.query.get("per_page"), USUAL_PAGE))),
        )

    @property
    def start(self) -> int:
        """The index of the page's first item."""
        return (self.number - 1) * self.size

    def tail(self, request: Request, total: int) -> str:
        """Return the `links` and `meta` that end every listing, as JSON members."""
        last = max(1, -(-total // self.size))
        kept = {key: value for key, value in request.query.items() if key not in PAGE_KEYS}

        def link(number: int) -> str:
            query = urlencode({"page": number, "per_page": self.size, **kept})
            return f"{request.base_url}{request.path}?{query}"

        pages = {}
        if self.number > 1:
            pages["first"] = link(1)
            pages["prev"] = link(min(self.number - 1, last))
        if self.number < last:
            pages["next"] = link(self.number + 1)
            pages["last"] = link(last)
        links = {"pages": pages} if pages else {}
        return f'"links":{json.dumps(links)},"meta":{{"total":{total}}}'


PAGE_KEYS = ("page", "per_page")


def _number(text: str | None, usual: int) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else usual


def listing(
    request: Request, key: str, items: Sequence[Item], document: Callable[[Item], Any]
) -> Answer:
    """Return the wanted page of a list; `document` tells how an item is shown."""
    page = Page.of(request)
    shown = json.dumps([document(item) for item in items[page.start : page.start + page.size]])
    return Answer(200, f'{{"{key}":{shown},{page.tail(request, len(items))}}}'.encode())
