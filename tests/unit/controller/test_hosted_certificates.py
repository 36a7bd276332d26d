"""The certificate that DigitalOcean holds for load balancers of a class, from order to end."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.tls_pairs import DAY, Pair
from tests.support.virtual_time import START, VirtualClock, virtual_time

from spawnai.api.names import FINALIZER
from spawnai.api.record import Presence, ResourceKind
from spawnai.controller.classes.hosted import FAILED, PENDING, REFUSED, HostedCertificates
from spawnai.controller.classes.ledger import ClassLedgers
from spawnai.controller.classes.state import ClassProblem
from spawnai.controller.cluster import ObjectNotFound
from spawnai.controller.store import Store
from spawnai.digitalocean.errors import Ambiguous, Busy, Refused
from spawnai.digitalocean.models import Certificate, CertificateUpload

UID = "c1a50000-0000-4000-8000-000000000001"
BALANCED = {"mode": "LoadBalancer", "domain": "apps.example"}


class ApiServer:
    """The API server with the class's ledger."""

    def __init__(self) -> None:
        self.version = 1
        self.status: dict[str, Any] = {}

    def body(self) -> dict[str, Any]:
        return {
            "metadata": {
                "name": UID,
                "uid": "ledger",
                "resourceVersion": str(self.version),
                "creationTimestamp": START.isoformat(),
                "finalizers": [FINALIZER],
            },
            "spec": {
                "owner": {"kind": "SpawnClass", "name": "balanced", "uid": UID},
                "clusterUid": "one",
                "className": "balanced",
            },
            "status": self.status,
        }

    async def patch_record_status(self, _name: str, patch: Any) -> dict[str, Any]:
        self.version += 1
        self.status = {**self.status, **patch["status"]}
        return self.body()


class Held:
    """The account's certificates, by name. `lost`: the next order's answer is."""

    def __init__(self) -> None:
        self.all: dict[str, Certificate] = {}
        self.orders: list[str] = []
        self.uploads: list[CertificateUpload] = []
        self.lost = self.refused = False
        self.in_use: set[str] = set()

    async def find(self, name: str, *, priority: object) -> Certificate | None:
        return self.all.get(name)

    async def upload(self, upload: CertificateUpload, *, priority: object) -> Certificate:
        self.orders.append(upload.name)
        self.uploads.append(upload)
        number = f"id-{len(self.orders)}"
        self.all[upload.name] = Certificate(
            number, upload.name, "verified", "custom", ("*.apps.example",), START, None
        )
        return self.all[upload.name]

    async def order(self, name: str, dns_names: Any, *, priority: object) -> Certificate:
        self.orders.append(name)
        if self.refused:
            raise Refused("one or more of the domains are not managed by this account")
        self.all[name] = Certificate(
            f"id-{len(self.orders)}", name, "pending", "lets_encrypt", tuple(dns_names), START, None
        )
        if self.lost:
            self.lost = False
            raise Ambiguous("no answer in time")
        return self.all[name]

    async def delete(self, identifier: str, *, priority: object) -> bool:
        name = next((one.name for one in self.all.values() if one.id == identifier), None)
        if name in self.in_use:
            raise Busy("Make sure the certificate is not in use before deleting it")
        return self.all.pop(name or "", None) is not None

    def becomes(self, state: str) -> None:
        self.all = {name: replace(one, state=state) for name, one in self.all.items()}


class Secrets:
    """The Secrets of the operator's namespace, by name."""

    def __init__(self) -> None:
        self.all: dict[str, Pair] = {}

    async def get_secret(self, namespace: str, name: str) -> dict[str, bytes]:
        if name not in self.all:
            raise ObjectNotFound(f"get secret {namespace}/{name}", "not found")
        pair = self.all[name]
        return {"tls.crt": pair.chain_pem, "tls.key": pair.key_pem}


class Desk:
    def __init__(self) -> None:
        self.clock, self.store, self.api, self.held = VirtualClock(), Store(), ApiServer(), Held()
        self.secrets = Secrets()
        self.store.put_record(self.api.body())
        self.hosted = HostedCertificates(
            ClassLedgers(self.api, self.store, "one"),
            self.secrets,
            self.store,
            self.clock,
            "spawnai",
        )
        self.account = SimpleNamespace(certificates=self.held)
        self.looks = 0

    async def look(self, **exposure: Any):
        self.looks += 1
        body = {
            "metadata": {
                "name": "balanced",
                "uid": UID,
                "resourceVersion": str(self.looks),
                "generation": self.looks,
                "creationTimestamp": START.isoformat(),
            },
            "spec": {"exposure": exposure or BALANCED},
        }
        self.store.put_class(body)
        known = self.store.spawn_class("balanced")
        return await self.hosted.ensure(known, known.spec, self.account)

    async def problem(self, **exposure: Any) -> str:
        with pytest.raises(ClassProblem) as error:
            await self.look(**exposure)
        return error.value.reason

    def lines(self) -> list[tuple[str, Presence]]:
        return [
            (line.name, line.presence)
            for line in self.store.record(UID).status.resources
            if line.kind is ResourceKind.HOSTED_CERTIFICATE
        ]


@virtual_time
async def test_sessions_wait_until_digitalocean_has_it_and_it_is_ordered_once():
    desk = Desk()
    assert await desk.problem() == PENDING
    assert await desk.problem() == PENDING
    desk.held.becomes("verified")
    hosted = await desk.look()
    assert hosted is not None
    assert hosted.host == "*.apps.example"
    assert desk.held.orders == [hosted.name]
    assert desk.lines() == [(hosted.name, Presence.PRESENT)]


@virtual_time
async def test_one_whose_answer_was_lost_is_found_by_its_name():
    desk = Desk()
    desk.held.lost = True
    assert await desk.problem() == PENDING
    [line] = desk.lines()
    desk.held.becomes("verified")
    hosted = await desk.look()
    assert hosted is not None
    assert line == (hosted.name, Presence.PRESENT), "its line stands before it is made"
    assert len(desk.held.orders) == 1


@virtual_time
async def test_a_renewal_changes_its_id_and_nothing_else():
    desk = Desk()
    assert await desk.problem() == PENDING
    desk.held.becomes("verified")
    before = await desk.look()
    desk.held.all = {name: replace(one, id="renewed") for name, one in desk.held.all.items()}
    assert await desk.look() == before
    assert len(desk.held.orders) == 1


@virtual_time
async def test_one_that_could_not_be_had_is_ordered_again_after_a_quarter_of_an_hour():
    desk = Desk()
    assert await desk.problem() == PENDING
    desk.held.becomes("error")
    assert await desk.problem() == FAILED
    assert await desk.problem() == FAILED
    assert len(desk.held.orders) == 1
    await desk.clock.sleep(timedelta(minutes=15).total_seconds() + 1)
    assert await desk.problem() == FAILED
    assert await desk.problem() == PENDING
    assert len(desk.held.orders) == 2


@virtual_time
async def test_a_refusal_is_a_person_s():
    desk = Desk()
    desk.held.refused = True
    assert await desk.problem() == REFUSED


@virtual_time
async def test_that_of_another_domain_goes_once_no_load_balancer_uses_it():
    desk = Desk()
    assert await desk.problem() == PENDING
    desk.held.becomes("verified")
    old = await desk.look()
    assert old is not None
    desk.held.in_use.add(old.name)
    moved = {**BALANCED, "domain": "other.example"}
    assert await desk.problem(**moved) == PENDING
    desk.held.becomes("verified")
    new = await desk.look(**moved)
    assert new is not None
    assert set(desk.held.all) == {old.name, new.name}
    desk.held.in_use.clear()
    await desk.look(**moved)
    assert set(desk.held.all) == {new.name}
    await desk.look(**moved)
    assert (old.name, Presence.GONE) in desk.lines()


@virtual_time
async def test_a_class_that_has_left_the_mode_needs_it_no_more():
    desk = Desk()
    assert await desk.problem() == PENDING
    desk.held.becomes("verified")
    await desk.look()
    for _ in range(2):
        assert await desk.look(mode="Direct") is None
    assert desk.held.all == {}
    assert [presence for _, presence in desk.lines()] == [Presence.GONE]


OWN = {**BALANCED, "tls": {"secretName": "ours"}}


def own_pair(name: str = "*.apps.example") -> Pair:
    return Pair(name, begin=START - DAY, end=START + 30 * DAY)


@virtual_time
async def test_a_certificate_of_ones_own_is_uploaded_with_its_chain_and_used_at_once():
    desk = Desk()
    pair = desk.secrets.all["ours"] = own_pair()
    hosted = await desk.look(**OWN)
    assert hosted is not None
    [upload] = desk.held.uploads
    assert upload.name == hosted.name
    sent = f"{upload.certificate_pem}\n{upload.chain_pem}"
    assert sent.split() == pair.chain_pem.decode().split()
    assert upload.private_key_pem.encode() == pair.key_pem
    assert await desk.look(**OWN) == hosted
    assert len(desk.held.uploads) == 1


@virtual_time
async def test_one_that_changes_is_uploaded_again_and_the_old_one_goes_with_its_last_user():
    desk = Desk()
    desk.secrets.all["ours"] = own_pair()
    old = await desk.look(**OWN)
    assert old is not None
    desk.held.in_use.add(old.name)
    desk.secrets.all["ours"] = own_pair()
    new = await desk.look(**OWN)
    assert new is not None
    assert set(desk.held.all) == {old.name, new.name}
    desk.held.in_use.clear()
    await desk.look(**OWN)
    assert set(desk.held.all) == {new.name}


@virtual_time
async def test_a_secret_that_is_not_there_or_for_another_name_is_said_and_not_uploaded():
    desk = Desk()
    assert await desk.problem(**OWN) == "SecretMissing"
    desk.secrets.all["ours"] = own_pair("*.other.example")
    assert await desk.problem(**OWN) == "CertificateInvalid"
    assert desk.held.uploads == []
