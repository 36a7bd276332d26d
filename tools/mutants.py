"""Change the core at random places, one at a time, and see whether its tests notice.

    python tools/mutants.py --count 40 --seed 1

A mutant is one small change to a file of lifecycle/ or billing/: a comparison turned, `and` for
`or`, a condition negated, a number off by one, a call left out. For each, the unit tests of the
core run until the first failure, and then stories of the simulation. What no test notices is shown
as a difference, to be judged by a person: either it changes nothing, or a test is missing. The
sample is the same for the same seed and source. Exit code 1: fewer than 95 % were noticed.
"""

import argparse
import ast
import copy
import difflib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "operator" / "spawnai"
MUTATED = ("lifecycle", "billing")
UNIT_TESTS = ("tests/unit/lifecycle", "tests/unit/billing", "tests/unit/admission")
ENOUGH = 0.95
LIMIT_SECONDS = 900
"""Of one run of the tests; a mutant that never ends is noticed."""

_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


@dataclass(frozen=True, slots=True)
class Site:
    """A place that can be changed: the nth node of a file's syntax tree."""

    file: Path
    node: int


def sites() -> list[Site]:
    """Every place, in the order of files and lines."""
    return [
        Site(file, number)
        for part in MUTATED
        for file in sorted((PACKAGE / part).glob("*.py"))
        for number, node in enumerate(_nodes(ast.parse(file.read_text())))
        if _can_change(node)
    ]


def mutant_of(site: Site) -> str:
    """The file's source with that place changed."""
    tree = ast.parse(site.file.read_text())
    _change(_nodes(tree)[site.node])
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def _nodes(tree: ast.Module) -> list[ast.AST]:
    """The nodes of functions' bodies: names and texts at the top say nothing that runs."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [one.body for one in ast.walk(tree) if isinstance(one, functions)]
    found: dict[int, ast.AST] = {}
    for body in bodies:
        for statement in body:
            found.update((id(node), node) for node in _walk(statement))
    return list(found.values())


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    if isinstance(node, ast.Assert):
        return  # for the type checker
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _walk(child)


def _can_change(node: ast.AST) -> bool:
    match node:
        case ast.Compare(ops=[operator]):
            return type(operator) in _TURNED
        case ast.BoolOp() | ast.If() | ast.IfExp() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.BinOp(op=ast.Add() | ast.Sub()):
            return True
        case ast.Constant(value=bool() | int()):
            return True
        case ast.Expr(value=ast.Call()):
            return True
        case _:
            return False


def _change(node: ast.AST) -> None:
    match node:
        case ast.Compare(ops=[operator]):
            node.ops = [_TURNED[type(operator)]()]
        case ast.BoolOp():
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        case ast.If() | ast.IfExp():
            node.test = ast.UnaryOp(op=ast.Not(), operand=copy.copy(node.test))
        case ast.UnaryOp():
            node.op, node.operand = ast.Not(), ast.UnaryOp(op=ast.Not(), operand=node.operand)
        case ast.BinOp():
            node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        case ast.Constant(value=bool() as value):
            node.value = not value
        case ast.Constant(value=int() as value):
            node.value = value + 1
        case ast.Expr():
            node.value = ast.Constant(value=None)


def is_noticed(site: Site, source: str, folder: Path, stories: int) -> bool:
    """Whether the unit tests or the simulation fail with the mutant in the place of its file."""
    place = folder / "spawnai" / site.file.relative_to(PACKAGE)
    original = place.read_text()
    place.write_text(source)
    try:
        return not (
            _passes(*_unit_tests(), folder=folder)
            and _passes(
                "-c",
                "import sys; from tests.simulation.seeds import failures_in; "
                f"sys.exit(bool(failures_in(range({stories}))))",
                folder=folder,
            )
        )
    finally:
        place.write_text(original)


def _unit_tests() -> tuple[str, ...]:
    options = ("-q", "-x", "-n0", "-p", "no:cacheprovider", "--no-header", "--tb=no")
    return ("-m", "pytest", *options, *UNIT_TESTS)


def _passes(*arguments: str, folder: Path) -> bool:
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            check=False,
            capture_output=True,
            timeout=LIMIT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False
    return ended.returncode == 0


def difference(site: Site, source: str) -> str:
    """What the mutant changes, without what only `ast.unparse` writes in another way."""
    plain = ast.unparse(ast.parse(site.file.read_text())) + "\n"
    name = str(site.file.relative_to(ROOT))
    lines = difflib.unified_diff(
        plain.splitlines(), source.splitlines(), name, name, lineterm="", n=4
    )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=40, help="how many mutants")
    parser.add_argument("--seed", type=int, default=1, help="which sample")
    parser.add_argument("--stories", type=int, default=100, help="of the simulation, for each")
    given = parser.parse_args(arguments)
    chosen = random.Random(given.seed).sample(sites(), given.count)  # noqa: S311 - no secret
    unnoticed = 0
    with tempfile.TemporaryDirectory(prefix="spawnai-mutants-") as name:
        folder = Path(name)
        shutil.copytree(PACKAGE, folder / "spawnai", ignore=shutil.ignore_patterns("__pycache__"))
        if not _passes(*_unit_tests(), folder=folder):
            print("The unit tests of the core fail without a mutant: mend them first")
            return 2
        for number, site in enumerate(chosen, start=1):
            source = mutant_of(site)
            noticed = is_noticed(site, source, folder, given.stories)
            print(f"{number}/{given.count} {'noticed' if noticed else 'NOT NOTICED'}", flush=True)
            if not noticed:
                unnoticed += 1
                print(difference(site, source), flush=True)
    share = 1 - unnoticed / given.count
    print(f"{given.count - unnoticed} of {given.count} noticed ({share:.0%})")
    return 0 if share >= ENOUGH else 1


if __name__ == "__main__":
    sys.exit(main())
