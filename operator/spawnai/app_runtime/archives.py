"""The release archives that a droplet installs: Node.js and Caddy, from the projects' own hosts.

What a droplet unpacks is decided by its SHA-256, which a class gives (`spec.runtime`); `spawnai
runtime lock` finds it out. Without it the distribution's packages are installed instead, and the
Node.js of Ubuntu 24.04 and Debian 12 is older than apps are written for.
"""

from dataclasses import dataclass

from spawnai.app_runtime import NODE_VERSION

CADDY_VERSION = "2.11.7"


@dataclass(frozen=True, slots=True)
class Release:
    """One project's archive for droplets (Linux, x86-64)."""

    name: str
    file: str
    host: str
    strip: int
    """How many folders stand before the files in it."""

    def url(self, mirror: str | None = None) -> str:
        """Where it is: at the project's own host, or at a mirror, under the same name."""
        return f"{(mirror or self.host).rstrip('/')}/{self.file}"


NODE = Release(
    name="node",
    file=f"node-v{NODE_VERSION}-linux-x64.tar.xz",
    host=f"https://nodejs.org/dist/v{NODE_VERSION}",
    strip=1,
)
CADDY = Release(
    name="caddy",
    file=f"caddy_{CADDY_VERSION}_linux_amd64.tar.gz",
    host=f"https://github.com/caddyserver/caddy/releases/download/v{CADDY_VERSION}",
    strip=0,
)
