"""How a pool stands, and how its status says so."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from spawnai.api.conditions import (
    ConditionStatus,
    ConditionType,
    find_condition,
    next_condition,
)
from spawnai.api.names import GROUP
from spawnai.api.pool import PoolStatus
from spawnai.controller.store import StoredPool
from spawnai.lifecycle.pooling import Circumstances, Keeping, Spare


@dataclass(frozen=True, slots=True)
class Problem:
    """What keeps a pool from its work. `for_a_person`: it does not go away by itself."""

    reason: str
    message: str
    for_a_person: bool = False


@dataclass(frozen=True, slots=True)
class Stand:
    """What a look at a pool has found. `refusal`: how the last order was refused, or ""."""

    spares: Sequence[Spare]
    keeping: Keeping
    around: Circumstances
    problem: Problem | None
    refusal: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """How many droplets are in each state."""
        endings = self.keeping.endings
        kept = [one for one in self.spares if one.is_spare and one.uid not in endings]
        ready = sum(1 for one in kept if one.is_ready)
        return {
            "ready": ready,
            "booting": len(kept) - ready + self.keeping.begin,
            "leaving": sum(1 for one in self.spares if one.is_leaving) + len(endings),
            "claimed": self.around.claimed,
        }


def status_of(pool: StoredPool, stand: Stand, now: datetime) -> PoolStatus:
    """The status of a pool."""
    counts = stand.counts
    wanted = pool.spec.replicas if pool.spec is not None else 0
    least = min(pool.spec.min_ready, wanted) if pool.spec is not None else 0
    words = f"{counts['ready']} of {wanted} spares are ready"
    problem = stand.problem or _trouble(stand, words, least)
    if problem is None:
        wished = [(ConditionType.READY, ConditionStatus.TRUE, "SparesReady", words)]
    else:
        also = ConditionType.STALLED if problem.for_a_person else ConditionType.RECONCILING
        wished = [
            (ConditionType.READY, ConditionStatus.FALSE, problem.reason, problem.message),
            (also, ConditionStatus.TRUE, problem.reason, problem.message),
        ]
    return PoolStatus(
        observed_generation=pool.generation,
        conditions=[
            next_condition(
                find_condition(pool.status.conditions, type_),
                type_,
                status,
                reason,
                message,
                now=now,
                observed_generation=pool.generation,
            )
            for type_, status, reason, message in wished
        ],
        replicas=counts["ready"] + counts["booting"],
        selector=f"{GROUP}/pool={pool.name}",
        **counts,
    )


def _trouble(stand: Stand, words: str, least: int) -> Problem | None:
    """Why a pool is not Ready although its class can be used."""
    if stand.keeping.has_failed:
        why = f" ({stand.refusal})" if stand.refusal else ""
        return Problem(
            "RefillsFailed",
            f"{stand.around.failures} spares in a row came to nothing{why}: change the pool, or it "
            "is tried again later",
            for_a_person=True,
        )
    if stand.counts["ready"] >= least:
        return None
    held_up = stand.around.held_up if stand.keeping.missing else ""
    if held_up:
        return Problem("WaitingForRoom", f"{words}; {held_up}")
    return Problem("Booting", words)
