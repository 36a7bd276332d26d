"""What finding, fetching and building the control plane's programs have in common."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

BuildReport = Callable[[str], None]
"""Takes one line for the person who waits."""

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")


class ToolchainError(Exception):
    """A program is missing and could not be had; the message says what would provide it."""


@dataclass(frozen=True, slots=True)
class ControlPlaneVersions:
    """What local/controlplane/go.mod pins, such as v1.36.3 and v3.6.8, wherever it comes from."""

    kubernetes: str
    etcd: str


@contextlib.contextmanager
def appears_whole(directory: Path) -> Iterator[Path]:
    """A directory to fill, which takes its final name only when everything in it is complete."""
    unfinished = directory.with_name(f"{directory.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        shutil.rmtree(directory, ignore_errors=True)
        unfinished.rename(directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
