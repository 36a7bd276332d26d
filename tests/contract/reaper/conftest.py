"""The reaper as the operator builds it, between an emulated account and a small API server.

The account's clock stands still and is moved by hand, so that droplets are an hour old at once.
Nothing that a test does may touch the foreign things that stand in the account.
"""

import random
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from ipaddress import ip_network

import pytest
from kubernetes.aio import client
from prometheus_client import CollectorRegistry
from tests.contract.reaper.api_server import FakeApiServer
from tests.contract.reaper.world import CANARIES, CLUSTER, World

from spawnai.api.names import cluster_tag
from spawnai.clock import SystemClock
from spawnai.controller.accounts import connector
from spawnai.controller.actions.agents import Agents
from spawnai.controller.cluster import Cluster
from spawnai.controller.controller import Controller, Outside
from spawnai.controller.reaping.reaper import ReaperSettings
from spawnai.lifecycle.reaping import ReapingRules
from spawnai.notices.sender import NoticeSender
from spawnai.telemetry.events import EventRecorder
from spawnai.telemetry.metrics import Metrics
from spawnai.telemetry.redaction import Redactor
from spawnai_local.digitalocean import NO_DELAYS, Emulator, ManualClock, Settings
from spawnai_local.digitalocean.client import ControlClient


@pytest.fixture
def reaper_settings() -> ReaperSettings:
    """Two looks may follow each other at once; tests with other wishes define their own."""
    return ReaperSettings(ReapingRules(between_sightings=timedelta(0)))


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    clock = ManualClock(time.time() - 3600)
    emulator = Emulator(clock, settings=Settings(delays=NO_DELAYS))
    await emulator.start(dns_port=None)
    async with ControlClient(emulator.url) as control:
        await control.seed(**CANARIES)
        yield emulator
        assert (await control.canaries())["touched"] == []
    await emulator.stop()


@pytest.fixture
async def api_server() -> AsyncIterator[FakeApiServer]:
    server = FakeApiServer(CLUSTER)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def world(emulator, api_server, reaper_settings) -> AsyncIterator[World]:
    clock = SystemClock()
    events: list[dict] = []

    async def write_event(_namespace, _name, body, _patch):
        events.append(body)

    metrics = Metrics(CollectorRegistry())
    configuration = client.Configuration(host=api_server.url)
    async with client.ApiClient(configuration) as api, ControlClient(emulator.url) as control:
        recorder = EventRecorder(write_event, clock, instance="test")
        held = World.Lease()
        cluster = Cluster(api, before_write=held.check)
        controller = Controller(
            Outside(
                cluster=cluster,
                connect=connector(
                    base_url=emulator.url,
                    cluster_tag=cluster_tag(CLUSTER),
                    clock=clock,
                    random=random.Random(1),
                    on_call=lambda _outcome: None,
                    before_change=held.check,
                    droplet_networks=(ip_network("127.0.0.0/8"),),
                ),
                claude_for=lambda _key: pytest.fail("no reason to ask Claude"),
                agents=Agents(b"0" * 32),
                events=recorder,
                metrics=metrics,
                redactor=Redactor(),
                clock=clock,
                random=random.Random(1),
                check_leadership=held.check,
                namespace="spawnai-system",
                cluster_uid=CLUSTER,
                agent_source="",
                inspector=None,
                notices=NoticeSender(partial(cluster.get_secret, "spawnai-system"), clock),
                reaper=reaper_settings,
            )
        )
        world = World(emulator, control, api_server, controller, metrics, recorder, events, held)
        yield world
        await controller.reaper.close()
        await controller.accounts.close()
