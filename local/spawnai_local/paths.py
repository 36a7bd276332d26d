"""Where things are: the checkout, the cache outside it, and the directory of a running local cloud.

Two environment variables move them: SPAWNAI_CACHE (what is expensive to make and the same for every
checkout) and SPAWNAI_LOCAL_DIRECTORY (pid files, logs and data of one running local cloud, so that
several can run side by side from one checkout).
"""

import os
from collections.abc import Mapping
from pathlib import Path


def checkout() -> Path:
    """The root of the source tree that this module is part of.

    Raises:
        FileNotFoundError: the package was installed apart from its source tree.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "local" / "controlplane" / "go.mod").is_file():
        message = (
            f"spawnai_local runs from a checkout of the repository, but {root} is none "
            "(it has no local/controlplane/go.mod). Run `make setup` in a checkout."
        )
        raise FileNotFoundError(message)
    return root


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """The cache: $SPAWNAI_CACHE, else $XDG_CACHE_HOME/spawnai, else ~/.cache/spawnai."""
    if chosen := environment.get("SPAWNAI_CACHE"):
        return Path(chosen).absolute()
    if base := environment.get("XDG_CACHE_HOME"):
        return Path(base).absolute() / "spawnai"
    home = environment.get("HOME")
    return (Path(home) if home else Path.home()) / ".cache" / "spawnai"


def local_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Where a local cloud runs: $SPAWNAI_LOCAL_DIRECTORY, else .local in the checkout."""
    if chosen := environment.get("SPAWNAI_LOCAL_DIRECTORY"):
        return Path(chosen).absolute()
    return checkout() / ".local"


PROBLEM_FILE = "problem"
"""In the directory of a running local cloud: what could not be ended, for `make local-down`, which
is another process.
"""
