"""What nobody ordered: a spare droplet of a living session, and one of a session that never was."""

import asyncio
import os
import sys
import uuid
from typing import Any

import pytest
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import World, session

from spawnai.api.names import (
    TAG_EPHEMERAL,
    TAG_PRODUCT,
    cluster_tag,
    session_droplet_name,
    session_tag,
)
from spawnai_local.classes import LOCAL_DOMAIN

pytestmark = pytest.mark.asyncio(loop_scope="session")

WALK_SECONDS = 60.0
"""The operator walks through the cluster's droplets every 30 s."""


async def cluster_uid(world: World) -> str:
    namespace = await world.kubectl.json("get", "namespace", "kube-system")
    return str(namespace["metadata"]["uid"])


async def make_droplet(world: World, uid: str) -> dict[str, Any]:
    """A droplet with all marks of a session, made past the operator."""
    marks = [TAG_PRODUCT, TAG_EPHEMERAL, session_tag(uid), cluster_tag(await cluster_uid(world))]
    order = {"name": session_droplet_name(uid), "tags": marks}
    placed = await world.cloud.seed(canary=False, droplets=[order])
    state = await world.cloud.state()
    return next(one for one in state["droplets"] if one["id"] == int(placed["droplets"][0]))


async def droplet_ids(world: World) -> set[int]:
    state = await world.cloud.state()
    return {one["id"] for one in state["droplets"] if not one["canary"]}


async def reap(world: World, *arguments: str) -> tuple[int, str]:
    """`spawnai reap` with what `.local/env` sets; returns its exit code and its words."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "spawnai.cli", "reap", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **world.stack.environment()},
    )
    async with asyncio.timeout(90):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_a_spare_droplet_of_a_living_session_goes_and_the_session_stays(world, namespace):
    await world.apply(namespace, session("with-a-spare"))
    one = await world.session(namespace, "with-a-spare").until_running()
    (own,) = await one.droplets()
    spare = await make_droplet(world, one.uid)
    await eventually(
        "the spare droplet is gone",
        lambda: droplet_ids(world),
        lambda known: spare["id"] not in known,
        WALK_SECONDS,
        pause=0.5,
    )
    assert own["id"] in await droplet_ids(world)
    assert one.phase == "Running"
    record = await eventually(
        "the ledger has a line for both",
        one.record,
        lambda known: len(known["status"]["resources"]) == 2,
        10,
    )
    assert [entry["id"] for entry in record["status"]["resources"]] == [
        str(own["id"]),
        str(spare["id"]),
    ]


async def test_by_hand_an_orphan_goes_into_a_ledger_with_its_name_and_the_living_stay(
    world, namespace
):
    await world.apply(namespace, session("alive"))
    alive = await world.session(namespace, "alive").until_running()
    (own,) = await alive.droplets()
    never = str(uuid.uuid4())
    orphan = await make_droplet(world, never)
    label = f"ghost-{never[:8]}"
    await world.cloud.seed(
        canary=False,
        records=[
            {"domain": LOCAL_DOMAIN, "type": "A", "name": label, "data": orphan["public_address"]}
        ],
    )
    code, text = await reap(world, "--dry-run", "--minimum-age", "0s")
    assert (code, str(orphan["id"]) in text, str(own["id"]) in text) == (1, True, False), text
    assert orphan["id"] in await droplet_ids(world)
    code, text = await reap(world, "--yes", "--minimum-age", "0s")
    assert code == 0, text
    assert f"{label}.{LOCAL_DOMAIN}" in text
    assert await world.left_of(never) == []
    record = await world.kubectl.json("get", "spawnrecord", never)
    status = record["status"]
    assert record["spec"]["owner"]["name"] == "ghost"
    assert [(one["kind"], one["presence"]) for one in status["resources"]] == [
        ("Droplet", "Gone"),
        ("DomainRecord", "Gone"),
    ]
    assert status["resources"][0]["id"] == str(orphan["id"])
    assert status["totalCost"] == status["resources"][0]["cost"]
    assert (status["residuals"], status["terminationReason"]) == ([], "Orphaned")
    assert record["spec"]["orphaned"] is True
    assert status["completedAt"]
    assert own["id"] in await droplet_ids(world)
    assert alive.phase == "Running"
