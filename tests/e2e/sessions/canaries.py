"""Foreign things in the same DigitalOcean account, some of them much like ours."""

from spawnai_local.chaos.canaries import FOREIGN_THINGS
from spawnai_local.digitalocean.client import ControlClient


async def place_canaries(cloud: ControlClient) -> None:
    """Put them into the account."""
    await cloud.seed(**FOREIGN_THINGS)


async def touched_canaries(cloud: ControlClient) -> list[dict[str, str]]:
    """Those that were changed or are gone."""
    report = await cloud.canaries()
    assert report["placed"] == sum(map(len, FOREIGN_THINGS.values()))
    return list(report["touched"])
