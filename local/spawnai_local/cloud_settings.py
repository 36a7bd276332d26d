"""What the cloud's process is told when it starts, and what it answers when it is up.

Both travel as JSON, so that the process can be started by anything.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

from spawnai_local.machines.shell_host import ShellPace

LOCAL_DIGITALOCEAN_TOKEN = "local-token"  # noqa: S105 - it opens nothing but the emulator
LOCAL_ANTHROPIC_KEY = "local-key"


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """How fast and how large the local cloud is. The defaults suit a person at a laptop.

    A real droplet boots in 25 to 40 s and Claude writes 60 to 100 tokens a second; both are made
    shorter here, and everything a person can wait for stays visible.
    """

    digitalocean: bool = True
    claude: bool = True
    machines: bool = True
    """False: droplets are shells, states and prices without a process behind them."""
    agents: ShellPace | None = None
    """Set: droplets are shells whose agents answer, at this pace (see ShellHost)."""
    boot_seconds: tuple[float, float] = (3.0, 5.0)
    """From a droplet's order to `active`, at least and at most; its machine starts then."""
    delays: Mapping[str, float | list[float]] = field(default_factory=dict)
    """The emulator's other delays by name, where they differ from its own."""
    tokens_per_second: float = 400.0
    first_token_seconds: float = 0.8
    droplet_limit: int = 25
    pebble: str | None = None
    """The program of the ACME server; None: there is none, and no HTTPS."""
    seed: int = 0
    bundles: str | None = None
    """A folder of answers that the simulated Claude gives to prompts with `bundle:NAME`."""
    clock_offset_seconds: float = 0.0
    """How far DigitalOcean's clock is ahead of this machine's; behind, if negative."""

    def to_json(self) -> str:
        """The settings as the cloud's process reads them."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        document = json.loads(text)
        pace = document.get("agents")
        return cls(
            **{
                **document,
                "boot_seconds": tuple(document["boot_seconds"]),
                "agents": None if pace is None else ShellPace(**pace),
            }
        )


@dataclass(frozen=True, slots=True)
class CloudReport:
    """Where the parts of a cloud that is up are; None for a part it was not asked for."""

    digitalocean_url: str | None
    claude_url: str | None
    dns_address: str | None
    dns_port: int | None
    http_port: int
    """The port at which droplets serve their apps: 80 where this user may bind it."""
    network: str
    https_port: int = 443
    """The port at which droplets serve HTTPS: 443 where this user may bind it."""
    acme_directory_url: str | None = None
    acme_ca: str | None = None
    """A file with the root by which the ACME server's own certificate is checked."""
    mirror_url: str | None = None
    """Where droplets get Node.js and Caddy from, with the hashes of their archives."""
    node_sha256: str | None = None
    caddy_sha256: str | None = None
    acme_root: str | None = None
    """A file with the root of the certificates that it issues, new at each start."""

    def to_json(self) -> str:
        """The report as the stack reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))


NO_CLOUD = CloudReport(
    digitalocean_url=None,
    claude_url=None,
    dns_address=None,
    dns_port=None,
    http_port=80,
    network="",
)
"""With real droplets and the real Claude there is no cloud of ours."""
