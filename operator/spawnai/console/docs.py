"""The API's documentation for people, at /api/docs: its OpenAPI document as one plain page.

No script and no style of others: the console's own style sheet, and nothing that its
Content-Security-Policy forbids.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

Document = Mapping[str, Any]

_SCHEMA = "#/components/schemas/"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} API</title>
<link rel="icon" href="../icon.svg">
<link rel="stylesheet" href="../style.css">
</head>
<body>
<main class="api">
{content}
</main>
</body>
</html>
"""


class Docs:
    """The route.

    Args:
        document: gives the OpenAPI document.
    """

    def __init__(self, document: Callable[[], Document]) -> None:
        self._document = document
        self.router = router = APIRouter(include_in_schema=False)
        router.add_api_route("/api/docs", self.page, methods=["GET"])

    async def page(self) -> HTMLResponse:
        """The page."""
        return HTMLResponse(docs_page(self._document()))


def docs_page(document: Document) -> str:
    """The whole page, as HTML."""
    title = escape(document["info"]["title"])
    return _PAGE.format(title=title, content="\n".join(_content(document)))


def _content(document: Document) -> Iterator[str]:
    info = document["info"]
    yield f"<h1>{escape(info['title'])} API <small>{escape(info['version'])}</small></h1>"
    yield _paragraphs(info.get("description", ""))
    yield '<p>For programs: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p>'
    yield '<nav aria-label="Requests"><ul>'
    for method, path, operation in _operations(document):
        name = escape(operation["operationId"])
        request = f"<code>{method} {escape(path)}</code>"
        yield f'<li><a href="#{name}">{request}</a> {escape(operation["summary"])}</li>'
    yield "</ul></nav>"
    for method, path, operation in _operations(document):
        yield from _operation(method, path, operation)
    yield "<h2>Bodies</h2>"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from _schema(name, schema)


def _operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _operation(method: str, path: str, operation: Document) -> Iterator[str]:
    yield f'<section id="{escape(operation["operationId"])}">'
    yield f"<h2><code>{method} {escape(path)}</code></h2>"
    yield _paragraphs(operation.get("description") or operation["summary"])
    rows = [
        (
            f"<code>{escape(one['name'])}</code>",
            f"{escape(one['in'])}{', required' if one.get('required') else ''}",
            _type(one["schema"]),
            _line(one.get("description") or one["schema"].get("description", "")),
        )
        for one in operation.get("parameters", [])
    ]
    if rows:
        yield _table(("parameter", "where", "type", "meaning"), rows)
    if (body := operation.get("requestBody")) is not None:
        yield f"<p>Body: {_contents(body)}</p>"
    answers = [
        (f"<code>{escape(status)}</code>", _line(one["description"]), _contents(one))
        for status, one in operation["responses"].items()
    ]
    yield _table(("answer", "meaning", "body"), answers)
    yield "</section>"


def _contents(holder: Document) -> str:
    return "; ".join(
        f"{escape(kind)}: {_type(one.get('schema', {}))}"
        for kind, one in holder.get("content", {}).items()
    )


def _schema(name: str, schema: Document) -> Iterator[str]:
    yield f'<section id="schema-{escape(name)}"><h3>{escape(name)}</h3>'
    yield _paragraphs(schema.get("description", ""))
    required = schema.get("required", ())
    rows = [
        (
            f"<code>{escape(field)}</code>{' (required)' if field in required else ''}",
            _type(one),
            _line(one.get("description", "")),
        )
        for field, one in schema.get("properties", {}).items()
    ]
    yield _table(("field", "type", "meaning"), rows) if rows else f"<p>{_type(schema)}</p>"
    yield "</section>"


def _type(schema: Document) -> str:
    """A type in a few words, with a link where it is one of the bodies."""
    if (reference := schema.get("$ref")) is not None:
        name = escape(reference.removeprefix(_SCHEMA))
        return f'<a href="#schema-{name}">{name}</a>'
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(_type(one) for one in schema[several])
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    kind = escape(str(schema.get("type", "any")))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    words = [kind, escape(schema.get("format", ""))]
    if "maxLength" in schema:
        words.append(f"at most {schema['maxLength']} characters")
    if "pattern" in schema:
        words.append(f"<code>{escape(schema['pattern'])}</code>")
    return " ".join(word for word in words if word)


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f'<th scope="col">{one}</th>' for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{one}</td>' for one in row)}</tr>" for row in rows)
    return (
        '<div class="wide" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _paragraphs(text: str) -> str:
    """Plain text as paragraphs; between backticks stands code."""
    paragraphs = (" ".join(one.split()) for one in text.strip().split("\n\n"))
    return "".join(f"<p>{_line(one)}</p>" for one in paragraphs)


def _line(text: str) -> str:
    parts = escape(text).split("`")
    return "".join(f"<code>{one}</code>" if n % 2 else one for n, one in enumerate(parts))
