"""`make kind-up`: a kind cluster (Kubernetes in Docker) to run the operator against.

kind itself is built with Go from the module proxy, once, into the cache. The cluster's name is
`spawnai`; kubectl's current context points to it afterwards, and `kind delete cluster` removes it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from spawnai_local.building import ToolchainError, appears_whole
from spawnai_local.go_build import go_environment, go_program
from spawnai_local.paths import cache_directory
from spawnai_local.toolchain import report_to_stderr

_VERSION = "v0.33.0"
_CLUSTER = "spawnai"
_DOCKER_SECONDS = 20.0
_BUILD_SECONDS = 900.0
_CREATE_SECONDS = 900.0


def main() -> int:
    """Make the cluster, unless it exists; the process's exit code."""
    try:
        _require_docker()
        kind = _kind_program()
    except (ToolchainError, subprocess.SubprocessError) as error:
        report_to_stderr(f"kind-up: {error}")
        return 1
    clusters = subprocess.run(
        [kind, "get", "clusters"],
        check=False,
        capture_output=True,
        text=True,
        timeout=_DOCKER_SECONDS,
    ).stdout.split()
    if _CLUSTER in clusters:
        command = [str(kind), "export", "kubeconfig", f"--name={_CLUSTER}"]
    else:
        command = [str(kind), "create", "cluster", f"--name={_CLUSTER}", "--wait=120s"]
    if subprocess.run(command, check=False, timeout=_CREATE_SECONDS).returncode != 0:
        return 1
    report_to_stderr(
        "kind-up: the cluster is kubectl's current context. Next: make local CLUSTER=kubeconfig. "
        f"To remove it: {kind} delete cluster --name {_CLUSTER}"
    )
    return 0


def _require_docker() -> None:
    docker = shutil.which("docker")
    if docker is None:
        message = (
            "a kind cluster needs Docker, and there is no `docker` on the PATH. Install it, or use "
            "`make local`, which needs none."
        )
        raise ToolchainError(message)
    answer = subprocess.run(
        [docker, "info", "--format={{.ServerVersion}}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=_DOCKER_SECONDS,
    )
    if answer.returncode != 0:
        message = (
            "a kind cluster needs a running Docker daemon that this user may use, but "
            f"`docker info` says: {answer.stderr.strip()}. Start Docker, or use `make local`, "
            "which needs none."
        )
        raise ToolchainError(message)


def _kind_program() -> Path:
    directory = cache_directory() / f"kind-{_VERSION}"
    if not (directory / "kind").is_file():
        go, own_go = go_program(report_to_stderr)
        report_to_stderr(f"kind-up: building kind {_VERSION} with {go}; only this once")
        with appears_whole(directory) as target:
            environment = go_environment(os.environ, own_go=own_go)
            subprocess.run(
                [go, "install", f"sigs.k8s.io/kind@{_VERSION}"],
                check=True,
                cwd=target,
                env={**environment, "GOBIN": str(target)},
                timeout=_BUILD_SECONDS,
            )
    return directory / "kind"


if __name__ == "__main__":
    sys.exit(main())
