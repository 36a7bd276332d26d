"""Mistakes in keeping spares, and in taking them."""

from spawnai.controller.actions.claim import Claim
from spawnai.controller.pools import pools
from spawnai.lifecycle.pooling import Close, plan_spare

from .bug import bug
from .situations import spares_are_taken


async def _nobody(_claim, stored, _session_uid):
    return stored


def _closed_at_once(spare, now, *, abandon=None):
    if spare.ending is not None:
        return Close(spare.ending)
    return plan_spare(spare, now, abandon=abandon)


POOLING = (
    bug(
        "the ledger of a spare does not say who has taken it",
        (Claim, "_write_taker", _nobody),
        among=spares_are_taken,
        seed=4,
    ),
    bug(
        "a spare that is given up is not deleted",
        (pools, "plan_spare", _closed_at_once),
        among=spares_are_taken,
    ),
)
