"""A pool of spares: kept, taken by a session, made again, scaled, and gone."""

from decimal import Decimal
from typing import Any

from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import READY_SECONDS, Manifest, World, session

from spawnai.api.names import API_VERSION

CLASS, POOL = "with-spares", "spares"


def a_pool(**spec: Any) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": "SpawnPool",
        "metadata": {"name": POOL},
        "spec": {"className": CLASS, **spec},
    }


async def pool(world: World) -> Manifest:
    return await world.kubectl.json("get", "spawnpool", POOL)


async def spares(world: World) -> list[Manifest]:
    ledgers = await world.kubectl.items("spawnrecords")
    return [one for one in ledgers if one["spec"]["owner"]["kind"] == "SpawnPool"]


async def droplets(world: World) -> dict[int, dict[str, Any]]:
    """Those that nobody has deleted yet."""
    return {
        one["id"]: one
        for one in (await world.cloud.state())["droplets"]
        if f"class:{(await world.get_class(CLASS))['metadata']['uid']}" in one["tags"]
    }


async def until_ready(world: World, count: int) -> None:
    await eventually(
        f"{count} spares are ready",
        lambda: pool(world),
        lambda known: known.get("status", {}).get("ready") == count,
        READY_SECONDS,
    )


async def test_a_session_takes_a_spare_and_the_pool_makes_another_one(
    world: World, namespace: str
) -> None:
    # Spares are covered by the class's firewall; whoever takes one gets a firewall of its own.
    await world.apply_class(CLASS, regions=["nyc3"], firewall={"mode": "PerSession"})
    await world.apply(None, a_pool(minReady=1))
    await until_ready(world, 1)
    [spare] = await spares(world)
    [line] = spare["status"]["resources"]

    app = "A JSON API that keeps notes"
    [one] = await world.apply(
        namespace, session("quick", app, "api", class_name=CLASS, tier="light")
    )
    await one.until_running()
    assert str(one.status["droplet"]["id"]) == line["id"]
    await one.until_page(lambda page: page.status == 200, "/notes")
    shown = (await droplets(world))[int(line["id"])]
    assert shown["name"] == f"spawn-{one.uid}"
    worn = [tag for tag in shown["tags"] if tag.startswith("session:")]
    assert worn == [f"session:{one.uid}"]
    record = await one.record()
    [own] = [x for x in record["status"]["resources"] if x["kind"] == "Droplet"]
    assert own["spare"] == spare["metadata"]["name"]
    taken = {"class": CLASS, "result": "taken"}
    assert (await world.scrape()).value("spawnai_pool_claims_total", **taken) == 1

    await until_ready(world, 1)
    known = await pool(world)
    assert known["status"]["claimed"] == 1
    await eventually(
        "the spare's ledger is closed, and says what the pool paid",
        lambda: spares(world),
        lambda ledgers: any(
            x["status"].get("terminationReason") == "TakenOver" and x["status"].get("totalCost")
            for x in ledgers
        ),
        READY_SECONDS,
    )

    await world.kubectl.run("scale", "spawnpool", POOL, "--replicas", "0")
    await world.kubectl.run("delete", "spawnpool", POOL)
    await eventually(
        "only the session's droplet is left",
        lambda: droplets(world),
        lambda left: set(left) == {int(line["id"])},
        READY_SECONDS,
    )
    await one.annotate(expires_at="now")
    await one.until_destroyed()
    record = await one.record()
    assert {x["kind"] for x in record["status"]["resources"]} == {"Droplet", "Firewall"}
    await one.assert_nothing_is_left()
    await world.kubectl.run("delete", "spawnclass", CLASS)
    assert all(x["status"].get("completedAt") for x in await spares(world))
    await assert_bill_is_shared(world, record)


async def assert_bill_is_shared(world: World, record: Manifest) -> None:
    """Of each droplet of the class: in lives of minutes pool and session pay the least, a cent."""
    bill = (await world.cloud.bill())["droplets"]
    billed = {str(x["droplet_id"]): Decimal(x["dollars"]) for x in bill}

    def paid(*ledgers: Manifest) -> dict[str, Decimal]:
        lines = [x for ledger in ledgers for x in ledger["status"]["resources"]]
        return {x["id"]: Decimal(x["cost"]) for x in lines if x["kind"] == "Droplet"}

    by_pool, by_session = paid(*await spares(world)), paid(record)
    assert len(by_session) == 1
    assert by_session.items() <= by_pool.items() <= billed.items()
