"""What the stories of the simulation share."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def _behind_what_has_deadlines() -> None:
    """Stories count in simulated time: they leave the cores to the tests of real stacks."""
    os.nice(10)
