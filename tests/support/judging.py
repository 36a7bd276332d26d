"""The judging process as tests ask it: one for a whole run, so that nothing is parsed in theirs."""

import atexit
import json
import subprocess
import sys
from functools import cache

from spawnai.generation.bundle import Bundle
from spawnai.generation.judging.judge import CPU_SECONDS, Judgement
from spawnai.generation.problems import Problem


@cache
def _process() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "spawnai.generation.judging.worker", str(CPU_SECONDS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def judged(bundle: Bundle) -> Judgement:
    """What the process says of a bundle. A rule that fails, or a process that ends, is an error."""
    process = _process()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(bundle.document()).encode() + b"\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        _process.cache_clear()
        raise EOFError(f"the judging process ended with {process.wait()}")
    document = json.loads(line)
    assert document["failure"] == ""
    problems = tuple(Problem(*fields) for fields in document["problems"])
    return Judgement(problems, tuple(document["packages"]), document["moduleType"])


def validate(bundle: Bundle) -> list[Problem]:
    """The problems alone."""
    return list(judged(bundle).problems)
