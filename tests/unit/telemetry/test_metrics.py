"""What the metrics say after something happened, and that the reference says it too."""

import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from spawnai.telemetry.metrics import Metrics

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"


@dataclass(frozen=True)
class Outcome:
    endpoint: str
    result: str
    seconds: float


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry) -> Metrics:
    return Metrics(registry)


def use_every_method(metrics: Metrics) -> None:
    metrics.session_phase("uid", "Running")
    metrics.reconciled("SpawnSession", "ok", 0.01)
    metrics.ready(41.5)
    metrics.ttl_overrun(0.012)
    metrics.digitalocean_call(Outcome("GET /v2/droplets/{id}", "ok", 0.2))
    metrics.claude_tokens("some-model", "output", 900)
    metrics.cost(Decimal("0.0125"), "claude")
    metrics.api_write("patch session-status")
    metrics.event("written")
    metrics.orphans(1)
    metrics.reaped("deleted")
    metrics.reaper_look("ok")
    metrics.watch_queue(depth=lambda: 3, delayed=lambda: 1000, oldest_wait_seconds=lambda: 0.25)
    metrics.watch_budget(remaining_in_hour=lambda: 4711, remaining_in_minute=lambda: 211)
    metrics.watch_leadership(lambda: True)


def families(registry: CollectorRegistry) -> dict[str, tuple[str, frozenset[str]]]:
    """Name as Prometheus shows it → type and labels."""
    found = {}
    for family in registry.collect():
        if not family.name.startswith("spawnai_"):
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels}
        found[name] = (family.type, frozenset(labels - {"le"}))
    return found


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    rows = re.findall(
        r"^\| `(spawnai_\w+)` \| (\w+) \| ([^|]*)\|", REFERENCE.read_text(), re.MULTILINE
    )
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_every_metric_is_documented_with_its_type_and_labels(metrics, registry):
    use_every_method(metrics)
    assert families(registry) == documented()


def test_the_questions_of_the_reference_ask_for_metrics_that_exist(metrics, registry):
    asked = set()
    for query in re.findall(r"```promql\n(.*?)```", REFERENCE.read_text(), re.DOTALL):
        asked |= {name.removesuffix("_bucket") for name in re.findall(r"spawnai_\w+", query)}
    assert len(asked) >= 6
    assert asked <= set(documented())


def test_a_session_counts_in_the_phase_it_was_seen_in_last(metrics, registry):
    def count(phase: str) -> float | None:
        return registry.get_sample_value("spawnai_sessions", {"phase": phase})

    assert count("Running") == 0, "shown before the first session"
    metrics.session_phase("one", "Requested")
    metrics.session_phase("two", "Requested")
    metrics.session_phase("one", "Running")
    metrics.session_phase("one", "Running")
    assert (count("Requested"), count("Running")) == (1, 1)
    metrics.session_phase("one", None)
    metrics.session_phase("never seen", None)
    assert (count("Requested"), count("Running")) == (1, 0)


def test_ten_thousand_sessions_make_no_more_series_than_one(metrics, registry):
    metrics.session_phase("uid", "Running")
    lines = len(generate_latest(registry).splitlines())
    for number in range(10_000):
        metrics.session_phase(f"uid-{number}", "Running")
    assert len(generate_latest(registry).splitlines()) == lines


def test_gauges_are_asked_when_they_are_read(metrics, registry):
    depth = 1
    metrics.watch_queue(depth=lambda: depth, delayed=lambda: 0, oldest_wait_seconds=lambda: 0)
    assert registry.get_sample_value("spawnai_queue_depth") == 1
    depth = 7
    assert registry.get_sample_value("spawnai_queue_depth") == 7


def test_calls_are_counted_by_endpoint_and_result_and_timed(metrics, registry):
    endpoint = "POST /v2/droplets"
    metrics.digitalocean_call(Outcome(endpoint, "ok", 0.5))
    metrics.digitalocean_call(Outcome(endpoint, "ok", 1.0))
    metrics.digitalocean_call(Outcome(endpoint, "rate_limited", 0.1))
    name = "spawnai_digitalocean_calls_total"
    assert registry.get_sample_value(name, {"endpoint": endpoint, "result": "ok"}) == 2
    assert registry.get_sample_value(name, {"endpoint": endpoint, "result": "rate_limited"}) == 1
    seconds = "spawnai_digitalocean_call_duration_seconds_sum"
    assert registry.get_sample_value(seconds, {"endpoint": endpoint}) == pytest.approx(1.6)


def test_the_targets_are_bounds_of_their_histograms(metrics, registry):
    metrics.ready(90)
    metrics.ttl_overrun(0.15)
    assert registry.get_sample_value("spawnai_session_ready_seconds_bucket", {"le": "90.0"}) == 1
    assert registry.get_sample_value("spawnai_ttl_overrun_seconds_bucket", {"le": "0.15"}) == 1


def test_two_operators_in_one_process_do_not_share_their_metrics():
    one, two = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
    one.ready(10)
    assert two.registry.get_sample_value("spawnai_session_ready_seconds_count") == 0
