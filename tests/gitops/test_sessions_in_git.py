"""Sessions in Git, applied by Flux: what docs/gitops.md says of Flux holds of the real one."""

import asyncio
import os
import subprocess
from datetime import timedelta

import pytest_asyncio
import yaml
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import Manifest, in_seconds, moment, session
from tests.gitops.conftest import CLASSES, README, SESSIONS, TEAM, Fleet, offer
from tests.gitops.flux import ready

from spawnai.api.names import EXPIRES_AT_ANNOTATION, TTL_ANNOTATION
from spawnai_local import toolchain

PROMPT = "A board for wishes"
OTHER_PROMPT = "A page about complaints"
SSA = "kustomize.toolkit.fluxcd.io/ssa"


def ordered(name: str, prompt: str = PROMPT, **more: str) -> Manifest:
    return session(name, prompt, **{"ttl": "30m", "class_name": "standard", **more})


def annotations_of(document: Manifest) -> dict[str, str]:
    return document["metadata"].get("annotations", {})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def board(fleet: Fleet) -> str:
    """The revision that orders a board."""
    return await fleet.push("A board", board=ordered("board"))


async def test_a_kustomization_is_ready_when_its_session_runs_and_not_before(fleet, board):
    seen = await eventually(
        "Flux waits for the session",
        lambda: fleet.flux.get("kustomization", TEAM, "sessions"),
        lambda seen: seen.get("status", {}).get("lastAttemptedRevision") == board,
    )
    assert ready(seen)["status"] == "Unknown"
    applied = await fleet.until_applied(board)
    one = fleet.session("board")
    assert one.phase == "Running"
    assert moment(one.condition("Ready")["lastTransitionTime"]) <= moment(
        ready(applied)["lastTransitionTime"]
    )
    assert (await one.fetch()).status == 200


async def test_a_class_is_ready_by_the_same_library(fleet, board):
    classes = await fleet.flux.reconcile("kustomization", "flux-system", "spawnai-classes")
    assert ready(classes)["status"] == "True"
    assert (await fleet.world.get_class("standard"))["status"]["observedGeneration"] == 1


async def test_a_look_without_a_change_changes_nothing(fleet, board):
    await fleet.until_applied(board)
    before = await fleet.session("board").get()
    events = await fleet.flux.events(TEAM, "sessions")
    await fleet.sync()
    after = await fleet.session("board").get()
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert annotations_of(after) == annotations_of(before)
    told = (await fleet.flux.events(TEAM, "sessions"))[len(events) :]
    assert not any("configured" in message for message in told), told


async def test_a_prompt_and_a_ttl_that_change_in_git_change_the_session(fleet, board):
    await fleet.session("board").until_running()
    one = fleet.session("board")
    uid, end, page = one.uid, moment(one.status["expirationTime"]), await one.fetch()
    changed = await fleet.push("Another board", board=ordered("board", OTHER_PROMPT, ttl="20m"))
    await fleet.until_applied(changed)
    assert (await one.fetch()).text != page.text
    assert one.uid == uid
    assert end - moment(one.status["expirationTime"]) == timedelta(minutes=10)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def extended(fleet: Fleet, board: str) -> None:
    """Sessions that people extend beside Git."""
    merged = ordered("merged")
    merged["metadata"]["annotations"][SSA] = "Merge"
    revision = await fleet.push(
        "Three more",
        annotated=ordered("annotated"),
        extended=ordered("extended"),
        merged=merged,
    )
    await fleet.until_applied(revision)


async def end_after_a_sync(fleet: Fleet, name: str) -> str | None:
    await fleet.sync()
    return annotations_of(await fleet.session(name).get()).get(EXPIRES_AT_ANNOTATION)


async def test_kubectl_annotate_is_undone_at_the_next_interval(fleet, extended):
    one = fleet.session("annotated")
    end = one.status["expirationTime"]
    await one.annotate(expires_at=in_seconds(2400))
    await one.until("is extended", lambda one: one.status["expirationTime"] > end, 20)
    assert await end_after_a_sync(fleet, "annotated") is None
    await one.until("ends as before", lambda one: one.status["expirationTime"] == end, 20)


async def test_kubectl_spawn_extend_stays(fleet, extended):
    one = fleet.session("extended")
    end = one.status["expirationTime"]
    plugin, _ = toolchain.kubectl_plugin()
    await asyncio.to_thread(
        subprocess.run,
        [plugin, "extend", "extended", "1m", f"--namespace={TEAM}"],
        check=True,
        capture_output=True,
        timeout=60,
        env={
            **os.environ,
            "KUBECONFIG": str(fleet.world.kubectl.kubeconfig),
            "PATH": f"{toolchain.kubectl().parent}:{os.environ['PATH']}",
        },
    )
    assert await end_after_a_sync(fleet, "extended") is not None
    await one.until("is extended", lambda one: one.status["expirationTime"] > end, 20)


async def test_so_does_an_annotation_by_the_same_manager(fleet, extended):
    expires_at = in_seconds(2500)
    await fleet.world.kubectl.run(
        *("annotate", "spawnsession", "annotated", f"--namespace={TEAM}"),
        *("--field-manager=spawn", f"{EXPIRES_AT_ANNOTATION}={expires_at}"),
    )
    assert await end_after_a_sync(fleet, "annotated") == expires_at


async def test_and_any_annotation_of_a_session_that_is_to_be_merged(fleet, extended):
    expires_at = in_seconds(2600)
    await fleet.session("merged").annotate(expires_at=expires_at)
    assert await end_after_a_sync(fleet, "merged") == expires_at


async def test_a_ttl_that_git_holds_is_put_back(fleet, extended):
    one = fleet.session("extended")
    await one.annotate(ttl="35m")
    await fleet.sync()
    assert annotations_of(await one.get())[TTL_ANNOTATION] == "30m"


async def test_a_session_waits_for_its_class_and_flux_for_both(fleet, board):
    revision = await fleet.push("Too early", early=ordered("early", class_name="later"))
    one = fleet.session("early")
    assert "later" in await one.until_stalled("ClassNotFound")
    waiting = await fleet.flux.get("kustomization", TEAM, "sessions")
    assert waiting["status"]["lastAttemptedRevision"] == revision
    assert ready(waiting)["status"] == "Unknown"
    later = offer(fleet.world.stack, "later")
    both = await fleet.push_files("Its class", {f"{CLASSES}/later.yaml": yaml.safe_dump(later)})
    await fleet.flux.until_applied("flux-system", "spawnai-classes", both, 60)
    await fleet.until_applied(both)
    assert one.phase == "Running"


async def test_a_failed_session_fails_the_kustomization_and_holds_up_nobody(fleet, board):
    revision = await fleet.push(
        "One that fails",
        broken=session("broken", "An API simulate:app-dies-at-once", "api", class_name="standard"),
        neighbour=ordered("neighbour"),
    )
    message = await fleet.flux.until_unhealthy(TEAM, "sessions", revision, 90)
    assert "SpawnSession/shop/broken status: 'Failed'" in message
    assert "neighbour" not in message
    await fleet.session("neighbour").until_running()

    mended = await fleet.push("Without it", broken=None)
    await fleet.until_applied(mended)
    await fleet.session("broken").until_gone()
    await fleet.session("broken").assert_nothing_is_left()


async def test_an_ended_session_is_done_is_not_made_again_and_stays(fleet, board):
    forgetful = offer(fleet.world.stack, "forgetful", ttlAfterFinished="1s")
    await fleet.push_files("Forgets", {f"{CLASSES}/forgetful.yaml": yaml.safe_dump(forgetful)})
    revision = await fleet.push(
        "A short life", short=ordered("short", ttl="10s", class_name="forgetful")
    )
    one = fleet.session("short")
    await one.until_destroyed()
    await fleet.until_applied(revision)
    uid = one.uid
    synced = await fleet.sync()
    assert ready(synced)["status"] == "True"
    assert one.uid == uid
    assert one.phase == "Destroyed"
    await one.assert_nothing_is_left()
    await fleet.until_applied(await fleet.push("Cleared up", short=None))
    await one.until_gone()


async def test_a_folder_that_goes_with_its_last_session_prunes_nothing(fleet, board):
    await fleet.push_files("No folder", dict.fromkeys(await files_of_all_sessions(fleet)))
    synced = await fleet.sync()
    assert "kustomization path not found" in ready(synced)["message"]
    assert fleet.session("board").phase == "Running"
    assert not fleet.session("board").document["metadata"].get("deletionTimestamp")


async def test_what_git_no_longer_holds_is_pruned_and_nothing_is_left(fleet, board):
    items = await fleet.world.kubectl.items("spawnsessions", f"--namespace={TEAM}")
    empty = await fleet.push_files("A folder without sessions", {README: "# Sessions\n"})
    await fleet.until_applied(empty)
    for one in [fleet.session(item["metadata"]["name"]) for item in items]:
        await one.until_gone()
        await one.assert_nothing_is_left()


async def files_of_all_sessions(fleet: Fleet) -> list[str]:
    """Every file of the team's folder."""
    items = await fleet.world.kubectl.items("spawnsessions", f"--namespace={TEAM}")
    names = [item["metadata"]["name"] for item in items]
    return [README, *(f"{SESSIONS}/{name}.yaml" for name in names)]
