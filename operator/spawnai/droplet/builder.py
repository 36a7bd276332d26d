"""What a builder boots with: the droplet whose disk becomes a baked image.

It installs what every app type needs with the agent's own installer, fills npm's cache with the
packages that apps may ask for, removes all that must not be the same on two droplets, and powers
itself off. If any of it fails it stays on, and no image is made of it.

It has no key, no certificate and no door: nothing is told to it, and it tells nothing.
"""

import json
from dataclasses import dataclass

from spawnai.app_runtime import npm_lock
from spawnai.droplet.cloud_config import (
    FOLDER,
    RuntimeArchive,
    packed,
    rendered,
    written_file,
)
from spawnai.droplet.packing import pack_text

NPM_CACHE = f"{FOLDER}/npm-cache"
"""Where a baked image has npm's cache; the agent gives each app a copy."""

_WORK = "/var/tmp/spawnai-bake"  # noqa: S108 - on a droplet of its own

# Line by line one script of dash's. cloud-init has to take the next droplet for a new one, and no
# two may have the same machine id; host keys it makes anew by itself. The last line is the signal
# that all of it went well.
_COMMANDS = (
    "set -eu",
    f"base='{FOLDER}' work='{_WORK}' cache='{NPM_CACHE}'",
    "passwd --quiet --lock root",
    'python3 -I "$base/agent.pyz" install',
    'grep -qx ok "$base/packages" || { cat "$base/packages"; exit 1; }',
    'cd "$work"',
    'npm ci --ignore-scripts --omit=dev --no-audit --no-fund --loglevel=error --cache="$cache"',
    "cd /",
    'rm -rf "$work" "$cache/_logs"',
    'rm -f "$base/agent.pyz" "$base/session.json" "$base/packages" "$base/packages.log"',
    "apt-get clean || true",
    "if command -v cloud-init; then cloud-init clean --logs --machine-id; fi",
    "sync",
    "systemctl poweroff",
)


@dataclass(frozen=True, slots=True)
class ImageBuilder:
    """What a builder installs. What `archives` do not have comes from the distribution."""

    agent_source: str
    archives: tuple[RuntimeArchive, ...] = ()


def render_builder_data(builder: ImageBuilder) -> str:
    """The user_data of a builder: ASCII, at most 64 KiB.

    Raises:
        ValueError: it has grown past what fits.
    """
    session = {
        "packages": ["caddy", "nodejs", "npm"],
        "archives": [archive.document() for archive in builder.archives],
    }
    lock = dict(npm_lock())
    root = dict(lock["packages"][""])
    document = {
        "ssh_pwauth": False,
        "write_files": [
            packed(f"{FOLDER}/agent.pyz", builder.agent_source),
            written_file(f"{FOLDER}/session.json", json.dumps(session, indent=2) + "\n"),
            written_file(f"{_WORK}/package.json", json.dumps(root, indent=2) + "\n"),
            packed(f"{_WORK}/package-lock.json", pack_text(json.dumps(lock))),
        ],
        "runcmd": list(_COMMANDS),
    }
    return rendered(document, "a builder's user_data", "the agent or the list of packages")
