"""`spawnai runtime lock`: the hashes of the release archives, as a class's spec.runtime wants them.

What a project publishes beside an archive (SHASUMS256.txt) is compared with what was downloaded; it
comes from the same host, so it finds a broken download and proves no origin. Who wants more checks
the projects' signatures, and gives the hash by hand.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable

import httpx
import yaml

from spawnai.app_runtime.archives import CADDY, NODE, Release

SECONDS = 60.0
LARGEST_BYTES = 256 * 1024 * 1024
SUMS = "SHASUMS256.txt"


class CannotLock(Exception):
    """An archive cannot be had, or is not what its project says; the message says which."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    commands = parser.add_subparsers(dest="runtime_command", required=True)
    lock = commands.add_parser("lock", help="download the archives and print their hashes")
    lock.add_argument(
        "--mirror", help="an address below which the archives have their official names"
    )


def run(given: argparse.Namespace, write: Callable[[str], object] = sys.stdout.write) -> int:
    """Print spec.runtime as YAML; 1 when an archive cannot be had."""
    try:
        with httpx.Client(timeout=SECONDS, follow_redirects=True) as client:
            runtime = {"mirror": given.mirror} if given.mirror else {}
            runtime["nodeSha256"] = sha256_of(NODE, given.mirror, client)
            runtime["caddySha256"] = sha256_of(CADDY, given.mirror, client)
    except CannotLock as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    write(yaml.safe_dump({"spec": {"runtime": runtime}}, sort_keys=False))
    return 0


def sha256_of(release: Release, mirror: str | None, client: httpx.Client) -> str:
    """Download an archive; its SHA-256 in hex.

    Raises:
        CannotLock: it cannot be had, or its project publishes another hash of it.
    """
    url = release.url(mirror)
    digest, count = hashlib.sha256(), 0
    try:
        with client.stream("GET", url) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_raw():
                count += len(chunk)
                if count > LARGEST_BYTES:
                    raise CannotLock(f"{url} has more than {LARGEST_BYTES} bytes")
                digest.update(chunk)
        published = published_sha256(release, client.get(f"{url.rpartition('/')[0]}/{SUMS}"))
    except httpx.HTTPError as error:
        raise CannotLock(f"{url} cannot be had: {error}") from error
    found = digest.hexdigest()
    if published not in {None, found}:
        raise CannotLock(f"{url} has the SHA-256 {found}, but {SUMS} beside it says {published}")
    return found


def published_sha256(release: Release, answer: httpx.Response) -> str | None:
    """What the project publishes beside its archive, if it does."""
    if answer.status_code != httpx.codes.OK:
        return None
    lines = (line.split() for line in answer.text.splitlines())
    return next((line[0] for line in lines if line[1:] == [release.file]), None)
