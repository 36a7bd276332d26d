"""The recorded run: sessions that live without a fault, and every call made for them.

`calls.json` beside this file is what the last whole campaign recorded. A sample is drawn from it,
so that it need not record first; a call in it that does not come any more fails the sample.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from spawnai_local.chaos.calls import Call, Edge
from spawnai_local.chaos.lives import Life, Living
from spawnai_local.chaos.plans import Boundary, Flavour, Situation, boundaries
from spawnai_local.chaos.world import World

_KNOWN = Path(__file__).with_name("calls.json")


def write_known(found: Sequence[Boundary]) -> None:
    """Keep what was recorded."""
    lines = sorted(
        [one.situation, one.flavour, one.call.edge, one.call.name, one.call.writes] for one in found
    )
    text = ",\n".join(json.dumps(line) for line in lines)
    _KNOWN.write_text(f"[\n{text}\n]\n")


def read_known() -> list[Boundary]:
    """What the last whole campaign recorded."""
    return [
        Boundary(Situation(situation), Flavour(flavour), Call(Edge(edge), name, (), writes))
        for situation, flavour, edge, name, writes in json.loads(_KNOWN.read_text())
    ]


async def record(
    world: World, restart: Callable[[], Awaitable[None]]
) -> tuple[list[Boundary], list[Life]]:
    """Let sessions of each flavour live and end in each way; returns all calls made for them."""
    lives = [
        Life(f"recorded-{number}", lane, flavour, situation)
        for number, ((flavour, situation), lane) in enumerate(
            zip(
                [
                    (Flavour.OWN_FIREWALL, None),
                    (Flavour.SHARED_FIREWALL, None),
                    (Flavour.OWN_FIREWALL, Situation.DELETED),
                ],
                world.stack.lanes,
                strict=False,
            )
        )
    ]
    living = Living(world, restart)
    await asyncio.gather(*(living.live(life) for life in lives))
    flavours = {life.name: life.flavour for life in lives}
    recorded: list[tuple[Situation, Flavour, Call]] = [
        (Situation(one.situation), flavours.get(one.owner or "", Flavour.OWN_FIREWALL), one.call)
        for one in world.gate.log
        if one.situation is not None
    ]
    return boundaries(recorded), lives
