"""What must hold of the agent's source because of where it runs."""

import ast
import sys

from spawnai.droplet.cloud_config import read_agent_source


def test_the_agent_needs_nothing_that_a_stock_image_does_not_have():
    imported = set()
    for node in ast.walk(ast.parse(read_agent_source(), feature_version=(3, 11))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported <= sys.stdlib_module_names


def test_the_agent_is_ascii():
    assert read_agent_source().isascii()
