"""The console: logs, source and picture come from there, with the caller's own token.

Where it is: SPAWNAI_CONSOLE_URL, or the ConfigMap `spawnai-console` that everyone may read.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubectl_spawn.cluster import Cluster, environment_value
from kubectl_spawn.errors import CommandError, ExitCode

if TYPE_CHECKING:
    import httpx

CONFIG_MAP = "spawnai-console"
CONFIG_MAP_NAMESPACE = "kube-public"

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 30.0
_EXEC_SECONDS = 60.0
"""A credential plugin may open a browser and wait for a person."""


class ConsoleAwayError(CommandError):
    """The console or the operator behind it does not answer now."""


@dataclass(frozen=True, slots=True)
class Console:
    """A console and the token that it is asked with."""

    url: str
    token: str
    ca_file: str | None

    def bytes(self, path: str) -> bytes:
        """What a path answers.

        Raises:
            CommandError: the console refused or did not answer.
        """
        import httpx

        try:
            with self._client() as client:
                answer = client.get(path)
                _raise_for(answer, self.url)
                return answer.content
        except httpx.HTTPError as error:
            raise _unreachable(self.url, error) from None

    def json(self, path: str) -> Any:
        """The document that a path answers.

        Raises:
            CommandError: the console refused or did not answer.
        """
        try:
            return json.loads(self.bytes(path))
        except ValueError:
            raise CommandError(f"the console at {self.url} answered no JSON for {path}") from None

    def lines(self, path: str) -> Iterator[str]:
        """The lines of a stream, until the console ends it.

        Raises:
            CommandError: the console refused.
            ConnectionError: the stream broke; what came before was yielded.
        """
        import httpx

        try:
            with self._client(read_seconds=None) as client, client.stream("GET", path) as answer:
                if answer.is_error:
                    answer.read()
                _raise_for(answer, self.url)
                yield from answer.iter_lines()
        except httpx.ConnectError as error:
            raise _unreachable(self.url, error) from None
        except httpx.HTTPError as error:
            raise ConnectionError(str(error)) from error

    def _client(self, read_seconds: float | None = _ANSWER_SECONDS) -> "httpx.Client":
        import ssl

        import httpx

        verify = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else True
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=httpx.Timeout(_CONNECT_SECONDS, read=read_seconds),
            verify=verify,
        )


def find_console(cluster: Cluster) -> Console:
    """The console of this cluster.

    Raises:
        CommandError: there is none, or this context has no token to ask it with.
    """
    url = environment_value("SPAWNAI_CONSOLE_URL")
    if url is None:
        found = cluster.find("configmap", CONFIG_MAP, CONFIG_MAP_NAMESPACE)
        url = str((found or {}).get("data", {}).get("url") or "")
    if not url:
        raise CommandError(
            "no console found: logs, source and eject need it",
            next_steps=(
                "helm upgrade spawnai helm/spawnai --reuse-values --set console.enabled=true",
            ),
        )
    token = environment_value("SPAWNAI_CONSOLE_TOKEN") or _token(cluster)
    return Console(url.rstrip("/"), token, environment_value("SPAWNAI_CONSOLE_CA"))


def _token(cluster: Cluster) -> str:
    """The bearer token of the context: written down, in a file, or from its credential plugin."""
    user = cluster.user
    if user.get("token"):
        return str(user["token"])
    if user.get("tokenFile"):
        try:
            return Path(user["tokenFile"]).read_text().strip()
        except OSError as error:
            raise CommandError(f"the kubeconfig's tokenFile cannot be read: {error}") from None
    if user.get("exec"):
        return _exec_token(user["exec"])
    raise CommandError(
        f"context {cluster.context} signs in without a token, and the console needs one",
        code=ExitCode.NO_RIGHT,
        next_steps=('export SPAWNAI_CONSOLE_TOKEN="$(kubectl create token SERVICEACCOUNT)"',),
    )


def _exec_token(plugin: dict[str, Any]) -> str:
    """Run the credential plugin as kubectl does (client.authentication.k8s.io)."""
    environment = {
        **os.environ,
        **{str(one["name"]): str(one["value"]) for one in plugin.get("env") or []},
        "KUBERNETES_EXEC_INFO": json.dumps(
            {
                "apiVersion": plugin.get("apiVersion", "client.authentication.k8s.io/v1"),
                "kind": "ExecCredential",
                "spec": {"interactive": False},
            }
        ),
    }
    command = [str(plugin["command"]), *(str(one) for one in plugin.get("args") or [])]
    try:
        process = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=_EXEC_SECONDS,
            env=environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return str(json.loads(process.stdout)["status"]["token"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        # Not the error's own text: it may hold what the plugin printed.
        raise CommandError(
            f"the kubeconfig's credential plugin {command[0]} gave no token "
            f"({type(error).__name__})",
            code=ExitCode.NO_RIGHT,
            next_steps=("kubectl auth whoami",),
        ) from None


def _raise_for(answer: "httpx.Response", url: str) -> None:
    if answer.is_success:
        return
    code = {
        401: ExitCode.NO_RIGHT,
        403: ExitCode.NO_RIGHT,
        404: ExitCode.NOT_FOUND,
        422: ExitCode.USAGE,
    }.get(answer.status_code, ExitCode.UNEXPECTED)
    error = ConsoleAwayError if answer.status_code in _AWAY else CommandError
    raise error(
        f"the console at {url} answered {answer.status_code}", code=code, cause=_sentence(answer)
    )


_AWAY = frozenset({502, 503, 504})


def _sentence(answer: "httpx.Response") -> str:
    try:
        body = answer.json()
    except ValueError:
        return answer.text[:500]
    if isinstance(body, dict):
        for key in ("message", "detail", "error"):
            value = body.get(key)
            if isinstance(value, str):
                return value
            if isinstance(value, dict) and isinstance(value.get("message"), str):
                return str(value["message"])
    return answer.text[:500]


def _unreachable(url: str, error: Exception) -> ConsoleAwayError:
    return ConsoleAwayError(
        f"the console at {url} does not answer", cause=str(error),
        next_steps=("kubectl spawn doctor",),
    )  # fmt: skip
