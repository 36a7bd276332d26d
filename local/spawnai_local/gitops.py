"""`make gitops`: classes and sessions in Git, applied by Flux's own controllers.

It builds the controllers from local/flux, once, and runs the tests of tests/gitops with them on a
stack of their own. Not a part of `make test`: the build alone takes six minutes on 2 cores.
"""

import subprocess
import sys

from spawnai_local import toolchain
from spawnai_local.building import ToolchainError
from spawnai_local.paths import checkout

CONTROLLERS = ("source-controller", "kustomize-controller")


def main() -> None:
    """Build them if need be, and run the tests; exits with pytest's code."""
    try:
        for name in CONTROLLERS:
            program = toolchain.flux_controller(name).program
            toolchain.report_to_stderr(f"{name}: {program}")
    except ToolchainError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    command = [sys.executable, "-m", "pytest", "-n0", "tests/gitops", *sys.argv[1:]]
    sys.exit(subprocess.run(command, check=False, cwd=checkout()).returncode)


if __name__ == "__main__":
    main()
