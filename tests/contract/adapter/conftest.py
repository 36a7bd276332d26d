"""The adapter as the operator builds it, on an emulator of DigitalOcean over real HTTP.

What the adapter sends is held against DigitalOcean's own description, field by field.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import ip_network

import pytest
from jsonschema import Draft202012Validator
from tests.contract.openapi import contract, json_schema, resolve

from spawnai.clock import SystemClock
from spawnai.digitalocean.account import Catalog
from spawnai.digitalocean.budget import RateBudget
from spawnai.digitalocean.client import ApiClient, CallOutcome
from spawnai.digitalocean.dns import DomainRecords
from spawnai.digitalocean.droplets import Droplets
from spawnai.digitalocean.firewalls import Firewalls
from spawnai_local.digitalocean import NO_DELAYS, Emulator, Settings
from spawnai_local.digitalocean.client import ControlClient

TOKEN = "local-token"


@dataclass
class Adapter:
    """All parts of the adapter on one client."""

    api: ApiClient
    outcomes: list[CallOutcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.droplets = Droplets(self.api)
        self.records = DomainRecords(self.api)
        self.firewalls = Firewalls(self.api)
        self.catalog = Catalog(self.api)


def request_violations(endpoint: str, body: bytes) -> list[str]:
    """What is wrong with a request's body by DigitalOcean's description, a sentence each."""
    method, _, path = endpoint.partition(" ")
    described = contract()["paths"][path][method.lower()].get("requestBody")
    if described is None:
        return [f"{endpoint} takes no body"] if body else []
    if "$ref" in described:
        described = resolve(described["$ref"])
    schema = described["content"]["application/json"]["schema"]
    holder = Draft202012Validator(json_schema(schema, strict=False))
    return [
        f"{endpoint}: {error.json_path}: {error.message[:300]}"
        for error in holder.iter_errors(json.loads(body))
    ]


@pytest.fixture
def settings() -> Settings:
    """Everything has moved on by the next request; tests with other wishes define their own."""
    return Settings(delays=NO_DELAYS)


@pytest.fixture
async def emulator(settings) -> AsyncIterator[Emulator]:
    emulator = Emulator(settings=settings)
    wrong: list[str] = []

    def hold(endpoint, request, _answer):
        if endpoint.startswith(("POST ", "PUT ")):
            wrong.extend(request_violations(endpoint, request.body))

    emulator.api.observers.append(hold)
    await emulator.start(dns_port=None)
    yield emulator
    await emulator.stop()
    assert wrong == []


@pytest.fixture
async def control(emulator) -> AsyncIterator[ControlClient]:
    async with ControlClient(emulator.url) as client:
        yield client


@pytest.fixture
def fault() -> str:
    """What goes wrong; tests that let something go wrong say it as their parameter."""
    return ""


@pytest.fixture
def timeout_seconds(fault) -> float:
    """Short only where an answer stays out on purpose: a busy machine is no fault."""
    return 1.0 if fault.startswith("timeout") else 20.0


@pytest.fixture
async def adapter(emulator, timeout_seconds) -> AsyncIterator[Adapter]:
    outcomes: list[CallOutcome] = []
    api = ApiClient(
        TOKEN,
        emulator.url,
        RateBudget(SystemClock()),
        on_call=outcomes.append,
        timeout_seconds=timeout_seconds,
        droplet_networks=(ip_network("127.0.0.0/8"),),
    )
    yield Adapter(api, outcomes)
    await api.close()
