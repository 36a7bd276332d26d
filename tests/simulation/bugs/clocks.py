"""Mistakes with the two clocks: the one that measures and the one that dates."""

from spawnai.controller.clock_steps import ClockSteps
from spawnai.controller.controller import Controller

from .bug import bug
from .situations import (
    date_moves_before_the_end,
    date_moves_while_a_deletion_fails,
    date_moves_while_an_answer_is_awaited,
)


async def _never_looks(_self):
    pass


def _keeps_old_dates(_self, _step):
    pass


CLOCKS = (
    bug(
        "nobody compares the clocks",
        (ClockSteps, "watch", _never_looks),
        (ClockSteps, "notice", lambda _self: None),
        among=date_moves_before_the_end,
    ),
    bug(
        "a step of the clocks is noticed only when something else is to be done",
        (ClockSteps, "watch", _never_looks),
        among=date_moves_before_the_end,
    ),
    bug(
        "a deletion's next try keeps its date when the clock is set back",
        (Controller, "_move_dates", _keeps_old_dates),
        among=date_moves_while_a_deletion_fails,
    ),
    bug(
        "a lost answer keeps its date when the clock is set",
        (Controller, "_move_dates", _keeps_old_dates),
        among=date_moves_while_an_answer_is_awaited,
        seed=37,
    ),
)
