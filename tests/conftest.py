"""How `make test` shares the tests out among processes that work side by side.

Most of the time goes into waiting: for droplets that boot, leases that run out, sessions that end.
So there are more processes than a small machine has cores, and what takes longest begins first.
The tests of a file stay in one process and in their order, and so do files that share a stack. A
stack is a fixture of the scope "package": it ends with the last file of its folder, not with the
process, so that it takes nothing from those that come later.
"""

import sys

import pytest
from xdist.scheduler import LoadScopeScheduling

PROCESSES = 5

# Lanes by the beginning of their files' paths, in the order in which they begin. Files of one lane
# share a process, and with it their stack; any other file is a lane of its own, and comes after.
LANES = {
    "tests/simulation/test_bugs.py": "deliberate bugs",
    "tests/simulation/test_pressure.py": "pressure",
    "tests/e2e/sessions/test_life.py": "sessions until they rest",
    "tests/e2e/sessions/test_misbehaving_apps.py": "sessions until they rest",
    "tests/e2e/sessions/test_restart.py": "sessions until they rest",
    # `spawnai reap` knows nothing of the operator's calls: it needs a minute that is not used up.
    "tests/e2e/sessions/test_reaping.py": "sessions",
    "tests/e2e/sessions/": "sessions",
    "tests/e2e/disruption/": "disruption",
    "tests/e2e/https/": "https",
    "tests/e2e/test_demo.py": "demo",
    "tests/e2e/local/test_control_plane.py": "control plane",
    "tests/e2e/local/": "local",
    "tests/e2e/chaos/": "chaos",
    "tests/e2e/chart/": "chart",
    "tests/e2e/test_observe.py": "observe",
    "tests/e2e/": "control plane",
}
OTHERS = ("tests/simulation/", "tests/contract/", "tests/unit/")

EACH_A_LANE = "tests/simulation/test_random_stories.py"
"""Its tests share nothing: they fill whichever process has nothing else to do."""

internal_errors: list[str] = []
MOST_TOLD = 1500


class Lanes(LoadScopeScheduling):
    """Hands out whole lanes, in the order in which the tests were collected."""

    def _split_scope(self, nodeid: str) -> str:
        file = file_of(nodeid)
        if file == EACH_A_LANE:
            return nodeid
        return next((lane for path, lane in LANES.items() if file.startswith(path)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Lanes:
    return Lanes(config, log)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many `--numprocesses=auto` are; none but this one where `-s` asks for its output."""
    return 0 if config.getoption("capture") == "no" else PROCESSES


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side, what takes longest begins first; one after the other, what is quick does."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: place_of(file_of(item.nodeid)))


def pytest_internalerror(excrepr: object) -> None:
    internal_errors.append(str(excrepr))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Tell last what ended the run: xdist adds an error of its own to one of a process, and ends
    with that.
    """
    if internal_errors and not hasattr(config, "workerinput"):
        sys.stderr.write(f"The run was ended by:\n{internal_errors[0][-MOST_TOLD:]}\n")


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def place_of(file: str) -> int:
    paths = (*LANES, *OTHERS)
    return next((place for place, path in enumerate(paths) if file.startswith(path)), len(paths))
