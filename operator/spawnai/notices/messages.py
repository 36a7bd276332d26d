"""A notice as each channel takes it: within its limits, with no mention and no foreign link.

A session's message may hold words of its app, which strangers write: in Discord they are escaped,
and no mention in them rings (`allowed_mentions`); in Slack they are plain text, where nothing is a
link. Limits: Discord's and Slack's API documentation of 2026.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spawnai.api.durations import format_time
from spawnai.api.spawnclass import NoticeEvent

_DISCORD_CONTENT, _DISCORD_TITLE, _DISCORD_TEXT = 2000, 256, 4096
_SLACK_TEXT, _SLACK_SECTION, _SLACK_HEADER = 3000, 3000, 150
_COLOURS: Mapping[NoticeEvent, int] = {
    NoticeEvent.READY: 0x2E7D32,
    NoticeEvent.EXPIRING: 0xF9A825,
    NoticeEvent.FAILED: 0xC62828,
    NoticeEvent.ENDED: 0x546E7A,
    NoticeEvent.COST: 0xF9A825,
    NoticeEvent.QUEUED: 0x546E7A,
    NoticeEvent.BUDGET: 0xF9A825,
}
_MARKDOWN = re.compile(r"([\\*_~`|>\[\]()#<@:-])")
_WEB = re.compile(r"https?://[^\s<>|]+")


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told of one session. `url` is where its app answers, if it does."""

    uid: str
    namespace: str
    name: str
    event: NoticeEvent
    marker: str
    title: str
    message: str
    at: datetime
    url: str | None = None
    cost: str | None = None

    @property
    def key(self) -> str:
        """The same for the same news, whoever sends it: a receiver can tell a repetition by it."""
        return hashlib.sha256(f"{self.uid}\n{self.event}\n{self.marker}".encode()).hexdigest()[:32]

    @property
    def link(self) -> str | None:
        """The app's address, if it is one that may be shown as a link."""
        return self.url if self.url is not None and _WEB.fullmatch(self.url) else None


def discord(notice: Notice) -> dict[str, Any]:
    """The body for a Discord webhook. `content` is never empty: phones show only that."""
    where = f"{notice.namespace}/{notice.name}"
    embed: dict[str, Any] = {
        "title": _cut(notice.title, _DISCORD_TITLE),
        "description": _cut(escaped(notice.message), _DISCORD_TEXT),
        "color": _COLOURS[notice.event],
        "timestamp": format_time(notice.at),
        "footer": {"text": _cut(where, _DISCORD_TITLE)},
    }
    if notice.link is not None:
        embed["url"] = notice.link
    return {
        "content": _cut(escaped(notice.title), _DISCORD_CONTENT),
        "embeds": [embed],
        "allowed_mentions": {"parse": []},
    }


def slack(notice: Notice) -> dict[str, Any]:
    """The body for a Slack webhook."""
    blocks: list[dict[str, Any]] = [
        _plain("header", _cut(notice.title, _SLACK_HEADER)),
    ]
    if notice.message:
        blocks.append(_plain("section", _cut(notice.message, _SLACK_SECTION)))
    if notice.link is not None:
        text = {"type": "mrkdwn", "text": f"<{_entities(notice.link)}|Open the app>"}
        blocks.append({"type": "section", "text": text})
    return {
        "text": _entities(_cut(f"{notice.title}. {notice.message}", _SLACK_TEXT // 5)),
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def webhook(notice: Notice) -> dict[str, Any]:
    """The body for a webhook of one's own."""
    return {
        "id": notice.key,
        "event": notice.event.value,
        "marker": notice.marker,
        "session": {"uid": notice.uid, "namespace": notice.namespace, "name": notice.name},
        "title": notice.title,
        "message": notice.message,
        "url": notice.url,
        "cost": notice.cost,
        "time": format_time(notice.at),
    }


def encoded(body: Mapping[str, Any]) -> bytes:
    """The bytes that are sent, and signed."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def signature(secret: str, at: int, body: bytes) -> str:
    """The header `X-SpawnAI-Signature`: HMAC-SHA-256 of the time, a dot and the body.

    With the time in it a receiver can refuse what somebody recorded and sends again.
    """
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def escaped(text: str) -> str:
    """Foreign words for Discord's Markdown: shown as they are, nothing in them a link."""
    return _MARKDOWN.sub(r"\\\1", text)


def _plain(kind: str, text: str) -> dict[str, Any]:
    return {"type": kind, "text": {"type": "plain_text", "text": text, "emoji": False}}


def _entities(text: str) -> str:
    """Slack's own escaping: with it, neither `<!channel>` nor `<url|text>` means anything."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
