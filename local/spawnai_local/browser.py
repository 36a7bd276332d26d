"""Fetch a page as a browser outside the cloud would: resolve the name, connect, read what comes.

The names of the local cloud's domain are known only to its own DNS server, so that server is asked
for them, over the network, as a resolver would.
"""

import ssl
from dataclasses import dataclass
from html.parser import HTMLParser
from ipaddress import ip_address
from urllib.parse import urlsplit

import dns.asyncresolver
import dns.exception
import dns.resolver
import httpx

SECONDS_PER_FETCH = 5.0
SECONDS_PER_LOOKUP = 3.0


class FetchError(Exception):
    """Nothing came back: the name does not resolve, or nobody answers there."""


@dataclass(frozen=True, slots=True)
class DnsServer:
    """Where to ask for names."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Page:
    """What came back for a URL."""

    url: str
    address: str
    status: int
    content_type: str
    text: str

    @property
    def title(self) -> str:
        """The document's title, else its first heading, else nothing."""
        reader = _read(self.text)
        return reader.title or reader.heading

    def lines(self, count: int) -> list[str]:
        """The first lines that a person would see; markup and blank lines are left out."""
        is_html = "html" in self.content_type
        text = _read(self.text).visible if is_html else self.text
        return [line for line in (line.strip() for line in text.splitlines()) if line][:count]


async def lookup(host: str, server: DnsServer | None) -> tuple[str, ...]:
    """The IPv4 addresses of a name, none when there is no such name.

    Raises:
        FetchError: the DNS server did not answer.
    """
    resolver = dns.asyncresolver.Resolver(configure=server is None)
    if server is not None:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(server.address, server.port)]
    resolver.cache = None
    try:
        answer = await resolver.resolve(host, "A", lifetime=SECONDS_PER_LOOKUP, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return ()
    except dns.exception.DNSException as error:
        asked = "the system's resolver" if server is None else f"the DNS server at {server}"
        raise FetchError(f"{asked} gave no answer for {host}: {error}") from error
    return tuple(record.address for record in answer)


async def fetch(
    url: str,
    *,
    server: DnsServer | None = None,
    method: str = "GET",
    document: object | None = None,
    ca: str | None = None,
    limit_seconds: float = SECONDS_PER_FETCH,
) -> Page:
    """Fetch a URL, following redirects within its host; `document` is sent as JSON.

    `ca`: a file with the root that certificates are checked by; None: the system's.

    Raises:
        FetchError: the name does not resolve, or nothing answered there in time.
    """
    parts = urlsplit(url)
    host = parts.hostname
    if parts.scheme not in ("http", "https") or host is None:
        raise FetchError(f"expected a URL like https://name/path, not {url!r}")
    address = await _address(host, server)
    # The connection goes to the address, the Host header names the site: what a browser does.
    port = "" if parts.port is None else f":{parts.port}"
    target = parts._replace(netloc=f"{address}{port}").geturl()
    try:
        async with httpx.AsyncClient(
            timeout=limit_seconds,
            trust_env=False,
            verify=ssl.create_default_context(cafile=ca),
            headers={"Host": f"{host}{port}"},
        ) as client:
            # The certificate has to be the name's, not the address's.
            sni = {} if address == host else {"sni_hostname": host}
            answer = await client.request(method, target, json=document, extensions=sni)
            if answer.has_redirect_location and answer.headers["location"].startswith("/"):
                onward = str(answer.url.join(answer.headers["location"]))
                answer = await client.get(onward, extensions=sni)
    except httpx.HTTPError as error:
        what = str(error) or type(error).__name__
        raise FetchError(f"{method} {url} ({address}) got no answer: {what}") from error
    return Page(
        url=url,
        address=address,
        status=answer.status_code,
        content_type=answer.headers.get("content-type", ""),
        text=answer.text,
    )


async def _address(host: str, server: DnsServer | None) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        addresses = await lookup(host, server)
    if not addresses:
        asked = "" if server is None else f" (asked the DNS server at {server})"
        raise FetchError(f"there is no name {host}{asked}")
    return addresses[0]


class _Reader(HTMLParser):
    """Collects a page's title, first heading and visible text."""

    _HIDDEN = frozenset({"script", "style", "template", "noscript", "title", "head"})
    _BLOCKS = frozenset(
        {"address", "article", "br", "button", "div", "dd", "dl", "dt", "footer", "form", "h1"}
        | {"h2", "h3", "h4", "header", "hr", "label", "li", "main", "nav", "ol", "p", "pre"}
        | {"section", "table", "td", "th", "tr", "ul", "body"}
    )

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.heading = ""
        self.visible = ""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag in self._BLOCKS:
            self.visible += "\n"
        if tag in self._HIDDEN or tag == "h1":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            del self._open[self._open.index(tag) :]
        if tag in self._BLOCKS:
            self.visible += "\n"

    def handle_data(self, data: str) -> None:
        if "title" in self._open:
            self.title = f"{self.title}{data}".strip()
        elif not self._HIDDEN.intersection(self._open):
            self.visible += data
            if "h1" in self._open and not self.heading:
                self.heading = data.strip()


def _read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader
