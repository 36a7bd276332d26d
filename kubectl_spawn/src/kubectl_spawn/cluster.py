"""The API server, through kubectl, which knows every way to sign in. Errors are Kubernetes' own.

A kubectl process costs about 60 ms. A Kubernetes client library costs more to import.
"""

import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from typing import Any, Self

from kubectl_spawn.errors import CommandError, ExitCode

Object = dict[str, Any]

SESSIONS = "spawnsessions.spawn-ai.com"
CLASSES = "spawnclasses.spawn-ai.com"
RECORDS = "spawnrecords.spawn-ai.com"
BUDGETS = "spawnbudgets.spawn-ai.com"

INSTALL = "helm install spawnai helm/spawnai --namespace spawnai-system --create-namespace"

FIELD_MANAGER = "spawn"
"""Who changes annotations. Flux takes over the fields of every manager named `kubectl…`."""

_REQUEST_SECONDS = 20.0
"""Longer than kubectl's own --request-timeout, so that kubectl's sentence comes back."""


class Cluster:
    """One context and namespace, as kubectl sees them.

    Args:
        flags: kubectl's global flags of this call, such as `--context=dev`.
        program: kubectl's path; found on the PATH when it is not given.
    """

    def __init__(self, flags: tuple[str, ...] = (), program: str | None = None) -> None:
        self._flags = flags
        self._program = program or shutil.which("kubectl") or "kubectl"
        self._view: Object | None = None

    def in_namespace(self, namespace: str) -> "Cluster":
        """The same cluster, another namespace."""
        others = tuple(flag for flag in self._flags if not flag.startswith("--namespace="))
        return Cluster((*others, f"--namespace={namespace}"), self._program)

    @property
    def context(self) -> str:
        """The name of the context, for messages."""
        return str(self._config().get("current-context") or "(none)")

    @property
    def namespace(self) -> str:
        """The namespace that commands mean."""
        for flag in self._flags:
            name, _, value = flag.partition("=")
            if name == "--namespace":
                return value
        contexts = self._config().get("contexts") or [{}]
        return str((contexts[0].get("context") or {}).get("namespace") or "default")

    @property
    def user(self) -> Object:
        """The user entry of the kubeconfig, with its secrets."""
        users = self._config().get("users") or [{}]
        return dict(users[0].get("user") or {})

    def get(self, kind: str, name: str) -> Object:
        """One object.

        Raises:
            CommandError: it is not there, or the API server refused or did not answer.
        """
        return dict(json.loads(self.run("get", kind, name, "--output=json")))

    def find(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """One object; None when it is not there.

        Raises:
            CommandError: the API server refused or did not answer.
        """
        place = [f"--namespace={namespace}"] if namespace else []
        text = self.run("get", kind, name, "--ignore-not-found", "--output=json", *place)
        return dict(json.loads(text)) if text.strip() else None

    def items(self, kind: str, *, all_namespaces: bool = False) -> list[Object]:
        """All objects of a kind that the caller may see.

        Raises:
            CommandError: the API server refused or did not answer.
        """
        everywhere = ["--all-namespaces"] if all_namespaces else []
        document = json.loads(self.run("get", kind, "--output=json", *everywhere))
        return list(document.get("items") or [])

    def create(self, document: Object) -> Object:
        """Create an object, and return it as it was stored.

        Raises:
            CommandError: the API server refused or did not answer.
        """
        text = self.run(
            "create", "--filename=-", "--output=json", f"--field-manager={FIELD_MANAGER}",
            standard_input=json.dumps(document),
        )  # fmt: skip
        return dict(json.loads(text))

    def patch(self, kind: str, name: str, changes: Object) -> Object:
        """Merge changes into an object, and return it.

        Raises:
            CommandError: the API server refused or did not answer.
        """
        text = self.run(
            "patch", kind, name, "--type=merge", f"--field-manager={FIELD_MANAGER}",
            f"--patch={json.dumps(changes)}", "--output=json",
        )  # fmt: skip
        return dict(json.loads(text))

    def may(self, verb: str, resource: str, *, namespace: str | None = None) -> bool:
        """Whether the caller has a right.

        Raises:
            CommandError: the API server did not answer.
        """
        place = [f"--namespace={namespace}"] if namespace else []
        process = self._process(["auth", "can-i", verb, resource, "--quiet", *place], None)
        if process.returncode not in {0, 1} or process.stderr.strip().startswith("Unable"):
            raise self._error(process.stderr)
        return process.returncode == 0

    def run(self, *arguments: str, standard_input: str | None = None) -> str:
        """Run kubectl, and return what it printed.

        Raises:
            CommandError: it failed; with what it means and what to do.
        """
        process = self._process(list(arguments), standard_input)
        if process.returncode != 0:
            raise self._error(process.stderr)
        return process.stdout

    def watch(self, kind: str, name: str, every_seconds: float) -> Iterator[Object | None]:
        """The object now and after each change; None each `every_seconds` without one.

        It goes on over a watch that the server ends. An object that is gone ends it.

        Raises:
            CommandError: the first look failed, or the caller may look no longer.
        """
        while True:
            if (found := self.find(kind, name)) is None:
                return
            yield found
            # Not --watch-only: what changes until that watch begins would not be seen.
            with _WatchProcess(
                [*self._command(), "get", kind, name, "--watch", "--output=json"]
            ) as changes:
                while (change := changes.next(every_seconds)) is not _ENDED:
                    yield change if isinstance(change, dict) else None
            yield None

    def _command(self) -> list[str]:
        return [self._program, *self._flags]

    def _config(self) -> Object:
        if self._view is None:
            flags = ["config", "view", "--minify", "--raw", "--output=json"]
            process = self._process(flags, None)
            if process.returncode != 0:
                raise self._error(process.stderr)
            self._view = dict(json.loads(process.stdout))
        return self._view

    def _process(
        self, arguments: list[str], standard_input: str | None
    ) -> subprocess.CompletedProcess[str]:
        command = [*self._command(), "--request-timeout=15s", *arguments]
        try:
            return subprocess.run(
                command,
                check=False,
                input=standard_input,
                stdin=subprocess.DEVNULL if standard_input is None else None,
                capture_output=True,
                text=True,
                timeout=_REQUEST_SECONDS,
            )
        except FileNotFoundError:
            raise CommandError(
                "kubectl is not on the PATH",
                next_steps=("https://kubernetes.io/docs/tasks/tools/",),
            ) from None
        except subprocess.TimeoutExpired:
            raise CommandError(
                f"the API server of context {self._context_or_unknown()} does not answer",
                cause=f"kubectl gave no answer within {_REQUEST_SECONDS:g}s",
                next_steps=("kubectl cluster-info",),
            ) from None

    def _context_or_unknown(self) -> str:
        return str((self._view or {}).get("current-context") or "in use")

    def _error(self, said: str) -> CommandError:
        """What kubectl's words mean for a person."""
        cause = said.strip().removeprefix("error: ")
        if "(NotFound)" in cause:
            return CommandError("not found", code=ExitCode.NOT_FOUND, cause=cause)
        if "(AlreadyExists)" in cause:
            return AlreadyExistsError("it exists already", code=ExitCode.USAGE, cause=cause)
        if "(Unauthorized)" in cause or "must be logged in" in cause:
            return CommandError(
                f"not signed in to context {self._context_or_unknown()}",
                code=ExitCode.NO_RIGHT,
                cause=cause,
                next_steps=("kubectl auth whoami",),
            )
        if "(Forbidden)" in cause:
            return CommandError(
                "you have no right to do this",
                code=ExitCode.NO_RIGHT,
                cause=cause,
                next_steps=("kubectl spawn doctor",),
            )
        if "(Invalid)" in cause or "is invalid" in cause or "(BadRequest)" in cause:
            return CommandError("the API server refused a value", code=ExitCode.USAGE, cause=cause)
        if "the server doesn't have a resource type" in cause:
            return CommandError(
                f"SpawnAI is not installed in context {self._context_or_unknown()}",
                cause=cause,
                next_steps=(INSTALL,),
            )
        if "Unable to connect" in cause or "dial tcp" in cause or "was refused" in cause:
            return UnreachableError(
                f"the API server of context {self._context_or_unknown()} does not answer",
                cause=cause,
                next_steps=("kubectl cluster-info",),
            )
        return UnreachableError("the API server did not do this", cause=cause)


class AlreadyExistsError(CommandError):
    """An object of this name exists."""


class UnreachableError(CommandError):
    """Nobody knows whether the request arrived."""


_ENDED = object()


class _WatchProcess:
    """A `kubectl get --watch` whose documents are read beside the caller."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C is for us, and then for it
        )
        self._documents: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def next(self, seconds: float) -> object:
        """The next object; None when none came in time; `_ENDED` when there are no more."""
        try:
            return self._documents.get(timeout=seconds)
        except queue.Empty:
            return None

    def _read(self) -> None:
        decoder = json.JSONDecoder()
        text = ""
        stream = self._process.stdout
        if stream is not None:
            for line in stream:
                text += line
                if line.rstrip("\n") != "}":
                    continue  # kubectl indents: only the document's own last line is a lone brace
                try:
                    document, _ = decoder.raw_decode(text)
                except ValueError:
                    continue
                text = ""
                self._documents.put(document)
        self._documents.put(_ENDED)


def flags_of(
    *, context: str | None, kubeconfig: str | None, namespace: str | None
) -> tuple[str, ...]:
    """kubectl's global flags, from ours."""
    given = {"--context": context, "--kubeconfig": kubeconfig, "--namespace": namespace}
    return tuple(f"{name}={value}" for name, value in given.items() if value)


def environment_value(name: str) -> str | None:
    """An environment variable; None when it is not set or empty."""
    return os.environ.get(name) or None
