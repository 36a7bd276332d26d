"""Go: which toolchain to use, and builds from source with their progress."""

import json
import os
import re
import shutil
import subprocess
import sysconfig
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from spawnai_local.building import (
    PROGRAMS,
    BuildReport,
    ControlPlaneVersions,
    ToolchainError,
    appears_whole,
)
from spawnai_local.paths import cache_directory

# The oldest Go that builds Kubernetes 1.36 (the go line of its go.mod).
_OLDEST_GO = (1, 26)

_LIMIT_SECONDS = 1800.0
_REPORT_EVERY_SECONDS = 10.0


def go_program(report: BuildReport) -> tuple[Path, bool]:
    """A Go toolchain that is new enough, and whether it is the one in the virtual environment.

    Raises:
        ToolchainError: there is none.
    """
    oldest = ".".join(str(part) for part in _OLDEST_GO)
    on_path = shutil.which("go")
    if on_path is not None and Path(on_path).parent != Path(sysconfig.get_path("scripts")):
        if _go_version(on_path) >= _OLDEST_GO:
            return Path(on_path), False
        report(f"Go at {on_path} is older than {oldest}; using the virtual environment's")
    ours = Path(sysconfig.get_path("purelib")) / "go" / "bin" / "go"
    if ours.is_file():
        return ours, True
    message = (
        f"Go {oldest} or later is needed to build the control plane, and neither the PATH nor the "
        "virtual environment has it. Run `make setup` again, or install Go."
    )
    raise ToolchainError(message)


def go_environment(environment: Mapping[str, str], *, own_go: bool) -> dict[str, str]:
    """The environment for a Go command: the user's, without what would change the result.

    With the virtual environment's Go, modules and build results go into our cache unless the user
    chose a place: a person without Go wants no ~/go.
    """
    result = {**environment, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    if own_go:
        result.pop("GOROOT", None)
        base = cache_directory(environment) / "go"
        for name, part in (("GOPATH", "path"), ("GOMODCACHE", "modules"), ("GOCACHE", "build")):
            result.setdefault(name, str(base / part))
    return result


def build_control_plane(
    module: Path,
    directory: Path,
    versions: ControlPlaneVersions,
    report: BuildReport,
    environment: Mapping[str, str],
) -> None:
    """Build the Go module at `module` into `directory`, a link for each program.

    Raises:
        ToolchainError: there is no fit Go, or the build failed; with Go's last words.
    """
    go, own_go = go_program(report)
    variables = go_environment(environment, own_go=own_go)
    major, minor, _ = versions.kubernetes.removeprefix("v").split(".", 2)
    # Without its version kubectl cannot read the server's answer to `kubectl version`.
    stamps = {
        "k8s.io/component-base/version.gitVersion": versions.kubernetes,
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": versions.kubernetes,
    }
    linker_flags = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in stamps.items())])
    report(
        f"building the control plane (Kubernetes {versions.kubernetes}, etcd {versions.etcd}) "
        f"with {go}; only this once, about 5 minutes on 2 cores"
    )
    with appears_whole(directory) as target:
        output = target / "controlplane"
        _build(
            go,
            module=module,
            package=".",
            output=output,
            linker_flags=linker_flags,
            variables=variables,
            report=report,
        )
        for name in PROGRAMS:
            (target / name).symlink_to("controlplane")
    if own_go and "GOCACHE" not in environment:
        # 2.5 GB that nobody else uses; the modules stay for the next version's build.
        shutil.rmtree(variables["GOCACHE"], ignore_errors=True)


def build_program(
    module: Path,
    package: str,
    directory: Path,
    report: BuildReport,
    environment: Mapping[str, str],
) -> None:
    """Build one command that `module` requires into `directory`, under the package's last name.

    Raises:
        ToolchainError: there is no fit Go, or the build failed; with Go's last words.
    """
    go, own_go = go_program(report)
    name = package.rsplit("/", 1)[-1]
    report(f"building {name} with {go}; only this once")
    with appears_whole(directory) as target:
        _build(
            go,
            module=module,
            package=package,
            output=target / name,
            linker_flags="-s -w",
            variables=go_environment(environment, own_go=own_go),
            report=report,
        )


def module_directory(
    module: Path, required: str, report: BuildReport, environment: Mapping[str, str]
) -> Path:
    """Where Go keeps the files of a module that `module` requires; fetched if they are not there.

    Raises:
        ToolchainError: there is no fit Go, or they could not be fetched; with Go's last words.
    """
    go, own_go = go_program(report)
    answer = _run_go(
        [str(go), "mod", "download", "-json", required],
        module,
        go_environment(environment, own_go=own_go),
        lambda _lines: None,
    )
    return Path(json.loads(answer)["Dir"])


def _build(
    go: Path,
    *,
    module: Path,
    package: str,
    output: Path,
    linker_flags: str,
    variables: dict[str, str],
    report: BuildReport,
) -> None:
    # A checkout owned by another user, or a machine without git, is no reason to fail.
    flags = ["-trimpath", "-buildvcs=false", f"-ldflags={linker_flags}"]
    progress = _Progress(report)
    most_modules = (module / "go.sum").read_text().count("\n") // 2

    def on_listing(lines: int) -> None:
        progress.show(f"fetched {lines} of at most {most_modules} modules")

    # Asking what there is to build makes Go fetch the modules.
    format_stale = "-f={{if .Stale}}{{.ImportPath}}{{end}}"
    stale = _run_go(
        [str(go), "list", "-deps", format_stale, *flags, package], module, variables, on_listing
    )
    packages = len(stale.split())

    def on_building(lines: int) -> None:
        state = f"compiled {lines} of {packages} packages" if lines < packages else "linking"
        progress.show(state)

    _run_go(
        [str(go), "build", "-v", *flags, "-o", str(output), package], module, variables, on_building
    )
    progress.tell("built")


class _Progress:
    """Says how far a long step is, now and then, with the time since its start."""

    def __init__(self, report: BuildReport) -> None:
        self._report = report
        self._started = time.monotonic()
        self._last_told = self._started

    def show(self, state: str) -> None:
        if time.monotonic() - self._last_told >= _REPORT_EVERY_SECONDS:
            self.tell(state)

    def tell(self, state: str) -> None:
        self._last_told = time.monotonic()
        minutes, seconds = divmod(int(self._last_told - self._started), 60)
        self._report(f"  {minutes}:{seconds:02d} {state}")


def _run_go(
    command: list[str],
    module: Path,
    environment: dict[str, str],
    on_line: Callable[[int], None],
) -> str:
    """Run Go in the module; `on_line` gets the number of lines of stderr so far. Returns stdout."""
    last_lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=module,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        output: list[str] = []
        reader = threading.Thread(target=_read_all, args=(process, output), daemon=True)
        reader.start()
        limit = threading.Timer(_LIMIT_SECONDS, process.kill)
        limit.start()
        try:
            for number, line in enumerate(process.stderr or (), start=1):
                last_lines = [*last_lines[-14:], line.rstrip()]
                on_line(number)
            reader.join()
        except BaseException:
            process.kill()
            raise
        finally:
            limit.cancel()
    if process.returncode != 0:
        message = (
            f"building {module.name} failed: "
            f"`go {command[1]}` ended with code {process.returncode}. Its last words:\n"
            + "\n".join(last_lines)
            + "\nIt needs a Go module proxy that answers (GOPROXY), 4 GB of disk and 3 GB of "
            f"memory. Or set KUBEBUILDER_ASSETS to a directory with {', '.join(PROGRAMS)}."
        )
        raise ToolchainError(message)
    return "".join(output)


def _read_all(process: subprocess.Popen[str], output: list[str]) -> None:
    if process.stdout is not None:
        output.append(process.stdout.read())


def _go_version(go: str) -> tuple[int, ...]:
    """The version of a Go toolchain, (0,) when it does not say."""
    answer = subprocess.run(
        [go, "env", "GOVERSION"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    ).stdout
    match = re.match(r"go(\d+)\.(\d+)", answer)
    return tuple(int(part) for part in match.groups()) if match else (0,)
