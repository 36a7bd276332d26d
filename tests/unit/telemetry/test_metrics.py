"""What the metrics say after something happened, and that the reference says it too."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from spawnai.api.conditions import Condition, ConditionType
from spawnai.api.session import Phase, SessionStatus
from spawnai.lifecycle.pooling import FAILURES, NO_ROOM
from spawnai.telemetry.metrics import (
    REFILL_FAILURES,
    AcmeLimit,
    GatewayCertificate,
    Metrics,
    PoolFigures,
)

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


NOW = datetime(2026, 11, 1, tzinfo=UTC)


def condition(type_: ConditionType, status: str, reason: str, message: str = "") -> Condition:
    return Condition(
        type=type_, status=status, reason=reason, message=message, last_transition_time=NOW
    )


def seen(phase: str, *conditions: Condition, **status: Any) -> SessionStatus:
    return SessionStatus(phase=Phase(phase), conditions=list(conditions), **status)


def waiting(reason: str) -> SessionStatus:
    return seen("Provisioning", condition(ConditionType.DROPLET_READY, "False", reason))


def ended(reason: str, *, failed: bool = False, was_ready: bool = False) -> SessionStatus:
    stalled = [condition(ConditionType.STALLED, "True", reason)] if failed else []
    ready_at = NOW if was_ready else None
    return seen("Destroying", *stalled, termination_reason=reason, ready_at=ready_at)


class Sums:
    limit, spent, reserved, warn = Decimal(5), Decimal(1), Decimal(2), Decimal(4)


def use_every_method(metrics: Metrics) -> None:
    metrics.acme_order("placed")
    metrics.images("standard", 2, 1)
    metrics.pool("spares", some_figures())
    metrics.pool_claim("standard", "taken")
    metrics.pool_refill_failed("spares", "NeverReady")
    metrics.watch_acme_limits(lambda: [AcmeLimit("domain", "example.com", 50, 12)])
    metrics.gateway_certificate("wild", a_certificate())
    metrics.session_seen("uid", waiting("Queued"))
    metrics.session_ended(ended("AppCrashed", failed=True))
    metrics.claude_order("Stored", 1)
    metrics.notice("Slack", "sent")
    metrics.estimate("standard", estimated=Decimal(1), actual=Decimal(2))
    metrics.budget("team", Sums())
    metrics.reconciled("SpawnSession", "ok", 0.01)
    metrics.ready(41.5)
    metrics.ttl_overrun(0.012)
    metrics.digitalocean_call(Outcome("GET /v2/droplets/{id}", "ok", 0.2))
    metrics.claude_tokens("some-model", "output", 900)
    metrics.cost(Decimal("0.0125"), "claude", "standard")
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


def a_certificate(**changes) -> GatewayCertificate:
    moment = datetime(2026, 11, 29, 12, tzinfo=UTC)
    times = {"expiration": moment, "not_before": moment, "renewal": moment}
    return GatewayCertificate(**({"source": "acme", "is_ready": True} | times | changes))


def some_figures() -> PoolFigures:
    droplets = {"ready": 1, "booting": 1, "leaving": 0, "claimed": 2}
    return PoolFigures("standard", wanted=2, is_ready=True, droplets=droplets)


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


def test_a_gateways_certificate_is_shown_until_the_class_has_none(metrics, registry):
    def shown(name: str, source: str) -> float | None:
        return registry.get_sample_value(name, {"class": "wild", "source": source})

    expiration = "spawnai_certificate_expiration_timestamp_seconds"
    metrics.gateway_certificate("wild", a_certificate())
    assert shown(expiration, "acme") == 1795953600
    assert shown("spawnai_certificate_ready_status", "acme") == 1
    metrics.gateway_certificate("wild", a_certificate(source="secret", renewal=None))
    assert shown(expiration, "acme") is None
    assert shown(expiration, "secret") == 1795953600
    assert shown("spawnai_certificate_renewal_timestamp_seconds", "secret") is None
    metrics.gateway_certificate("wild", None)
    assert shown(expiration, "secret") is None


def test_the_limits_are_asked_for_at_each_scrape_and_a_domain_without_a_class_is_gone(
    metrics, registry
):
    def shown(domain: str) -> tuple[float | None, ...]:
        labels = {"limit": "domain", "domain": domain}
        return tuple(
            registry.get_sample_value(f"spawnai_acme_limit_{what}", labels)
            for what in ("allowed", "remaining")
        )

    limits = [AcmeLimit("domain", "example.com", 50, 12)]
    metrics.watch_acme_limits(lambda: limits)
    assert shown("example.com") == (50, 12)
    limits[:] = [AcmeLimit("domain", "example.org", 50, 49)]
    assert shown("example.com") == (None, None)
    assert shown("example.org") == (50, 49)


def test_a_pools_series_are_there_before_anything_happens_and_go_with_it(metrics, registry):
    def of_pool() -> set[str]:
        return {
            sample.name
            for family in registry.collect()
            for sample in family.samples
            if sample.labels.get("pool") == "spares" and not sample.name.endswith("_created")
        }

    metrics.pool("spares", some_figures())
    missed = {"class": "standard", "result": "missed"}
    assert registry.get_sample_value("spawnai_pool_claims_total", missed) == 0
    assert of_pool() == {
        "spawnai_pool_spares",
        "spawnai_pool_wanted_spares",
        "spawnai_pool_ready_status",
        "spawnai_pool_refill_failures_total",
    }
    metrics.pool("spares", None)
    metrics.pool("spares", None)
    assert of_pool() == set()


def test_every_reason_of_a_failed_refill_is_counted():
    assert set(REFILL_FAILURES) == {*FAILURES, NO_ROOM}


def test_a_session_counts_in_the_phase_it_was_seen_in_last(metrics, registry):
    def count(phase: str) -> float | None:
        return registry.get_sample_value("spawnai_sessions", {"phase": phase})

    assert count("Running") == 0, "shown before the first session"
    metrics.session_seen("one", seen("Requested"))
    metrics.session_seen("two", seen("Requested"))
    metrics.session_seen("one", seen("Running"))
    metrics.session_seen("one", seen("Running"))
    assert (count("Requested"), count("Running")) == (1, 1)
    metrics.session_seen("one", None)
    metrics.session_seen("never seen", None)
    assert (count("Requested"), count("Running")) == (1, 0)


def test_a_running_session_counts_by_whether_its_app_answers(metrics, registry):
    def count(ready: str) -> float | None:
        return registry.get_sample_value("spawnai_sessions_running", {"ready": ready})

    assert (count("True"), count("Unknown")) == (0, 0)
    metrics.session_seen("one", seen("Running", condition(ConditionType.READY, "True", "Running")))
    assert count("True") == 1
    unreachable = condition(ConditionType.READY, "Unknown", "AgentUnreachable")
    metrics.session_seen("one", seen("Running", unreachable))
    assert (count("True"), count("Unknown")) == (0, 1)
    metrics.session_seen("one", seen("Destroying"))
    assert count("Unknown") == 0


def test_a_session_that_waits_counts_by_what_it_waits_for(metrics, registry):
    def count(reason: str) -> float | None:
        return registry.get_sample_value("spawnai_sessions_waiting", {"reason": reason})

    metrics.session_seen("one", waiting("Booting"))
    assert count("Booting") is None, "a droplet that boots waits for nothing"
    metrics.session_seen("one", waiting("WaitingForDropletLimit"))
    assert count("WaitingForDropletLimit") == 1
    metrics.session_seen("one", seen("Running"))
    assert count("WaitingForDropletLimit") == 0
    left = "Not seen gone yet: Droplet 1"
    cleanup = condition(ConditionType.CLEANUP_COMPLETE, "False", "Destroying", left)
    metrics.session_seen("one", seen("Destroying", cleanup, message="Its time was over"))
    assert count("Cleanup") is None, "a teardown takes its time"
    metrics.session_seen("one", seen("Destroying", cleanup, message=left))
    assert count("Cleanup") == 1


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (ended("Expired", was_ready=True), "completed"),
        (ended("AppCrashed", failed=True, was_ready=True), "failed_later"),
        (ended("AppCrashed", failed=True), "failed_start"),
        (ended("Deleted"), "withdrawn"),
    ],
)
def test_an_end_is_counted_by_whether_the_promise_was_kept(metrics, registry, status, result):
    metrics.session_ended(status)
    assert registry.get_sample_value("spawnai_session_results_total", {"result": result}) == 1
    reason = {"reason": status.termination_reason}
    assert registry.get_sample_value("spawnai_session_ends_total", reason) == 1


def test_the_cost_of_a_session_is_held_against_its_estimate(metrics, registry):
    metrics.estimate("standard", estimated=Decimal("0.50"), actual=Decimal("0.75"))
    metrics.estimate("standard", estimated=Decimal("0.50"), actual=Decimal("0.76"))
    within = registry.get_sample_value("spawnai_session_cost_ratio_bucket", {"le": "1.5"})
    assert within == 1, "the bound of the alert is one of the histogram"
    estimated = {"class": "standard"}
    assert registry.get_sample_value("spawnai_estimated_dollars_total", estimated) == 1
    metrics.estimate("standard", estimated=Decimal(0), actual=Decimal(0))
    assert registry.get_sample_value("spawnai_session_cost_ratio_count") == 2


def test_ten_thousand_sessions_make_no_more_series_than_one(metrics, registry):
    metrics.session_seen("uid", seen("Running"))
    lines = len(generate_latest(registry).splitlines())
    for number in range(10_000):
        metrics.session_seen(f"uid-{number}", seen("Running"))
    assert len(generate_latest(registry).splitlines()) == lines


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)
def test_names_types_and_units_are_as_prometheus_wants_them(metrics, registry):
    use_every_method(metrics)
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        check=False,
        input=generate_latest(registry).decode(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_no_label_holds_a_session(metrics, registry):
    use_every_method(metrics)
    labels = {label for _, names in families(registry).values() for label in names}
    assert labels == {
        "answer", "phase", "ready", "reason", "result", "kind", "class", "outcome", "channel",
        "endpoint", "model", "write", "window", "version", "whose", "limit", "verdict",
        "source", "budget", "action", "state", "pool", "domain",
    }  # fmt: skip


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
