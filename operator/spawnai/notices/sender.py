"""Sends notices in the background, so that a slow or dead channel costs nothing else.

* Each channel (a class's entry) has a queue of its own of at most 100, and one message is under way
  at a time, at least a second after the one before: Slack allows one a second, Discord five in two.
* What comes while a queue is full is dropped and counted.
* A message is tried three times. `Retry-After` is waited for, up to five minutes. A refusal (4xx)
  is final. An answer that is lost is tried again: a webhook can tell a repetition by the notice's
  id; in a chat it may be read twice.
* The same news of a session is sent once by this process; across restarts it is the stored status
  that tells (`decide`).
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx

from spawnai import background
from spawnai.api.spawnclass import NoticeChannel, NoticeSpec
from spawnai.clock import Clock

from .messages import Notice, discord, encoded, signature, slack, webhook

_LOGGER = logging.getLogger(__name__)

QUEUE_LIMIT = 100
_REMEMBERED = 4096
_BETWEEN_SECONDS = 1.0
_ANSWER_SECONDS = 10.0
_PAUSES_SECONDS = (2.0, 10.0)
_LONGEST_PAUSE_SECONDS = 300.0
_AGAIN = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})

_BODY_OF: Mapping[NoticeChannel, Callable[[Notice], Mapping[str, Any]]] = {
    NoticeChannel.DISCORD: discord,
    NoticeChannel.SLACK: slack,
    NoticeChannel.WEBHOOK: webhook,
}

URL_KEY = "url"
SIGNING_KEY = "signing-key"

ReadSecret = Callable[[str], Awaitable[Mapping[str, bytes]]]
"""The data of a Secret in the operator's namespace, by its name; raises when it cannot be had."""


@dataclass(slots=True)
class _Channel:
    """One entry of a class's `notices`, and what waits for it."""

    class_name: str
    spec: NoticeSpec
    queue: asyncio.Queue[Notice] = field(default_factory=lambda: asyncio.Queue(QUEUE_LIMIT))
    task: asyncio.Task[None] | None = None


class _Refused(Exception):
    """The channel does not take it, and will not take it later either."""


class _Failed(Exception):
    """It did not arrive; it may the next time, after `pause` seconds if the channel said so."""

    def __init__(self, message: str, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause


class NoticeSender:
    """Takes notices at any rate. `on_result` hears of each: channel type, and what became of it."""

    def __init__(
        self,
        read_secret: ReadSecret,
        clock: Clock,
        *,
        on_result: Callable[[str, str], None] = lambda _channel, _result: None,
        register_secret: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._read_secret = read_secret
        self._clock = clock
        self._on_result = on_result
        self._register_secret = register_secret
        self._http: httpx.AsyncClient | None = None
        self._channels: dict[tuple[str, str, str], _Channel] = {}
        self._told: OrderedDict[tuple[str, str], None] = OrderedDict()

    def send(self, class_name: str, wanted: list[NoticeSpec], notice: Notice) -> None:
        """Tell the channels of a class that want this event. Returns at once, never raises."""
        for spec in wanted:
            if notice.event not in spec.events:
                continue
            identity = (class_name, spec.type.value, spec.secret_ref.name)
            if not self._is_new("/".join(identity), notice.key):
                continue
            channel = self._channels.get(identity)
            if channel is None:
                channel = self._channels[identity] = _Channel(class_name, spec)
            try:
                channel.queue.put_nowait(notice)
            except asyncio.QueueFull:
                self._on_result(spec.type.value, "dropped")
                continue
            if channel.task is None or channel.task.done():
                channel.task = background.forever(
                    self._work(channel), name=f"notices to {spec.type.value}"
                )

    async def drained(self) -> None:
        """Wait until nothing waits any more."""
        for channel in list(self._channels.values()):
            await channel.queue.join()

    async def close(self) -> None:
        """End at once; what waits is lost."""
        tasks = [one.task for one in self._channels.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._http is not None:
            await self._http.aclose()

    def _is_new(self, channel: str, key: str) -> bool:
        identity = (channel, key)
        if identity in self._told:
            self._told.move_to_end(identity)
            return False
        self._told[identity] = None
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return True

    async def _work(self, channel: _Channel) -> None:
        while True:
            notice = await channel.queue.get()
            try:
                result = await self._deliver(channel, notice)
            finally:
                channel.queue.task_done()
            self._on_result(channel.spec.type.value, result)
            await self._clock.sleep(_BETWEEN_SECONDS)

    async def _deliver(self, channel: _Channel, notice: Notice) -> str:
        """Try it as often as it may help; returns what became of it."""
        what = (
            f"The notice {notice.event} of {notice.namespace}/{notice.name} to "
            f"{channel.spec.type} of SpawnClass {channel.class_name}"
        )
        for pause in (*_PAUSES_SECONDS, None):
            try:
                await self._post(channel.spec, notice)
            except _Refused as error:
                _LOGGER.warning("%s is refused: %s", what, error)
                return "refused"
            except _Failed as error:
                if pause is None:
                    _LOGGER.warning("%s failed: %s", what, error)
                    return "failed"
                await self._clock.sleep(min(error.pause or pause, _LONGEST_PAUSE_SECONDS))
            else:
                return "sent"
        raise AssertionError("the last try returns")

    async def _post(self, spec: NoticeSpec, notice: Notice) -> None:
        url, signing_key = await self._address(spec)
        headers = {"Content-Type": "application/json", "User-Agent": "spawnai"}
        body = encoded(_BODY_OF[spec.type](notice))
        if spec.type is NoticeChannel.WEBHOOK:
            headers["X-SpawnAI-Delivery"] = notice.key
            if signing_key is not None:
                at = int(self._clock.utc_now().timestamp())
                headers["X-SpawnAI-Signature"] = signature(signing_key, at, body)
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=_ANSWER_SECONDS, follow_redirects=False)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer = await self._http.post(url, content=body, headers=headers)
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            # Its text may hold the address, which is a secret.
            raise _Failed(f"no answer ({type(error).__name__})") from None
        except httpx.InvalidURL:
            raise _Refused(f"key {URL_KEY!r} of its Secret is no address") from None
        if answer.is_success:
            return
        said = f"HTTP {answer.status_code}"
        if answer.status_code in _AGAIN or answer.is_server_error:
            raise _Failed(said, _retry_after(answer.headers.get("retry-after")))
        raise _Refused(said)

    async def _address(self, spec: NoticeSpec) -> tuple[str, str | None]:
        name = spec.secret_ref.name
        try:
            data = await self._read_secret(name)
        except Exception as error:
            raise _Failed(f"the Secret {name} could not be read ({error})") from error
        url = data.get(URL_KEY, b"").decode(errors="replace").strip()
        if not url:
            raise _Refused(f"the Secret {name} has no key {URL_KEY!r}")
        key = data.get(SIGNING_KEY, b"").decode(errors="replace").strip() or None
        for secret in (url, key):
            if secret is not None:
                self._register_secret(secret)
        return url, key


def _retry_after(text: str | None) -> float | None:
    """Seconds of a Retry-After; Discord gives fractions, nobody here a date."""
    with contextlib.suppress(ValueError, TypeError):
        seconds = float(text or "")
        if 0 <= seconds < float("inf"):
            return seconds
    return None
