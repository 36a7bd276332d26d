"""`spawnai image`: has the operator bake an image that a person asks for, and shows what there is.

The command makes nothing itself. It opens the image's ledger, which the operator follows, and
watches it: whoever stops the command stops nothing, and a builder is never left to a laptop that is
closed. An image that was asked for so is kept until its ledger is deleted, or until the next one is
asked for and no class names it.

Exit codes: 0 it is there; 1 it failed, or was not there in time; 2 wrong arguments, or the cluster
cannot be reached.
"""

import argparse
import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from kubernetes.aio import client

from spawnai.api.durations import parse_duration
from spawnai.api.record import IMAGE_OWNER, LedgerEntry, Presence, RecordStatus, ResourceKind
from spawnai.clock import Clock, SystemClock
from spawnai.cluster_access import NoClusterAccess, cluster_access
from spawnai.controller.cluster import RECORDS, Cluster, ClusterError, ObjectNotFound
from spawnai.controller.report import record_document
from spawnai.controller.store import Store

from .class_images import bake_intent

DONE, FAILED, WRONG_USE = 0, 1, 2
LOOK_SECONDS = 2.0

Write = Callable[[str], object]


class _WrongUse(Exception):
    """The command was called in a way that cannot be meant."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = "Bake an image for a class, or list the images that there are."
    commands = parser.add_subparsers(dest="image_command", required=True)
    bake = commands.add_parser(
        "bake", help="have the operator make a snapshot with the runtime of a class in it"
    )
    bake.add_argument("--class", dest="class_name", required=True, help="the SpawnClass")
    bake.add_argument(
        "--timeout",
        default="40m",
        metavar="DURATION",
        help="how long to watch; 0s: only ask for it (default: %(default)s)",
    )
    commands.add_parser("list", help="list the images and what they are for")


def run(given: argparse.Namespace, environment: Mapping[str, str], write: Write) -> int:
    """Carry out the command; returns its exit code."""
    return asyncio.run(_run(given, environment, write))


async def _run(given: argparse.Namespace, environment: Mapping[str, str], write: Write) -> int:
    try:
        async with _cluster(environment) as cluster:
            if given.image_command == "list":
                return await list_images(cluster, write)
            seconds = parse_duration(given.timeout).total_seconds()
            return await bake(cluster, SystemClock(), given.class_name, seconds, write)
    except (ValueError, _WrongUse, ClusterError, NoClusterAccess) as error:
        write(f"spawnai image: {error}\n")
        return WRONG_USE


@asynccontextmanager
async def _cluster(environment: Mapping[str, str]) -> AsyncIterator[Cluster]:
    """The cluster that kubectl would talk to."""
    async with client.ApiClient(await cluster_access(environment)) as api:
        yield Cluster(api, before_write=lambda: None)


async def bake(
    cluster: Cluster, clock: Clock, class_name: str, seconds: float, write: Write
) -> int:
    """Open the ledger of an image for a class, and watch it for that long.

    Raises:
        ClusterError: the API server could not be asked.
    """
    store = Store()
    try:
        store.put_class(await cluster.get_class(class_name))
    except ObjectNotFound as error:
        raise _WrongUse(f"there is no SpawnClass {class_name!r}") from error
    known = store.spawn_class(class_name)
    if known is None or known.spec is None:
        why = known.spec_problem if known is not None else "it is being deleted"
        raise _WrongUse(f"SpawnClass {class_name!r} cannot be used: {why}")
    if known.spec.image.baked:
        raise _WrongUse(
            f"SpawnClass {class_name!r} has image.baked: the operator keeps its image by itself. "
            "To have it made anew, delete its ledger, which spawnai image list shows: kubectl "
            "delete spawnrecord UID"
        )
    uid = str(uuid.uuid4())
    cluster_uid = await cluster.namespace_uid("kube-system")
    intent = bake_intent(known, known.spec, uid, cluster_uid, kept=True)
    await cluster.create_record(record_document(intent))
    write(f"SpawnRecord {uid} asks the operator for an image of {known.spec.image.name}\n")
    return await _watch(cluster, clock, uid, seconds, write)


async def _watch(cluster: Cluster, clock: Clock, uid: str, seconds: float, write: Write) -> int:
    told: set[str] = set()
    deadline = clock.now() + seconds
    while clock.now() < deadline:
        await clock.sleep(LOOK_SECONDS)
        try:
            status = _status(await cluster.get_record(uid))
        except ObjectNotFound:
            write("its SpawnRecord was deleted: the image goes\n")
            return FAILED
        for line in status.resources:
            words = f"{line.kind} {line.id} ({line.name}): {line.presence}"
            if words not in told:
                told.add(words)
                write(f"{words}\n")
        if status.completed_at is not None:
            write(f"it ended without an image: {status.termination_reason}\n")
            return FAILED
        if (image := _finished(status)) is not None:
            write(
                f"Image {image.id} is there. The operator copies it to the other regions of the "
                "class, which takes up to half an hour for each.\n"
                f"To start droplets from it: spec.image.name: '{image.id}'\n"
            )
            return DONE
    if seconds > 0:
        write(
            "It is not there yet. The operator goes on with it: spawnai image list shows when it "
            "is there, and the operator's log what keeps it\n"
        )
        return FAILED
    return DONE


async def list_images(cluster: Cluster, write: Write) -> int:
    """Show each image with an open ledger.

    Raises:
        ClusterError: the API server could not be asked.
    """
    rows = [("RECORD", "CLASS", "IMAGE", "SOURCE", "KEPT")]
    async for body in cluster.list_all(RECORDS):
        spec, status = body.get("spec") or {}, _status(body)
        if spec.get("owner", {}).get("kind") != IMAGE_OWNER or status.completed_at is not None:
            continue
        image, intent = _image(status), spec.get("image") or {}
        number = image.id if image is not None else "(being made)"
        kept = "until it is deleted" if intent.get("kept") else "by image.baked"
        whose = (body["metadata"]["name"], spec["owner"]["name"])
        rows.append((*whose, number, intent.get("source", ""), kept))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        write("  ".join(cells).rstrip() + "\n")
    return DONE


def _status(body: Mapping[str, Any]) -> RecordStatus:
    return RecordStatus.model_validate(body.get("status") or {})


def _image(status: RecordStatus) -> LedgerEntry | None:
    return next(
        (
            line
            for line in status.resources
            if line.kind is ResourceKind.IMAGE and line.presence is Presence.PRESENT
        ),
        None,
    )


def _finished(status: RecordStatus) -> LedgerEntry | None:
    """The image, once its builder was seen gone."""
    builders = [line for line in status.resources if line.kind is ResourceKind.DROPLET]
    if not builders or any(line.presence is not Presence.GONE for line in builders):
        return None
    return _image(status)
