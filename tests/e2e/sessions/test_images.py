"""A class with a baked image: its builder, the sessions that use it, and its end."""

from typing import Any

from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import READY_SECONDS, World, session

NAME = "baked"


async def images_of(world: World) -> list[dict[str, Any]]:
    return list((await world.cloud.state())["images"])


async def ledgers_of_images(world: World) -> list[dict[str, Any]]:
    ledgers = await world.kubectl.items("spawnrecords")
    return [one for one in ledgers if one["spec"]["owner"]["kind"] == "SpawnImage"]


async def slug_of_image(world: World, droplet_id: int) -> str | None:
    """The stock image that a droplet started from; None: an image of the account."""
    droplets = (await world.cloud.state())["droplets"]
    [slug] = [one["image"] for one in droplets if one["id"] == droplet_id]
    return slug


async def test_sessions_start_from_the_image_of_their_class_and_from_stock_without_it(
    world: World, namespace: str
) -> None:
    await world.apply_class(NAME, regions=["nyc3"], image={"baked": True})
    await eventually(
        "the class has its image",
        lambda: world.get_class(NAME),
        lambda known: any(
            (one["type"], one["status"], one["reason"]) == ("ImageReady", "True", "InEveryRegion")
            for one in known.get("status", {}).get("conditions", ())
        ),
        2 * READY_SECONDS,
    )
    [image] = await images_of(world)
    await eventually(
        "its builder is gone",
        lambda: ledgers_of_images(world),
        lambda ledgers: (
            [
                {line["kind"]: line["presence"] for line in one["status"]["resources"]}
                for one in ledgers
            ]
            == [{"Droplet": "Gone", "Image": "Present"}]
        ),
        READY_SECONDS,
    )

    app = "A JSON API that keeps notes"
    [one] = await world.apply(namespace, session("from-image", app, "api", class_name=NAME))
    await one.until_running()
    assert await slug_of_image(world, one.status["droplet"]["id"]) is None

    await world.digitalocean("DELETE", f"/v2/images/{image['id']}")
    [two] = await world.apply(namespace, session("from-stock", app, "api", class_name=NAME))
    await two.until_running()
    assert await slug_of_image(world, two.status["droplet"]["id"]) == "ubuntu-24-04-x64"

    for each in (one, two):
        await each.annotate(expires_at="now")
        await each.until_destroyed()
    await world.kubectl.run("delete", "spawnclass", NAME)
    assert await images_of(world) == []
    assert all(one["status"].get("completedAt") for one in await ledgers_of_images(world))
