"""Kubernetes Events: what a person asks about, told beside the object.

They are written as v1 Events with all of the newer fields, because events.k8s.io/v1 refuses
`firstTimestamp` and `lastTimestamp` on new ones, and `kubectl describe` and `kubectl get events`
order by these.

An Event is a courtesy. Emitting one never waits and never fails; a repeated one is counted, not
written again; and where the API server is slow or refuses, it is given up and counted as lost.

* The same news about the same object (type, reason, action, note) within ten minutes is one series:
  the first makes an Event, the next ones raise its `series.count`, patched at most once a minute.
* At most 1,000 writes wait; what comes while they do is dropped.
* A write is tried three times. An Event keeps its name from try to try, so one that did arrive
  although the answer was lost is not made twice.
"""

import asyncio
import hashlib
import heapq
import itertools
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal

from spawnai import background
from spawnai.api.durations import format_micro_time, format_time
from spawnai.clock import Clock

from .redaction import Redactor

_LOGGER = logging.getLogger(__name__)

EventType = Literal["Normal", "Warning"]

# write(namespace, name, body, patch): create the Event, or merge-patch it. Raises on failure; an
# attribute `status` on the error is taken for the HTTP status.
Write = Callable[[str, str, dict[str, Any], bool], Awaitable[object]]

# The limits of Kubernetes' own validation (pkg/apis/core/validation/events.go).
_NOTE_BYTES = 1024
_NAME_CHARACTERS = 253
_INSTANCE_CHARACTERS = 128

_REPORTER = "spawn-ai.com/operator"

_WINDOW_SECONDS = 600.0
_PATCH_SECONDS = 60.0
_WAITING_LIMIT = 1_000
_SERIES_LIMIT = 4_096
_WRITE_LIMIT_SECONDS = 10.0
_PAUSES_SECONDS = (1.0, 4.0)
_COMPLAINT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Regarding:
    """The object that an Event is about. `namespace` is None for cluster-scoped ones."""

    kind: str
    namespace: str | None
    name: str
    uid: str
    api_version: str


@dataclass(slots=True, eq=False)
class _Series:
    """One piece of news and how often it came."""

    namespace: str
    name: str
    body: dict[str, Any]
    last_seen: float
    last_seen_at: datetime
    count: int = 1
    # How many of them the API server knows of; 0 until the Event is made.
    written: int = 0
    next_write: float = field(default=0.0)
    waiting: bool = True


class EventRecorder:
    """Takes Events at any rate and writes them in the background, in `run`.

    Args:
        write: creates or patches one Event in the API server.
        clock: for the windows and the times in the Events.
        instance: which process reports, such as its Pod's name.
        on_result: told "written", "dropped" or "failed" for every write.
        redactor: what a note goes through before it leaves.
    """

    def __init__(
        self,
        write: Write,
        clock: Clock,
        *,
        instance: str,
        on_result: Callable[[str], None] = lambda _result: None,
        redactor: Redactor | None = None,
    ) -> None:
        self._write_event = write
        self._clock = clock
        self._instance = instance[:_INSTANCE_CHARACTERS] or "unknown"
        self._on_result = on_result
        self._redactor = redactor or Redactor()
        self._series: OrderedDict[tuple[object, ...], _Series] = OrderedDict()
        self._waiting: OrderedDict[int, _Series] = OrderedDict()
        self._later: list[tuple[float, int, _Series]] = []
        self._news = asyncio.Event()
        self._order = itertools.count()
        self._dropped = 0
        self._complained_at = float("-inf")
        self._closed = False

    def emit(
        self,
        regarding: Regarding,
        type: EventType,  # noqa: A002 - the Event's own word
        reason: str,
        action: str,
        note: str,
    ) -> None:
        """Tell people about `regarding`. Returns at once, and never raises.

        Args:
            regarding: the object it is about.
            type: "Normal", or "Warning" where somebody may want to do something.
            reason: one word in CamelCase, why; documented and stable.
            action: one word in CamelCase, what was done or tried.
            note: a sentence for people; secrets are redacted, and it ends after 1,024 bytes.
        """
        if self._closed:
            return
        note = _cut(self._redactor.redact(note), _NOTE_BYTES)
        now, now_at = self._clock.now(), self._clock.utc_now()
        identity = (regarding, type, reason, action, note)
        known = self._series.get(identity)
        if known is not None and now - known.last_seen < _WINDOW_SECONDS:
            self._series.move_to_end(identity)
            known.count += 1
            known.last_seen, known.last_seen_at = now, now_at
            self._schedule(known)
            return
        if len(self._waiting) >= _WAITING_LIMIT:
            self._drop()
            return
        # A cluster-scoped object's Events live in "default": the API server's own rule.
        series = _Series(
            namespace=regarding.namespace or "default",
            name=self._name(identity, now_at, regarding.name),
            body={},
            last_seen=now,
            last_seen_at=now_at,
        )
        series.body = self._body(series, regarding, (type, reason, action, note))
        self._series[identity] = series
        self._series.move_to_end(identity)
        while len(self._series) > _SERIES_LIMIT:
            self._series.popitem(last=False)
        self._waiting[id(series)] = series
        self._news.set()

    async def run(self) -> None:
        """Write what was emitted, until cancelled."""
        while True:
            self._bring_forward()
            if self._waiting:
                await self._write_next(_PAUSES_SECONDS)
            else:
                await self._wait()

    async def shut_down(self) -> None:
        """Take nothing more and write what is left, each once. Call it after `run` has ended, and
        put a time limit around it.
        """
        self._closed = True
        self._waiting.update((id(series), series) for _, _, series in self._later)
        self._later.clear()
        while self._waiting:
            await self._write_next(())

    def _schedule(self, series: _Series) -> None:
        """Have the new count written, now or when a minute has passed since the last write."""
        if series.waiting:
            return
        series.waiting = True
        if series.next_write <= self._clock.now():
            self._waiting[id(series)] = series
        else:
            heapq.heappush(self._later, (series.next_write, next(self._order), series))
        self._news.set()

    def _bring_forward(self) -> None:
        now = self._clock.now()
        while self._later and self._later[0][0] <= now:
            _, _, series = heapq.heappop(self._later)
            self._waiting[id(series)] = series

    async def _wait(self) -> None:
        self._news.clear()
        if not self._later:
            await self._news.wait()
            return
        delay = max(0.0, self._later[0][0] - self._clock.now())
        await background.first_of(self._news.wait(), self._clock.sleep(delay))

    async def _write_next(self, pauses: tuple[float, ...]) -> None:
        # It leaves the queue when it is settled: `run` may be cancelled in the middle of a write.
        key, series = next(iter(self._waiting.items()))
        count, last_seen_at = series.count, series.last_seen_at
        patch = series.written > 0
        written = False
        for pause in (*pauses, None):
            error = await self._try(series, count, last_seen_at, patch=patch)
            if error is None:
                written = True
                break
            status = getattr(error, "status", None)
            if patch and status == HTTPStatus.NOT_FOUND:
                # Events live for an hour by default: this one is made afresh.
                patch = False
            elif not _worth_repeating(status):
                _LOGGER.debug("An Event was refused: %s", error)
                break
            if pause is None:
                _LOGGER.debug("An Event was given up: %s", error)
                break
            await self._clock.sleep(pause)
        del self._waiting[key]
        self._on_result("written" if written else "failed")
        series.waiting = False
        series.next_write = self._clock.now() + _PATCH_SECONDS
        if written:
            series.written = count
            if series.count > count:
                self._schedule(series)

    async def _try(
        self, series: _Series, count: int, last_seen_at: datetime, *, patch: bool
    ) -> Exception | None:
        heartbeat = {
            "count": count,
            "lastTimestamp": format_time(last_seen_at),
            "series": {"count": count, "lastObservedTime": format_micro_time(last_seen_at)},
        }
        body = heartbeat if patch else series.body
        if not patch and count > 1:
            body = series.body | heartbeat
        try:
            async with asyncio.timeout(_WRITE_LIMIT_SECONDS):
                await self._write_event(series.namespace, series.name, body, patch)
        except Exception as error:  # noqa: BLE001 - an Event is a courtesy: it must not fail anyone
            if not patch and getattr(error, "status", None) == HTTPStatus.CONFLICT:
                return None  # an earlier try did arrive: names are unique
            return error
        return None

    def _drop(self) -> None:
        self._dropped += 1
        self._on_result("dropped")
        now = self._clock.now()
        if now - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = now
            _LOGGER.warning(
                "%d Events dropped so far: %d wait for the API server already",
                self._dropped,
                len(self._waiting),
            )

    def _name(self, identity: tuple[object, ...], now_at: datetime, name: str) -> str:
        unique = f"{identity!r} {now_at.isoformat()} {self._instance} {next(self._order)}"
        suffix = hashlib.sha256(unique.encode()).hexdigest()[:16]
        # A name that is cut in the middle may end in a character that no part may end in.
        stem = name[: _NAME_CHARACTERS - len(suffix) - 1].rstrip(".-")
        return f"{stem}.{suffix}"

    def _body(
        self, series: _Series, regarding: Regarding, news: tuple[str, str, str, str]
    ) -> dict[str, Any]:
        kind, reason, action, note = news
        reference = {
            "apiVersion": regarding.api_version,
            "kind": regarding.kind,
            "name": regarding.name,
            "uid": regarding.uid,
        }
        if regarding.namespace is not None:
            reference["namespace"] = regarding.namespace
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": series.name, "namespace": series.namespace},
            "eventTime": format_micro_time(series.last_seen_at),
            "firstTimestamp": format_time(series.last_seen_at),
            "lastTimestamp": format_time(series.last_seen_at),
            "count": 1,
            "source": {"component": _REPORTER},
            "reportingComponent": _REPORTER,
            "reportingInstance": self._instance,
            "type": kind,
            "reason": reason,
            "action": action,
            "message": note,
            "involvedObject": reference,
        }


def tell(
    events: EventRecorder,
    regarding: Regarding | None,
    type: EventType,  # noqa: A002 - the Event's own word
    *,
    reason: str,
    action: str,
    note: str,
) -> None:
    """Say it in the log, and as an Event beside the object, where there is one to stand beside."""
    level = logging.WARNING if type == "Warning" else logging.INFO
    _LOGGER.log(level, "%s: %s", reason, note)
    if regarding is not None:
        events.emit(regarding, type, reason, action, note)


def _worth_repeating(status: int | None) -> bool:
    """Whether the same write may succeed later: yes but for a plain refusal (4xx)."""
    if status is None or not HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return True
    return status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


def _cut(text: str, limit_bytes: int) -> str:
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit_bytes:
        return encoded.decode()
    ellipsis = "…"
    room = limit_bytes - len(ellipsis.encode())
    return encoded[:room].decode("utf-8", "ignore") + ellipsis
