"""The judging process: reads a bundle as one line of JSON, answers with its problems as another.

Nothing that it reads is ever run. It has no key in its environment, opens no file once it has
begun (its limit for open files is what it has), starts no process, and uses at most so much
processor time for one bundle: then the system ends it, and `Judge` starts another.
"""

import ast
import gc
import json
import resource
import sys
import traceback
from typing import Any

from spawnai.app_runtime import npm_packages
from spawnai.generation.bundle import Bundle
from spawnai.generation.problems import Problem

from .validation import Findings, shape_problems, validate

MEMORY_BYTES = 1024 * 1024 * 1024


def main(cpu_seconds: int) -> None:
    """Answer until standard input ends."""
    _shut_in()
    for line in sys.stdin.buffer:
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + 1 + cpu_seconds
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        answer = json.dumps(judge_document(json.loads(line)))
        sys.stdout.buffer.write(answer.encode() + b"\n")
        sys.stdout.buffer.flush()
        # Not while a parser runs: see the decision record on CPython 3.11.
        gc.collect()


def judge_document(document: dict[str, Any]) -> dict[str, Any]:
    """The judgement of one bundle, as JSON.

    A rule of ours that fails must not keep a sound app from being deployed: `failure` tells where
    it failed, and what was found without it stands.
    """
    bundle = Bundle.from_document(document)
    failure = ""
    try:
        found = validate(bundle)
    except (RecursionError, MemoryError):
        message = "the files are nested too deeply to be read; write simpler ones"
        found = Findings((Problem("unreadable", message),))
    except Exception as error:  # noqa: BLE001 - whatever it was, the app is not to blame
        place = traceback.extract_tb(error.__traceback__)[-1]
        failure = f"{type(error).__name__} at {place.name}:{place.lineno}"
        declared = set(bundle.dependencies) & set(npm_packages())
        found = Findings(tuple(shape_problems(bundle)), tuple(sorted(declared)))
    return {
        "problems": [
            [problem.rule, problem.message, problem.path, problem.line]
            for problem in found.problems
        ],
        "packages": found.packages,
        "moduleType": found.module_type,
        "failure": failure,
    }


def _shut_in() -> None:
    # What is imported or read when it is first used.
    ast.parse("warm = f'{1}'")
    npm_packages()
    gc.disable()
    gc.collect()
    gc.freeze()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


if __name__ == "__main__":
    main(int(sys.argv[1]))
