"""The sender against channels that answer as Discord and Slack do, well or badly."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from tests.support.virtual_time import VirtualClock
from tests.unit.notices.test_messages import NOTICE

from spawnai.api.spawnclass import NoticeChannel, NoticeEvent, NoticeSecret, NoticeSpec
from spawnai.notices.messages import signature
from spawnai.notices.sender import QUEUE_LIMIT, NoticeSender
from spawnai_local.observe.sinks import Answer, Sinks


class Channels:
    """A sender, the sinks it sends to, and what it reported."""

    def __init__(self, sinks: Sinks) -> None:
        self.sinks = sinks
        self.results: list[tuple[str, str]] = []
        self.pauses: list[float] = []
        self.secrets = {
            name: {"url": sinks.url(name).encode(), "signing-key": b"a secret of ours"}
            for name in ("discord", "slack", "webhook")
        }
        self.sender = NoticeSender(
            self.read, _Clock(self.pauses), on_result=lambda *one: self.results.append(one)
        )

    async def read(self, name: str) -> dict[str, bytes]:
        return self.secrets[name]

    def spec(self, type_: str, *events: str) -> NoticeSpec:
        return NoticeSpec(
            type=NoticeChannel(type_),
            secret_ref=NoticeSecret(name=type_.lower()),
            events=[NoticeEvent(event) for event in events] or list(NoticeEvent),
        )

    async def drained(self) -> None:
        async with asyncio.timeout(60):
            await self.sender.drained()
        await asyncio.sleep(0)


class _Clock(VirtualClock):
    """Pauses take no time, and are remembered."""

    def __init__(self, pauses: list[float]) -> None:
        super().__init__()
        self._pauses = pauses

    async def sleep(self, seconds: float) -> None:
        self._pauses.append(seconds)
        await asyncio.sleep(0)


@pytest_asyncio.fixture
async def channels() -> AsyncIterator[Channels]:
    async with Sinks() as sinks:
        channels = Channels(sinks)
        yield channels
        await channels.sender.close()


async def test_each_channel_takes_what_it_is_sent(channels):
    specs = [channels.spec(type_) for type_ in ("Discord", "Slack", "Webhook")]
    channels.sender.send("standard", specs, NOTICE)
    await channels.drained()
    assert sorted(channels.results) == [
        ("Discord", "sent"),
        ("Slack", "sent"),
        ("Webhook", "sent"),
    ]
    assert channels.sinks.refused == []
    (message,) = channels.sinks.of("webhook")
    at = int(message.headers["X-SpawnAI-Signature"].partition(",")[0].removeprefix("t="))
    assert message.headers["X-SpawnAI-Signature"] == signature("a secret of ours", at, message.raw)
    assert message.body["id"] == message.headers["X-SpawnAI-Delivery"] == NOTICE.key


async def test_the_same_news_is_sent_once(channels):
    for _ in range(3):
        channels.sender.send("standard", [channels.spec("Slack")], NOTICE)
    channels.sender.send("standard", [channels.spec("Slack")], replace(NOTICE, marker="other"))
    await channels.drained()
    assert len(channels.sinks.of("slack")) == 2


async def test_only_the_events_asked_for_are_told(channels):
    channels.sender.send("standard", [channels.spec("Slack", "Failed")], NOTICE)
    await channels.drained()
    assert channels.results == []


async def test_retry_after_is_waited_for(channels):
    channels.sinks.next_answers = [Answer(429, {"Retry-After": "7.5"})]
    channels.sender.send("standard", [channels.spec("Discord")], NOTICE)
    await channels.drained()
    assert channels.results == [("Discord", "sent")]
    assert channels.pauses[0] == 7.5


async def test_a_longer_retry_after_than_five_minutes_is_not_believed(channels):
    channels.sinks.next_answers = [Answer(429, {"Retry-After": "86400"})]
    channels.sender.send("standard", [channels.spec("Discord")], NOTICE)
    await channels.drained()
    assert channels.pauses[0] == 300


@pytest.mark.parametrize(
    ("answers", "result"),
    [
        ([503, 503], "sent"),
        ([503, 503, 503], "failed"),
        ([404], "refused"),
        ([401], "refused"),
        ([302], "refused"),
    ],
)
async def test_what_may_help_is_tried_three_times_and_what_cannot_once(channels, answers, result):
    channels.sinks.next_answers = [Answer(status) for status in answers]
    channels.sender.send("standard", [channels.spec("Slack")], NOTICE)
    await channels.drained()
    assert channels.results == [("Slack", result)]
    assert channels.sinks.next_answers == [], "each answer was asked for"


async def test_a_dead_channel_costs_the_others_nothing_and_names_no_address(channels, caplog):
    address = "http://127.0.0.1:9/a-secret-path"  # the discard port: nobody listens
    channels.secrets["discord"] = {"url": address.encode()}
    channels.sender.send("standard", [channels.spec("Discord"), channels.spec("Slack")], NOTICE)
    await channels.drained()
    assert sorted(channels.results) == [("Discord", "failed"), ("Slack", "sent")]
    assert "ConnectError" in caplog.text
    assert "a-secret-path" not in caplog.text


@pytest.mark.parametrize("data", [{}, {"url": b""}, {"url": b"no address"}])
async def test_a_secret_without_an_address_is_told_and_nothing_else(channels, caplog, data):
    channels.secrets["slack"] = data
    channels.sender.send("standard", [channels.spec("Slack")], NOTICE)
    await channels.drained()
    ((_, result),) = channels.results
    assert result in {"refused", "failed"}
    assert "SpawnClass standard" in caplog.text


async def test_a_full_queue_drops_and_counts(channels):
    spec = channels.spec("Slack")
    for number in range(QUEUE_LIMIT + 5):
        channels.sender.send("standard", [spec], replace(NOTICE, marker=str(number)))
    assert channels.results == [("Slack", "dropped")] * 5
    await channels.drained()
    assert len(channels.sinks.of("slack")) == QUEUE_LIMIT
