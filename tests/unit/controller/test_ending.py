"""In which order the parts of a leading operator end."""

import asyncio
from types import SimpleNamespace

from tests.support.virtual_time import virtual_time

from spawnai.controller.memory import Memories
from spawnai.controller.operator import SHUTDOWN_SECONDS, end


@virtual_time
async def test_what_could_still_act_does_not_while_the_watches_take_their_time_to_end():
    done = []

    async def act():
        await asyncio.sleep(SHUTDOWN_SECONDS / 2)
        done.append("acted")

    async def watch():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(SHUTDOWN_SECONDS)

    async def close():
        done.append("closed")

    memories = Memories()
    memories.of("uid").tasks["SetExpiry"] = asyncio.create_task(act())
    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    await end(SimpleNamespace(stop_acting=memories.close, close=close), [watching])
    assert done == ["closed"]
