"""Mistakes in keeping spares."""

from spawnai.controller.pools import pools
from spawnai.lifecycle.pooling import Close, keep_spares, plan_spare

from .bug import bug
from .situations import spares_are_taken


def _closed_at_once(spare, now, *, abandon=None):
    if spare.ending is not None:
        return Close(spare.ending)
    return plan_spare(spare, now, abandon=abandon)


def _only_what_is_ready(spares, wanted, around, now):
    return keep_spares([one for one in spares if one.is_ready], wanted, around, now)


POOLING = (
    bug(
        "a spare that is given up is not deleted",
        (pools, "plan_spare", _closed_at_once),
        among=spares_are_taken,
    ),
    bug(
        "a spare that boots does not count",
        (pools, "keep_spares", _only_what_is_ready),
        among=spares_are_taken,
    ),
)
