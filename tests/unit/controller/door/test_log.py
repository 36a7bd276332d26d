"""The log of an app for many readers: live, once, and at no one's cost but the reader's own."""

import asyncio
from contextlib import aclosing
from types import SimpleNamespace

import pytest
from tests.unit.lifecycle.life import a_session

from spawnai.api.record import LedgerEntry, RecordStatus
from spawnai.clock import SystemClock
from spawnai.controller.door.log import KEPT_LINES, AppLogs, new_lines
from spawnai.droplet.client import AgentUnreachable, LogLines

DROPLET = LedgerEntry.model_validate(
    {
        "kind": "Droplet",
        "name": "spawn",
        "id": "1",
        "ip": "192.0.2.1",
        "presence": "Present",
        "createdAt": "2026-11-29T12:00:00Z",
    }
)


class Agent:
    """Numbers its lines as the real one; `restart` begins to count anew with what it has kept."""

    def __init__(self) -> None:
        self.lines, self.count, self.closed, self.starts = [], 0, 0, 1
        self.news = asyncio.Event()

    def write(self, *lines: str) -> None:
        self.lines = [*self.lines, *lines][-KEPT_LINES:]
        self.count += len(lines)
        self.news.set()

    def restart(self) -> None:
        self.count = len(self.lines)
        self.starts += 1
        self.news.set()

    async def read_log(self, after=0) -> LogLines:
        after, start = after if after <= self.count else 0, self.starts
        while self.count <= after:
            self.news.clear()
            await self.news.wait()
            if start != self.starts:
                raise AgentUnreachable("it was started again")
        new = min(self.count - after, len(self.lines))
        return LogLines(tuple(self.lines[len(self.lines) - new :]), self.count)

    async def close(self) -> None:
        self.closed += 1


class World:
    def __init__(self) -> None:
        self.session = a_session()
        self.record = RecordStatus(resources=[DROPLET])
        self.agent = Agent()
        self.clients = 0
        store = SimpleNamespace(
            session=lambda _: self.session, record=lambda _: SimpleNamespace(status=self.record)
        )
        self.logs = AppLogs(store, SimpleNamespace(client=self.client), SystemClock())

    def client(self, _session, _ip):
        self.clients += 1
        return self.agent

    def reader(self):
        return aclosing(self.logs.lines(self.session, follow=True))

    def end(self, *last: str) -> None:
        status = self.session.status.model_copy(update={"phase": "Destroyed"})
        self.session = SimpleNamespace(uid=self.session.uid, status=status)
        self.record = RecordStatus(resources=[DROPLET], log=list(last))
        self.agent.write("it ends")


@pytest.fixture
async def world() -> World:
    return World()


async def told(reader, last: str) -> list[str]:
    found = []
    async with asyncio.timeout(10):
        async for lines in reader:
            found += lines
            if last in found:
                return found
    return found


async def test_many_readers_are_one_follower_of_the_agent_and_each_hears_all(world):
    world.agent.write("one", "two")
    async with world.reader() as first, world.reader() as second:
        assert await told(first, "two") == ["one", "two"]
        world.agent.write("three")
        assert await told(first, "three") == ["three"]
        assert await told(second, "three") == ["one", "two", "three"]
        assert world.clients == 1
    await asyncio.sleep(0)
    assert world.agent.closed == 1


async def test_an_agent_that_is_started_again_tells_nothing_twice(world):
    world.agent.write(*(f"line {number}" for number in range(KEPT_LINES + 200)))
    async with world.reader() as reader:
        await told(reader, f"line {KEPT_LINES + 199}")
        world.agent.restart()
        world.agent.write("after the restart")
        assert await told(reader, "after the restart") == ["after the restart"]


async def test_a_slow_reader_misses_lines_and_holds_up_nobody(world):
    async with world.reader() as quick, world.reader() as slow:
        world.agent.write("first")
        await told(quick, "first")
        for number in range(3):
            world.agent.write(*(f"{number}-{line}" for line in range(KEPT_LINES)))
            await told(quick, f"{number}-{KEPT_LINES - 1}")
        found = await told(slow, f"2-{KEPT_LINES - 1}")
        assert len(found) == KEPT_LINES


async def test_at_the_end_come_the_last_lines_that_the_ledger_kept(world):
    world.agent.write("one", "two")
    async with world.reader() as reader:
        await told(reader, "two")
        world.end("two", "it ends", "goodbye")
        assert await told(reader, "nothing more") == ["it ends", "goodbye"]


async def test_an_agent_that_does_not_answer_is_asked_again(world, monkeypatch):
    answers = iter([AgentUnreachable("it boots")])

    async def read_log(after=0, read_log=world.agent.read_log):
        for error in answers:
            raise error
        return await read_log(after)

    monkeypatch.setattr(world.agent, "read_log", read_log)
    world.agent.write("one")
    async with world.reader() as reader:
        assert await told(reader, "one") == ["one"]


@pytest.mark.parametrize(
    ("told", "lines", "fresh"),
    [
        ([], ["a", "b"], ["a", "b"]),
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], ["a", "b", "c"], ["c"]),
        (["a", "b", "c"], ["b", "c", "d"], ["d"]),  # the window has moved on
        (["a", "b"], ["x", "y"], ["x", "y"]),  # it was full of new lines meanwhile
        (["a", "a"], ["a", "a", "a"], ["a"]),
        (["a"], [], []),
    ],
)
def test_only_what_was_not_told_yet_is_new(told, lines, fresh):
    assert new_lines(told, lines) == fresh
