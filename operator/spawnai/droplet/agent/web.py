"""Caddy, which serves everyone: what it is to serve, and keeping it running.

Caddy is told its configuration through a socket in a folder that only its user and the agent can
enter, as JSON, which Caddy 2.6 (Debian 12, Ubuntu 24.04) and 2.11 read alike. A new one takes
effect within milliseconds and drops no request; a wrong one changes nothing. Keys travel in the
configuration, so Caddy never reads one from a file.
"""

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .bundle import Refused, remove
from .processes import (
    SANDBOX,
    WEB_UNIT,
    WEB_USER,
    PlainProcess,
    Sink,
    UnitProcess,
)
from .settings import PATH, VERSION, Certificate, Machine
from .state import Journal, complain, write_atomically

CHALLENGE_PATH = "/.well-known/acme-challenge"
CHALLENGES_MAX = 16
HEALTH_HEADER = "X-SpawnAI-Agent"
HOSTS_MAX = 16
ADMIN_SOCKET = "admin.sock"
ADMIN_SECONDS = 10.0
# Who names its word has the trial: a browser in a cookie, whose every request brings it, but for
# those that a page sends without cookies. Those bring the header.
TRIAL_HEADER = "X-SpawnAI-Trial"
TRIAL_COOKIE = "spawnai-trial"
TRIAL_WORD = "{http.regexp.trial.1}"
UP = frozenset({"running", "finished"})
# Files in routes/ that say what holds for the app: it is over; its second port is the one.
ENDED = "ended"
SECOND = "second"
STREAM_DELAY = "stream_close_delay"  # of a reverse proxy, since Caddy 2.7


@dataclass(frozen=True, slots=True)
class Exposure:
    """What the operator decided about the doors: web.json.

    `hosts` are the droplet's own names; Caddy answers 421 for all others, because proxies keep
    connections by address, and an address may have been another droplet's. Empty: not told yet,
    every name is answered.
    """

    hosts: tuple[str, ...] = ()
    redirect_http: bool = False
    certificate: Certificate | None = None


# --- The configuration, as data ---------------------------------------------------------------


def caddy_config(
    machine: Machine, base: Path, exposure: Exposure, private: Certificate | None, app: list[Any]
) -> dict[str, Any]:
    """All that Caddy does; `app` are the routes of the app itself."""
    certificates = [one for one in (private, exposure.certificate) if one]
    own = _only_own_hosts(exposure.hosts)
    health = _health(base)
    port = "" if machine.https_port == 443 else f":{machine.https_port}"  # noqa: PLR2004
    to_https = {
        "handler": "static_response",
        "status_code": 308,
        "headers": {"Location": [f"https://{{http.request.host}}{port}{{http.request.uri}}"]},
    }
    plain = [{"handle": [to_https]}] if exposure.redirect_http else app

    def server(port: int, routes: list[Any]) -> dict[str, Any]:
        return {
            "listen": [f"{machine.bind_address}:{port}"],
            "protocols": ["h1", "h2"],
            "automatic_https": {"disable": True},
            "routes": routes,
            "errors": {"routes": _unavailable(base)},
        }

    servers = {"http": server(machine.http_port, [_challenges(base), health, *own, *plain])}
    if certificates:
        https = server(machine.https_port, [health, *own, *app])
        names = exposure.certificate.names if exposure.certificate else ()
        # Who asks for a bare address names no host in the handshake (RFC 6066).
        policy = {"default_sni": next(filter(_is_address, names), names[0])} if names else {}
        servers["https"] = https | {"tls_connection_policies": [policy]}
    return _admin() | {
        "logging": {"logs": {"default": {"level": "ERROR", "exclude": ["http.log.error"]}}},
        "apps": {
            "http": {
                "http_port": machine.http_port,
                "https_port": machine.https_port,
                "grace_period": "10s",
                "servers": servers,
            },
            "tls": {
                "certificates": {
                    "load_pem": [{"certificate": one.chain, "key": one.key} for one in certificates]
                }
            },
        },
    }


def app_routes(machine: Machine, base: Path, *, is_server: bool) -> list[Any]:
    """The routes of the app itself. They never change: files say what holds, so that a switch from
    one revision to the next costs no connection.
    """
    ended = {"handler": "error", "status_code": 410}
    routes = [
        {"match": [_is_there(base, ENDED)], "handle": [ended]},
        _trial(machine, base, is_server=is_server),
    ]
    if not is_server:
        return routes + _file_routes(str(base / "site"))
    second = {"match": [_is_there(base, SECOND)], "handle": [_proxy(machine.app_port + 1)]}
    first = {"handle": [_proxy(machine.app_port)]}
    return [*routes, second | {"terminal": True}, first]


def _trial(machine: Machine, base: Path, *, is_server: bool) -> dict[str, Any]:
    """To the revision that is held, for who names its word; for everyone else, nothing.

    The word is a name in `trials`, so that holding a revision changes no configuration.
    """
    word = {"name": "trial", "pattern": r"^([A-Za-z0-9_-]{32})$"}
    cookie = word | {"pattern": rf"(?:^|; ){TRIAL_COOKIE}=([A-Za-z0-9_-]{{32}})(?:;|$)"}
    named = [{"header_regexp": {TRIAL_HEADER: word}}, {"header_regexp": {"Cookie": cookie}}]
    trials = str(base / "trials")

    def shown(name: str, handle: list[Any]) -> dict[str, Any]:
        match = {"file": {"root": trials, "try_files": [f"/{name}"]}}
        return {"match": [match], "handle": handle, "terminal": True}

    if is_server:
        ports = (machine.app_port, machine.app_port + 1)
        routes = [shown(f"{port}-{TRIAL_WORD}", [_proxy(port)]) for port in ports]
    else:
        files = _file_routes(f"{trials}/{TRIAL_WORD}")
        routes = [shown(f"{TRIAL_WORD}/", [{"handler": "subroute", "routes": files}])]
    return {"match": named, "handle": [{"handler": "subroute", "routes": routes}]}


def _is_there(base: Path, name: str) -> dict[str, Any]:
    return {"file": {"root": str(base / "routes"), "try_files": [f"/{name}"]}}


def _proxy(port: int) -> dict[str, Any]:
    """To an app with a process of its own.

    Open WebSockets outlive a change of the configuration: Caddy 2.6 would close them at once, and
    a later one when this delay is over.
    """
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"localhost:{port}"}],
        STREAM_DELAY: "24h",
        # An app sets no cookies for the domain that it shares with the apps of others.
        "headers": {
            "response": {
                "replace": {
                    "Set-Cookie": [{"search_regexp": r"(?i);\s*domain=[^;]*", "replace": ""}]
                }
            }
        },
    }


def _file_routes(site: str) -> list[Any]:
    """To an app that is the files in a folder.

    A path without a file ending belongs to the app's own router, so it gets the app's page; below
    /api/ no app of this type has a router, and 404 is the truth.
    """
    is_page = {
        "not": [
            {"path_regexp": {"pattern": r"\.[A-Za-z0-9]+$"}},
            {"path": ["/api", "/api/*"]},
        ],
        "file": {
            "root": site,
            "try_files": ["{http.request.uri.path}", "{http.request.uri.path}/", "/index.html"],
        },
    }
    folder, _, name = site.rpartition("/")
    is_missing = {"not": [{"file": {"root": folder, "try_files": [f"/{name}/"]}}]}
    return [
        {"match": [is_missing], "handle": [{"handler": "error", "status_code": 503}]},
        {
            "match": [is_page],
            "handle": [{"handler": "rewrite", "uri": "{http.matchers.file.relative}"}],
        },
        {"handle": [{"handler": "file_server", "root": site}]},
    ]


def _admin() -> dict[str, Any]:
    # A relative path: one of a socket has at most 107 bytes. The port of the default stays closed.
    return {"admin": {"listen": f"unix/{ADMIN_SOCKET}", "config": {"persist": False}}}


def _challenges(base: Path) -> dict[str, Any]:
    """Before everything else: an ACME server asks by plain HTTP, whatever the app does."""
    return {
        "match": [{"path": [f"{CHALLENGE_PATH}/*"]}],
        "handle": [
            {"handler": "rewrite", "strip_path_prefix": CHALLENGE_PATH},
            {"handler": "file_server", "root": str(base / "challenges")},
        ],
        "terminal": True,
    }


def _health(base: Path) -> dict[str, Any]:
    """/health for every host name; the agent leaves one of two files there."""
    root = str(base / "health")
    word = {
        "handler": "headers",
        "response": {"set": {HEALTH_HEADER: [VERSION], "Cache-Control": ["no-store"]}},
    }

    def answer(file: str, **more: Any) -> list[Any]:
        return [
            {"handler": "rewrite", "uri": f"/{file}"},
            {"handler": "file_server", "root": root, **more},
        ]

    is_up = {"file": {"root": root, "try_files": ["/up.json"]}}
    routes = [
        {"handle": [word]},
        {"match": [is_up], "handle": answer("up.json"), "terminal": True},
        {"handle": answer("down.json", status_code=503)},
    ]
    return {
        "match": [{"path": ["/health"]}],
        "handle": [{"handler": "subroute", "routes": routes}],
        "terminal": True,
    }


def _only_own_hosts(hosts: tuple[str, ...]) -> list[Any]:
    if not hosts:
        return []
    refuse = {
        "handler": "static_response",
        "status_code": 421,
        "body": "this droplet serves another app\n",
    }
    return [{"match": [{"not": [{"host": list(hosts)}]}], "handle": [refuse], "terminal": True}]


def _unavailable(base: Path) -> list[Any]:
    def page(status: int) -> list[Any]:
        return [
            {"handler": "rewrite", "method": "GET", "uri": "/unavailable.html"},
            {"handler": "file_server", "root": str(base / "pages"), "status_code": status},
        ]

    retry = {"handler": "headers", "response": {"set": {"Retry-After": ["5"]}}}
    return [
        {"match": [_has_status("502", "503", "504")], "handle": [retry, *page(503)]},
        {"match": [_has_status("410")], "handle": page(410)},
    ]


def _has_status(*statuses: str) -> dict[str, Any]:
    return {"vars": {"{http.error.status_code}": list(statuses)}}


def _without(setting: str, value: Any) -> Any:
    """The same, without this setting at any depth: a handler may hold routes of its own."""
    if isinstance(value, dict):
        return {name: _without(setting, part) for name, part in value.items() if name != setting}
    return [_without(setting, part) for part in value] if isinstance(value, list) else value


def _is_address(name: str) -> bool:
    return ":" in name or re.fullmatch(r"[0-9.]+", name) is not None


def write_health(base: Path, state: str) -> None:
    """What /health says from now on: one of two files, never both, never a half."""
    folder = base / "health"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o755, exist_ok=True)
        name, other = ("up", "down") if state in UP else ("down", "up")
        part = folder / "part"
        part.write_text(json.dumps({"state": state}) + "\n", "utf-8")
        part.chmod(0o644)
        part.replace(folder / f"{name}.json")
        # The file that says "down" stays: between two looks of Caddy there is always one to give.
        if other == "up":
            (folder / "up.json").unlink(missing_ok=True)


# --- Keeping it running -----------------------------------------------------------------------


class Web:
    """Caddy: started when its package is there, started again when it ends, told what to serve."""

    def __init__(
        self,
        machine: Machine,
        journal: Journal,
        base: Path,
        *,
        is_installed: Callable[[], bool],
        routes: list[Any],
        private: Certificate | None,
    ) -> None:
        self._machine = machine
        self._journal = journal
        self._base = base
        self._folder = base / "web"
        self._is_installed = is_installed
        self._routes = routes
        self._private = private
        self._exposure = _read_exposure(base / "web.json")
        self._lock = threading.Lock()
        self._delays_streams = True
        self._problem = "it was not started yet"
        remove(base / "trials")  # an agent before this one showed it; this one tries it again
        for name in ("challenges", "routes", "trials"):
            (base / name).mkdir(mode=0o755, exist_ok=True)

    # What the operator and the app's life ask for

    def take_over(self, machine: Machine, routes: list[Any], private: Certificate | None) -> None:
        """Serve another session from now on; returns when Caddy does, if it runs."""
        with self._lock:
            self._machine, self._routes, self._private = machine, routes, private
            self._problem = self._load()

    def put_challenge(self, token: str, document: Any) -> None:
        """Answer an ACME server's http-01 challenge from now on."""
        text = document.get("keyAuthorization") if isinstance(document, dict) else None
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", token):
            raise Refused(422, "the token of a challenge has 1 to 128 letters, digits, - and _")
        if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,512}", text):
            raise Refused(422, "keyAuthorization must be the token, a dot and a thumbprint")
        folder = self._base / "challenges"
        oldest_first = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime)
        for file in oldest_first[: -(CHALLENGES_MAX - 1) or None]:
            file.unlink(missing_ok=True)
        (folder / token).write_text(text, "ascii")
        (folder / token).chmod(0o644)

    def delete_challenge(self, token: str) -> None:
        """The challenge is over."""
        if re.fullmatch(r"[A-Za-z0-9_-]{1,128}", token):
            (self._base / "challenges" / token).unlink(missing_ok=True)

    def put_certificate(self, document: Any) -> None:
        """Serve this public certificate from now on; returns when Caddy does, if it runs."""
        certificate = _checked_certificate(document)
        with self._lock:
            self._expose(replace(self._exposure, certificate=certificate))

    def put_hosts(self, document: Any) -> None:
        """Answer these host names only, and by HTTPS only if told so."""
        hosts = document.get("hosts") if isinstance(document, dict) else None
        if not isinstance(hosts, list) or len(hosts) > HOSTS_MAX:
            raise Refused(422, f"hosts must be a list of at most {HOSTS_MAX} names and addresses")
        for host in hosts:
            if not isinstance(host, str) or not re.fullmatch(r"[a-z0-9.:-]{1,253}", host):
                raise Refused(422, f"{host!r} is not a host name in small letters or an address")
        redirect = document.get("redirectHttp")
        if not isinstance(redirect, bool):
            raise Refused(422, "redirectHttp must be true or false")
        with self._lock:
            self._expose(replace(self._exposure, hosts=tuple(hosts), redirect_http=redirect))

    def select(self, port: int) -> None:
        """Send requests for the app to this port from now on; those under way are not moved."""
        marks = self._base / "routes"
        if port == self._machine.app_port:
            (marks / SECOND).unlink(missing_ok=True)
        else:
            (marks / SECOND).touch()

    def show_port(self, word: str, port: int) -> None:
        """Send requests that name this word to this port, until `hide`."""
        (self._base / "trials" / f"{port}-{word}").touch()

    def show_site(self, word: str, site: Path) -> None:
        """Answer requests that name this word from this folder, until `hide`."""
        (self._base / "trials" / word).symlink_to(site)

    def hide(self, word: str) -> None:
        """The word leads nowhere any more."""
        for mark in (self._base / "trials").glob(f"*{word}"):
            mark.unlink(missing_ok=True)

    def end(self) -> None:
        """From now on every request is told that the app has ended."""
        (self._base / "routes" / ENDED).touch()

    def go_on(self) -> None:
        """The end was put off: requests reach the app again."""
        (self._base / "routes" / ENDED).unlink(missing_ok=True)

    def problem(self) -> str:
        """Why the app is not served, or nothing."""
        return self._problem

    def _expose(self, exposure: Exposure) -> None:
        before = self._exposure
        if exposure == before and not self._problem:
            return
        self._exposure = exposure
        problem = self._load()
        if problem and not self._problem:  # it worked, and with this it would not
            self._exposure = before
            self._load()
            raise Refused(422, f"Caddy does not take it: {problem}")
        self._problem = problem
        certificate = exposure.certificate
        document = {
            "hosts": exposure.hosts,
            "redirectHttp": exposure.redirect_http,
            "certificate": certificate
            and {"chain": certificate.chain, "key": certificate.key, "names": certificate.names},
        }
        write_atomically(self._base / "web.json", json.dumps(document))

    def _load(self) -> str:
        """Hand the configuration to Caddy. Returns what is wrong with it, or nothing."""
        config = caddy_config(
            self._machine,
            self._base,
            self._exposure,
            self._private,
            self._routes if self._delays_streams else _without(STREAM_DELAY, self._routes),
        )
        try:
            status, body = post_to_socket(self._folder, ADMIN_SOCKET, "/load", config)
        except (OSError, http.client.HTTPException) as error:
            return f"Caddy does not answer: {error!r}"
        if status != 200 and STREAM_DELAY in body and self._delays_streams:  # noqa: PLR2004
            self._delays_streams = False  # an older Caddy, which refuses what it does not know
            return self._load()
        return "" if status == 200 else body[:500]  # noqa: PLR2004

    # Its process

    def run(self) -> None:
        """Start it again whenever it ends; never returns."""
        while not self._is_installed():
            time.sleep(0.1)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        if self._machine.run_app_with == "systemd":
            shutil.chown(self._folder, WEB_USER, WEB_USER)
        (self._folder / "start.json").write_text(json.dumps(_admin()), "utf-8")
        (self._folder / "start.json").chmod(0o644)
        delay = 0.5
        while True:
            started = time.monotonic()
            try:
                self._run_once()
            except OSError as error:
                self._journal.write(f"Caddy cannot be started: {error}")
            with self._lock:
                self._problem = "Caddy has ended"
            delay = 0.5 if time.monotonic() - started > 60 else min(delay * 2, 30)  # noqa: PLR2004
            time.sleep(delay)

    def _run_once(self) -> None:
        (self._folder / ADMIN_SOCKET).unlink(missing_ok=True)
        caddy = shutil.which("caddy") or "caddy"
        command = [caddy, "run", "--config", "start.json"]
        home = str(self._folder)
        environment = {"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
        sink = Sink(self._note)
        if self._machine.run_app_with == "systemd":
            properties = [
                *(line for line in SANDBOX if not line.startswith("CapabilityBoundingSet")),
                f"User={WEB_USER}",
                f"Group={WEB_USER}",
                "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
                "AmbientCapabilities=CAP_NET_BIND_SERVICE",
                "LimitNOFILE=65536",
                # user_data, with the agent's key in it, can be read at this address.
                "IPAddressDeny=169.254.0.0/16",
                f"WorkingDirectory={self._folder}",
                f"ReadWritePaths={self._folder}",
            ]
            process: UnitProcess | PlainProcess = UnitProcess(
                WEB_UNIT, properties, command, environment, sink
            )
        else:
            path = os.environ.get("PATH", PATH)
            process = PlainProcess(command, self._folder, {"PATH": path, **environment}, sink)
        self._configure(process.runs)
        process.wait()

    def _configure(self, runs: Callable[[], bool]) -> None:
        """Once it listens on its socket, tell it all; a port may be taken for a while."""
        deadline = time.monotonic() + 60
        while runs() and time.monotonic() < deadline:
            with self._lock:
                self._problem = self._load()
                if not self._problem:
                    return
            time.sleep(0.02 if time.monotonic() < deadline - 58 else 0.5)
        complain(f"Caddy could not be configured: {self.problem()}")

    def _note(self, text: str) -> None:
        # Its greeting comes before the log level of its configuration is known.
        lines = [line for line in text.splitlines() if not re.search('"level":"(info|warn)"', line)]
        if lines:
            self._journal.write("\n".join(f"Caddy: {line}" for line in lines))


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket. Its folder is opened first: the path may be a long one."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__("localhost", timeout=ADMIN_SECONDS)
        self._folder = folder
        self._name = name

    def connect(self) -> None:
        folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{folder}/{self._name}")
        finally:
            os.close(folder)


def post_to_socket(folder: Path, name: str, path: str, document: Any) -> tuple[int, str]:
    """POST a JSON document; the status and the text that come back."""
    connection = _SocketConnection(folder, name)
    try:
        connection.putrequest("POST", path, skip_host=True)
        # Caddy lets in who names no host: a browser always names one.
        connection.putheader("Host", "")
        body = json.dumps(document).encode()
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.read(64 * 1024).decode("utf-8", "replace")
    finally:
        connection.close()


def _checked_certificate(document: Any) -> Certificate:
    if not isinstance(document, dict):
        raise Refused(422, "a certificate is an object with chain, key and names")
    chain, key, names = (document.get(name) for name in ("chain", "key", "names"))
    if not isinstance(chain, str) or not isinstance(key, str) or "PRIVATE KEY" not in key:
        raise Refused(422, "chain and key must be PEM texts")
    if not isinstance(names, list) or not 0 < len(names) <= HOSTS_MAX:
        raise Refused(422, f"names must be a list of 1 to {HOSTS_MAX} names and addresses")
    if not all(
        isinstance(name, str) and re.fullmatch(r"[a-z0-9.:*-]{1,253}", name) for name in names
    ):
        raise Refused(422, "names must be host names in small letters or addresses")
    certificate = Certificate(chain, key, tuple(names))
    try:
        showing(certificate)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise Refused(422, f"the key does not belong to the chain: {error}") from None
    return certificate


def showing(certificate: Certificate) -> ssl.SSLContext:
    """The server's side of TLS 1.3 with this certificate, whose key touches no disk.

    Raises ssl.SSLError, OSError or ValueError where the key does not belong to the chain.
    """
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    memory = os.memfd_create("certificate", os.MFD_CLOEXEC)  # a context reads files only
    try:
        os.write(memory, f"{certificate.chain}\n{certificate.key}\n".encode())
        tls.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
    return tls


def _read_exposure(path: Path) -> Exposure:
    try:
        document = json.loads(path.read_text("utf-8"))
        one = document["certificate"]
        certificate = Certificate(one["chain"], one["key"], tuple(one["names"])) if one else None
        return Exposure(tuple(document["hosts"]), bool(document["redirectHttp"]), certificate)
    except FileNotFoundError:
        return Exposure()
    except (OSError, ValueError, TypeError, KeyError) as error:
        complain(f"{path.name} cannot be read, so the operator has to send it again: {error!r}")
        return Exposure()
