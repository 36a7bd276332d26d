import asyncio
import os
import signal
import subprocess
import sys

import pytest

from spawnai_local.interruption import run_until_interrupted

# Says when it runs, and when it has ended what it started, which takes a while.
PROGRAM = """
import asyncio, sys
from spawnai_local.interruption import run_until_interrupted

async def work():
    print("running", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        print("ending", flush=True)
        await asyncio.sleep(float(sys.argv[1]))
        print("ended", flush=True)

print(run_until_interrupted(work()), flush=True)
"""


def program() -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, "0.2"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_the_program_s_own_end_is_its_exit_code():
    async def work() -> int:
        return 3

    assert run_until_interrupted(work()) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_work_in_order(number):
    with program() as running:
        assert running.stdout.readline() == "running\n"
        os.kill(running.pid, number)
        assert running.stdout.read() == "ending\nended\nNone\n"


def test_several_signals_at_once_are_one():
    with program() as running:
        assert running.stdout.readline() == "running\n"
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            os.kill(running.pid, number)
        assert running.stdout.read() == "ending\nended\nNone\n"


def test_another_ctrl_c_a_while_later_cuts_the_end_short():
    async def interrupt_twice() -> str:
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, "60"), stdout=asyncio.subprocess.PIPE
        )
        assert await running.stdout.readline() == b"running\n"
        running.send_signal(signal.SIGINT)
        assert await running.stdout.readline() == b"ending\n"
        await asyncio.sleep(1.2)  # longer than signals that mean the same are apart
        running.send_signal(signal.SIGINT)
        rest, _ = await running.communicate()
        return rest.decode()

    assert asyncio.run(interrupt_twice()) == "None\n"
