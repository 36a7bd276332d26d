"""`make demo`, run as a person runs it: as a program, from outside."""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.local_program import (
    DOWN_SECONDS,
    UP_SECONDS,
    of_this_run,
    processes_of,
    until,
)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_all_that_the_demo_claims_is_true():
    demo = subprocess.run(
        of_this_run("spawnai_local.demo"),
        check=False,
        env={**os.environ, "CLAUDE": "simulator"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=380,
    )
    if demo.returncode != 0 or demo.stderr:
        # What was not true comes first: the whole story is long.
        broken = [line for line in demo.stdout.splitlines() if "✗" in line]
        pytest.fail("\n".join([*broken, demo.stderr, demo.stdout]), pytrace=False)
    told = re.search(r"All (\d+) claims were true, after (\d+) s", demo.stdout)
    assert told is not None
    assert int(told[1]) == demo.stdout.count("✓") - 1  # the title explains the mark
    assert max(map(len, demo.stdout.splitlines())) <= 100


@contextlib.contextmanager
def demo_until(words: str, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A demo that has come to these words."""
    with (
        output.open("wb") as written,
        subprocess.Popen(
            of_this_run("spawnai_local.demo"),
            env={**os.environ, "CLAUDE": "simulator"},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,
        ) as demo,
    ):
        try:
            until(
                lambda: words in output.read_text() or demo.poll() is not None,
                what=lambda: f"the demo to say {words!r}; it said:\n{output.read_text()}",
                limit_seconds=UP_SECONDS,
            )
            assert demo.poll() is None, output.read_text()
            yield demo
        finally:
            demo.terminate()


def child_of(parent: int, words: str) -> int:
    """The pid of a process that `parent` started."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                status = (entry / "status").read_text()
                command = (entry / "cmdline").read_bytes().replace(bytes(1), b" ").decode()
                if f"PPid:\t{parent}\n" in status and words in command:
                    return int(entry.name)
    raise AssertionError(f"process {parent} has no child {words!r}")


def test_a_demo_whose_cloud_dies_says_so_and_fails(tmp_path):
    output = tmp_path / "output"
    with demo_until("Watch them come to life", output) as demo:
        os.kill(child_of(demo.pid, "spawnai_local.cloud"), signal.SIGKILL)
        assert demo.wait(DOWN_SECONDS) == 1
    said = " ".join(output.read_text().split())
    assert "✗ the demo ran to its end" in said
    assert "cloud has ended by itself" in said
    assert "The logs of all parts:" in said
    assert "Traceback" not in said


def test_ctrl_c_ends_the_demo_and_leaves_nothing(tmp_path):
    output = tmp_path / "output"
    with demo_until("DNS", output) as demo:
        directory = Path(os.fsdecode(child_environment(demo.pid, "SPAWNAI_PROCESS_DIRECTORY")))
        assert processes_of(directory)
        os.killpg(demo.pid, signal.SIGINT)
        assert demo.wait(DOWN_SECONDS) == 128 + signal.SIGINT
    assert "Interrupted. Nothing is left running." in output.read_text()
    assert processes_of(directory) == []


def child_environment(parent: int, name: str) -> bytes:
    """The value of a variable in the environment of the cloud that a demo started."""
    pid = child_of(parent, "spawnai_local.cloud")
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(bytes(1))
    return next(one for one in variables if one.startswith(f"{name}=".encode())).split(b"=", 1)[1]
