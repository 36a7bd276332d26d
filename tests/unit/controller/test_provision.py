"""How what was made is found again."""

from types import SimpleNamespace

from tests.support.virtual_time import START, virtual_time

from spawnai.controller.actions.provision import LOOK_AGAIN, Provision
from spawnai.controller.actions.work import Backing, Work
from spawnai.controller.memory import Memory
from spawnai.digitalocean.errors import NotFound
from spawnai.lifecycle.actions import FindDomainRecord


class NoDomain:
    """The records of a domain that was deleted."""

    async def find(self, *_of, priority):
        raise NotFound("no such domain")


@virtual_time
async def test_in_a_domain_that_was_deleted_no_name_is_left_to_wait_for():
    account = SimpleNamespace(records=NoDomain())
    backing = Backing("standard", "class-uid", account, None, None)
    work = Work("uid", None, Memory(), backing, lambda: START)
    provision = Provision(
        agents=None,
        clock=None,
        cluster_uid="cluster-uid",
        agent_source="",
        wake=lambda _uid: None,
    )
    find = FindDomainRecord("apps.example", "retro-board", "203.0.113.7")
    assert await provision.find_domain_record(work, find) == LOOK_AGAIN
    assert work.memory.book.resources == []
