"""DigitalOcean's API v2 on this machine, with state, prices, limits and faults.

`Emulator` is the whole of it; `python -m spawnai_local.digitalocean` runs one.
"""

from spawnai_local.digitalocean.clock import Clock, ManualClock, SystemClock
from spawnai_local.digitalocean.emulator import Emulator
from spawnai_local.digitalocean.machine_host import MachineHost
from spawnai_local.digitalocean.settings import NO_DELAYS, Delay, Delays, Limits, Settings

__all__ = [
    "NO_DELAYS",
    "Clock",
    "Delay",
    "Delays",
    "Emulator",
    "Limits",
    "MachineHost",
    "ManualClock",
    "Settings",
    "SystemClock",
]
