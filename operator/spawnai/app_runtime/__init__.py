"""AppRuntime: what an app runs on. The one table that prompts, schemas, validation, the local cloud
and the droplet read.

`package-lock.json` beside this file is npm's own lock of every package that an app may use, with
the integrity hash of each file of the closure. To move to newer versions: `npm install
--package-lock-only --omit-lockfile-registry-resolved` in a copy of it, then `make quality`.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

NODE_VERSION = "24.19.0"
"""The Node.js that runs an api and a fullstack app: the current LTS line."""

PYTHON_VERSION = (3, 11)
"""The oldest Python that a script may meet: Debian 12's. Ubuntu 24.04 has 3.12."""

APP_PORT = 3000
"""The value of PORT in the environment of an app that listens."""


@cache
def npm_lock() -> Mapping[str, Any]:
    """The lock file (npm's lockfileVersion 3) of all packages that an app may use."""
    text = files(__name__).joinpath("package-lock.json").read_text("utf-8")
    return MappingProxyType(json.loads(text))


@cache
def npm_packages() -> Mapping[str, str]:
    """The packages that an app may ask for, by name, each with the version that is installed.

    It is a closed list, because a name that a model only imagines may be registered by someone who
    waits for exactly that. What is here is known and long established.
    """
    root: dict[str, str] = npm_lock()["packages"][""]["dependencies"]
    return MappingProxyType(dict(sorted(root.items())))
