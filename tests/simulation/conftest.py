"""What the stories of the simulation share."""

import os
from pathlib import Path

import pytest

LIMIT_SECONDS = 900
"""For a test that hangs. Behind others, a story takes many times its own processor time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        is_ours = Path(__file__).parent in item.path.parents
        if is_ours and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT_SECONDS))


@pytest.fixture(scope="session", autouse=True)
def _behind_what_has_deadlines() -> None:
    """Stories count in simulated time: they leave the cores to the tests of real stacks."""
    os.nice(10)
