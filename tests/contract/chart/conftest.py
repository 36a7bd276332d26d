"""The chart, rendered by Helm as a person would."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from spawnai_local import toolchain
from spawnai_local.paths import checkout

CHART = checkout() / "helm" / "spawnai"

Objects = dict[tuple[str, str], dict[str, Any]]
Render = Callable[..., Objects]


class HelmError(Exception):
    pass


@pytest.fixture(scope="session")
def helm() -> Callable[..., str]:
    program: Path = toolchain.helm()

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [program, *arguments], check=False, capture_output=True, text=True, timeout=60
        )
        if done.returncode != 0:
            raise HelmError(done.stderr)
        return done.stdout

    return run


@pytest.fixture(scope="session")
def render(helm) -> Render:
    """Values as `--set` has them → the objects, by kind and name."""

    def objects(*values: str, namespace: str = "spawnai-system", more: tuple[str, ...] = ()) -> Any:
        arguments = [argument for value in values for argument in ("--set-json", value)]
        text = helm("template", "spawnai", str(CHART), "--namespace", namespace, *arguments, *more)
        return by_kind_and_name(text)

    return objects


def by_kind_and_name(text: str) -> Objects:
    documents = [document for document in yaml.safe_load_all(text) if document]
    found = {(one["kind"], one["metadata"]["name"]): one for one in documents}
    assert len(found) == len(documents), "two objects of one kind have the same name"
    return found
