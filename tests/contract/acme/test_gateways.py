"""What a class's gateway needs, made with a real ACME server, the emulator and its DNS."""

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client
from tests.contract.acme.conftest import DOMAIN
from tests.contract.machines.certificates import Authority
from tests.contract.reaper.api_server import FakeApiServer

from spawnai.acme.certificate import check_pair
from spawnai.acme.client import AcmeAccount
from spawnai.acme.nameservers import Nameserver, Nameservers
from spawnai.api.names import GATEWAY_TLS_SECRET
from spawnai.clock import SystemClock
from spawnai.controller.accounts import AccountNews, connector
from spawnai.controller.actions.certificates import Acme, AcmeServer, Keys
from spawnai.controller.classes.gateways import DRAIN_SECONDS, Gateway, Gateways
from spawnai.controller.classes.ledger import ClassLedgers
from spawnai.controller.classes.records import ClassRecords
from spawnai.controller.cluster import Cluster
from spawnai.controller.store import Store
from spawnai_local.acme.rate_limits import AcmeLimits, Rule

NAMESPACE = "spawnai-system"
ADDRESS = "203.0.113.9"
UID = "c1a50000-0000-4000-8000-000000000001"
OTHER_UID = "c1a50000-0000-4000-8000-000000000002"
HOST, PROOF = f"*.{DOMAIN}", "_acme-challenge"


class ShiftedClock(SystemClock):
    """The machine's clock, ahead of itself by as much as a test says; its sleeps are short."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> float:
        return super().now() + self.ahead.total_seconds()

    def utc_now(self) -> datetime:
        return super().utc_now() + self.ahead


class ApiServer(FakeApiServer):
    """One that also keeps Secrets and knows the gateway's Service."""

    def __init__(self) -> None:
        super().__init__("cluster")
        self.secrets: dict[str, dict[str, Any]] = {}
        self.addresses: list[str] = []

    def routes(self, app: web.Application) -> None:
        folder = f"/api/v1/namespaces/{NAMESPACE}"
        app.router.add_post(f"{folder}/secrets", self._create_secret)
        app.router.add_get(f"{folder}/secrets/{{name}}", self._get_secret)
        app.router.add_patch(f"{folder}/secrets/{{name}}", self._patch_secret)
        app.router.add_get(f"{folder}/services/spawnai-gateway", self._service)

    def put_pair(self, name: str, chain: str, key: str) -> None:
        data = {"tls.crt": chain, "tls.key": key}
        encoded = {field: base64.b64encode(text.encode()).decode() for field, text in data.items()}
        self.secrets[name] = {"data": encoded}

    def pair(self, name: str = GATEWAY_TLS_SECRET) -> tuple[bytes, bytes]:
        data = self.secrets[name]["data"]
        return base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"])

    async def _create_secret(self, request: web.Request) -> web.Response:
        body = json.loads(await request.text())
        name = body["metadata"]["name"]
        if name in self.secrets:
            return web.json_response({"message": "it exists already"}, status=409)
        self.secrets[name] = body
        return web.json_response(body, status=201)

    async def _get_secret(self, request: web.Request) -> web.Response:
        found = self.secrets.get(request.match_info["name"])
        if found is None:
            return web.json_response({"message": "not found"}, status=404)
        return web.json_response(found)

    async def _patch_secret(self, request: web.Request) -> web.Response:
        found = self.secrets[request.match_info["name"]]
        found["data"] |= json.loads(await request.text())["data"]
        return web.json_response(found)

    async def _service(self, _request: web.Request) -> web.Response:
        ingress = [{"ip": address} for address in self.addresses]
        return web.json_response({"status": {"loadBalancer": {"ingress": ingress}}})


class Killed(Exception):
    """The process ended here."""


@dataclass
class Mortal:
    """Ends after the effect of the nth step that changes something, whoever takes it."""

    ends_at: int | None = None
    steps: list[str] = field(default_factory=list)

    def wrap(self, target: Any, *names: str) -> None:
        for name in names:
            setattr(target, name, self._step(name, getattr(target, name)))

    def _step(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        async def step(*arguments: Any, **named: Any) -> Any:
            result = await call(*arguments, **named)
            self.steps.append(name)
            if len(self.steps) == self.ends_at:
                raise Killed
            return result

        return step


@dataclass
class Operator:
    """As much of an operator as looks after gateways."""

    gateways: Gateways
    store: Store
    account: Any
    woken: asyncio.Event

    async def settled(self, name: str = "wild") -> Gateway:
        """What is known once nothing is under way."""
        async with asyncio.timeout(60):
            while True:
                self.woken.clear()
                known = self.store.spawn_class(name)
                seen = await self.gateways.look(known, self.account)
                memory = self.gateways._memories.get(known.uid)
                if memory is None or memory.task is None:
                    return seen
                await self.woken.wait()


@dataclass
class World:
    """A cluster, an account and an ACME server, and operators that come and go."""

    api_server: ApiServer
    emulator: Any
    server: Any
    api: client.ApiClient
    clock: ShiftedClock
    classes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def put_class(self, name: str = "wild", uid: str = UID, **exposure: Any) -> None:
        before = self.classes.get(name)
        version = int(before["metadata"]["resourceVersion"]) + 1 if before else 1
        exposure = {"mode": "Wildcard", "domain": DOMAIN, "gatewayAddress": ADDRESS, **exposure}
        given = {key: value for key, value in exposure.items() if value is not None}
        self.classes[name] = {
            "metadata": {
                "name": name,
                "uid": uid,
                "resourceVersion": str(version),
                "generation": version,
                "creationTimestamp": f"2026-11-29T10:00:0{len(self.classes)}Z",
            },
            "spec": {"exposure": given},
        }

    @asynccontextmanager
    async def operator(self, mortal: Mortal | None = None) -> AsyncIterator[Operator]:
        store, clock, woken = Store(), self.clock, asyncio.Event()
        for body in self.classes.values():
            store.put_class(body)
        for record in self.api_server.records.values():
            store.put_record(record)
        cluster = Cluster(self.api, before_write=lambda: None)
        account = connector(
            base_url=self.emulator.url,
            cluster_tag="cluster:one",
            clock=clock,
            random=random.Random(1),
            on_call=lambda _outcome: None,
            before_change=lambda: None,
        )("local-token", AccountNews(lambda _: None, lambda _: None))
        keys = Keys(cluster, NAMESPACE, lambda uid: store.record(uid).uid)
        nameservers = Nameservers(clock, Nameserver("127.0.0.1", self.emulator.dns.port))
        acme = Acme(
            keys,
            clock,
            AcmeServer(
                "127.0.0.1",
                lambda key: AcmeAccount(
                    self.server.directory_url, key, clock, ca_file=str(self.server.ca_path)
                ),
                nameservers,
            ),
            history=list,
        )
        opened = await acme.account()
        if mortal is not None:
            mortal.wrap(
                cluster, "create_secret", "create_record", "patch_record_status", "put_tls_secret"
            )
            mortal.wrap(account.records, "create", "delete")
            mortal.wrap(opened, "place", "answer", "finalize", "chain")
        ledgers = ClassLedgers(cluster, store, "cluster")
        gateways = Gateways(
            cluster=cluster,
            store=store,
            ledgers=ledgers,
            records=ClassRecords(ledgers, clock),
            acme=acme,
            keys=keys,
            nameservers=nameservers,
            clock=clock,
            namespace=NAMESPACE,
            wake=lambda _name: woken.set(),
        )
        yield Operator(gateways, store, account, woken)
        await gateways.close()
        await acme.close()
        await account.close()

    def records(self, type_: str) -> list[tuple[str, str]]:
        (domain,) = (one for one in self.emulator.cloud.domains.all() if one.name == DOMAIN)
        return [(one.name, one.data) for one in domain.records.values() if one.type == type_]

    def lines(self, kind: str, uid: str = UID) -> list[dict[str, Any]]:
        status = self.api_server.records[uid]["status"]
        return [one for one in status.get("resources", []) if one["kind"] == kind]


@pytest.fixture
async def world(emulator, server) -> AsyncIterator[World]:
    api_server = ApiServer()
    await api_server.start()
    async with client.ApiClient(client.Configuration(host=api_server.url)) as api:
        world = World(api_server, emulator, server, api, ShiftedClock())
        world.put_class()
        yield world
    await api_server.stop()


async def test_the_certificate_is_ordered_once_and_the_name_leads_to_the_gateway(world):
    async with world.operator() as operator:
        first = await operator.settled()
    assert (first.problem, first.certificate_trouble, first.name_trouble) == (None, None, None)
    assert check_pair(*world.api_server.pair(), [HOST], datetime.now(UTC)).names == (HOST,)
    assert ("*", ADDRESS) in world.records("A")
    assert world.records("TXT") == []
    (order,) = world.lines("Certificate")
    assert (order["domain"], order["presence"]) == (HOST, "Present")
    async with world.operator() as operator:
        again = await operator.settled()
    assert again.certificate == first.certificate
    assert world.server.front.placed == 1


@pytest.mark.timeout(300)
async def test_an_operator_killed_after_any_step_leaves_what_the_next_one_finishes(world):
    """Nothing is issued twice, and no record is left or made twice."""
    many = Rule(10_000, 1.0, "")
    world.server.front.counters.limits = AcmeLimits(domain=many, identifiers=many)
    step, ended = 0, True
    while ended:
        step += 1
        for name in [one for one in world.api_server.secrets if "acme" not in one]:
            del world.api_server.secrets[name]  # all but the account's key
        world.api_server.records.clear()
        for record in list(world.emulator.cloud.domains.get(DOMAIN).records.values()):
            if record.type in ("A", "TXT"):
                world.emulator.cloud.domains.delete_record(DOMAIN, record.id)
        issued, placed = world.server.front.issued, world.server.front.placed
        mortal = Mortal(ends_at=step)
        async with world.operator(mortal) as operator:
            await operator.settled()
            ended = len(mortal.steps) >= step
        async with world.operator() as operator:
            await operator.settled()
            # A record that may have been sent is looked for until that is settled.
            world.clock.ahead += timedelta(minutes=3)
            seen = await operator.settled()
        assert seen.certificate is not None, (mortal.steps, seen)
        assert seen.is_named, (mortal.steps, seen)
        assert world.server.front.issued - issued == 1, mortal.steps
        lost_the_url = ended and mortal.steps[step - 1] == "place"
        assert world.server.front.placed - placed == (2 if lost_the_url else 1), mortal.steps
        assert world.records("TXT") == [], mortal.steps
        assert world.records("A") == [("*", ADDRESS)], mortal.steps
        assert not [one for one in world.lines("DomainRecord") if one["id"].startswith("pending")]
    assert step > 10


async def test_a_certificate_that_is_due_is_renewed_by_an_order_of_its_own(world):
    async with world.operator() as operator:
        before = await operator.settled()
        world.clock.ahead = before.renew_at - datetime.now(UTC) + timedelta(hours=1)
        await operator.settled()
    assert world.server.front.placed == 2
    first, second = world.lines("Certificate")
    assert (first["presence"], second["presence"]) == ("Gone", "Present")
    assert first["name"] != second["name"]  # and so is the key
    assert check_pair(*world.api_server.pair(), [HOST], datetime.now(UTC)) != before.certificate


async def test_a_renewal_that_fails_is_told_while_the_certificate_serves_on(world):
    async with world.operator() as operator:
        before = await operator.settled()
        await world.server.kill()
        world.clock.ahead = before.renew_at - datetime.now(UTC) + timedelta(hours=1)
        seen = await operator.settled()
    assert seen.problem is None
    assert seen.certificate_trouble.reason == "ACMEServerUnavailable"
    assert not seen.is_expiring(world.clock.utc_now())


async def test_a_caa_record_in_the_way_is_named_before_an_order_is_placed(world):
    world.emulator.cloud.domains.create_record(
        DOMAIN, {"type": "CAA", "name": "@", "data": "other.example.", "flags": 0, "tag": "issue"}
    )
    async with world.operator() as operator:
        seen = await operator.settled()
    assert seen.problem.reason == "CAAForbids"
    assert "other.example" in str(seen.problem)
    assert world.server.front.placed == 0


async def test_a_domain_that_the_world_asks_elsewhere_is_named(world):
    """The nameservers that are asked do not know the record that was made."""

    async def elsewhere(*_: Any) -> bool:
        world.clock.ahead += timedelta(seconds=61)
        return False

    async with world.operator() as operator:
        object.__setattr__(operator.gateways.nameservers, "_shows", elsewhere)
        seen = await operator.settled()
        assert seen.problem.reason == "DomainNotDelegated"
        assert "ns1.digitalocean.com" in str(seen.problem)
        assert world.records("TXT") == []


async def test_a_record_of_somebody_else_is_left_alone_and_named(world):
    world.emulator.cloud.domains.create_record(
        DOMAIN, {"type": "A", "name": "*", "data": "198.51.100.1", "ttl": 30}
    )
    async with world.operator() as operator:
        seen = await operator.settled()
        assert seen.name_trouble.reason == "RecordTaken"
        assert seen.problem is None  # a proxy of theirs may stand there
        assert await end(operator)
    assert world.records("A") == [("*", "198.51.100.1")]


async def test_the_address_of_the_service_is_taken_once_it_has_one(world):
    world.put_class(gatewayAddress=None)
    async with world.operator() as operator:
        seen = await operator.settled()
        assert seen.problem.reason == "GatewayAddressUnknown"
        world.api_server.addresses = ["203.0.113.77"]
        world.clock.ahead += timedelta(minutes=1)
        assert (await operator.settled()).problem is None
    assert world.records("A") == [("*", "203.0.113.77")]


async def test_a_gateway_that_moves_takes_its_name_along(world):
    async with world.operator() as operator:
        await operator.settled()
    # Both records side by side would lead half of the visitors nowhere, for a moment only.
    world.put_class(gatewayAddress="203.0.113.10")
    async with world.operator() as operator:
        await operator.settled()
        world.clock.ahead += timedelta(minutes=1)
        await operator.settled()
    assert world.records("A") == [("*", "203.0.113.10")]


async def test_the_last_class_of_a_domain_takes_the_name_along_and_an_heir_keeps_it(world):
    world.put_class("heir", OTHER_UID)
    async with world.operator() as operator:
        await operator.settled()
        seen = await operator.settled("heir")
        assert (seen.problem, seen.certificate_trouble) == (None, None)
        assert world.server.front.placed == 1
        assert await end(operator)
        assert world.records("A") == [("*", ADDRESS)]
        assert [one["presence"] for one in world.lines("DomainRecord", OTHER_UID)] == ["Present"]
        operator.store.remove_class("wild")
        assert await end(operator, "heir")
    assert world.records("A") == []


async def left(operator: Operator) -> None:
    """A look at a class that has left the mode, and what it began."""
    known = operator.store.spawn_class("wild")
    assert await operator.gateways.look(known, operator.account) is None
    leaving = operator.gateways._leaving.get(known.uid)
    if leaving is not None and leaving.task is not None:
        await asyncio.wait([leaving.task])


async def test_a_class_that_leaves_the_mode_keeps_the_name_for_who_began_behind_it(world):
    """And removes it when the last of them has ended, and resolvers have forgotten it."""
    async with world.operator() as operator:
        await operator.settled()
        version = 10**9
        for number in range(2):
            operator.store.put_record(session_ledger(f"session-{number}", version, mode="Wildcard"))
        operator.store.put_record(session_ledger("own-name", version, mode="Direct"))
        world.put_class(mode="Direct", gatewayAddress=None)
        operator.store.put_class(world.classes["wild"])
        for ended in (None, 0, 1):
            if ended is not None:
                body = session_ledger(f"session-{ended}", version + 1, mode="Wildcard", ended=True)
                operator.store.put_record(body)
            if ended != 1:
                world.clock.ahead += timedelta(hours=1)
            await left(operator)
            assert world.records("A") == [("*", ADDRESS)], f"{ended} sessions have ended"
        world.clock.ahead += timedelta(seconds=DRAIN_SECONDS - 5)
        await left(operator)
        assert world.records("A") == [("*", ADDRESS)], "a resolver may know it yet"
        world.clock.ahead += timedelta(seconds=5)
        await left(operator)
        await left(operator)
        assert world.records("A") == []
        assert world.lines("DomainRecord")[0]["presence"] == "Gone"
        assert world.lines("Certificate")[0]["presence"] == "Gone"
        await left(operator)
        assert not operator.gateways._leaving, "nothing is left to look after"


async def test_another_domain_does_not_get_the_secret_of_a_gateway_that_still_serves(world):
    async with world.operator() as operator:
        before = await operator.settled()
        operator.store.put_record(session_ledger("session-0", 10**9, mode="Wildcard"))
        world.put_class(mode="Direct", gatewayAddress=None)
        world.put_class("young", OTHER_UID, domain="other.example.com")
        for body in world.classes.values():
            operator.store.put_class(body)
        await left(operator)
        seen = await operator.settled("young")
        assert seen.certificate_trouble.reason == "GatewayServesAnotherDomain"
        assert check_pair(*world.api_server.pair(), [HOST], datetime.now(UTC)) == before.certificate


async def test_an_older_class_of_another_domain_takes_the_secret_from_nobody(world):
    """It comes into the mode, and one that is younger is served already."""
    world.put_class("elder", OTHER_UID, mode="Direct", domain=None, gatewayAddress=None)
    world.classes["elder"]["metadata"]["creationTimestamp"] = "2026-11-01T10:00:00Z"
    async with world.operator() as operator:
        before = await operator.settled()
        world.put_class("elder", OTHER_UID, domain="other.example")
        world.classes["elder"]["metadata"]["creationTimestamp"] = "2026-11-01T10:00:00Z"
        operator.store.put_class(world.classes["elder"])
        seen = await operator.settled("elder")
        assert seen.certificate_trouble.reason == "GatewayServesAnotherDomain"
        assert (await operator.settled()).certificate == before.certificate


async def test_a_class_that_comes_back_to_the_mode_has_its_name_at_once(world):
    async with world.operator() as operator:
        await operator.settled()
        world.put_class(mode="Direct", gatewayAddress=None)
        operator.store.put_class(world.classes["wild"])
        await left(operator)
        world.clock.ahead += timedelta(seconds=DRAIN_SECONDS)
        await operator.gateways.look(operator.store.spawn_class("wild"), operator.account)
        world.put_class()
        operator.store.put_class(world.classes["wild"])
        seen = await operator.settled()
        world.clock.ahead += timedelta(minutes=3)
        seen = await operator.settled()
    assert (seen.problem, seen.is_named) == (None, True)
    assert world.records("A") == [("*", ADDRESS)]


def session_ledger(uid: str, version: int, *, mode: str, ended: bool = False) -> dict[str, Any]:
    return {
        "metadata": {
            "name": uid,
            "uid": uid,
            "resourceVersion": str(version),
            "creationTimestamp": "2026-11-29T10:00:00Z",
        },
        "spec": {
            "owner": {"kind": "SpawnSession", "namespace": "n", "name": uid, "uid": uid},
            "clusterUid": "one",
            "className": "wild",
            "exposure": {"mode": mode, "domain": DOMAIN},
        },
        "status": {"completedAt": "2026-11-29T11:00:00Z"} if ended else {},
    }


async def test_two_domains_cannot_share_the_operators_own_secret(world):
    world.put_class("other", OTHER_UID, domain="other.example")
    async with world.operator() as operator:
        seen = await operator.settled("other")
    assert seen.problem.reason == "GatewayServesAnotherDomain"
    assert "tls.secretName" in str(seen.problem)


class TestASecretOfSomebodyElse:
    @pytest.fixture(autouse=True)
    def named(self, world):
        world.put_class(tls={"secretName": "theirs"})

    async def test_it_is_waited_for_and_nothing_is_ordered(self, world):
        async with world.operator() as operator:
            assert (await operator.settled()).problem.reason == "SecretMissing"
            issued = Authority().issue(HOST)
            world.api_server.put_pair("theirs", issued.chain, issued.key)
            seen = await operator.settled()
            assert (seen.problem, seen.certificate_trouble, seen.renew_at) == (None, None, None)
        assert world.server.front.placed == 0

    async def test_what_cannot_be_served_is_named(self, world):
        ours, other = Authority().issue(HOST), Authority().issue("*.other.example")
        for chain, key, said in (
            (other.chain, other.key, f"not for {HOST}"),
            (ours.chain, other.key, "does not belong"),
            ("", "", "no certificate in it"),
        ):
            world.api_server.put_pair("theirs", chain, key)
            async with world.operator() as operator:
                problem = (await operator.settled()).problem
                assert problem.reason == "CertificateInvalid"
                assert said in str(problem)

    async def test_one_that_nobody_renews_is_told_of_in_time(self, world):
        issued = Authority().issue(HOST)
        world.api_server.put_pair("theirs", issued.chain, issued.key)
        world.clock.ahead = timedelta(days=5, hours=12)
        async with world.operator() as operator:
            seen = await operator.settled()
        assert seen.problem is None
        assert seen.certificate_trouble.reason == "CertificateExpiring"
        assert seen.is_expiring(world.clock.utc_now())


async def end(operator: Operator, name: str = "wild") -> bool:
    """Until all is done; a record's deletion is accepted by one step and seen by the next."""
    known = operator.store.spawn_class(name)
    for _ in range(3):
        if await operator.gateways.end(known, operator.account):
            return True
    return False
