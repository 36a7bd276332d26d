"""A look from outside against real sockets: it ends in time and never raises."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from spawnai.droplet.probe import ProbeAnswer, Probes


@asynccontextmanager
async def server(*parts: bytes, keep_open: bool = False):
    """Says these parts one after another to whoever asks; yields its port."""

    async def serve(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
            if keep_open:
                await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        writer.close()
        if not served.done():
            served.set_result(None)

    served = asyncio.get_running_loop().create_future()
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
        await served


def open_files() -> list[Path]:
    return list(Path("/proc/self/fd").iterdir())


async def look(port: int, seconds: float = 5.0) -> ProbeAnswer:
    return await Probes().health("127.0.0.1", port, seconds)


async def test_a_good_answer_needs_no_end_of_the_connection():
    async with server(b'HTTP/1.1 200 OK\r\n\r\n{"state"', keep_open=True) as port:
        assert await look(port) is ProbeAnswer.UP


async def test_a_bad_answer_is_read_to_its_end():
    parts = b"HTTP/1.1 503 Service", b" Unavailable\r\n\r\n", b'{"state": "fa', b'iled"}\n'
    async with server(*parts) as port:
        assert await look(port) is ProbeAnswer.FAILED


async def test_a_flood_is_cut():
    async with server(b"HTTP/1.1 503 No\r\n\r\n" + b"x" * 2**20, keep_open=True) as port:
        assert await look(port) is ProbeAnswer.DOWN


@pytest.mark.parametrize("parts", [(), (b"\x00\xff\x00",)], ids=["nothing", "rubbish"])
async def test_what_is_no_http_is_no_answer(parts):
    async with server(*parts) as port:
        assert await look(port) is ProbeAnswer.NONE


async def test_who_says_nothing_is_given_up():
    async with server(keep_open=True) as port:
        assert await look(port, 0.05) is ProbeAnswer.NONE


async def test_many_looks_are_under_way_at_once_and_leave_nothing_open():
    before = len(open_files())
    probes = Probes()
    async with server(b"HTTP/1.1 200 OK\r\n\r\n") as port, server(keep_open=True) as silent:
        given_up = asyncio.create_task(probes.health("127.0.0.1", silent, 60.0))
        looks = [probes.health("127.0.0.1", port, 5.0) for _ in range(20)]
        assert await asyncio.gather(*looks) == [ProbeAnswer.UP] * 20
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
    assert await probes.knock("127.0.0.1", port, 5.0) is ProbeAnswer.NONE
    async with asyncio.timeout(5):  # the servers close their ends in their own time
        while len(open_files()) > before:
            await asyncio.sleep(0.01)


async def test_a_closed_door_is_no_answer_and_an_open_one_is_up():
    async with server() as port:
        assert await Probes().knock("127.0.0.1", port, 5.0) is ProbeAnswer.UP
    assert await Probes().knock("127.0.0.1", port, 5.0) is ProbeAnswer.NONE
    assert await look(port) is ProbeAnswer.NONE
