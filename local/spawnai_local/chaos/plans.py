"""Plans: every call that was recorded × every fault that exists for it × its situation."""

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from spawnai_local.chaos.calls import Call, Edge
from spawnai_local.chaos.faults import KILLS, Fault, possible


class Situation(StrEnum):
    """What a session is at when the fault strikes."""

    CREATING = "creating"
    """From its manifest, and its class's, to the running app."""
    READY = "ready"
    """Running; the operator is started again."""
    TTL_CHANGED = "ttl-changed"
    """Running; its life has just been made longer."""
    EXPIRING = "expiring"
    """From its time's last seconds to its tombstone."""
    DELETED = "deleted"
    """Running; session and class were deleted."""


class Flavour(StrEnum):
    """What kind of session and class: together they make every call there is."""

    OWN_FIREWALL = "own-firewall"
    """A script with a firewall of its own."""
    SHARED_FIREWALL = "shared-firewall"
    """A web page behind its class's firewall."""


BY_CHANCE = frozenset({"PATCH spawnsessions/status progress"})
"""What is only made when something else takes long enough. It is the same write as the others."""

OF_EACH_START = "GET /v2/droplets of a cluster"
"""The inventory's walk: it begins with the operator, and else comes when it comes."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """One call in one situation."""

    situation: Situation
    flavour: Flavour
    call: Call

    @property
    def id(self) -> str:
        """A word for it."""
        edge = {Edge.API_SERVER: "api"}.get(self.call.edge, self.call.edge.value.lower())
        name = re.sub(r"[^a-z0-9]+", "-", self.call.name.lower()).strip("-")
        return f"{self.situation}:{edge}:{name}"

    @property
    def needs_forgetting(self) -> bool:
        """Whether the call is only made by an operator that was started since the app runs.

        One that knows the app's log already need not ask for it at a deletion.
        """
        return self.situation is Situation.DELETED and self.call.edge is Edge.AGENT


@dataclass(frozen=True, slots=True)
class Plan:
    """One fault at one call in one situation."""

    boundary: Boundary
    fault: Fault

    @property
    def id(self) -> str:
        """What `make chaos PLAN=` takes."""
        return f"{self.boundary.id}:{self.fault}"

    @property
    def needs_restart(self) -> bool:
        """Whether the operator is killed or started again for it."""
        return (
            self.fault in KILLS
            or self.boundary.situation is Situation.READY
            or self.boundary.needs_forgetting
        )


def boundaries(recorded: Iterable[tuple[Situation, Flavour, Call]]) -> list[Boundary]:
    """Each call once for each situation, with the first flavour that made it there."""
    found: dict[tuple[Situation, str, str], Boundary] = {}
    for situation, flavour, call in recorded:
        if not call.is_boundary or call.name in BY_CHANCE:
            continue
        if call.name == OF_EACH_START and situation is not Situation.READY:
            continue
        found.setdefault(
            (situation, call.edge, call.name),
            Boundary(situation, flavour, Call(call.edge, call.name, (), call.writes, call.streams)),
        )
    order = list(Situation)
    return sorted(found.values(), key=lambda one: (order.index(one.situation), one.id))


def all_plans(known: Sequence[Boundary]) -> list[Plan]:
    """Every plan there is."""
    plans = [Plan(boundary, fault) for boundary in known for fault in possible(boundary.call)]
    twice = [name for name, count in Counter(plan.id for plan in plans).items() if count > 1]
    if twice:
        raise ValueError(f"two calls cannot be told apart: {twice}")
    return plans


def sample(plans: Sequence[Plan], count: int, seed: int) -> list[Plan]:
    """Some plans, of as many situations, edges and faults as can be; the same for the same seed."""
    draw = random.Random(seed)  # noqa: S311 - a sample that can be drawn again
    left = sorted(plans, key=lambda plan: plan.id)
    draw.shuffle(left)
    chosen: list[Plan] = []
    seen: Counter[str] = Counter()
    while left and len(chosen) < count:
        best = min(left, key=lambda plan: sum(seen[word] ** 2 for word in _words(plan)))
        left.remove(best)
        chosen.append(best)
        seen.update(_words(best))
    return chosen


def _words(plan: Plan) -> tuple[str, ...]:
    boundary = plan.boundary
    return (boundary.situation, boundary.call.edge, plan.fault, boundary.call.name)
