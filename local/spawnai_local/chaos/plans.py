"""Plans: every call that was recorded × every fault that exists for it × its situation."""

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from spawnai_local.chaos.calls import EVENTS, Call, Edge
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
    SETTLING = "settling"
    """Being created; the answer to the order for its droplet was lost."""
    CLASS_CHANGED = "class-changed"
    """Running; the rules of its class's firewall have just been changed."""
    FORGOTTEN = "forgotten"
    """Over; the time for which its record is kept has just run out."""
    REAPED = "reaped"
    """Over; a droplet turns up that wears its marks and that nobody ordered."""


class Flavour(StrEnum):
    """What kind of session and class: together they make every call there is."""

    OWN_FIREWALL = "own-firewall"
    """A script with a firewall of its own."""
    SHARED_FIREWALL = "shared-firewall"
    """A web page behind its class's firewall."""
    CERTIFIED = "certified"
    """A web page at its droplet's address, with a certificate for it."""


BY_CHANCE = frozenset(
    {"PATCH spawnsessions/status progress", "PATCH spawnsessions/status phase=Requested"}
)
"""What is only made when something else takes long enough. It is the same write as the others."""

BY_WAY_OF_OTHERS = frozenset({Situation.SETTLING, Situation.FORGOTTEN})
"""Situations that are led into through calls of other ones: only what no other one has counts."""

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

    @property
    def is_operators_own(self) -> bool:
        """Whether the call has no session or class that is the reason for it: the Lease."""
        return self.call.name.endswith("leases")


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


@dataclass(frozen=True, slots=True)
class Recorded:
    """One call of a recorded life. `kind` says how that life was led, `life` which of its kind."""

    kind: object
    life: str
    situation: Situation
    flavour: Flavour
    call: Call


def told_apart(recorded: Sequence[Recorded]) -> tuple[list[Boundary], list[Boundary]]:
    """The boundaries, and what was only made by chance: not by every life of any kind.

    A plan for such a call would wait in vain, as often as not.
    """
    lives: dict[object, set[str]] = {}
    made: dict[tuple[object, Situation, Edge, str], set[str]] = {}
    for one in recorded:
        lives.setdefault(one.kind, set()).add(one.life)
        for name in one.call.names:
            made.setdefault((one.kind, one.situation, one.call.edge, name), set()).add(one.life)
    sure = {what[1:] for what, who in made.items() if who == lives[what[0]]}
    found = boundaries((one.situation, one.flavour, one.call) for one in recorded)
    known = [one for one in found if (one.situation, one.call.edge, one.call.name) in sure]
    return known, [one for one in found if one not in known]


def boundaries(recorded: Iterable[tuple[Situation, Flavour, Call]]) -> list[Boundary]:
    """Each call once for each situation, with the first flavour that made it there.

    In the order in which they came.
    """
    found: dict[tuple[Situation, str, str], Boundary] = {}
    for situation, flavour, call in recorded:
        if not call.is_boundary:
            continue
        for name in call.names:
            if name in BY_CHANCE or (name == OF_EACH_START and situation is not Situation.READY):
                continue
            found.setdefault(
                (situation, call.edge, name),
                Boundary(situation, flavour, Call(call.edge, name, (), call.writes, call.streams)),
            )
    others = {what[1:] for what in found if what[0] not in BY_WAY_OF_OTHERS}
    found = {
        what: one
        for what, one in found.items()
        if what[0] not in BY_WAY_OF_OTHERS or what[1:] not in others
    }
    order = list(Situation)
    return sorted(found.values(), key=lambda one: order.index(one.situation))


def all_plans(known: Sequence[Boundary]) -> list[Plan]:
    """Every plan there is."""
    plans = [Plan(boundary, fault) for boundary in known for fault in possible(boundary.call)]
    twice = [name for name, count in Counter(plan.id for plan in plans).items() if count > 1]
    if twice:
        raise ValueError(f"two calls cannot be told apart: {twice}")
    return plans


def batches(plans: Iterable[Plan], size: int) -> list[list[Plan]]:
    """Plans for which the operator is killed or started again, in batches that share this.

    Whoever is killed for another's call may take another way: what he has just done is done, what
    he was about to tell is not told. So those come together who come to their calls at the same
    time and need the same: of one situation, in the order of their calls, starts apart from kills.
    Events are told one after the other, so one that is held keeps all others back, which are lost
    with the operator: there is one such plan in a batch. Plans of the Lease take turns.
    """
    groups: dict[tuple[object, ...], list[Plan]] = {}
    for plan in plans:
        boundary = plan.boundary
        need = (boundary.situation, plan.fault in KILLS, boundary.needs_forgetting)
        groups.setdefault(("lease",) if boundary.is_operators_own else need, []).append(plan)
    return [batch for group in groups.values() for batch in _shared_out(group, size)]


def _shared_out(plans: Sequence[Plan], size: int) -> list[list[Plan]]:
    of_events = [plan for plan in plans if plan.boundary.call.name == EVENTS]
    others = [plan for plan in plans if plan.boundary.call.name != EVENTS]
    count = max(-(-len(plans) // size), len(of_events))
    bounds = [len(others) * number // count for number in range(count + 1)]
    made = [others[since:until] for since, until in pairwise(bounds)]
    for one, batch in zip(of_events, sorted(made, key=len), strict=False):
        batch.append(one)
    return made


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
