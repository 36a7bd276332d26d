"""`make observe`, run as a person runs it: every panel has a value, and the alert arrives."""

import os
import shutil
import subprocess

import pytest
from tests.support.local_program import of_this_run, processes_of

from spawnai_local.observe.dashboards import questions
from spawnai_local.observe.prometheus import PROGRAMS
from spawnai_local.paths import checkout

MISSING = [name for name in PROGRAMS if shutil.which(name) is None]


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (Debian's packages of that name)"
)
def test_every_panel_is_answered_and_the_alert_arrives_at_both_channels():
    done = subprocess.run(
        of_this_run("spawnai_local.observe"),
        check=False,
        env={**os.environ, "CLAUDE": "simulator"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=480,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "No value" not in done.stdout
    for panel in {question.panel for question in questions("1m")}:
        assert panel in done.stdout
    assert "nan" not in done.stdout.lower().split("ask every panel")[1].split("stop the")[0]
    for channel in ("discord", "slack"):
        assert f"✓ {channel}: SpawnAIDown, with its page down.md" in done.stdout
    assert processes_of(checkout() / "build" / "observe") == []
