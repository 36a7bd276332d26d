"""Installs what apps run on, then says "ok", or why not, in the file `packages`.

Node.js and Caddy come as the projects' own release archives, each with the SHA-256 that the
operator knows; an archive with another one is never unpacked, and nothing takes its place. What has
no archive, and Caddy when its archive cannot be had, comes from the distribution.

What is there already (on a prepared image) is not installed again.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from .processes import APP_USER, WEB_USER
from .settings import MIB, Machine
from .state import complain, write_atomically

ARCHIVE_MAX_BYTES = 256 * MIB
READ_SECONDS = 20.0
PROGRAMS = {"caddy": "caddy", "nodejs": "node", "npm": "npm"}  # what a package is there for
BY_DISTRIBUTION = {"caddy"}  # may come from there when its archive cannot be had
LINKED = {"node": ("bin/node", "bin/npm"), "caddy": ("caddy",)}
WANTED = {"node": ("bin/node", "bin/npm", "lib/node_modules/npm/"), "caddy": ("caddy",)}


class NotInstalled(Exception):
    """Something cannot be had; the message says what, and why."""


class WrongArchive(NotInstalled):
    """What came is not what the operator knows: nothing may take its place."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A release archive: `name` is node or caddy."""

    name: str
    url: str
    sha256: str
    strip: int
    """How many folders stand before the files that are wanted."""


class Installer:
    """One installation, within the time that the agent waits for it."""

    def __init__(self, base: Path) -> None:
        self._base = base
        document = json.loads((base / "session.json").read_text("utf-8"))
        self._packages: list[str] = document["packages"]
        self._archives = [Archive(**entry) for entry in document.get("archives", ())]
        machine = Machine.read(base / "machine.env", document)
        self._deadline = time.monotonic() + machine.packages_seconds
        self._programs = next(
            (Path(p) for p in os.environ.get("PATH", "").split(":") if p.endswith("/local/bin")),
            Path("/usr/local/bin"),
        )

    def run(self) -> None:
        """Install all, and say how it went."""
        signal.signal(signal.SIGTERM, self._told_to_end)
        (self._base / "packages").unlink(missing_ok=True)
        try:
            self._make_users()
            self._fetch_all()
            self._install_packages()
        except NotInstalled as problem:
            self._say(str(problem))
        except Exception as error:  # noqa: BLE001 - the operator must hear of it
            self._say(f"the installer: {error!r}")
        else:
            self._say("ok")

    def _say(self, text: str) -> None:
        write_atomically(self._base / "packages", text + "\n")

    def _told_to_end(self, *_: Any) -> NoReturn:
        self._say(f"could not be installed in time: {self._cause()}")
        os._exit(1)

    def _make_users(self) -> None:
        with contextlib.suppress(OSError):  # Caddy is the agent's to start
            run_quietly("systemctl", "mask", "--now", "--quiet", "caddy.service")
        for user in (APP_USER, WEB_USER):
            if run_quietly("getent", "passwd", user) == 0:
                continue
            options = ["--system", "--user-group", "--no-create-home"]
            options += ["--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
            if run_quietly("useradd", *options, user) != 0:
                raise NotInstalled(f"the user {user} could not be made")

    # Release archives

    def _fetch_all(self) -> None:
        """Side by side: each waits for its own host."""
        problems: dict[str, NotInstalled] = {}

        def fetch(archive: Archive) -> None:
            try:
                self._install_archive(archive)
            except NotInstalled as problem:
                problems[archive.name] = problem
            except Exception as error:  # noqa: BLE001 - a thread must not end in silence
                problems[archive.name] = NotInstalled(f"{archive.name}: {error!r}")

        wanted = [one for one in self._archives if shutil.which(one.name) is None]
        threads = [threading.Thread(target=fetch, args=(archive,)) for archive in wanted]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name, problem in problems.items():
            complain(str(problem))
            if isinstance(problem, WrongArchive) or name not in BY_DISTRIBUTION:
                raise problem

    def _install_archive(self, archive: Archive) -> None:
        file = self._base / f"{archive.name}.archive"
        digest = self._download_patiently(archive, file)
        if digest != archive.sha256:
            file.unlink()
            raise WrongArchive(
                f"{archive.url} has the SHA-256 {digest}, but {archive.sha256} is expected; "
                "it was not unpacked"
            )
        folder = self._base / "runtime" / archive.name
        unpack(file, folder, WANTED[archive.name], archive.strip)
        file.unlink()
        self._programs.mkdir(parents=True, exist_ok=True)
        for program in LINKED[archive.name]:
            link = self._programs / Path(program).name
            link.unlink(missing_ok=True)
            link.symlink_to(folder / program)

    def _download_patiently(self, archive: Archive, file: Path) -> str:
        pause = 1.0
        while True:
            try:
                return self._download(archive.url, file)
            except (OSError, ValueError) as error:  # also urllib's errors and a cut-off answer
                is_final = isinstance(error, urllib.error.HTTPError) and error.code in {403, 404}
                if is_final or time.monotonic() + pause > self._limit_of(archive):
                    raise NotInstalled(f"{archive.url} cannot be had: {error}") from None
            time.sleep(pause)
            pause = min(2 * pause, 10.0)

    def _limit_of(self, archive: Archive) -> float:
        """The distribution must still have time to stand in."""
        spare = 300.0 if archive.name in BY_DISTRIBUTION else 0.0
        return self._deadline - spare

    def _download(self, url: str, file: Path) -> str:
        request = urllib.request.Request(url, headers={"User-Agent": "spawnai-agent"})  # noqa: S310 - http and file are as good: the hash decides
        digest, count = hashlib.sha256(), 0
        with (
            urllib.request.urlopen(request, timeout=READ_SECONDS) as answer,  # noqa: S310 - the same
            file.open("wb") as target,
        ):
            while chunk := answer.read(256 * 1024):
                count += len(chunk)
                if count > ARCHIVE_MAX_BYTES or time.monotonic() > self._deadline:
                    raise OSError(f"it is too large or too slow, {count} bytes so far")
                digest.update(chunk)
                target.write(chunk)
        return digest.hexdigest()

    # The distribution

    def _missing(self) -> list[str]:
        return [name for name in self._packages if shutil.which(PROGRAMS[name]) is None]

    def _install_packages(self) -> None:
        """apt's locks may be held by the provider's first-boot scripts or by apt's own timer."""
        tries = 0
        while missing := self._missing():
            tries += 1
            with (self._base / "packages.log").open("wb") as log:
                # One source that fails must not keep back what the others have; nor must an
                # installation that was interrupted.
                self._apt(log, "update")
                if shutil.which("dpkg"):
                    self._command(log, ["dpkg", "--force-confold", "--configure", "-a"])
                self._apt(log, "install", "--yes", "--no-install-recommends", *missing)
            left = self._deadline - time.monotonic()
            if missing and self._missing() and (left < 10 or tries > 20):  # noqa: PLR2004
                raise NotInstalled(f"could not be installed: {self._cause()}")
            if self._missing():
                time.sleep(5)

    def _apt(self, log: Any, verb: str, *arguments: str) -> None:
        # Some 400 small packages: without a sync after each file they are there much sooner, and a
        # droplet that loses power while it installs is made anew anyway.
        options = ["-o", "Acquire::Languages=none", "-o", "DPkg::Lock::Timeout=60"]
        options += ["-o", "Dpkg::Options::=--force-unsafe-io"]
        self._command(log, ["apt-get", "--quiet=2", *options, verb, *arguments])

    def _command(self, log: Any, command: list[str]) -> None:
        left = max(1.0, self._deadline - time.monotonic())
        try:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=left,
                check=False,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            )
        except (OSError, subprocess.SubprocessError) as error:
            log.write(f"E: {' '.join(command[:1])}: {error}\n".encode())

    def _cause(self) -> str:
        """The first error names the cause; what follows are its consequences."""
        with contextlib.suppress(OSError):
            lines = (self._base / "packages.log").read_text("utf-8", "replace").splitlines()
            errors = (line for line in lines if line.startswith(("E:", "Err:", "dpkg: error")))
            return next(errors, lines[-1] if lines else "nothing was said")
        return "nothing was said"


def unpack(file: Path, folder: Path, wanted: tuple[str, ...], strip: int) -> None:
    """The wanted files of an archive (a name, or a folder that ends in /), in place or not at all.

    Raises:
        NotInstalled: it is no archive, or what is wanted is not in it.
    """
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    folders = tuple(name for name in wanted if name.endswith("/"))
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                path = "/".join(member.name.removeprefix("./").split("/")[strip:])
                if path not in wanted and not path.startswith(folders):
                    continue
                if not (member.isfile() or member.issym()) or ".." in path.split("/"):
                    continue
                member.name = path
                archive.extract(member, fresh, set_attrs=member.isfile())
    except (tarfile.TarError, OSError, EOFError) as error:
        raise NotInstalled(f"{file.name} cannot be unpacked: {error}") from None
    if missing := [name for name in wanted if not (fresh / name).exists()]:
        raise NotInstalled(f"{file.name} does not have {', '.join(missing)}")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def run_quietly(*command: str) -> int:
    """The exit code; its words are of no interest."""
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode
