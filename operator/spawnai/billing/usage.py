"""How busy a droplet was, and what that does to a price. Pure.

The agent measures processor and memory once a minute. It runs beside a generated app, so what it
says is bounded: all of it busy, or all of it idle, is the most that it can say.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from spawnai.api.record import RecordStatus, UsageTotals

BUSY, IDLE = 80, 30
"""Percent of processor or memory: above the first a minute costs more, below the second less."""
_STEP = Decimal("0.2")
"""How much more or less (these three: the product's first description)."""
_ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Factors:
    """What a price is multiplied by for the use of the droplet."""

    cpu: Decimal = _ONE
    memory: Decimal = _ONE

    @classmethod
    def of_all(cls, factor: Decimal) -> "Factors":
        """Processor and memory alike, all the time."""
        return cls(factor, factor)


AS_USUAL = Factors()
ALL_IDLE = Factors.of_all(1 - _STEP)
ALL_BUSY = Factors.of_all(1 + _STEP)


def factors_of(usage: UsageTotals | None, ran: timedelta) -> Factors:
    """The means of the factors of each minute over the time in which the app ran. What was not
    measured counts as usual.
    """
    if usage is None:
        return AS_USUAL
    seconds = max(Decimal(str(ran.total_seconds())), Decimal(usage.measured_seconds), _ONE)

    def mean(busy: int, idle: int) -> Decimal:
        factor = 1 + _STEP * (busy - idle) / seconds
        return min(max(factor, 1 - _STEP), 1 + _STEP)

    return Factors(
        mean(usage.cpu_busy_seconds, usage.cpu_idle_seconds),
        mean(usage.memory_busy_seconds, usage.memory_idle_seconds),
    )


@dataclass(frozen=True, slots=True)
class Sample:
    """How much of a droplet was used, in percent, over `seconds`."""

    seconds: float
    cpu: float
    memory: float


def with_usage(ledger: RecordStatus, samples: Iterable[Sample], following: int) -> RecordStatus:
    """Add the agent's samples up; `following` is the number of the one to read next."""
    usage = ledger.usage or UsageTotals()
    measured, busy, idle = usage.measured_seconds, [0, 0], [0, 0]
    for sample in samples:
        seconds = round(sample.seconds)
        measured += seconds
        for number, percent in enumerate((sample.cpu, sample.memory)):
            busy[number] += seconds if percent > BUSY else 0
            idle[number] += seconds if percent < IDLE else 0
    totals = UsageTotals(
        next=following,
        measured_seconds=measured,
        cpu_busy_seconds=usage.cpu_busy_seconds + busy[0],
        cpu_idle_seconds=usage.cpu_idle_seconds + idle[0],
        memory_busy_seconds=usage.memory_busy_seconds + busy[1],
        memory_idle_seconds=usage.memory_idle_seconds + idle[1],
    )
    return ledger.model_copy(update={"usage": totals})
