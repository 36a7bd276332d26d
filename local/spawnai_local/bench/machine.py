"""The machine that everything ran on, and how busy others kept it meanwhile."""

import contextlib
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spawnai_local.bench.operator_process import cpu_seconds_of, machine_cpu_seconds


@dataclass(frozen=True, slots=True)
class Noise:
    """Processor time while something was measured, as shares of one core."""

    seconds: float = 0.0
    by_part: Mapping[str, float] | None = None
    others: float = 0.0
    """What programs that are no part of the stack used."""

    def words(self) -> str:
        """In a sentence's half."""
        parts = ", ".join(f"{name} {share:.0%}" for name, share in (self.by_part or {}).items())
        return f"over {self.seconds:.0f} s, of one core: {parts}; other programs {self.others:.0%}"


class Onlooker:
    """Looks at processor time from its making on."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = {**pids, "bench": os.getpid()}
        self._began = time.monotonic()
        self._machine = machine_cpu_seconds()
        self._parts = self._used()

    def noise(self) -> Noise:
        """What was used since."""
        seconds = time.monotonic() - self._began
        now = self._used()
        parts = {name: (used - self._parts.get(name, 0.0)) / seconds for name, used in now.items()}
        everyone = (machine_cpu_seconds() - self._machine) / seconds
        return Noise(seconds, parts, max(0.0, everyone - sum(parts.values())))

    def _used(self) -> dict[str, float]:
        used = {}
        for name, pid in self._pids.items():
            with contextlib.suppress(OSError):
                used[name] = cpu_seconds_of(pid)
        return used


def describe() -> str:
    """Cores, processor, memory, Python, kernel."""
    model = "unknown processor"
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    cores = len(os.sched_getaffinity(0))
    return (
        f"{cores} cores ({model}), {memory:.0f} GiB of memory, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )
