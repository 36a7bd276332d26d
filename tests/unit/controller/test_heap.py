"""Freed memory goes back to the machine, and no C library is asked for what it does not have."""

import asyncio
import ctypes
import gc
import mmap
from pathlib import Path

import pytest

from spawnai.controller import heap

MEBIBYTE = 1024 * 1024
HAS_TRIM = hasattr(ctypes.CDLL(None), "malloc_trim")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@pytest.mark.skipif(not HAS_TRIM, reason="this C library has no malloc_trim")
def test_holes_between_what_is_still_used_go_back_to_the_machine():
    blocks = [bytes(4000) for _ in range(20_000)]
    kept = blocks[::50]
    del blocks
    before = resident_bytes()
    heap.trim(ctypes.CDLL(None))
    assert before - resident_bytes() > 40 * MEBIBYTE
    assert all(block == bytes(4000) for block in kept)


def test_a_c_library_that_cannot_give_back_is_left_alone():
    heap.trim(object())


async def test_it_is_given_back_again_and_again_until_cancelled():
    waited: list[float] = []

    class Instant:
        async def sleep(self, seconds: float) -> None:
            waited.append(seconds)
            await asyncio.sleep(0)

    task = asyncio.create_task(heap.keep_trimmed(Instant()))  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        while len(waited) < 3:
            await asyncio.sleep(0)
    assert not task.done()
    assert set(waited) == {heap.INTERVAL_SECONDS}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_what_was_loaded_is_left_out_of_later_collections():
    loaded = [[number] for number in range(1000)]
    try:
        heap.set_apart()
        looked_at = {id(one) for one in gc.get_objects()}
        assert not any(id(one) in looked_at for one in loaded)
    finally:
        gc.unfreeze()
