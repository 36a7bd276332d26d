"""A droplet that is switched off comes back; one that is deleted is replaced, at the same name, by
a spare where there is one.
"""

from typing import Any

from tests.e2e.sessions.world import READY_SECONDS, World, session

from spawnai.api.names import API_VERSION
from spawnai_local.classes import LOCAL_DNS_CLASS

POOL = {
    "apiVersion": API_VERSION,
    "kind": "SpawnPool",
    "metadata": {"name": "instead"},
    "spec": {"className": LOCAL_DNS_CLASS, "tier": "standard", "maxTotal": 1},
}


def is_ready(one: Any) -> bool:
    return one.condition("Ready").get("status") == "True"


async def test_a_droplet_that_is_off_is_switched_on_and_a_lost_one_is_replaced_by_a_spare(
    world: World, namespace: str
) -> None:
    [one] = await world.apply(
        namespace,
        session("harmed", "A JSON API that keeps notes", "api", class_name=LOCAL_DNS_CLASS),
    )
    await one.until_running()
    before, orders = one.status, (await one.claude_bill())["calls"]
    first = before["droplet"]["id"]

    await world.digitalocean("POST", f"/v2/droplets/{first}/actions", {"type": "power_off"})
    await one.until_event("PoweredOff", READY_SECONDS)
    await one.until("is Ready again", is_ready, READY_SECONDS)
    assert one.status["droplet"]["id"] == first
    await one.until_page(lambda page: page.status == 200, "/notes")

    # No time is lost: that the other one is gone is believed when it is two minutes old.
    await world.apply(None, POOL)
    await world.kubectl.run(
        *("wait", "--for=jsonpath={.status.ready}=1", "spawnpool/instead"),
        f"--timeout={READY_SECONDS:.0f}s",
        limit_seconds=READY_SECONDS + 10,
    )
    await world.digitalocean("DELETE", f"/v2/droplets/{first}")
    await one.until_event("Replacing", READY_SECONDS)
    await one.until_event("Replaced", READY_SECONDS)
    await one.until("is Ready again", is_ready, READY_SECONDS)
    after = one.status
    records = await world.kubectl.items("spawnrecords")
    [spare] = [x["status"] for x in records if x["status"].get("takenOverBy") == one.uid]
    assert [x["id"] for x in spare["resources"]] == [str(after["droplet"]["id"])]
    assert after["droplet"]["id"] != first
    kept = ("url", "expirationTime", "readyAt", "revision", "phase")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert (await one.claude_bill())["calls"] == orders
    await one.until_page(lambda page: page.status == 200, "/notes")

    await world.kubectl.run("delete", "spawnpool", "instead")
    await one.annotate(expires_at="now")
    await one.until_destroyed()
    record = await one.record()
    droplets = [x["id"] for x in record["status"]["resources"] if x["kind"] == "Droplet"]
    assert droplets == [str(first), str(after["droplet"]["id"])]
    assert [x["reason"] for x in record["status"]["replacements"]] == ["DropletLost"]
    await one.assert_nothing_is_left()
    await one.assert_cost_is_what_was_billed()
