"""The official binaries of Kubernetes and etcd: fetched where they can be reached, and verified."""

import contextlib
import hashlib
import platform
import shutil
import socket
import tarfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.request import getproxies

import httpx

from spawnai_local.building import BuildReport, ControlPlaneVersions, ToolchainError, appears_whole

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

# An offline machine must not wait for hosts it cannot reach, a slow line not longer than the build
# that would take the download's place.
_CONNECT_SECONDS = 3.0
_STALL_SECONDS = 15.0
_DOWNLOAD_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class ReleaseSites:
    """Where the binaries are published, with their checksums."""

    kubernetes: str = "https://dl.k8s.io/release"
    etcd: str = "https://github.com/etcd-io/etcd/releases/download"


class _Download:
    """One download: a client, what it may take, and whom to tell."""

    def __init__(self, client: httpx.Client, report: BuildReport) -> None:
        self._client = client
        self._report = report
        self._deadline = time.monotonic() + _DOWNLOAD_SECONDS

    def text(self, url: str) -> str:
        return self._client.get(url).raise_for_status().text

    def file(self, url: str, target: Path, checksum: str) -> None:
        digest = hashlib.sha256()
        with self._client.stream("GET", url) as response, target.open("wb") as file:
            response.raise_for_status()
            megabytes = int(response.headers.get("content-length", 0)) // 1_000_000
            self._report(f"  {target.name}, {megabytes} MB")
            for chunk in response.iter_bytes():
                digest.update(chunk)
                file.write(chunk)
                if time.monotonic() > self._deadline:
                    message = f"not complete after {_DOWNLOAD_SECONDS:.0f} s"
                    raise ToolchainError(message)
        if digest.hexdigest() != checksum:
            message = f"{url} has SHA-256 {digest.hexdigest()}, but its publisher says {checksum}"
            raise ToolchainError(message)


def download_release(
    directory: Path,
    versions: ControlPlaneVersions,
    report: BuildReport,
    sites: ReleaseSites | None = None,
) -> bool:
    """Fetch etcd, kube-apiserver and kube-controller-manager into `directory`.

    False, with the reason reported, when they cannot be had; then nothing is left behind.
    """
    sites = sites or ReleaseSites()
    architecture = _ARCHITECTURES.get(platform.machine())
    if platform.system() != "Linux" or architecture is None:
        report(f"there are no official binaries for {platform.system()} {platform.machine()}")
        return False
    # Behind a proxy only the proxy can say whether a site answers.
    if not getproxies() and not all(_answers(site) for site in (sites.kubernetes, sites.etcd)):
        report("the official Kubernetes binaries cannot be reached from here")
        return False
    report(f"fetching Kubernetes {versions.kubernetes} and etcd {versions.etcd}")
    limits = httpx.Timeout(_STALL_SECONDS, connect=_CONNECT_SECONDS)
    try:
        with (
            httpx.Client(follow_redirects=True, timeout=limits) as client,
            appears_whole(directory) as target,
        ):
            download = _Download(client, report)
            for name in ("kube-apiserver", "kube-controller-manager"):
                url = f"{sites.kubernetes}/{versions.kubernetes}/bin/linux/{architecture}/{name}"
                checksum = download.text(f"{url}.sha256").split()[0]
                download.file(url, target / name, checksum)
            archive = target / f"etcd-{versions.etcd}-linux-{architecture}.tar.gz"
            site = f"{sites.etcd}/{versions.etcd}"
            checksum = _checksum_of(archive.name, download.text(f"{site}/SHA256SUMS"))
            download.file(f"{site}/{archive.name}", archive, checksum)
            _extract_etcd(archive, target / "etcd")
            archive.unlink()
            for program in target.iterdir():
                program.chmod(0o755)
    except (httpx.HTTPError, OSError, LookupError, ToolchainError, tarfile.TarError) as error:
        report(f"fetching failed: {type(error).__name__}: {error}")
        return False
    return True


def _answers(site: str) -> bool:
    """Whether a site takes a connection within the limit, its name's look-up included."""
    url = httpx.URL(site)
    port = url.port or (443 if url.scheme == "https" else 80)
    answered = threading.Event()

    def connect() -> None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((url.host, port), timeout=_CONNECT_SECONDS),
        ):
            answered.set()

    # A resolver may take far longer than the limit and cannot be interrupted, so it is left alone.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_CONNECT_SECONDS)
    return answered.is_set()


def _checksum_of(name: str, checksums: str) -> str:
    """The checksum of one file in the format of sha256sum(1)."""
    for line in checksums.splitlines():
        checksum, _, listed = line.partition(" ")
        if listed.strip(" *") == name:
            return checksum
    message = f"the publisher's checksums do not list {name}"
    raise ToolchainError(message)


def _extract_etcd(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and Path(member.name).name == "etcd":
                source = tar.extractfile(member)
                if source is not None:
                    with source, target.open("wb") as file:
                        shutil.copyfileobj(source, file)
                    return
    message = f"{archive.name} holds no etcd"
    raise ToolchainError(message)
