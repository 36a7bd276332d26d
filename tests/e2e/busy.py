"""How long the machine kept its programs waiting."""

import re
from pathlib import Path

# Linux, pressure stall information: https://docs.kernel.org/accounting/psi.html
PRESSURE = Path("/proc/pressure/cpu")
MICROSECONDS = 1_000_000


class CpuWait:
    """Counts the seconds in which some program of this machine waited for a core.

    What is late by more than these is late by itself, however busy the machine is. Always 0 where
    the kernel does not tell.
    """

    def __init__(self) -> None:
        self._began = _total()

    def seconds(self) -> float:
        """Seconds since this was made."""
        return _total() - self._began


def _total() -> float:
    try:
        found = re.match(r"some .*total=(\d+)", PRESSURE.read_text())
    except OSError:
        return 0.0
    return int(found[1]) / MICROSECONDS if found else 0.0
