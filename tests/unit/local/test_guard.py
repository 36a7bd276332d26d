import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from spawnai_local.guard import Guard
from spawnai_local.processes import MARK

# A process with a child of its own in another session: as an app started by a droplet's agent.
PARENT_OF_AN_APP = """
import subprocess, sys, time
app = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                       start_new_session=True)
print(app.pid, flush=True)
time.sleep(600)
"""

KILLED_STACK = """
import os, subprocess, sys, time
from pathlib import Path
from spawnai_local.guard import Guard
from spawnai_local.processes import MARK
directory = Path(sys.argv[1])
Guard.start(directory)
app = subprocess.Popen([sys.executable, "-c", sys.argv[2]], start_new_session=True,
                       env={**os.environ, MARK: str(directory)}, stdout=subprocess.PIPE, text=True)
print(app.pid, app.stdout.readline().strip(), flush=True)
time.sleep(600)
"""


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until_all_ended(pids: list[int], limit_seconds: float = 15.0) -> list[int]:
    deadline = time.monotonic() + limit_seconds
    while (left := [pid for pid in pids if runs(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def test_stopping_the_guard_ends_what_its_directory_s_processes_left(tmp_path):
    guard = Guard.start(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT_OF_AN_APP],
        env={**os.environ, MARK: str(tmp_path / "machines")},
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        app = int(parent.stdout.readline())
        assert asyncio.run(guard.stop()) == 2
        assert until_all_ended([parent.pid, app]) == []


def test_processes_of_another_directory_are_left_alone(tmp_path):
    guard = Guard.start(tmp_path / "ours")
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        env={**os.environ, MARK: str(tmp_path / "ours-too")},
    ) as other:
        assert asyncio.run(guard.stop()) == 0
        still_there = runs(other.pid)
        other.kill()
    assert still_there


def test_a_parent_killed_with_sigkill_leaves_nothing(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_STACK, str(tmp_path), PARENT_OF_AN_APP],
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert all(map(runs, pids))
        os.kill(parent.pid, signal.SIGKILL)
    assert until_all_ended(pids) == []
