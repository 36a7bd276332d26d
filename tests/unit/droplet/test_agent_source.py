"""What must hold of the agent's source because of where it runs."""

import ast
import sys

import pytest

from spawnai.droplet.cloud_config import agent_files


@pytest.mark.parametrize(("name", "source"), agent_files().items())
def test_the_agent_needs_nothing_that_a_stock_image_does_not_have(name, source):
    imported = set()
    for node in ast.walk(ast.parse(source, feature_version=(3, 11))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            imported.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1, f"{name} reaches out of the agent"
    assert imported <= sys.stdlib_module_names


@pytest.mark.parametrize(("name", "source"), agent_files().items())
def test_the_agent_is_ascii(name, source):
    assert source.isascii(), name
