"""What each channel is sent: within its limits, with nothing in it that rings or links."""

import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from spawnai.api.spawnclass import NoticeEvent
from spawnai.notices.messages import Notice, discord, encoded, signature, slack, webhook

NOTICE = Notice(
    uid="6e1f",
    namespace="team",
    name="board",
    event=NoticeEvent.READY,
    marker="",
    title="board is ready",
    message="It runs until 2026-11-01T14:00:00Z.",
    at=datetime(2026, 11, 1, 12, tzinfo=UTC),
    url="https://board-7f3a.apps.example.com",
    cost="0.0312",
)
HOSTILE = replace(
    NOTICE,
    message="@everyone <!channel> [free](https://evil.example) `x` <https://evil.example|here>"
    + "!" * 9000,
)


def test_discord_shows_the_title_also_where_embeds_are_not_shown():
    body = discord(NOTICE)
    assert body["content"] == "board is ready"
    assert body["embeds"][0]["url"] == NOTICE.url
    assert body["allowed_mentions"] == {"parse": []}


def test_discord_gets_foreign_words_escaped_and_cut():
    body = discord(HOSTILE)
    (embed,) = body["embeds"]
    assert len(embed["description"]) == 4096
    assert r"\[free\]\(https\://evil.example\)" in embed["description"]
    assert r"\@everyone" in embed["description"]
    assert len(discord(replace(NOTICE, title="x" * 3000))["content"]) == 2000


def test_slack_gets_foreign_words_as_plain_text():
    body = slack(HOSTILE)
    header, section, link = body["blocks"]
    assert (header["type"], header["text"]["type"]) == ("header", "plain_text")
    assert section["text"]["type"] == "plain_text"
    assert len(section["text"]["text"]) == 3000
    assert link["text"]["text"] == "<https://board-7f3a.apps.example.com|Open the app>"
    assert "<" not in body["text"]
    assert body["text"]
    assert body["unfurl_links"] is False


@pytest.mark.parametrize("url", [None, "javascript:alert(1)", "https://a|b>c", "https://a b"])
def test_only_an_address_becomes_a_link(url):
    notice = replace(NOTICE, url=url)
    assert "url" not in discord(notice)["embeds"][0]
    assert len(slack(notice)["blocks"]) == 2


def test_a_webhook_is_signed_over_time_and_body():
    body = encoded(webhook(NOTICE))
    header = signature("a secret of ours", 1790000000, body)
    expected = hmac.new(b"a secret of ours", b"1790000000." + body, hashlib.sha256).hexdigest()
    assert header == f"t=1790000000,v1={expected}"


def test_the_same_news_has_the_same_id_and_other_news_another():
    assert NOTICE.key == replace(NOTICE, message="in other words").key
    others = [
        replace(NOTICE, uid="other"),
        replace(NOTICE, event=NoticeEvent.EXPIRING),
        replace(NOTICE, marker="x"),
    ]
    assert len({NOTICE.key, *(one.key for one in others)}) == 4
