"""What the stories of the simulation share."""

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

NICENESS = 10

MOST_MEMORY_BYTES = 8_000_000_000
"""Of addresses. A story that eats memory must fail alone, and not the machine."""

LIMIT_SECONDS = 900
"""For a test that hangs. Behind others, a story takes many times its own processor time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        is_ours = Path(__file__).parent in item.path.parents
        if is_ours and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT_SECONDS))


@pytest.fixture(scope="module", autouse=True)
def _behind_what_has_deadlines() -> Iterator[None]:
    """Stories count in simulated time: they leave the cores to the tests of real stacks. What comes
    after them in this process is such a test, unless only root could set it back.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(before, NICENESS))
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, before)
