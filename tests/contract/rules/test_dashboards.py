"""dashboards/*.json: made from their builders, complete, and asking for metrics that exist."""

import json
import re
import subprocess
import sys

import promql_parser
import pytest
from tests.contract.rules.test_rules import REFERENCE, SUFFIX

from spawnai_local.observe.dashboards import DASHBOARDS, evaluable
from spawnai_local.paths import checkout

FILES = sorted(DASHBOARDS.glob("*.json"))
PANELS = [
    pytest.param(panel, id=f"{file.stem}: {panel['title']}")
    for file in FILES
    for panel in json.loads(file.read_text())["panels"]
]


def test_the_files_are_what_the_builders_make():
    done = subprocess.run(
        [sys.executable, "tools/dashboards.py", "--check"],
        check=False,
        cwd=checkout(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_dashboard_says_what_it_is_for_and_leaves_the_data_source_to_its_reader(file):
    board = json.loads(file.read_text())
    assert board["title"].startswith("SpawnAI / ")
    assert board["description"]
    assert board["uid"] == f"spawnai-{file.stem}"
    assert [one["name"] for one in board["templating"]["list"]] == ["datasource"]
    titles = [panel["title"] for panel in board["panels"]]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_has_a_unit_a_sentence_and_expressions_of_known_metrics(panel):
    assert panel["description"].endswith((".", "core."))
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    documented = set(re.findall(r"^\| `(spawnai_\w+)` \|", REFERENCE.read_text(), re.MULTILINE))
    for target in panel["targets"]:
        expression = target["expr"]
        promql_parser.parse(evaluable(expression, "10m"))
        asked = set(re.findall(r"\bspawnai_\w+", expression))
        assert {
            name if name in documented else SUFFIX.sub("", name) for name in asked
        } <= documented
        assert "histogram_quantile" not in expression
        assert "job=" not in expression
        windows = set(re.findall(r"rate\([^[]*\[([^]]+)\]", expression))
        assert windows <= {"$__rate_interval"}, (
            "a fixed window is wrong for another scrape interval"
        )
        assert target["legendFormat"]
