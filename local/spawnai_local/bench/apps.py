"""Generated apps: how quick they are judged, opened in a browser, and changed while they run.

Droplets really boot here, with Caddy and an agent; the simulated Claude answers at once, so what a
change takes is the product's own time.
"""

import asyncio
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from spawnai.api.conditions import ConditionType, is_true
from spawnai.api.names import API_VERSION, TTL_ANNOTATION
from spawnai.api.session import AppType
from spawnai.generation.bundle import AppFile, Bundle
from spawnai.generation.judging.judge import Judge as SourceJudge
from spawnai.generation.limits import MAX_FILE_BYTES
from spawnai_local.bench.figures import Figure, Judge
from spawnai_local.cloud_settings import CloudSettings
from spawnai_local.narration import Narrator
from spawnai_local.session_watch import SessionWatch
from spawnai_local.stack import LocalStack
from spawnai_local.stack_settings import Claude, StackSettings

CLOUD = CloudSettings(tokens_per_second=0, first_token_seconds=0.05, boot_seconds=(1.0, 1.0))
_NAME = "bench-page"
_PROMPTS = ("A countdown to the weekend", "A retro board with three columns")
_READY_SECONDS = 180.0
_CHANGE_SECONDS = 60.0
_BETWEEN_REQUESTS_SECONDS = 0.02
# The longest that Claude usually takes, and how a droplet's core compares with this machine's.
_CLAUDE_SECONDS = 70.0
_SLOWER_CORE = 2.0
_READY_GOAL_SECONDS = 90.0
_SUM = re.compile(r'^spawnai_inspection_seconds_sum\{result="passed"\} (\S+)', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Apps:
    """What was measured, in seconds."""

    validations: tuple[float, ...]
    inspections: tuple[float, ...]
    revisions: tuple[float, ...]
    requests: int
    lost: int
    deployed: Mapping[str, float]
    """By app type: from an active droplet, with Claude's answer waiting, to Ready."""

    def figures(self) -> list[Figure]:
        """The figures of the table."""
        return [
            Figure(
                "validation of the largest bundle",
                "ms",
                tuple(1000 * one for one in self.validations),
                250,
                Judge.MEDIAN,
                remark="260 KB of JavaScript in one file, in the judge's own process",
            ),
            Figure(
                "inspection of a page beside an answering app",
                "s",
                self.inspections,
                2,
                Judge.MEDIAN,
                remark="load, picture and clicks, in a browser of its own",
            ),
            Figure(
                "a new prompt of a running webapp, until its version serves",
                "s",
                self.revisions,
                2,
                Judge.MEDIAN,
                remark="Claude answers at once; with the inspection of the new version",
            ),
            Figure(
                "requests lost while versions switch",
                "",
                (float(self.lost),),
                0,
                Judge.MOST,
                remark=f"of {self.requests}, one each 20 ms",
            ),
            *(
                Figure(
                    f"estimate for a real droplet: order → Ready, {app_type}",
                    "s",
                    (_CLAUDE_SECONDS + _SLOWER_CORE * took,),
                    _READY_GOAL_SECONDS,
                    Judge.MOST,
                    remark=f"Claude's {_CLAUDE_SECONDS:g} s with the boot's 40 s beside them, then "
                    f"all that took {took:.1f} s here, on a core half as fast",
                )
                for app_type, took in self.deployed.items()
            ),
        ]


async def measure(directory: Path, narrator: Narrator, *, changes: int) -> Apps:
    """Measure all of it on a stack of its own."""
    validations = await _validations(changes)
    settings = StackSettings(directory, claude=Claude.SIMULATOR, local_cloud=CLOUD, inspector=True)
    async with (
        LocalStack(settings, progress=narrator.say) as stack,
        SessionWatch(stack.kubectl) as watch,
    ):
        deployed = {str(one): await _deployed(stack, watch, one) for one in AppType}
        await stack.kubectl.apply(_manifest(_NAME, AppType.WEBAPP))

        def revision() -> int | None:
            seen = watch.sessions.get(_NAME)
            return seen.status.revision if seen is not None else None

        await watch.until(lambda: revision() is not None, what=_NAME, limit_seconds=_READY_SECONDS)
        url = str(watch.sessions[_NAME].status.url)
        visitor = _Visitor(url)
        visiting = asyncio.create_task(visitor.visit())
        revisions: list[float] = []
        # Of all pages until now.
        total = await _inspected(stack, before=0.0)
        inspections: list[float] = []
        for number in range(changes):
            before = revision()
            began = time.monotonic()
            await _prompt(stack, f"{_PROMPTS[number % 2]}, number {number}")

            def is_changed(before: int | None = before) -> bool:
                return revision() != before

            await watch.until(is_changed, what="the change", limit_seconds=_CHANGE_SECONDS)
            revisions.append(time.monotonic() - began)
            took = await _inspected(stack, before=total)
            total += took
            inspections.append(took)
        visiting.cancel()
        await asyncio.wait([visiting])
    seen = tuple(one for one in inspections if one > 0)
    return Apps(validations, seen, tuple(revisions), visitor.requests, visitor.lost, deployed)


async def _validations(times: int) -> tuple[float, ...]:
    line = "export function item{n}(value) {{ return value === {n} ? 'yes' : `no ${{value}}`; }}\n"
    text, number = "", 0
    while len(text) < min(MAX_FILE_BYTES, 256 * 1024) - 200:
        text += line.format(n=number)
        number += 1
    page = '<!doctype html><title>x</title><h1>x</h1><script type="module" src="app.js"></script>'
    bundle = Bundle(
        "webapp", "index.html", (AppFile("index.html", page), AppFile("app.js", text)), {}
    )
    judge = SourceJudge()
    await judge.start()
    took = []
    try:
        for _ in range(times):
            began = time.perf_counter()
            await judge.judge(bundle)
            took.append(time.perf_counter() - began)
    finally:
        await judge.close()
    return tuple(took)


async def _prompt(stack: LocalStack, prompt: str) -> None:
    patch = json.dumps({"spec": {"prompt": prompt}})
    await stack.kubectl.run("patch", "spawnsession", _NAME, "--type=merge", "-p", patch)


async def _inspected(stack: LocalStack, *, before: float) -> float:
    """How long the inspection took that came since the sum of all was `before`."""
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(stack.metrics_url)).text
    found = _SUM.search(text)
    return float(found[1]) - before if found is not None else 0.0


async def _deployed(stack: LocalStack, watch: SessionWatch, app_type: AppType) -> float:
    name = f"bench-{app_type}"
    await stack.kubectl.apply(_manifest(name, app_type))

    def is_active() -> bool:
        seen = watch.sessions.get(name)
        return seen is not None and is_true(seen.status.conditions, ConditionType.DROPLET_READY)

    def is_ready() -> bool:
        return watch.sessions[name].status.ready_at is not None

    await watch.until(is_active, what=f"the droplet of {name}", limit_seconds=_READY_SECONDS)
    began = time.monotonic()
    await watch.until(is_ready, what=name, limit_seconds=_READY_SECONDS)
    took = time.monotonic() - began
    # A user's limit of active sessions holds here, too.
    await stack.kubectl.run("delete", "spawnsession", name, "--wait=false")
    return took


def _manifest(name: str, app_type: AppType) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "SpawnSession",
        "metadata": {"name": name, "annotations": {TTL_ANNOTATION: "30m"}},
        "spec": {"prompt": "A page about ferns", "appType": str(app_type)},
    }


class _Visitor:
    """Asks for the page again and again, and counts what is not answered as it should be."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.requests = 0
        self.lost = 0

    async def visit(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
            while True:
                self.requests += 1
                try:
                    self.lost += not (await client.get(self._url)).is_success
                except httpx.HTTPError:
                    self.lost += 1
                await asyncio.sleep(_BETWEEN_REQUESTS_SECONDS)
