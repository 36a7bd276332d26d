"""A Discord-like and a Slack-like webhook on loopback, and a plain one: they keep what they get.

They refuse what the real ones refuse: Discord a message without content and embeds, content of more
than 2,000 characters, an embed's title of more than 256 or description of more than 4,096; Slack a
message without text, and a section of more than 3,000. A test may have the next answers fail.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

_CONTENT, _EMBED_TITLE, _EMBED_TEXT, _SECTION = 2000, 256, 4096, 3000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sink says to the next message instead of taking it."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """One message that was taken."""

    channel: str
    body: Any
    headers: Mapping[str, str]
    raw: bytes

    @property
    def text(self) -> str:
        """All of it, to look for words."""
        return json.dumps(self.body, ensure_ascii=False)


class Sinks:
    """The three webhooks, as an async context manager."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.refused: list[str] = []
        self.next_answers: list[Answer] = []
        self._news = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        for channel, check in (("discord", _check_discord), ("slack", _check_slack)):
            app.router.add_post(f"/{channel}", self._taker(channel, check))
        app.router.add_post("/webhook", self._taker("webhook", lambda _body: None))
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def url(self, channel: str) -> str:
        """The address of `discord`, `slack` or `webhook`."""
        return f"http://127.0.0.1:{self._port}/{channel}"

    def of(self, channel: str) -> list[Message]:
        """The messages that one of them took."""
        return [message for message in self.messages if message.channel == channel]

    async def until(self, channel: str, words: str, seconds: float) -> Message:
        """Wait for a message with these words.

        Raises:
            TimeoutError: none came in time.
        """
        async with asyncio.timeout(seconds):
            while True:
                for message in self.of(channel):
                    if words in message.text:
                        return message
                self._news.clear()
                await self._news.wait()

    def _taker(self, channel: str, check: Any) -> Any:
        async def take(request: web.Request) -> web.Response:
            raw = await request.read()
            if self.next_answers:
                answer = self.next_answers.pop(0)
                return web.Response(status=answer.status, headers=dict(answer.headers))
            body = json.loads(raw)
            if (problem := check(body)) is not None:
                self.refused.append(f"{channel}: {problem}")
                return web.Response(status=400, text=problem)
            self.messages.append(Message(channel, body, dict(request.headers), raw))
            self._news.set()
            if channel == "slack":
                return web.Response(text="ok")
            return web.Response(status=204)

        return take


def _check_discord(body: Any) -> str | None:
    embeds = body.get("embeds") or []
    if not body.get("content") and not embeds:
        return "Cannot send an empty message"
    if len(body.get("content") or "") > _CONTENT:
        return f"content: Must be {_CONTENT} or fewer in length."
    for embed in embeds:
        if len(embed.get("title", "")) > _EMBED_TITLE:
            return f"title: Must be {_EMBED_TITLE} or fewer in length."
        if len(embed.get("description", "")) > _EMBED_TEXT:
            return f"description: Must be {_EMBED_TEXT} or fewer in length."
    return None


def _check_slack(body: Any) -> str | None:
    if not body.get("text") and not body.get("attachments"):
        return "no_text"
    for block in body.get("blocks", []):
        if len(block.get("text", {}).get("text", "")) > _SECTION:
            return "invalid_blocks"
    return None
