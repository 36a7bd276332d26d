"""A droplet gets another name and other tags, whatever becomes of the answers."""

import pytest

from spawnai.digitalocean import errors
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.models import DropletOrder
from spawnai.digitalocean.tags import Tags

NEW = Priority.NEW
ORDER = DropletOrder("spare-1", "nyc3", "s-1vcpu-1gb", "debian-12-x64", "#cloud-config\n", ())
NO_DROPLET = 1
ACTIONS = "POST /v2/droplets/{droplet_id}/actions"
RESOURCES = "/v2/tags/{tag_id}/resources"
WITHOUT_ANSWER = [
    "error_before status=500",
    "error_after status=502",
    "timeout_before",
    "timeout_after",
    "cut_before",
    "cut_after",
]


@pytest.fixture
def tags(adapter) -> Tags:
    return Tags(adapter.api)


@pytest.fixture
async def droplet(adapter, control) -> int:
    made = await adapter.droplets.create(ORDER, priority=NEW)
    await adapter.droplets.get(made.id, priority=NEW)  # it has become active by now
    return made.id


async def shown(adapter, droplet):
    return await adapter.droplets.get(droplet, priority=NEW)


async def test_a_name_is_accepted_at_once_and_shows_later(adapter, control, droplet):
    await control.set_delays(action=3600)
    action = await adapter.droplets.rename(droplet, "spawn-1", priority=NEW)
    assert action.status == "in-progress"
    assert (await shown(adapter, droplet)).name == "spare-1"
    with pytest.raises(errors.Busy, match="pending event"):
        await adapter.droplets.rename(droplet, "spawn-1", priority=NEW)
    with pytest.raises(errors.Busy):
        await adapter.droplets.delete(droplet, priority=Priority.DESTROY)


async def test_the_same_name_may_be_given_again(adapter, droplet):
    for _ in range(2):
        await adapter.droplets.rename(droplet, "spawn-1", priority=NEW)
        assert (await shown(adapter, droplet)).name == "spawn-1"


async def test_what_is_no_name_is_refused_and_what_is_no_droplet_not_found(adapter, droplet):
    with pytest.raises(errors.Refused, match="valid hostnames"):
        await adapter.droplets.rename(droplet, "two words", priority=NEW)
    with pytest.raises(errors.NotFound):
        await adapter.droplets.rename(NO_DROPLET, "spawn-1", priority=NEW)


@pytest.mark.parametrize("fault", WITHOUT_ANSWER)
async def test_a_renaming_without_an_answer_is_sent_again(adapter, control, droplet, fault):
    await control.add_faults(f"{ACTIONS} {fault}")
    with pytest.raises(errors.Unavailable):
        await adapter.droplets.rename(droplet, "spawn-1", priority=NEW)
    await adapter.droplets.rename(droplet, "spawn-1", priority=NEW)
    assert (await shown(adapter, droplet)).name == "spawn-1"


async def test_a_tag_is_made_put_on_and_taken_off(adapter, tags, droplet):
    for _ in range(2):
        await tags.tag("session:1", droplet, priority=NEW)
        assert (await shown(adapter, droplet)).tags == {"session:1"}
    listed = await adapter.droplets.list_by_tag("session:1", priority=NEW)
    assert [one.id for one in listed] == [droplet]
    for _ in range(2):
        assert await tags.untag("session:1", droplet, priority=NEW) is True
        assert (await shown(adapter, droplet)).tags == set()


async def test_a_tag_shows_a_little_later(adapter, tags, control, droplet):
    await control.set_delays(tags=3600)
    await tags.tag("session:1", droplet, priority=NEW)
    assert (await shown(adapter, droplet)).tags == set()
    assert await adapter.droplets.list_by_tag("session:1", priority=NEW) == ()


async def test_a_tag_is_put_on_as_it_was_spelled_first(adapter, tags, droplet):
    assert await tags.ensure("PROD", priority=NEW) == "PROD"
    await tags.tag("prod", droplet, priority=NEW)
    assert (await shown(adapter, droplet)).tags == {"PROD"}


async def test_without_a_droplet_there_is_nothing_to_tag(tags, droplet):
    with pytest.raises(errors.NotFound):
        await tags.tag("session:1", NO_DROPLET, priority=NEW)
    assert await tags.untag("session:1", NO_DROPLET, priority=NEW) is False
    assert await tags.untag("never-made", droplet, priority=NEW) is False


@pytest.mark.parametrize("fault", WITHOUT_ANSWER)
async def test_a_tagging_without_an_answer_is_sent_again(adapter, tags, control, droplet, fault):
    for call in ("POST /v2/tags", f"POST {RESOURCES}"):
        await control.add_faults(f"{call} {fault}")
        with pytest.raises(errors.Unavailable):
            await tags.tag("session:1", droplet, priority=NEW)
        await control.clear_faults()
    await tags.tag("session:1", droplet, priority=NEW)
    assert (await shown(adapter, droplet)).tags == {"session:1"}


@pytest.mark.parametrize("fault", WITHOUT_ANSWER)
async def test_an_untagging_without_an_answer_is_sent_again(adapter, tags, control, droplet, fault):
    await tags.tag("session:1", droplet, priority=NEW)
    # Twice, because a connection that is cut is used once more for a deletion.
    await control.add_faults(f"DELETE {RESOURCES} {fault} times=2")
    with pytest.raises(errors.Unavailable):
        await tags.untag("session:1", droplet, priority=NEW)
    await control.clear_faults()
    assert await tags.untag("session:1", droplet, priority=NEW) is True
    assert (await shown(adapter, droplet)).tags == set()


async def test_a_token_that_may_not_tag_droplets_is_told_both_scopes(tags, control, droplet):
    await control.set_token("local-token", ["tag:create"])
    with pytest.raises(errors.Forbidden, match="tag:create or droplet:update"):
        await tags.tag("session:1", droplet, priority=NEW)
