"""A campaign shares its plans out to labs, and tries again where a call does not come."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from spawnai_local.chaos.calls import Call, Edge
from spawnai_local.chaos.campaign import ATTEMPTS, Campaign
from spawnai_local.chaos.faults import KILLS
from spawnai_local.chaos.lab import Verdict
from spawnai_local.chaos.lives import Life
from spawnai_local.chaos.plans import Flavour, Situation, all_plans, boundaries
from spawnai_local.chaos.report import missed

PLANS = all_plans(
    boundaries(
        (Situation.CREATING, Flavour.OWN_FIREWALL, Call(Edge.DIGITALOCEAN, name, writes=True))
        for name in ("POST /v2/droplets", "POST /v2/firewalls", "DELETE /v2/droplets/{droplet_id}")
    )
)


@dataclass
class FakeLab:
    """Takes a moment for each round; the calls of `never_come` do not come."""

    never_come: set[str] = field(default_factory=set)
    rounds: list[tuple[str, list[str]]] = field(default_factory=list)
    stack: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(lanes=range(4)))

    async def all(self, plans):
        return await self._carry_out("all", plans)

    async def in_company(self, plans):
        return await self._carry_out("in company", plans)

    async def _carry_out(self, how, plans):
        self.rounds.append((how, [plan.id for plan in plans]))
        await asyncio.sleep(0)
        return [self._verdict(plan) for plan in plans]

    def _verdict(self, plan):
        trap = SimpleNamespace(struck_at=None if plan.id in self.never_come else 1.0)
        life = Life("plan", "lane", plan.boundary.flavour, plan.boundary.situation, trap)
        return Verdict(plan, life, (), (), 1.0)

    def ids(self):
        return [id_ for _, ids in self.rounds for id_ in ids]


@pytest.fixture
def labs():
    return FakeLab(), FakeLab()


async def test_each_plan_is_carried_out_once_by_one_of_the_labs(labs):
    made = Campaign(labs)
    await made.carry_out(PLANS)
    first, second = labs
    assert Counter(first.ids() + second.ids()) == Counter(plan.id for plan in PLANS)
    assert first.rounds
    assert second.rounds
    assert len(made.verdicts) == len(PLANS)
    assert made.repeated == []


async def test_no_lab_has_kills_before_its_plans_without(labs):
    await Campaign(labs).carry_out(PLANS)
    kills = tuple(str(fault) for fault in KILLS)
    for lab in labs:
        hows = [how for how, _ in lab.rounds]
        assert hows == sorted(hows), "all, then in company"
        for how, ids in lab.rounds:
            assert all(id_.endswith(kills) == (how == "in company") for id_ in ids)
            assert how == "all" or len(ids) <= len(lab.stack.lanes)


async def test_who_needs_a_kill_is_alone_when_his_call_is_waited_for_again(labs):
    missing = next(plan for plan in PLANS if plan.fault in KILLS)
    for lab in labs:
        lab.never_come.add(missing.id)
    made = Campaign(labs)
    await made.carry_out(PLANS)
    again = [
        ids for lab in labs for how, ids in lab.rounds if how == "in company" and missing.id in ids
    ]
    assert sorted(map(len, again))[: ATTEMPTS - 1] == [1] * (ATTEMPTS - 1)
    assert len(again) == ATTEMPTS
    assert made.repeated == [missing]
    assert missed(made.verdicts) == {missing}
