"""The lock file of one app: what of the platform's own lock its packages need, and no more."""

from collections.abc import Iterable, Mapping
from typing import Any

from spawnai.app_runtime import npm_lock

# What npm reads when it installs; the rest is for people.
_READ_BY_NPM = ("version", "resolved", "integrity", "dependencies", "bin", "optional", "peer")


def lock_of(packages: Iterable[str], lock: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """npm's lock file (lockfileVersion 3) for an app that asks for these packages.

    Every package of the closure is in it with its exact version and integrity hash, so `npm ci`
    resolves nothing. `lock` is the lock that it is taken from, the platform's own by default.

    Raises:
        ValueError: a package is not in the lock.
    """
    lock = npm_lock() if lock is None else lock
    known: Mapping[str, Any] = lock["packages"]
    versions: Mapping[str, str] = known[""]["dependencies"]
    wanted = sorted(set(packages))
    if missing := [name for name in wanted if name not in versions]:
        raise ValueError(
            f"{', '.join(missing)}: not among the packages that an app may use; "
            "see spawnai.app_runtime.npm_packages"
        )
    needed: set[str] = set()
    to_visit = [f"node_modules/{name}" for name in wanted]
    while to_visit:
        place = to_visit.pop()
        if place not in needed:
            needed.add(place)
            to_visit += [_found_from(place, name, known) for name in _needs(known[place])]
    root = {
        "name": "app",
        "version": "1.0.0",
        "dependencies": {name: versions[name] for name in wanted},
    }
    return {
        "name": "app",
        "version": "1.0.0",
        "lockfileVersion": 3,
        "requires": True,
        "packages": {"": root} | {place: _shortened(known[place]) for place in sorted(needed)},
    }


def _needs(entry: Mapping[str, Any]) -> list[str]:
    return [*entry.get("dependencies", {}), *_required_peers(entry)]


def _required_peers(entry: Mapping[str, Any]) -> list[str]:
    optional = entry.get("peerDependenciesMeta", {})
    peers = entry.get("peerDependencies", {})
    return [name for name in peers if not optional.get(name, {}).get("optional")]


def _found_from(place: str, name: str, known: Mapping[str, Any]) -> str:
    """Where Node.js finds a package from the folder of another: there, or further up."""
    folder = place
    while True:
        candidate = f"{folder}/node_modules/{name}" if folder else f"node_modules/{name}"
        if candidate in known:
            return candidate
        if not folder:
            raise ValueError(f"{place} needs {name}, which the lock does not have")
        folder = folder.rpartition("node_modules/")[0].rstrip("/")


def _shortened(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in _READ_BY_NPM if key in entry}
