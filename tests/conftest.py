"""How `make test` shares the tests out among processes that work side by side.

Most of the time goes into waiting: for droplets that boot, leases that run out, sessions that end.
So there are more processes than a small machine has cores, and what takes longest begins first.
The tests of a file stay in one process and in their order, and so do files that share a stack.
"""

import pytest
from xdist.scheduler import LoadScopeScheduling

PROCESSES = 5

# Whole files, in the order in which they begin; those of one lane share a process and a stack. Any
# other file is a lane of its own, and comes after these.
LANES = {
    "tests/simulation/test_simulation.py": "simulation",
    "tests/simulation/test_bugs.py": "simulation",
    "tests/e2e/sessions/test_reaping.py": "sessions",
    "tests/e2e/sessions/test_ttl.py": "sessions",
    "tests/e2e/sessions/test_deletion.py": "sessions",
    "tests/e2e/sessions/test_limits.py": "sessions",
    "tests/e2e/sessions/test_classes.py": "sessions",
    "tests/e2e/sessions/test_generation.py": "sessions",
    "tests/e2e/sessions/test_firewalls.py": "sessions",
    "tests/e2e/sessions/test_life.py": "sessions until they rest",
    "tests/e2e/sessions/test_misbehaving_apps.py": "sessions until they rest",
    "tests/e2e/sessions/test_restart.py": "sessions until they rest",
    "tests/e2e/test_demo.py": "demo",
    "tests/e2e/test_local.py": "local",
    "tests/e2e/test_guide.py": "guide",
    "tests/e2e/test_admission.py": "control plane",
    "tests/e2e/test_events.py": "control plane",
    "tests/e2e/test_leader.py": "control plane",
    "tests/e2e/local/test_control_plane.py": "control plane",
}
OTHERS = ("tests/e2e/", "tests/contract/", "tests/unit/")


class Lanes(LoadScopeScheduling):
    """Hands out whole lanes, in the order in which the tests were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return LANES.get(file_of(nodeid), file_of(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Lanes:
    return Lanes(config, log)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many `--numprocesses=auto` are; none but this one where `-s` asks for its output."""
    return 0 if config.getoption("capture") == "no" else PROCESSES


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side, what takes longest begins first; one after the other, what is quick does."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: place_of(file_of(item.nodeid)))


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def place_of(file: str) -> int:
    if file in LANES:
        return list(LANES).index(file)
    others = (number for number, folder in enumerate(OTHERS) if file.startswith(folder))
    return len(LANES) + next(others, len(OTHERS))
