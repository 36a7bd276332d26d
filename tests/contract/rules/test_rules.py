"""rules/spawnai.yaml by Prometheus' own tool: what fires, what stays silent, what to do then."""

import re
import shutil
import subprocess

import promql_parser
import pytest
import yaml
from tests.contract.rules.cases import CASES, Case

from spawnai_local.paths import checkout

RULES = checkout() / "rules" / "spawnai.yaml"
RUNBOOKS = checkout() / "docs" / "runbooks"
REFERENCE = checkout() / "docs" / "reference" / "metrics.md"
GATEWAY = REFERENCE.parents[1] / "https.md"
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
NAMES = sorted({rule["alert"] for rule in ALERTS})

SUFFIX = re.compile(r"_(bucket|count|sum)$")  # what a histogram is made of

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], check=False, capture_output=True, text=True, timeout=240
    )


def as_promtool_reads_it(case: Case) -> dict:
    """The case as one test; annotations are looked at elsewhere."""
    query = f'ALERTS{{alertname="{case.alert}",alertstate="firing"}}'
    samples = [
        {
            "labels": "ALERTS{"
            + ", ".join(
                f'{name}="{value}"'
                for name, value in sorted(
                    {
                        "alertname": case.alert,
                        "alertstate": "firing",
                        "severity": severity,
                        **case.labels,
                    }.items()
                )
            )
            + "}",
            "value": 1,
        }
        for severity in case.severities
    ]
    return {
        "name": f"{case.alert}: {case.name}",
        "interval": "1m",
        "input_series": [
            {"series": series, "values": values} for series, values in case.series.items()
        ],
        "promql_expr_test": [{"expr": query, "eval_time": case.at, "exp_samples": samples}],
    }


@needs_promtool
def test_every_alert_fires_when_it_should_and_only_then(tmp_path):
    document = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [as_promtool_reads_it(case) for case in CASES],
    }
    path = tmp_path / "cases.yaml"
    path.write_text(yaml.safe_dump(document))
    done = promtool("test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_rules_are_valid():
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(name):
    assert {case.fires for case in CASES if case.alert == name} == {True, False}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_tells_how_bad_it_is_its_value_and_where_to_read_on(rule):
    assert rule["labels"]["severity"] in {"critical", "warning"}
    notes = rule["annotations"]
    assert notes["summary"]
    assert "$value" in notes["description"]
    page = RUNBOOKS / notes["runbook_url"].rpartition("/")[2]
    assert page.is_file(), page.name
    assert f"`{rule['alert']}`" in page.read_text()


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_a_threshold_stands_once_in_its_expression(rule):
    threshold = rule["annotations"].get("threshold")
    if threshold is not None:
        assert rule["expr"].count(threshold) == 1


def test_every_expression_asks_for_metrics_that_exist():
    pages = REFERENCE.read_text() + GATEWAY.read_text()
    documented = set(re.findall(r"^\| `(spawnai_\w+)` \|", pages, re.MULTILINE))
    rules = [rule for group in GROUPS for rule in group["rules"]]
    known = documented | {rule["record"] for rule in rules if "record" in rule}
    for rule in rules:
        promql_parser.parse(rule["expr"])
        asked = set(re.findall(r"\bspawnai[_:][\w:]+", rule["expr"]))
        series = {name if name in known else SUFFIX.sub("", name) for name in asked}
        assert series <= known, rule["expr"]


def test_no_alert_interpolates_within_a_bucket():
    assert "histogram_quantile" not in RULES.read_text().partition("groups:")[2]
