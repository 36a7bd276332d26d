"""The commands of README.md and docs/guide.md are run as they stand, one block after another."""

import re
from pathlib import Path

import pytest

from spawnai_local.classes import LOCAL_CLASSES
from spawnai_local.paths import checkout

RUN = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: str) -> list[str]:
    """What a reader is meant to run. Blocks marked `console` show, and are not run."""
    return RUN.findall((checkout() / document).read_text())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", ["README.md", "docs/guide.md"])
def test_every_command_works_as_it_stands(stack, document):
    found = blocks(document)
    assert found
    for block in found:
        stack.shell(block.replace(". .local/env", ":"), limit_seconds=200)


def test_the_guide_leaves_nothing_behind_but_records(stack):
    assert stack.shell("kubectl get spawnsessions --all-namespaces -o name") == ""
    classes = stack.shell("kubectl get spawnclasses -o name").split()
    assert set(classes) == {f"spawnclass.spawn-ai.com/{name}" for name in LOCAL_CLASSES}


def test_what_is_installed_into_a_cluster_is_accepted_by_an_api_server(stack):
    guide = Path(checkout() / "docs" / "install.md").read_text()
    assert "`kubectl apply --server-side -k manifests`" in guide
    applied = stack.shell(
        "kubectl apply --server-side --force-conflicts --dry-run=server -k manifests"
    )
    assert "deployment.apps/spawnai-operator serverside-applied" in applied
    settings = stack.shell("kubectl apply --dry-run=server -f manifests/settings")
    assert "spawnclass.spawn-ai.com/standard" in settings
