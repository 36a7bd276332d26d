"""What a 404 proves, and what is left alone: deletions against a cloud that answers as told."""

import asyncio
from datetime import timedelta
from random import Random
from types import SimpleNamespace

import pytest
from tests.support.virtual_time import START, VirtualClock, virtual_time

from spawnai.api.record import LedgerEntry, Presence, RecordStatus, ResourceKind
from spawnai.controller.accounts import WaitingForQuota
from spawnai.controller.actions.deploy import Deploy
from spawnai.controller.actions.droplets import DropletSteps
from spawnai.controller.actions.kinds import steps_of_all_kinds
from spawnai.controller.actions.resources import Resources
from spawnai.controller.actions.work import Backing, Work
from spawnai.controller.failures import NotOurs, NotYet, failure_of
from spawnai.controller.memory import Memory
from spawnai.digitalocean.budget import Priority, RateBudget
from spawnai.digitalocean.errors import NotFound
from spawnai.digitalocean.inventory import Inventory
from spawnai.digitalocean.models import DomainRecord
from spawnai.digitalocean.record_listings import RecordListings
from spawnai.lifecycle.actions import Delete, Find, Verify
from spawnai.lifecycle.kinds import APPEARS_WITHIN, KINDS, LISTED_WITHIN
from spawnai.lifecycle.observation import FailureKind

UID = "7f3a0c52-0d3c-4b5e-9a52-0c2f6b1f6a11"
LABEL = "retro-board-7f3a0c52"
DOMAIN, OURS, ELSEWHERE = "apps.example", "203.0.113.7", "198.51.100.7"
NAME = LedgerEntry(
    kind=ResourceKind.DOMAIN_RECORD,
    id="5",
    name=f"{LABEL}.{DOMAIN}",
    domain=DOMAIN,
    ip=OURS,
    created_at=START,
)
DROPLET = LedgerEntry(
    kind=ResourceKind.DROPLET,
    id="77",
    name="spawn-uid",
    created_at=START,
    price_hourly="3.6",
)
JUST_BEFORE_OLD = (APPEARS_WITHIN - timedelta(seconds=1)).total_seconds()


class Cloud:
    """One droplet and one name; each exists, and shows, as a test says. Keeps every call."""

    def __init__(self) -> None:
        self.shows = True
        self.address: str | None = OURS
        self.label = LABEL
        self.listed: tuple[int, ...] = ()
        self.calls: list[str] = []
        self.domain_exists = True

    async def _answer(self, call: str) -> bool:
        self.calls.append(call)
        await asyncio.sleep(0.1)
        return self.shows

    def _record(self) -> DomainRecord | None:
        if self.address is None:
            return None
        return DomainRecord(5, DOMAIN, "A", self.label, self.address, 30)

    async def get(self, *of, priority):
        if not await self._answer("GET"):
            return None
        return self._record() if of[0] == DOMAIN else SimpleNamespace(tags=frozenset())

    async def delete(self, *_of, priority):
        return await self._answer("DELETE")

    async def list(self, domain, *, priority):
        await self._answer("LIST")
        record = self._record()
        return (record,) if record is not None else ()

    async def list_by_name(self, name, *, priority):
        await self._answer("LIST")
        return tuple(SimpleNamespace(id=number) for number in self.listed)

    async def find(self, fqdn, domain, *, priority):
        if not self.domain_exists:
            raise NotFound("no such domain")
        return await self.list(domain, priority=priority)


def resources_at(clock: VirtualClock) -> Resources:
    droplets = DropletSteps(
        agents=None,
        clock=clock,
        cluster_uid="cluster-uid",
        agent_source="",
        wake=lambda _uid: None,
    )
    return Resources(steps_of_all_kinds(droplets, None, clock))


class Desk:
    """A session's work with its account, and the hands that carry deletions out."""

    def __init__(self, *lines: LedgerEntry, made_here: bool = True) -> None:
        self.clock, self.cloud = VirtualClock(), Cloud()
        inventory = Inventory(
            self.cloud,
            self.clock,
            Random(1),
            budget=RateBudget(self.clock),
            cluster_tag="cluster:1",
            on_droplet=print,
            on_sweep=print,
            on_gone=print,
        )
        self.listings = RecordListings(inventory, self.cloud, self.clock)
        account = SimpleNamespace(
            droplets=self.cloud,
            records=self.cloud,
            prices={},
            inventory=inventory,
            record_listings=self.listings,
            quota=WaitingForQuota(),
        )
        began = self.clock.utc_now()
        self.lines = [line.model_copy(update={"created_at": began}) for line in lines]
        self.memory = Memory(ledger=RecordStatus(resources=list(self.lines)))
        self.memory.known_since = dict.fromkeys(((line.kind, line.id) for line in lines), began)
        if made_here:
            self.memory.proven = {(line.kind, line.id) for line in lines}
        backing = Backing("standard", "class-uid", account, None, None)
        self.work = Work(UID, None, self.memory, backing, self.clock.utc_now)
        self.resources = resources_at(self.clock)
        self.deploy = Deploy(
            agents=None, bundles=None, environments=None, repair=None, clock=self.clock
        )

    async def delete(self) -> LedgerEntry:
        await self.resources.delete(self.work, Delete(self.lines[0]))
        return self.line

    async def verify(self) -> LedgerEntry:
        await self.resources.verify(self.work, Verify(self.line))
        return self.line

    async def look_at_domain(self) -> None:
        await self.listings.look(DOMAIN, priority=Priority.RUNNING)
        self.cloud.calls.clear()

    @property
    def line(self) -> LedgerEntry:
        return self.memory.book.resources[0]


@pytest.mark.parametrize("made_here", [True, False], ids=["answer to DELETE", "answer to GET"])
@pytest.mark.parametrize("line", [DROPLET, NAME], ids=["droplet", "name"])
def test_a_404_for_something_young_is_no_proof_and_its_deletion_is_tried_again(line, made_here):
    @virtual_time
    async def story():
        desk = Desk(line, made_here=made_here)
        desk.cloud.shows = False
        with pytest.raises(NotYet, match="may not show yet"):
            await desk.delete()
        assert desk.line.presence is Presence.PRESENT
        assert desk.line.deletion_accepted_at is None
        assert (line.kind, line.id) in desk.memory.missing_since
        desk.memory.proven.add((line.kind, line.id))  # else its marks are looked at first
        desk.cloud.shows = True
        assert (await desk.delete()).deletion_accepted_at is not None
        assert desk.memory.missing_since == {}

    story()


@virtual_time
async def test_a_settled_droplet_that_is_in_no_listing_either_is_gone():
    desk = Desk(DROPLET)
    desk.cloud.shows = False
    with pytest.raises(NotYet):
        await desk.delete()
    await asyncio.sleep(LISTED_WITHIN.total_seconds())
    desk.cloud.listed = (77,)
    with pytest.raises(NotYet):
        await desk.delete()
    desk.cloud.listed = ()
    assert (await desk.delete()).presence is Presence.GONE


@virtual_time
async def test_a_404_for_something_old_enough_is_believed():
    desk = Desk(DROPLET)
    desk.cloud.shows, desk.cloud.listed = False, (77,)
    await asyncio.sleep(JUST_BEFORE_OLD)
    with pytest.raises(NotYet):
        await desk.delete()
    await asyncio.sleep(1)
    assert (await desk.delete()).presence is Presence.GONE


@virtual_time
async def test_what_is_believed_gone_costs_nothing_since_its_first_404():
    desk = Desk(DROPLET)
    desk.cloud.shows, desk.cloud.listed = False, (77,)
    await asyncio.sleep(59.9)
    with pytest.raises(NotYet):
        await desk.delete()
    await asyncio.sleep(3_600)
    assert (await desk.delete()).cost == "0.06"


@virtual_time
async def test_an_accepted_deletion_proves_that_it_existed_so_the_404_after_it_is_gone():
    desk = Desk(DROPLET)
    assert (await desk.delete()).deletion_accepted_at is not None
    desk.cloud.shows = False
    assert (await desk.verify()).presence is Presence.GONE
    assert desk.cloud.calls == ["DELETE", "GET"]


@virtual_time
async def test_a_silent_agent_s_droplet_is_not_called_lost_while_it_is_young():
    desk = Desk(DROPLET)
    desk.cloud.shows = False
    await asyncio.sleep(JUST_BEFORE_OLD)
    assert not await desk.deploy._look_after_droplet(desk.work)
    assert desk.line.presence is Presence.PRESENT
    await asyncio.sleep(1)
    assert await desk.deploy._look_after_droplet(desk.work)
    assert desk.line.presence is Presence.GONE


@pytest.mark.parametrize("made_here", [True, False], ids=["made here", "after a restart"])
def test_a_name_that_was_pointed_elsewhere_is_left_alone_and_a_person_is_told(made_here):
    @virtual_time
    async def story():
        desk = Desk(NAME, made_here=made_here)
        await asyncio.sleep(APPEARS_WITHIN.total_seconds())
        desk.cloud.address = ELSEWHERE
        await desk.look_at_domain()
        with pytest.raises(NotOurs, match="left alone") as left:
            await desk.delete()
        assert desk.line.presence is Presence.UNKNOWN
        assert desk.cloud.calls == ["GET"], "what a listing showed is asked for again, by its id"
        failure = failure_of(left.value, desk.clock.utc_now())
        assert failure.kind is FailureKind.NEEDS_PERSON, "a person must act: asked for rarely"
        assert "delete it by hand" in failure.message

    story()


@virtual_time
async def test_a_name_that_was_pointed_back_since_it_was_listed_is_deleted():
    desk = Desk(NAME, made_here=False)
    desk.cloud.address = ELSEWHERE
    await desk.look_at_domain()
    desk.cloud.address = OURS
    assert (await desk.delete()).deletion_accepted_at is not None


@virtual_time
async def test_a_changed_name_that_somebody_deleted_since_it_was_listed_is_gone():
    desk = Desk(NAME, made_here=False)
    desk.cloud.address = ELSEWHERE
    await desk.look_at_domain()
    await asyncio.sleep(APPEARS_WITHIN.total_seconds())
    desk.cloud.address = None
    assert (await desk.delete()).presence is Presence.GONE


@virtual_time
async def test_a_name_that_a_listing_showed_as_ours_costs_one_call():
    desk = Desk(NAME, made_here=False)
    await desk.look_at_domain()
    await desk.delete()
    assert desk.cloud.calls == ["DELETE"]


@virtual_time
async def test_a_foreign_name_that_somebody_wrote_into_the_ledger_is_left_alone():
    """Line and record agree in everything; but the record does not bear the session's mark."""
    desk = Desk(NAME.model_copy(update={"name": f"www.{DOMAIN}"}), made_here=False)
    desk.cloud.label = "www"
    await asyncio.sleep(APPEARS_WITHIN.total_seconds())
    with pytest.raises(NotOurs):
        await desk.delete()
    assert desk.cloud.calls == ["GET"]
    assert desk.line.presence is Presence.UNKNOWN


@virtual_time
async def test_in_a_domain_that_was_deleted_no_name_is_left_to_wait_for():
    desk = Desk()
    desk.cloud.domain_exists = False
    await desk.resources.find(desk.work, Find(NAME.kind, NAME.name, OURS))
    assert desk.memory.book.resources == []


@virtual_time
async def test_only_a_name_that_leads_to_the_droplet_is_taken_in():
    desk = Desk()
    await desk.resources.find(desk.work, Find(NAME.kind, NAME.name, ELSEWHERE))
    assert desk.memory.book.resources == []
    await desk.resources.find(desk.work, Find(NAME.kind, NAME.name, OURS))
    assert [line.id for line in desk.memory.book.resources] == ["5"]


def test_every_kind_that_the_lifecycle_knows_is_registered():
    assert set(steps_of_all_kinds(None, None, None)) == set(KINDS)
