"""The recorded run: sessions that live without a fault, and every call made for them."""

import asyncio
from collections.abc import Awaitable, Callable

from spawnai_local.chaos.calls import Call
from spawnai_local.chaos.lives import Life, Living
from spawnai_local.chaos.plans import Boundary, Flavour, Situation, boundaries
from spawnai_local.chaos.stack import OPERATOR
from spawnai_local.chaos.world import World


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
    world.gate.situations[OPERATOR] = Situation.READY
    await asyncio.gather(*(living.live(life) for life in lives))
    flavours = {life.name: life.flavour for life in lives}
    recorded: list[tuple[Situation, Flavour, Call]] = [
        (Situation(one.situation), flavours.get(one.owner or "", Flavour.OWN_FIREWALL), one.call)
        for one in world.gate.log
        if one.situation is not None
    ]
    return boundaries(recorded), lives
