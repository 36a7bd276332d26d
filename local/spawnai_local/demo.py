"""`make demo`: six sessions from manifest to empty cloud, told to a person, every claim checked.

Exit code 0 only if everything that was claimed is true; else the last lines say which was not, and
where the logs are.
"""

import asyncio
import fcntl
import sys
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from spawnai_local.classes import LOCAL_DNS_CLASS
from spawnai_local.demo_checks import Claim
from spawnai_local.demo_story import (
    CLOUD,
    LIFETIME,
    PRICING,
    Story,
    StoryError,
    Verdict,
    read_examples,
)
from spawnai_local.interruption import run_until_interrupted
from spawnai_local.narration import Narrator
from spawnai_local.paths import checkout
from spawnai_local.session_watch import SessionWatch
from spawnai_local.stack import LocalStack, StackError
from spawnai_local.stack_settings import (
    Claude,
    Cloud,
    SettingsError,
    StackSettings,
    settings_from_environment,
)
from spawnai_local.up import READABLE_ERRORS, warn_of_costs

_MOST_AT_ONCE = 100
_INTERRUPTED = 130  # 128 + SIGINT, as shells count


def main() -> None:
    """Run the demo; the exit code says whether all of it was true."""
    narrator = Narrator()
    verdict = Verdict(narrator)
    directory, lock = _own_directory(checkout() / "build")
    with lock:
        try:
            settings = _settings(directory)
            code = run_until_interrupted(_run(settings, narrator, verdict))
        except (*READABLE_ERRORS, StoryError) as error:
            narrator.blank()
            verdict.check(Claim("the demo ran to its end", holds=False, found=str(error)))
            code = 1
        if code is None:
            narrator.blank()
            narrator.say("Interrupted. Nothing is left running.")
            sys.exit(_INTERRUPTED)
        _conclude(narrator, verdict, directory)
    sys.exit(0 if code == 0 and verdict.all_hold else 1)


def _settings(directory: Path) -> StackSettings:
    settings = settings_from_environment(directory)
    if settings.cloud is not Cloud.LOCAL:
        raise SettingsError(
            "the demo always uses the local cloud; for real droplets: make local CLOUD=digitalocean"
        )
    return replace(
        settings,
        local_cloud=CLOUD,
        lifetime=LIFETIME,
        pricing=PRICING,
        default_class=LOCAL_DNS_CLASS,
    )


async def _run(settings: StackSettings, narrator: Narrator, verdict: Verdict) -> int:
    narrator.title(
        "SpawnAI: from a manifest to a live app, and to nothing again",
        "Six sessions live and end on this machine, with a real Kubernetes API server and a cloud "
        "that answers as DigitalOcean does. Whatever has a ✓ was checked.",
    )
    warn_of_costs(narrator, settings)

    narrator.step("Bring everything up")
    async with LocalStack(settings, report=narrator.part, progress=narrator.say) as stack:
        narrator.blank()
        narrator.say(_pace(settings))
        async with SessionWatch(stack.kubectl) as watch:
            examples = read_examples(checkout() / "manifests" / "examples")
            story = Story(narrator, verdict, stack, watch, examples)
            await _unless_a_part_ends(stack, story.tell())

    narrator.step("Leave nothing running")
    verdict.check(
        Claim(
            "API server, etcd, cloud, droplets and operator have ended: no process is left",
            stack.forgotten_processes == 0,
            f"{stack.forgotten_processes} processes were still there, and were ended now",
        )
    )
    return 0


async def _unless_a_part_ends(stack: LocalStack, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, but no longer than every part of the stack runs.

    Raises:
        StackError: a part ended; waiting for what it should have done would tell less.
    """

    async def look() -> None:
        async for happening in stack.happenings():
            raise StackError(happening)

    working, looking = asyncio.create_task(work), asyncio.create_task(look())
    try:
        await asyncio.wait({working, looking}, return_when=asyncio.FIRST_COMPLETED)
        await (looking if looking.done() else working)
    finally:
        for task in (working, looking):
            task.cancel()
        await asyncio.gather(working, looking, return_exceptions=True)


def _pace(settings: StackSettings) -> str:
    """How this cloud differs from the real one."""
    low, high = CLOUD.boot_seconds
    pace = (
        f"Shortened for a demo: a droplet is active {low:g} to {high:g} s after it was ordered "
        "(really 25 to 40 s)"
    )
    if settings.claude is Claude.SIMULATOR:
        pace += f", Claude writes {CLOUD.tokens_per_second:g} tokens a second (really 60 to 100)"
    return f"{pace}. Everything else takes the time it takes."


def _conclude(narrator: Narrator, verdict: Verdict, directory: Path) -> None:
    narrator.blank()
    if verdict.all_hold:
        narrator.say(
            f"All {len(verdict.claims)} claims were true, after {narrator.elapsed:.0f} s. "
            "`make local` brings the same up for you to use."
        )
        narrator.say("Open the page:  make local   (it prints the page's address and a token)")
        return
    narrator.warn(f"{len(verdict.broken)} of {len(verdict.claims)} claims were not true:")
    for claim in verdict.broken:
        narrator.claim(claim.sentence, holds=False, found=claim.found)
    narrator.say(f"The logs of all parts: {directory}/*.log")


def _own_directory(parent: Path) -> tuple[Path, IO[str]]:
    """A directory that no other demo of this checkout uses now, and the lock that says so.

    The directory stays after the demo, for its logs, until the next one.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, _MOST_AT_ONCE):
        name = "demo" if number == 1 else f"demo-{number}"
        lock = (parent / f"{name}.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return parent / name, lock
    raise SettingsError(f"{_MOST_AT_ONCE} demos run already from this checkout")


if __name__ == "__main__":
    main()
