"""The CRDs are deleted, and put back."""

import asyncio

from tests.e2e.disruption.conftest import left
from tests.e2e.disruption.operators import Operator
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import session

from spawnai_local.classes import LOCAL_DNS_CLASS


async def test_deleted_definitions_destroy_everything_and_can_be_put_back(
    disruption, world, operator: Operator
):
    """Each definition goes when all of its objects have ended in good order, the ledgers last."""
    name = "definitions"
    await world.kubectl.run("create", "namespace", name)
    sessions = await world.apply(
        name, session("running"), session("named", class_name=LOCAL_DNS_CLASS)
    )
    await asyncio.gather(*(one.until_running() for one in sessions))
    definitions = world.stack.manifests.definitions
    starts = operator.process.starts
    await world.kubectl.run(
        *("delete", "crd", *(one["metadata"]["name"] for one in definitions), "--timeout=60s"),
        limit_seconds=70,
    )
    assert await world.ours() == []
    await world.kubectl.apply(*definitions)
    await disruption.apply_classes()
    await disruption.until_classes_are_ready()
    [one] = await world.apply(name, session("after"))
    await one.until_running()
    await one.delete()
    await eventually("no droplet is left", lambda: left(world), lambda seen: not seen, 40)
    assert operator.process.starts == starts
