"""What README.md and docs/ name is really there."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from spawnai.controller.observe import RESYNC_SPREAD
from spawnai.droplet.agent.settings import Machine
from spawnai.lifecycle.keep import FIRST_LOOK, LONGEST_UNSEEN
from spawnai_local.paths import checkout

ROOT = checkout()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(document):
    targets = [
        target for target in LINK.findall(document.read_text()) if not target.startswith("http")
    ]
    missing = [target for target in targets if not (document.parent / target).exists()]
    assert missing == []


def test_every_test_that_is_named_exists():
    named = {
        test
        for document in DOCUMENTS
        for test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", document.read_text())
    }
    assert len(named) > 50
    for file, name in sorted(named):
        text = (ROOT / file).read_text()
        assert not name or re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), name


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"`make ([a-z-]+)", document.read_text())
    }
    assert {"demo", "local"} <= named
    assert named <= targets


def test_make_help_explains_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    helped = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert set(targets) == helped


def test_every_variable_of_the_local_stack_is_in_the_guide():
    settings = (ROOT / "local" / "spawnai_local" / "stack_settings.py").read_text()
    variables = set(re.findall(r"^\| ([A-Z]+) \|", settings, re.MULTILINE))
    guide = (ROOT / "docs" / "guide.md").read_text()
    assert variables == {"CLUSTER", "CLOUD", "CLAUDE", "INSTALL", "DOMAIN"}
    assert [name for name in sorted(variables) if name not in guide] == []


def test_the_guide_names_the_times_after_which_an_app_is_given_up_and_asked_after():
    guide = " ".join((ROOT / "docs" / "guide.md").read_text().split())
    machine = Machine()
    answer, script = f"{machine.answer_seconds:.0f}", f"{machine.script_seconds:.0f}"
    assert f"An API has {answer} seconds to answer, a script {script} seconds to end." in guide
    assert (machine.restarts, machine.restart_window_seconds) == (5, 600)
    assert "five times within ten minutes" in guide
    assert f"{FIRST_LOOK.total_seconds():.0f} seconds after Ready" in guide
    assert f"in the end every {LONGEST_UNSEEN // timedelta(minutes=1)} minutes" in guide
    assert RESYNC_SPREAD <= LONGEST_UNSEEN, "a new process asks no later than the last one"


def test_the_folders_of_the_readme_are_the_folders_there_are():
    readme = (ROOT / "README.md").read_text()
    section = readme.split("## What is where")[1].split("## For those")[0]
    named = {Path(target).parts[0] for target in LINK.findall(section)}
    there = {
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and not path.name.startswith(".") and any(path.glob("*"))
    }
    assert there - named - {"build"} == set()
