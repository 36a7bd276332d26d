"""pydo's client without its operation groups, each in a Python process of its own."""

import subprocess
import sys

import pytest

SOURCE = "from spawnai.digitalocean.lean_pydo import import_client\n"


def run(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_operation_groups_are_not_loaded_and_the_client_is_pydos_own():
    assert run(
        SOURCE + "import sys\n"
        "client = import_client()\n"
        "print(client.__module__, hasattr(client, 'send_request'))\n"
        "print(any('_operations' in name and 'custom' not in name for name in sys.modules))\n"
    ) == ["pydo.aio._patch", "True", "False"]


def test_whoever_wants_the_operation_groups_later_gets_the_real_ones():
    assert run(
        SOURCE + "import_client()\n"
        "from pydo.operations import DropletsOperations\n"
        "print(DropletsOperations.__module__)\n"
    ) == ["pydo.operations._operations"]


def test_a_pydo_that_is_loaded_already_is_used_as_it_is():
    assert run(SOURCE + "import pydo.aio\nprint(import_client() is pydo.aio.Client)\n") == ["True"]


@pytest.mark.parametrize("breakage", ["ImportError('renamed')", "TypeError('stand-in')"])
def test_a_pydo_that_does_not_stand_for_it_is_loaded_in_full(breakage):
    assert run(
        SOURCE + "from spawnai.digitalocean import lean_pydo\n"
        "class Refuses:\n"
        "    def __init__(self, *arguments, **keywords):\n"
        f"        raise {breakage}\n"
        "lean_pydo._NoOperations = Refuses\n"
        "lean_pydo._StandIn.__getattr__ = lambda self, name: Refuses\n"
        "client = import_client()('test-token')\n"
        "print(type(client.droplets).__module__)\n"
    ) == ["pydo.aio.operations._operations"]
