"""`make quality BUNDLES=folder`: what becomes of each answer of a folder, one line an answer.

FOLDER/NAME/answer.json is what Claude would send, FOLDER/NAME/meta.json says its `type`, its
`quality` ("good", or anything else for one that is broken), the `prompt`, and for our own cases the
`verdict` ("accepted" or "refused") and how it `ends`. With DEPLOY=1 each goes through the whole
local stack: the simulated Claude answers with it, and what a person then sees is printed.

Exit code 0 when no good answer was refused and each broken one was refused or told as not working.
"""

import argparse
import asyncio
import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from spawnai.api.conditions import ConditionStatus, ConditionType, find_condition
from spawnai.api.names import API_VERSION, TTL_ANNOTATION
from spawnai.api.session import Phase
from spawnai.generation.answer import Answer, AnswerUnreadable
from spawnai.generation.judging.judge import Judge
from spawnai.generation.normalise import normalised_answer, normalised_bundle
from spawnai_local.cloud_settings import CloudSettings
from spawnai_local.paths import checkout
from spawnai_local.session_watch import SessionWatch, WatchedSession
from spawnai_local.stack import LocalStack
from spawnai_local.stack_settings import Claude, StackSettings

TABLE = Path("docs") / "generation.md"
BEGIN = "<!-- made by `make quality DEPLOY=1` -->"
END = "<!-- end of what `make quality DEPLOY=1` makes -->"
_AT_ONCE = 6
_SETTLED_SECONDS = 240.0
_WATCHED_SECONDS = 20.0
# An agent gives an app up after six deaths; the operator's next look may be half a minute later.
_USED_SECONDS = 120.0
_BETWEEN_SECONDS = 2.0
_SOUND = frozenset({"good", "subtle", "broken on old Node"})
"""What is to be Ready: droplets have the current LTS of Node.js."""
_WITH_ROUTES = frozenset({"api", "fullstack"})
_GET_ROUTES = re.compile(r"\.get\(\s*['\"](/[A-Za-z0-9/_.-]*)['\"]")


@dataclass(slots=True)
class Case:
    """One answer, and what became of it."""

    name: str
    app_type: str
    is_good: bool
    verdict: str
    """What is expected of validation; "" when the folder does not say."""
    prompt: str
    text: str
    expect: str = ""
    result: str = ""
    message: str = ""
    seconds: float = 0.0
    ended: str = ""

    @property
    def is_wrong(self) -> str:
        """What is not as it should be; "" when all is."""
        if self.is_good and self.result == "refused":
            return "a sound app was refused"
        if self.verdict and self.result != self.verdict:
            return f"expected {self.verdict}"
        works = self.ended.startswith("Ready") and "AppHealthy=False" not in self.ended
        if self.ended and self.is_good and not works:
            return "a sound app does not run"
        if self.ended and not self.is_good and works:
            return "a broken app is called Ready"
        return ""


class NoCases(Exception):
    """A folder does not hold cases; the message says what is missing."""


def read_cases(folder: Path) -> list[Case]:
    """The answers of a folder, by name.

    Raises:
        NoCases: it holds none, or one that cannot be read.
    """
    places = sorted(found.parent for found in folder.glob("*/meta.json"))
    if not places:
        raise NoCases(f"{folder} holds no NAME/meta.json with a NAME/answer.json beside it")
    return [_read_case(place) for place in places]


def _read_case(place: Path) -> Case:
    try:
        meta = json.loads((place / "meta.json").read_text("utf-8"))
        return Case(
            name=place.name,
            app_type=meta["type"],
            is_good=str(meta.get("quality", "")) in _SOUND,
            verdict=meta.get("verdict", ""),
            prompt=meta.get("prompt", place.name),
            text=(place / "answer.json").read_text("utf-8", errors="replace"),
            expect=meta.get("expect", ""),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoCases(f"{place}: {error!r}; it takes meta.json with a type, and answer.json") from (
            error
        )


async def judge_all(cases: Iterable[Case]) -> None:
    """Put every answer through validation."""
    judge = Judge()
    await judge.start()
    try:
        for case in cases:
            await _judge(judge, case)
    finally:
        await judge.close()


async def _judge(judge: Judge, case: Case) -> None:
    began = time.perf_counter()
    try:
        answer = normalised_answer(Answer.parse(case.text))
    except AnswerUnreadable as error:
        case.result, case.message = "refused", str(error)
        return
    judgement = await judge.judge(normalised_bundle(answer.as_bundle(case.app_type)))
    case.seconds = time.perf_counter() - began
    case.result = "refused" if judgement.problems else "accepted"
    if judgement.problems:
        case.message = str(judgement.problems[0])


async def deploy_all(cases: list[Case], folder: Path, directory: Path) -> None:
    """Have each answer ordered, deployed and watched for a while, on a stack of its own."""
    cloud = CloudSettings(bundles=str(folder), tokens_per_second=0, first_token_seconds=0.2)
    settings = StackSettings(directory, claude=Claude.SIMULATOR, local_cloud=cloud, inspector=True)
    async with LocalStack(settings) as stack, SessionWatch(stack.kubectl) as watch:
        waiting = list(cases)

        async def follow() -> None:
            while waiting:
                case = waiting.pop(0)
                await stack.kubectl.apply(_manifest(case))
                await _follow(watch, case)
                await stack.kubectl.run(
                    "delete", "spawnsession", _object_name(case), "--wait=false"
                )

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(follow())


def _object_name(case: Case) -> str:
    return f"q-{case.name.lower().replace('_', '-')}"


def _manifest(case: Case) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "SpawnSession",
        "metadata": {"name": _object_name(case), "annotations": {TTL_ANNOTATION: "10m"}},
        "spec": {
            "prompt": f"{case.prompt[:1800]} bundle:{case.name}",
            "appType": case.app_type,
            "user": case.name,
        },
    }


async def _follow(watch: SessionWatch, case: Case) -> None:
    name = _object_name(case)

    def session() -> WatchedSession | None:
        return watch.sessions.get(name)

    def is_settled() -> bool:
        seen = session()
        return seen is not None and (seen.is_over or seen.phase is Phase.RUNNING)

    await watch.until(is_settled, what=f"{name} to be settled", limit_seconds=_SETTLED_SECONDS)
    seen = session()
    if seen is not None and seen.phase is Phase.RUNNING:
        await _use(case, seen.status.url, session)
        seen = session() or seen
    if seen is None:
        return
    status = seen.status
    if seen.is_over:
        case.ended = status.termination_reason or "Destroyed"
        stalled = find_condition(status.conditions, ConditionType.STALLED)
        case.message = (stalled.message if stalled else status.message) or case.message
        return
    healthy = find_condition(status.conditions, ConditionType.APP_HEALTHY)
    case.ended = "Ready"
    if healthy is not None and healthy.status is ConditionStatus.FALSE:
        case.ended, case.message = f"Ready, AppHealthy=False ({healthy.reason})", healthy.message


async def _use(case: Case, url: str | None, session: Callable[[], WatchedSession | None]) -> None:
    """Ask an app for all that it answers to GET, as its users would: some only then break."""
    paths = {"/", *_GET_ROUTES.findall(case.text)} if case.app_type in _WITH_ROUTES else {"/"}
    until = time.monotonic() + (_WATCHED_SECONDS if case.is_good else _USED_SECONDS)
    async with httpx.AsyncClient(base_url=url or "", timeout=5.0, trust_env=False) as client:
        while time.monotonic() < until and not _is_known_broken(session()):
            for path in sorted(paths):
                with contextlib.suppress(httpx.HTTPError):
                    await client.get(path)
            await asyncio.sleep(_BETWEEN_SECONDS)


def _is_known_broken(session: WatchedSession | None) -> bool:
    if session is None:
        return False
    healthy = find_condition(session.status.conditions, ConditionType.APP_HEALTHY)
    return session.is_over or (healthy is not None and healthy.status is ConditionStatus.FALSE)


def rows(cases: Iterable[Case]) -> list[str]:
    """The table, one line a case."""
    lines = [
        "| answer | type | sound | validation | ends | what a person sees |",
        "|---|---|---|---|---|---|",
    ]
    for case in cases:
        # The last lines of a log name files of the machine that it ran on.
        said = case.message.partition("; its last lines")[0]
        said = said.replace("|", "\\|").replace("\n", " ")
        sound = "yes" if case.is_good else "no"
        lines.append(
            f"| {case.name} | {case.app_type} | {sound} | {case.result} | {case.ended or '–'} "
            f"| {said[:200]} |"
        )
    return lines


def totals(cases: list[Case]) -> list[str]:
    """The sums."""
    good = [case for case in cases if case.is_good]
    broken = [case for case in cases if not case.is_good]
    accepted = sum(case.result == "accepted" for case in good)
    refused = sum(case.result == "refused" for case in broken)
    slowest = max((case.seconds for case in cases), default=0.0)
    lines = [
        f"{accepted} of {len(good)} sound answers accepted",
        f"{refused} of {len(broken)} broken answers refused before deployment",
        f"slowest validation: {slowest * 1000:.0f} ms",
    ]
    if any(case.ended for case in cases):
        told = [case for case in broken if not case.is_wrong]
        lines.append(f"{len(told)} of {len(broken)} broken answers refused or told as not working")
    lines += [f"WRONG: {case.name}: {case.is_wrong}" for case in cases if case.is_wrong]
    return lines


def write_table(cases: list[Case], path: Path) -> None:
    """Put the table into the page, between its marks."""
    before, _, rest = path.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    sums = [line for line in totals(cases) if "slowest" not in line]
    table = "\n".join([*(f"- {line}" for line in sums), "", *rows(cases)])
    path.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", "utf-8")


def main() -> None:
    """Run the command line program."""
    parser = argparse.ArgumentParser(prog="make quality", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--deploy", action="store_true", help="through the whole local stack")
    parser.add_argument("--only", default="", help="answers whose names begin so")
    options = parser.parse_args()
    own = checkout() / "tests" / "data" / "bundles"
    folder = (options.folder or own).resolve()
    try:
        cases = [case for case in read_cases(folder) if case.name.startswith(options.only)]
    except NoCases as problem:
        parser.error(str(problem))
    asyncio.run(judge_all(cases))
    if options.deploy:
        asyncio.run(deploy_all(cases, folder, checkout() / "build" / "quality"))
    for case in cases:
        ended = f"  {case.ended}" if case.ended else ""
        said = " ".join(case.message.split())
        sys.stdout.write(f"{case.name:32} {case.result:8}{ended}  {said}\n")
    sys.stdout.write("\n" + "\n".join(totals(cases)) + "\n")
    if options.deploy and folder == own.resolve() and not options.only:
        write_table(cases, checkout() / TABLE)
    sys.exit(1 if any(case.is_wrong for case in cases) else 0)


if __name__ == "__main__":
    main()
