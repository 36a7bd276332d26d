"""Droplets that boot: machine-like process groups on one host, started from their user_data.

A machine has a directory as its root, an address of its own in 127.0.0.0/8, and a process that does
the work of cloud-init and systemd for it. Inside, everything is real: the agent, Caddy, npm, the
app. There is no isolation beyond that: what runs in a machine runs as the user who started it.

- `host` is what the emulator speaks to: `MachineHost`.
- `cloud_init` reads user_data as cloud-init would.
- `userland` is what a machine finds on its PATH: the host's programs, and stand-ins for those that
  would change the host (apt-get, systemctl, poweroff).
- `supervisor` is one process above all machines, a process of its own without any import of ours.
"""

from spawnai_local.machines.host import MachineHost

__all__ = ["MachineHost"]
