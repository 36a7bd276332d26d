"""`make compat`: installation, admission and one life on the oldest Kubernetes that is supported.

It builds that control plane from local/controlplane-oldest, once, as `make test` builds the newest,
and runs the tests with it. Not a part of `make test`: the build alone takes minutes.
"""

import os
import re
import subprocess
import sys

from spawnai_local import toolchain
from spawnai_local.building import ToolchainError
from spawnai_local.paths import checkout

TESTS = (
    "tests/e2e/local/test_control_plane.py",
    "tests/e2e/test_admission.py",
    "tests/e2e/sessions/test_life.py",
    "tests/e2e/chart/",
)


def main() -> None:
    """Build it if need be, and run the tests; exits with pytest's code."""
    try:
        programs = toolchain.oldest_control_plane_programs()
    except ToolchainError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    directory = programs.kube_apiserver.parent
    sys.stderr.write(f"oldest control plane: {oldest_version()} in {directory}\n")
    environment = {**os.environ, "KUBEBUILDER_ASSETS": str(directory)}
    command = [sys.executable, "-m", "pytest", "-n0", *TESTS, *sys.argv[1:]]
    sys.exit(subprocess.run(command, check=False, cwd=checkout(), env=environment).returncode)


def oldest_version() -> str:
    """The oldest minor version that is supported, such as 1.33, as the chart says it."""
    chart = (checkout() / "helm" / "spawnai" / "Chart.yaml").read_text()
    found = re.search(r'^kubeVersion: ">=(\d+\.\d+)', chart, re.MULTILINE)
    if found is None:
        raise ToolchainError("helm/spawnai/Chart.yaml has no kubeVersion of the form >=1.33.0-0")
    return found[1]


if __name__ == "__main__":
    main()
