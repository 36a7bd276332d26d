"""The recorded run: sessions that live without a fault, and every call made for them.

Several lives are led in each way, and what only some of them call for is made by chance: it is left
out, and said.

`calls.json` beside this file is what the last whole campaign recorded. A sample is drawn from it,
so that it need not record first; a call in it that does not come any more fails the sample.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from spawnai_local.chaos.calls import Call, Edge
from spawnai_local.chaos.lives import Company, Life, Living
from spawnai_local.chaos.plans import Boundary, Flavour, Recorded, Situation, told_apart
from spawnai_local.chaos.world import World

LIVES_OF_A_KIND = 3

AFTER_A_START = frozenset({"GET /v2/domains/{domain_name}/records by name"})
"""What the end of a recorded life calls for because the operator had started again shortly before:
the look for a second name (docs/decisions/0004). A plan's session sees no new start."""

ENDINGS = frozenset({Situation.EXPIRING, Situation.DELETED})

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
) -> tuple[list[Boundary], list[Boundary], list[Life]]:
    """Let sessions of each flavour live and end in each way.

    Returns the calls made for them, those that were only made by chance, and the lives.
    """
    lives = [
        Life(f"recorded-{number}", lane, flavour, situation)
        for number, ((flavour, situation), lane) in enumerate(
            zip(
                LIVES_OF_A_KIND
                * [
                    (Flavour.OWN_FIREWALL, None),
                    (Flavour.SHARED_FIREWALL, None),
                    (Flavour.OWN_FIREWALL, Situation.DELETED),
                    (Flavour.CERTIFIED, None),
                    (Flavour.CERTIFIED, Situation.DELETED),
                ],
                world.stack.lanes,
                strict=False,
            )
        )
    ]
    lanes = world.stack.lanes[len(lives) :]
    # The answer to an order is lost, or a stray turns up: a new start would disturb these.
    calm = [
        Life(f"recorded-{number}", lane, Flavour.OWN_FIREWALL, situation)
        for number, (situation, lane) in enumerate(
            zip(
                LIVES_OF_A_KIND * [Situation.SETTLING, Situation.REAPED],
                lanes,
                strict=False,
            ),
            start=len(lives),
        )
    ]
    living = Living(world, restart)
    # Those that are there for the operator's new start have it together, all others before it.
    company = Company(life for life in lives if life.situation is None)
    await asyncio.gather(
        *(living.live(life, company if life.situation is None else None) for life in lives)
    )
    await asyncio.gather(*(living.live(life) for life in calm))
    lives += calm
    flavours = {life.name: life.flavour for life in lives}
    # What others call too is not about the certificate.
    log = sorted(world.gate.log, key=lambda one: flavours.get(one.owner or "") is Flavour.CERTIFIED)
    kinds = {life.name: (life.flavour, life.situation) for life in lives}
    recorded = [
        Recorded(
            kinds.get(one.owner or ""), one.owner or "", Situation(one.situation), flavour, one.call
        )
        for one in log
        if one.situation is not None
        if not (one.call.name in AFTER_A_START and one.situation in ENDINGS)
        for flavour in [flavours.get(one.owner or "", Flavour.OWN_FIREWALL)]
    ]
    known, by_chance = told_apart(recorded)
    return known, by_chance, lives
