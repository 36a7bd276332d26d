"""A measured figure beside its goal."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Judge(StrEnum):
    """Which number of the samples is held against the goal."""

    MEDIAN = "median"
    P99 = "p99"
    MOST = "most"


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured: samples in `unit`. `goal` is the most that is allowed; None: no goal."""

    title: str
    unit: str
    samples: tuple[float, ...]
    goal: float | None = None
    judge: Judge = Judge.P99
    remark: str = ""

    @property
    def n(self) -> int:
        """How many samples there are."""
        return len(self.samples)

    @property
    def median(self) -> float:
        """The middle sample; the lower one of two."""
        return quantile(self.samples, 0.5)

    @property
    def p99(self) -> float:
        """The sample that 99 of 100 do not exceed; of fewer than 100 samples, the largest."""
        return quantile(self.samples, 0.99)

    @property
    def judged(self) -> float:
        """The number that is held against the goal."""
        match self.judge:
            case Judge.MEDIAN:
                return self.median
            case Judge.P99:
                return self.p99
            case Judge.MOST:
                return quantile(self.samples, 1.0)

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached; None without one, or without a sample."""
        if self.goal is None:
            return None
        return bool(self.samples) and self.judged <= self.goal

    @property
    def goal_words(self) -> str:
        """The goal as the table shows it."""
        if self.goal is None:
            return ""
        which = "" if self.n == 1 else f"{self.judge} "
        return f"{which}≤ {shown(self.goal, self.unit)}"


def quantile(samples: Sequence[float], share: float) -> float:
    """The sample that this share of all does not exceed (nearest rank); NaN of none."""
    if not samples:
        return math.nan
    return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]


def shown(value: float, unit: str) -> str:
    """A number with its unit, as exact as anyone wants to read it."""
    if math.isnan(value):
        return "–"
    if value == int(value) or abs(value) >= 100:  # noqa: PLR2004
        number = f"{value:.0f}"
    elif abs(value) >= 10:  # noqa: PLR2004
        number = f"{value:.1f}"
    else:
        number = f"{value:.3f}" if unit == "" else f"{value:.2f}"
    return f"{number} {unit}".strip()


def words_of(counter: Counter[str]) -> str:
    """What was counted, for a remark: the most frequent first."""
    return ", ".join(f"{number} {what}" for what, number in counter.most_common()) or "none"
