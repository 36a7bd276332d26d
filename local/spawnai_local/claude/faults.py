"""What goes wrong on purpose: named faults, asked for in a prompt or through the control API.

In a prompt, `simulate:NAME` asks for a fault on every call of that session, `simulate:NAME-once`
on its first call only and `simulate:NAME-twice` on its first two. Through the control API, a fault
is one line, `NAME` and then `name=value` pairs in any order, for example

    overloaded nth=2
    slow times=0 session=2f1c9a
    rate-limited seconds=3

Of the calls that match (`session=`, `app_type=`), counted from when the fault was added, those from
the `nth` on (default 1) suffer it, `times` in all (default 1; 0 is without end).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

FAULTS: Mapping[str, str] = {
    # The API's own errors, before an answer begins: nothing is billed.
    "overloaded": "529 overloaded_error",
    "server-error": "500 api_error",
    "rate-limited": "429 rate_limit_error with retry-after (seconds=, default 1)",
    "spend-limit": "429 rate_limit_error of the code enforced_spend_limit_reached",
    "unauthorized": "401 authentication_error",
    "forbidden": "403 permission_error",
    "no-credit": "400 invalid_request_error: the credit balance is too low",
    "billing-error": "402 billing_error",
    "hang": "the request is taken, and no answer ever begins",
    "drop": "the connection is closed before an answer begins",
    # Answers that do not end well: what was streamed is billed.
    "overloaded-mid-stream": "an error event overloaded_error half through the answer",
    "connection-cut": "the connection breaks half through the answer",
    "stream-ends-early": "the stream ends in order, but half through the answer",
    "hang-mid-stream": "nothing more comes after half of the answer",
    "refusal": "stop_reason refusal, category cyber, after a few characters",
    "max-tokens": "stop_reason max_tokens half through the answer",
    "context-window": "stop_reason model_context_window_exceeded at once",
    "slow": "five times the time to the first token, a fifth of the speed",
    # Answers that hold no working app.
    "not-json": "the answer is a sentence instead of JSON",
    "syntax-error": "a file does not parse, each time in another way",
    "same-answer": "a file does not parse, each time in exactly the same way",
    "path-escape": "a file has the path ../../etc/cron.d/escape",
    "huge-file": "a file of 10 MB, regardless of max_tokens",
    "too-many-files": "60 files",
    "secret": "a file holds something that looks like a private key",
    "missing-entrypoint": "the entry point is not among the files",
    "missing-dependency": "a module is needed that cannot be installed (api, script)",
    # Apps that pass every check and then misbehave (api and script; a webapp has no process).
    "app-never-answers": "api: takes connections and never answers; script: never ends",
    "app-dies-at-once": "ends with exit code 3 as soon as it is started",
    "app-dies-later": "api: answers, and ends with exit code 3 five seconds after each start",
    "app-fills-memory": "takes 64 MiB of memory every 50 ms, 3 GiB at most",
    "app-fills-disk": "writes 32 MiB into its folder every 50 ms, 2 GiB at most",
    "app-forks-without-end": "starts a process every 10 ms, 600 at most, which end after a minute",
}

_MARKER = re.compile(r"\bsimulate:([a-z][a-z-]*[a-z])")
_COUNTS = {"once": 1, "twice": 2}


def marked(prompt: str, calls_before: int) -> list[str]:
    """The faults that a prompt asks for in its session's next call.

    Unknown names are no faults, so that a prompt about this very notation is harmless.
    """
    found = []
    for match in _MARKER.finditer(prompt):
        name, until = match.group(1), None
        stem, _, count = name.rpartition("-")
        if count in _COUNTS and stem in FAULTS:
            name, until = stem, _COUNTS[count]
        if name in FAULTS and (until is None or calls_before < until):
            found.append(name)
    return found


@dataclass(slots=True)
class Fault:
    """One fault of the control API, and how often it was matched and suffered so far."""

    name: str
    nth: int = 1
    times: int = 1
    session: str = ""
    app_type: str = ""
    seconds: float = 1.0
    matched: int = 0
    suffered: int = 0

    @classmethod
    def parse(cls, line: str) -> "Fault":
        """Read a fault from its line.

        Raises:
            ValueError: the line says something that no fault is made of.
        """
        name, *pairs = line.split()
        values: dict[str, Any] = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not equals:
                raise ValueError(f"{pair!r} is not of the form name=value")
            values[key] = value
        return cls.of({"name": name, **values})

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Fault":
        """Make a fault of its JSON form.

        Raises:
            ValueError: the name or a field is unknown, or a value has another type.
        """
        types = {field.name: field.type for field in fields(cls)}
        settable = {"name", "nth", "times", "session", "app_type", "seconds"}
        unknown = set(document) - settable
        if unknown:
            raise ValueError(f"a fault has no {', '.join(sorted(unknown))}; it has {settable}")
        values = {}
        for key, value in document.items():
            kind: Any = types[key]
            values[key] = kind(value)
        fault = cls(**values)
        if fault.name not in FAULTS:
            raise ValueError(f"no fault is called {fault.name!r}; there are {', '.join(FAULTS)}")
        return fault

    def document(self) -> dict[str, Any]:
        """The fault as JSON."""
        return asdict(self)

    def hits(self, session: str, app_type: str) -> bool:
        """Whether the call that comes now suffers it; counts the call."""
        if self.session not in {"", session} or self.app_type not in {"", app_type}:
            return False
        self.matched += 1
        if self.matched < self.nth or (self.times and self.suffered >= self.times):
            return False
        self.suffered += 1
        return True


class FaultPlan:
    """The faults of the control API."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, faults: Iterable[Fault]) -> None:
        """Take more faults."""
        self._faults.extend(faults)

    def clear(self) -> None:
        """Forget all of them."""
        self._faults.clear()

    def all(self) -> list[Fault]:
        """All faults, those that are spent too."""
        return list(self._faults)

    def next_call(self, session: str, app_type: str) -> list[Fault]:
        """The faults that the call which comes now suffers."""
        return [fault for fault in self._faults if fault.hits(session, app_type)]
