"""The probes and the metrics as kubelet and Prometheus see them: over real HTTP."""

import httpx
import pytest
from prometheus_client import CollectorRegistry

from spawnai.telemetry.http import TelemetryServer
from spawnai.telemetry.metrics import Metrics


class Operator:
    unhealthy: str | None = None


@pytest.fixture
def operator() -> Operator:
    return Operator()


@pytest.fixture
async def client(operator):
    registry = CollectorRegistry()
    Metrics(registry).reconciled("SpawnSession", "ok", 0.01)
    server = TelemetryServer(
        registry,
        check_health=lambda: operator.unhealthy,
        host="127.0.0.1",
        port=0,
    )
    await server.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=5) as client:
        yield client
    await server.stop()


async def test_a_healthy_operator_is_alive_and_ready(client):
    for path in ("/healthz", "/readyz"):
        answer = await client.get(path)
        assert (answer.status_code, answer.text) == (200, "ok\n")


async def test_what_fails_the_health_check_is_said_and_makes_nobody_unready(client, operator):
    operator.unhealthy = "default/a has waited 61 s for a worker (limit 60 s)"
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.text) == (500, f"{operator.unhealthy}\n")
    assert (await client.get("/readyz")).status_code == 200


async def test_prometheus_reads_the_metrics_in_either_of_its_formats(client):
    plain = await client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain")
    assert 'spawnai_reconciles_total{kind="SpawnSession",result="ok"} 1.0' in plain.text
    openmetrics = await client.get(
        "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert openmetrics.text.endswith("# EOF\n")


async def test_anything_else_is_not_found(client):
    assert (await client.get("/")).status_code == 404
    assert (await client.post("/metrics")).status_code == 405


async def test_a_port_in_use_is_an_error_that_leaves_nothing_behind(client):
    port = client.base_url.port
    second = TelemetryServer(
        CollectorRegistry(),
        check_health=lambda: None,
        host="127.0.0.1",
        port=port,
    )
    with pytest.raises(OSError, match="address already in use"):
        await second.start()
    await second.stop()
