import json

import pytest

from spawnai.api.session import Phase
from spawnai_local.kubectl import Kubectl
from spawnai_local.session_watch import SessionWatch, WaitError

UID = "11111111-2222-3333-4444-555555555555"


def event(kind: str, phase: str | None, *, uid: str = UID) -> str:
    document = {
        "metadata": {"name": "board", "namespace": "default", "uid": uid},
        "spec": {"appType": "webapp"},
        "status": {"phase": phase} if phase else {},
    }
    return json.dumps({"type": kind, "object": document})


def watch(directory, *events: str) -> SessionWatch:
    program = directory / "kubectl"
    lines = "\n".join(events)
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\nexec sleep 60\n")
    program.chmod(0o755)
    return SessionWatch(Kubectl(program, directory / "kubeconfig", directory / "cache"))


async def until(watching: SessionWatch, phase: Phase) -> None:
    await watching.until(
        lambda: "board" in watching.sessions and watching.sessions["board"].phase is phase,
        what=f"board to be {phase}",
        limit_seconds=5.0,
    )


async def test_each_phase_is_remembered_with_when_it_was_first_seen(tmp_path):
    events = [event("ADDED", None), event("MODIFIED", "Requested"), event("MODIFIED", "Running")]
    async with watch(tmp_path, *events) as watching:
        await until(watching, Phase.RUNNING)
        reached = watching.sessions["board"].reached
    assert list(reached) == [Phase.REQUESTED, Phase.RUNNING]
    assert reached[Phase.REQUESTED] <= reached[Phase.RUNNING]


async def test_a_phase_is_new_once(tmp_path):
    events = [event("ADDED", "Requested"), event("MODIFIED", "Requested")]
    changes = []
    async with watch(tmp_path, *events, event("MODIFIED", "Running")) as watching:
        async for change in watching.changes_until(
            lambda: len(changes) == 3, what="three changes", limit_seconds=5.0
        ):
            if change is not None:
                changes.append(change.new_phase)  # noqa: PERF401 - `holds` looks at it
    assert changes == [True, False, True]


async def test_a_session_of_the_same_name_is_another_one(tmp_path):
    again = event("ADDED", "Requested", uid="99999999-2222-3333-4444-555555555555")
    async with watch(tmp_path, event("ADDED", "Running"), event("DELETED", "Running"), again) as w:
        await until(w, Phase.REQUESTED)
        assert list(w.sessions["board"].reached) == [Phase.REQUESTED]
        assert not w.sessions["board"].is_over


async def test_a_deleted_session_is_over(tmp_path):
    async with watch(tmp_path, event("ADDED", "Running"), event("DELETED", "Running")) as watching:
        await watching.until(
            lambda: "board" in watching.sessions and watching.sessions["board"].is_over,
            what="the end",
            limit_seconds=5.0,
        )


async def test_a_wait_that_is_too_long_says_for_what_and_how_things_stand(tmp_path):
    async with watch(tmp_path, event("ADDED", "Requested")) as watching:
        await until(watching, Phase.REQUESTED)
        expected = "waited 0 s for the end of time; board is Requested"
        with pytest.raises(WaitError, match=expected):
            await watching.until(lambda: False, what="the end of time", limit_seconds=0.0)
