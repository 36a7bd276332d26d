"""What must hold of the agent's source because of where it runs."""

import ast
import sys

import pytest

from spawnai.droplet.packing import agent_files, without_comments


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


class WithoutDocstrings(ast.NodeTransformer):
    """Leaves out what `without_comments` leaves out."""

    def generic_visit(self, node):
        super().generic_visit(node)
        if isinstance(getattr(node, "body", None), list):
            node.body = [one for one in node.body if not is_text(one)]
            if not node.body:
                node.body = [ast.Expr(ast.Constant(...))]
        return node


def is_text(statement) -> bool:
    is_constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_constant and isinstance(statement.value.value, str)


@pytest.mark.parametrize(("name", "source"), agent_files().items())
def test_what_ships_is_the_same_program_line_for_line(name, source):
    shipped = without_comments(source)
    assert shipped.count("\n") == source.count("\n")
    assert ast.dump(ast.parse(shipped)) == ast.dump(WithoutDocstrings().visit(ast.parse(source)))
    assert len(shipped) < len(source), name
