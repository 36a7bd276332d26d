"""Judge: asks a process of its own whether a bundle may be deployed.

Source that a model wrote may be made to hurt a parser: 256 KiB of Python held the interpreter for
15 seconds, longer than the lease of the operator. So it is parsed elsewhere: in a process without
a key, started once, ended at a limit and started again. Limits are of processor time, which says
the same on a busy machine; the wall-clock limit is for a process that does nothing at all.
"""

import asyncio
import contextlib
import json
import logging
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import dataclass
from pathlib import Path

from spawnai.generation.bundle import AppFile, Bundle
from spawnai.generation.problems import Problem

# The largest bundle that is not made to hurt takes well below a second.
CPU_SECONDS = 5
SILENCE_SECONDS = 60.0
# An answer names each problem in a sentence; thousands of them are an answer made to hurt.
MAX_ANSWER_BYTES = 4 * 1024 * 1024

_log = logging.getLogger(__name__)

_SMALLEST = Bundle("webapp", "index.html", (AppFile("index.html", "<p>1</p>"),))
_PACKAGE_FOLDER = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is wrong with a bundle; for a server the npm packages that it uses, and how Node.js is
    to read its files ("module", "commonjs", or None: file by file).
    """

    problems: tuple[Problem, ...]
    packages: tuple[str, ...] = ()
    module_type: str | None = None


class JudgeUnavailable(Exception):
    """The process cannot be started or ended twice without an answer; the text says how."""


class Judge:
    """Asks one process, one bundle after another; close it with `await judge.close()`."""

    def __init__(
        self, *, cpu_seconds: int = CPU_SECONDS, silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        self._cpu_seconds = cpu_seconds
        self._silence_seconds = silence_seconds
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Start the process and wait until it answers, so that the first bundle need not wait."""
        await self.judge(_SMALLEST)

    async def judge(self, bundle: Bundle) -> Judgement:
        """Find everything that is wrong with a bundle.

        A bundle that the parsers cannot read within the limit has that as its problem.

        Raises:
            JudgeUnavailable: no process can be started.
        """
        line = json.dumps(bundle.document(), ensure_ascii=True).encode("ascii") + b"\n"
        async with self._turn:
            return await self._ask(line)

    async def close(self) -> None:
        """End the process."""
        async with self._turn:
            await self._end()

    async def _ask(self, line: bytes) -> Judgement:
        process = await self._running()
        if process.stdin is None or process.stdout is None:
            raise JudgeUnavailable("the judging process has no pipes")
        try:
            async with asyncio.timeout(self._silence_seconds):
                process.stdin.write(line)
                with contextlib.suppress(ConnectionError):
                    await process.stdin.drain()
                answer = await process.stdout.readline()
        except (TimeoutError, ValueError):
            answer = b""
        except BaseException:
            # Cancelled: its answer would be taken for that of the next bundle.
            await asyncio.shield(self._end())
            raise
        if not answer.endswith(b"\n"):
            await self._end()
            return Judgement((_unreadable(self._cpu_seconds),))
        document = json.loads(answer)
        if document["failure"]:
            _log.error("a rule for generated apps failed and was left out: %s", document["failure"])
        problems = tuple(Problem(*fields) for fields in document["problems"])
        return Judgement(problems, tuple(document["packages"]), document["moduleType"])

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-s", "-B", "-m", "spawnai.generation.judging.worker"),
                    str(self._cpu_seconds),
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=DEVNULL,
                    # Nothing of ours: no key, no token, no address.
                    env={"PYTHONPATH": str(_PACKAGE_FOLDER), "LANG": "C.UTF-8"},
                    cwd="/",
                    limit=MAX_ANSWER_BYTES,
                )
            except OSError as error:
                raise JudgeUnavailable(f"the judging process cannot be started: {error}") from error
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _unreadable(seconds: int) -> Problem:
    return Problem(
        "unreadable",
        f"a file cannot be read within {seconds} seconds of processor time: it is nested too "
        "deeply or repeats itself too often; write shorter and simpler files",
    )
