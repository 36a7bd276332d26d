"""What a SpawnBudget says of itself, how often, and whom it warns."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from tests.support.virtual_time import VirtualClock

from spawnai.api.conditions import find_condition
from spawnai.controller.admission import Admission
from spawnai.controller.budgets import WRITE_EVERY_SECONDS, BudgetReports
from spawnai.controller.store import Store


class Desk:
    """The reports over a real store and admission; what they write comes back as by a watch."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.store = Store()
        self.admission = Admission(self.store, self.clock.utc_now, print, lambda *_: None)
        self.store.listener = self.admission
        self.version = 0
        self.writes: list[dict] = []
        self.woken: list[float] = []
        self.events: list[tuple[str, str]] = []
        self.told: list[str] = []
        self.reports = BudgetReports(
            cluster=SimpleNamespace(patch_budget_status=self._write),
            store=self.store,
            admission=self.admission,
            events=SimpleNamespace(emit=self._emit),
            metrics=SimpleNamespace(budget=lambda *_: None),
            clock=self.clock,
            wake_after=lambda _name, seconds: self.woken.append(seconds),
            tell=lambda _budget, title, _message: self.told.append(title),
        )
        self.body: dict = {}

    def _emit(self, _regarding, type_, reason, _action, _note) -> None:
        self.events.append((type_, reason))

    async def _write(self, _name, patch):
        self.writes.append(patch["status"])
        self.body["status"] = {**self.body.get("status", {}), **patch["status"]}
        return self._newer()

    def _newer(self) -> dict:
        self.version += 1
        created = datetime(2026, 11, 1, tzinfo=UTC).isoformat()
        metadata = {"name": "team", "uid": "b", "creationTimestamp": created}
        self.body["metadata"] = metadata | {"resourceVersion": str(self.version)}
        return self.body

    def put_budget(self, **spec) -> None:
        self.body = {"spec": {"limit": "2", "period": "Day"} | spec, **self.body}
        self.body["spec"] = {"limit": "2", "period": "Day"} | spec
        self.store.put_budget(self._newer())

    def put_ledger(self, name: str, reserved: str) -> None:
        self.version += 1
        owner = {"kind": "SpawnSession", "namespace": "n", "name": name, "uid": name}
        metadata = {"name": name, "uid": name, "resourceVersion": str(self.version)}
        metadata["creationTimestamp"] = self.clock.utc_now().isoformat()
        spec = {"owner": owner, "clusterUid": "c", "className": "s", "reserved": reserved}
        self.store.put_record({"metadata": metadata, "spec": spec})

    async def report(self):
        await self.reports.report("team")
        return self.store.budget("team").status


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_it_says_what_is_reserved_and_left_and_when_it_is_full_again(desk):
    desk.put_budget()
    desk.put_ledger("one", "0.5")
    status = await desk.report()
    assert (status.spent, status.reserved, status.left, status.sessions) == ("0", "0.5", "1.5", 1)
    assert status.resets_at - status.period_start == timedelta(days=1)
    assert find_condition(status.conditions, "Ready").reason == "Counted"
    assert desk.told == []


async def test_one_whose_deletion_is_seen_before_an_answer_stays_deleted(desk):
    desk.put_budget()
    write = desk._write

    async def write_and_delete(*change):
        body = await write(*change)
        desk.store.remove_budget("team")
        return body

    desk.reports._cluster.patch_budget_status = write_and_delete
    await desk.reports.report("team")
    assert desk.store.budget("team") is None


async def test_equal_sums_are_not_written_again(desk):
    desk.put_budget()
    await desk.report()
    await desk.report()
    assert len(desk.writes) == 1


async def test_a_crowd_of_orders_costs_one_write_in_ten_seconds(desk):
    desk.put_budget(limit="900")
    await desk.report()
    for number in range(60):
        desk.put_ledger(f"s{number}", "1")
        await desk.report()
    assert len(desk.writes) == 1
    await desk.clock.sleep(WRITE_EVERY_SECONDS)
    assert (await desk.report()).reserved == "60"
    assert len(desk.writes) == 2


async def test_people_are_warned_once_and_at_once_when_warn_at_is_reached(desk):
    desk.put_budget()
    await desk.report()
    desk.put_ledger("one", "1.6")
    await desk.report()
    desk.put_ledger("two", "0.1")
    await desk.clock.sleep(WRITE_EVERY_SECONDS)
    await desk.report()
    assert desk.events == [("Warning", "WarnAtReached")]
    assert desk.told == ["Budget team: WarnAtReached"]


async def test_a_limit_that_was_lowered_below_what_is_reserved_is_told(desk):
    desk.put_budget()
    desk.put_ledger("one", "1")
    await desk.report()
    desk.put_budget(limit="0.5")
    status = await desk.report()
    near = find_condition(status.conditions, "NearLimit")
    assert (near.status, near.reason) == ("True", "OverLimit")
    assert "nothing new begins" in near.message
    assert status.left == "-0.5"


async def test_a_time_zone_that_does_not_exist_stalls_the_budget(desk):
    desk.put_budget(timeZone="Europe/Pariss")
    status = await desk.report()
    stalled = find_condition(status.conditions, "Stalled")
    assert stalled.status == "True"
    assert "there is no time zone 'Europe/Pariss'" in stalled.message
    assert desk.told == ["Budget team: InvalidSpec"]


async def test_a_budget_that_cannot_be_read_says_so_and_counts_nothing(desk):
    desk.put_ledger("one", "1")
    desk.put_budget(limit="fifty")
    status = await desk.report()
    stalled = find_condition(status.conditions, "Stalled")
    assert (stalled.status, stalled.reason) == ("True", "InvalidSpec")
    assert stalled.message.startswith("spec.limit: ")
    assert (status.left, status.reserved) == (None, None)
