"""Which sessions have missed a spare: those that a pool fits and that order their own droplet."""

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.unit.lifecycle.life import a_session

from spawnai.api.session import SessionSpec
from spawnai.api.spawnclass import ClassSpec
from spawnai.controller.actions.droplets import DropletSteps
from spawnai.controller.pools.pools import Pools
from spawnai.controller.store import Store
from spawnai.telemetry.metrics import Metrics

OFFERED = {"regions": ["nyc3", "fra1"], "exposure": {"mode": "Direct"}}
ORDER = {"prompt": "A page with a clock on it", "appType": "webapp", "tier": "light"}
UNUSED: Any = None


def missed(
    pool: dict[str, Any] | None, order: dict[str, Any] | None = None, **of_class: Any
) -> float | None:
    """How often a session of class `standard` is counted that makes its own droplet."""
    store, metrics = Store(), Metrics(CollectorRegistry())
    if pool is not None:
        metadata = {"name": "spares", "uid": "1", "resourceVersion": "1"}
        store.put_pool({"metadata": metadata, "spec": {"className": "standard", **pool}})
    pools = Pools(
        cluster=UNUSED,
        store=store,
        spares=UNUSED,
        events=UNUSED,
        metrics=metrics,
        clock=UNUSED,
        random=UNUSED,
        cluster_uid="c",
        agent_source="",
        class_state=UNUSED,
    )
    steps = DropletSteps(
        agents=UNUSED,
        clock=UNUSED,
        cluster_uid="c",
        agent_source="",
        wake=UNUSED,
        missed=pools.missed,
    )
    quota = SimpleNamespace(served=lambda *_: None, first=lambda: None)
    backing = SimpleNamespace(
        class_name="standard",
        class_uid="u",
        spec=ClassSpec.model_validate(OFFERED | of_class),
        account=SimpleNamespace(quota=quota),
    )
    session = a_session(spec=SessionSpec.model_validate(ORDER | (order or {})))
    steps.made(SimpleNamespace(uid=session.uid, session=session, backing=backing))
    return metrics.registry.get_sample_value(
        "spawnai_pool_claims_total", {"class": "standard", "result": "missed"}
    )


def test_a_session_that_orders_a_droplet_although_a_pool_keeps_such_has_missed_one():
    assert missed({}) == 1
    assert missed({"region": "fra1"}) == 1, "any place that it may have will do"


@pytest.mark.parametrize(
    "pool",
    [
        pytest.param(None, id="there is no pool"),
        pytest.param({"className": "other"}, id="another class"),
        pytest.param({"tier": "complex"}, id="another size"),
        pytest.param({"region": "sfo3"}, id="another region"),
        pytest.param({"replicas": 0}, id="it keeps none"),
    ],
)
def test_one_that_no_pool_fits_has_not(pool):
    assert missed(pool) is None


def test_one_that_wants_another_region_than_the_pools_has_not():
    assert missed({}, {"region": "fra1"}) is None


def test_one_behind_a_load_balancer_takes_no_spares():
    exposure = {"mode": "LoadBalancer", "domain": "apps.example.com"}
    assert missed({}, exposure=exposure) is None
