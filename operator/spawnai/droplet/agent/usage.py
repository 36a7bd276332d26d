"""How much of the droplet is used, once a minute: a price may depend on it."""

import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

SAMPLE_SECONDS = 60.0
SAMPLES_MAX = 1440  # a day


class Usage:
    """The samples of the last day, numbered from the agent's start."""

    def __init__(self, seconds: float = SAMPLE_SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._samples: deque[dict[str, Any]] = deque(maxlen=SAMPLES_MAX)
        self._count = 0

    def run(self) -> None:
        """Sample for ever."""
        busy, total = cpu_times()
        since = time.monotonic()
        while True:
            time.sleep(self._seconds)
            before_busy, before_total, (busy, total) = busy, total, cpu_times()
            elapsed, since = time.monotonic() - since, time.monotonic()
            sample = {
                "at": int(time.time()),
                "seconds": round(elapsed, 1),
                "cpu": round(100 * (busy - before_busy) / max(total - before_total, 1), 1),
                "memory": round(memory_percent(), 1),
            }
            with self._lock:
                self._samples.append(sample)
                self._count += 1

    def forget(self) -> None:
        """What was is none of the next session's."""
        with self._lock:
            self._samples.clear()
            self._count = 0

    def since(self, number: int) -> dict[str, Any]:
        """The samples from this number on, and the next one's."""
        with self._lock:
            if number > self._count:  # of the agent before this one
                number = 0
            new = min(self._count - number, len(self._samples))
            return {"samples": list(self._samples)[len(self._samples) - new :], "next": self._count}


def cpu_times() -> tuple[int, int]:
    """Ticks of all cores since the boot: those in use, and all (proc(5), stat)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


def memory_percent() -> float:
    """How much of the memory is not available to a new process."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return 100 * (1 - int(line.split()[1]) * 1024 / pages)
    return 0.0
