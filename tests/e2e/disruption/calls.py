"""What the cloud was asked, and when."""

from datetime import datetime
from typing import Any

from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import Session, World, moment

CLOUD_AHEAD_SECONDS = 45.0
CREATE = "POST /v2/droplets"
DELETE = "DELETE /v2/droplets/{droplet_id}"


async def calls_of(world: World, one: Session, endpoint: str) -> list[dict[str, Any]]:
    """Every call to an endpoint for a session, oldest first."""
    calls = await world.cloud.call_log()
    return [call for call in calls if (call["endpoint"], call["session"]) == (endpoint, one.uid)]


async def until_deletion_accepted(world: World, one: Session, seconds: float) -> float:
    """Wait until the cloud accepted the deletion of its droplet; returns when, by our clock."""
    calls = await eventually(
        f"the deletion of the droplet of {one} is accepted",
        lambda: calls_of(world, one, DELETE),
        lambda seen: any(call["status"] == 204 for call in seen),
        seconds,
        pause=0.1,
    )
    at = next(call["ended_at"] for call in calls if call["status"] == 204)
    return float(at) - CLOUD_AHEAD_SECONDS


def expiry(one: Session) -> float:
    """When its time is over (epoch seconds)."""
    at: datetime = moment(one.status["expirationTime"])
    return at.timestamp()


async def assert_made_once(world: World, one: Session) -> None:
    """There was one droplet for it, ever."""
    lines = (await world.cloud.bill())["droplets"]
    assert len([line for line in lines if f"session:{one.uid}" in line["tags"]]) == 1


async def until_deleted(world: World, one: Session, seconds: float = 30) -> None:
    """Wait until the API server has it no more; asked, since a watch may have missed it."""
    await eventually(
        f"{one} is gone",
        lambda: world.kubectl.run(
            *("get", "spawnsession", one.name, "--namespace", one.namespace),
            *("--ignore-not-found", "--output", "jsonpath={.metadata.uid}"),
        ),
        lambda uid: uid != one.uid,
        seconds,
        pause=0.3,
    )
