import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from spawnai_local.processes import (
    ChildProcess,
    ProcessError,
    RestartPolicy,
    end_leftovers,
    free_port,
    running_pid,
)

SLEEP_FOR_EVER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
IGNORE_TERM = [
    sys.executable,
    "-c",
    (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('up', flush=True); time.sleep(600)"
    ),
]


async def eventually(condition: Callable[[], bool], limit_seconds: float = 10.0) -> None:
    deadline = time.monotonic() + limit_seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def started(child: ChildProcess) -> int:
    await child.start()
    await eventually(lambda: "up" in child.log_tail())
    assert child.pid is not None
    return child.pid


async def test_the_pid_file_exists_exactly_while_the_child_runs(tmp_path: Path) -> None:
    child = ChildProcess("sleeper", SLEEP_FOR_EVER, tmp_path)
    pid = await started(child)
    assert (tmp_path / "sleeper.pid").read_text() == f"{pid}\n"
    assert running_pid(tmp_path / "sleeper.pid") == pid
    await child.stop()
    assert not (tmp_path / "sleeper.pid").exists()
    assert not is_alive(pid)
    assert await child.wait() == -signal.SIGTERM


async def test_a_child_that_ignores_sigterm_is_killed_after_the_limit(tmp_path: Path) -> None:
    child = ChildProcess("stubborn", IGNORE_TERM, tmp_path, stop_seconds=0.3)
    await started(child)
    await child.stop()
    assert child.returncode == -signal.SIGKILL


async def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    grandchild_pid = tmp_path / "grandchild"
    program = (
        "import pathlib, subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        f"pathlib.Path({str(grandchild_pid)!r}).write_text(str(child.pid));"
        "print('up', flush=True); time.sleep(600)"
    )
    child = ChildProcess("parent", [sys.executable, "-c", program], tmp_path)
    await started(child)
    await child.stop()
    await eventually(lambda: not is_alive(int(grandchild_pid.read_text())))


async def test_a_child_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib; from spawnai_local.processes import ChildProcess\n"
        "async def main():\n"
        f"    child = ChildProcess('inner', {SLEEP_FOR_EVER!r}, pathlib.Path({str(tmp_path)!r}))\n"
        "    await child.start(); print('up', flush=True); await asyncio.sleep(600)\n"
        "asyncio.run(main())"
    )
    outer = ChildProcess("outer", [sys.executable, "-c", program], tmp_path)
    outer_pid = await started(outer)
    await eventually((tmp_path / "inner.log").exists)
    await eventually(lambda: "up" in (tmp_path / "inner.log").read_text())
    inner_pid = int((tmp_path / "inner.pid").read_text())
    os.kill(outer_pid, signal.SIGKILL)
    await eventually(lambda: not is_alive(inner_pid))
    await outer.wait()


async def test_a_child_with_a_restart_policy_comes_back_under_a_new_pid(tmp_path: Path) -> None:
    child = ChildProcess("operator", SLEEP_FOR_EVER, tmp_path, restart=RestartPolicy())
    first_pid = await started(child)
    os.kill(first_pid, signal.SIGKILL)
    await eventually(lambda: child.starts == 2 and child.pid is not None)
    assert child.pid != first_pid
    assert running_pid(child.pid_path) == child.pid
    await child.stop()
    assert child.starts == 2


async def test_a_child_without_a_restart_policy_stays_down(tmp_path: Path) -> None:
    child = ChildProcess("once", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path)
    await child.start()
    assert await child.wait() == 3
    assert child.starts == 1
    assert child.pid is None


async def test_stopping_a_child_that_waits_for_its_restart_ends_the_waiting(tmp_path: Path) -> None:
    policy = RestartPolicy(first_delay_seconds=600, longest_delay_seconds=600)
    child = ChildProcess("crashing", [sys.executable, "-c", ""], tmp_path, restart=policy)
    await child.start()
    await eventually(lambda: child.starts == 2 and child.pid is None)
    await asyncio.wait_for(child.stop(), timeout=5)
    assert child.starts == 2


@pytest.mark.parametrize(
    ("deaths", "seconds"), [(1, 0.0), (2, 10.0), (3, 20.0), (4, 40.0), (7, 300.0), (1000, 300.0)]
)
def test_each_restart_waits_twice_as_long_up_to_the_limit(deaths: int, seconds: float) -> None:
    kubelet = RestartPolicy(first_delay_seconds=10, longest_delay_seconds=300)
    assert kubelet.delay_seconds(deaths) == seconds


async def test_a_child_that_ends_before_it_is_ready_is_an_error_with_its_last_words(
    tmp_path: Path,
) -> None:
    async def never() -> bool:
        return False

    child = ChildProcess("broken", [sys.executable, "-c", "raise SystemExit('no disk')"], tmp_path)
    await child.start()
    with pytest.raises(ProcessError, match=r"(?s)broken ended with code 1 .*no disk"):
        await child.wait_until_ready(never, limit_seconds=10)


async def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    child = ChildProcess("ghost", ["/no/such/program"], tmp_path)
    with pytest.raises(ProcessError, match=r"ghost cannot start.*'/no/such/program'"):
        await child.start()


async def test_leftovers_of_a_directory_and_those_below_it_are_ended_and_no_others(
    tmp_path: Path,
) -> None:
    mine = ChildProcess("mine", IGNORE_TERM, tmp_path / "a")
    below = ChildProcess("below", SLEEP_FOR_EVER, tmp_path / "a" / "droplets")
    other = ChildProcess("other", SLEEP_FOR_EVER, tmp_path / "ab")
    for child in (mine, below, other):
        await started(child)
    assert await end_leftovers(tmp_path / "a", limit_seconds=0.5) == 2
    assert await mine.wait() == -signal.SIGKILL
    assert await below.wait() == -signal.SIGTERM
    assert other.pid is not None
    await other.stop()


def test_a_pid_file_of_another_boot_or_an_ended_process_names_nobody(tmp_path: Path) -> None:
    pid_path = tmp_path / "old.pid"
    assert running_pid(pid_path) is None
    pid_path.write_text(f"{os.getpid()}\n")
    assert running_pid(pid_path) == os.getpid()
    os.utime(pid_path, (0, 0))  # written long before this process started
    assert running_pid(pid_path) is None
    pid_path.write_text("not a pid\n")
    assert running_pid(pid_path) is None


def test_a_free_port_can_be_listened_on() -> None:
    port = free_port("127.0.0.1")
    assert 1024 < port < 32768


async def test_a_wait_that_gives_up_tells_what_was_wrong_last(tmp_path):
    process = ChildProcess("sleeper", ["sleep", "60"], tmp_path)
    await process.start()
    answers = iter(["refused", "no certificate of ours", "no certificate of ours"])

    async def is_ready() -> bool | str:
        return next(answers, "the last thing that went wrong")

    try:
        with pytest.raises(ProcessError, match="the last thing that went wrong"):
            await process.wait_until_ready(is_ready, limit_seconds=0.5)
    finally:
        await process.stop()
