"""The operator as a process that is measured: started, killed, and looked at from outside."""

import asyncio
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from spawnai_local.processes import ChildProcess, free_port
from spawnai_local.stack import OPERATOR_COMMAND, LocalStack

_READY_SECONDS = 60.0
_POLL_SECONDS = 0.05
_SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$", re.MULTILINE)
_TICKS = os.sysconf("SC_CLK_TCK")
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """A process's memory in bytes: what is resident, and the most that ever was."""

    resident: int
    peak: int


class OperatorProcess:
    """One operator of a stack that was brought up without one.

    SPAWNAI_BENCH_OPERATOR may name another command, such as one that runs it under a profiler.
    """

    def __init__(self, stack: LocalStack) -> None:
        self._address = f"127.0.0.1:{free_port()}"
        command = os.environ.get("SPAWNAI_BENCH_OPERATOR", "").split() or OPERATOR_COMMAND
        self._process = ChildProcess(
            "operator",
            command,
            stack.directory,
            environment=stack.operator_environment(self._address),
            stop_seconds=15.0,
        )

    async def start(self) -> float:
        """Start it; returns when (monotonic seconds) its process was made, before it is ready."""
        began = time.monotonic()
        await self._process.start()
        return began

    async def stop(self) -> None:
        """End it in order: it gives its lease back."""
        await self._process.stop()

    async def kill(self) -> None:
        """Kill it, as a crash would."""
        await self._process.kill()

    @property
    def pid(self) -> int:
        """Its pid.

        Raises:
            RuntimeError: it does not run.
        """
        pid = self._process.pid
        if pid is None:
            raise RuntimeError(f"the operator has ended; see {self._process.log_path}")
        return pid

    async def metrics(self) -> dict[str, float]:
        """Its metrics by name and labels, as in `spawnai_sessions{phase="Running"}`."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://{self._address}/metrics") as answer,
        ):
            return parse_metrics(await answer.text())

    async def until_running(self, sessions: int, *, limit_seconds: float) -> float:
        """Wait until its metrics count so many Running sessions; returns when (monotonic).

        Raises:
            TimeoutError: they did not.
        """
        deadline = time.monotonic() + limit_seconds
        found = float("nan")
        while time.monotonic() < deadline:
            try:
                metrics = await self.metrics()
                found = metrics.get('spawnai_sessions{phase="Running"}', 0.0)
                if found >= sessions:
                    return time.monotonic()
            except aiohttp.ClientError:
                pass
            _ = self.pid
            await asyncio.sleep(_POLL_SECONDS)
        raise TimeoutError(
            f"the operator knows {found} of {sessions} Running sessions after {limit_seconds:.0f} s"
        )

    def memory(self) -> Memory:
        """Its memory now."""
        return memory_of(self.pid)

    def cpu_seconds(self) -> float:
        """Processor time it has used so far, its own and the kernel's for it."""
        return cpu_seconds_of(self.pid)


def memory_of(pid: int) -> Memory:
    """The memory of a process now, from /proc (VmRSS and VmHWM)."""
    text = Path(f"/proc/{pid}/status").read_text()
    fields = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", text, re.MULTILINE))
    return Memory(int(fields["VmRSS"]) * 1024, int(fields["VmHWM"]) * 1024)


def cpu_seconds_of(pid: int) -> float:
    """utime and stime of a process (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def machine_cpu_seconds() -> float:
    """Processor time used by everyone on this machine, all cores together."""
    user, nice, system, _idle, _wait, irq, softirq, steal, *_ = (
        int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / _TICKS


def parse_metrics(text: str) -> dict[str, float]:
    """Prometheus text as a dictionary."""
    return {
        found["name"] + (f"{{{found['labels']}}}" if found["labels"] else ""): float(found["value"])
        for found in _SAMPLE.finditer(text)
    }
