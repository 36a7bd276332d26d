"""The lease against a real API server: real processes, stopped and let go, and the least rights."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from kubernetes.aio import client, config

from spawnai.clock import SystemClock
from spawnai.controller.leader import (
    KubernetesLeases,
    Leadership,
    LeadershipLost,
    LeaseConflict,
    LeaseUnavailable,
)
from spawnai_local.control_plane import ControlPlane
from spawnai_local.kubectl import Kubectl

REPOSITORY = Path(__file__).resolve().parents[2]
NAMESPACE = "leadership"
# The name that the operator's role names; here in a namespace where no operator runs.
NAME = "spawnai-operator"
TIMES = {"lease_seconds": 3, "renew_deadline": 2, "retry": 0.4}

# A process that acts twenty times a second for as long as it may, and says each time when.
PROCESS = f"""
import asyncio, sys, time
from kubernetes.aio import client, config
from spawnai.clock import SystemClock
from spawnai.controller.leader import KubernetesLeases, Leadership, LeadershipLost

async def main(kubeconfig, name, identity):
    await config.load_kube_config(config_file=kubeconfig)
    async with client.ApiClient() as api:
        leases = KubernetesLeases(api, {NAMESPACE!r}, name)
        leadership = Leadership(leases, identity, SystemClock(), **{TIMES!r})
        await leadership.acquire()
        print("leads", flush=True)
        holding = asyncio.create_task(leadership.hold())
        try:
            while True:
                leadership.check()
                print("acts", time.time(), flush=True)
                await asyncio.sleep(0.05)
        except LeadershipLost as error:
            print("lost", error, flush=True)
        await asyncio.gather(holding, return_exceptions=True)

asyncio.run(main(*sys.argv[1:]))
"""


class Process:
    """One contending process, and what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, kubeconfig: Path, name: str, identity: str) -> "Process":
        arguments = ["-c", PROCESS, str(kubeconfig), name, identity]
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, *arguments, stdout=asyncio.subprocess.PIPE
            )
        )

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode().strip())

    async def until_says(self, word: str) -> None:
        async with asyncio.timeout(30):
            while not any(line.startswith(word) for line in self.lines):
                await asyncio.sleep(0.05)

    @property
    def acts(self) -> list[float]:
        return [float(line.split()[1]) for line in self.lines if line.startswith("acts")]

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reading


async def contender(api: client.ApiClient, identity: str, name: str = NAME) -> Leadership:
    return Leadership(KubernetesLeases(api, NAMESPACE, name), identity, SystemClock(), **TIMES)


async def lease_of(kubectl: Kubectl, name: str = NAME) -> dict[str, Any]:
    body: dict[str, Any] = await kubectl.json("get", "lease", name, f"--namespace={NAMESPACE}")
    return body


@contextlib.asynccontextmanager
async def logged_in(kubeconfig: Path) -> AsyncIterator[client.ApiClient]:
    configuration = client.Configuration()
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    async with client.ApiClient(configuration) as api:
        yield api


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kubectl(control_plane: ControlPlane) -> AsyncIterator[Kubectl]:
    """The administrator's; the namespace has the operator's own role for leases."""
    rules = next(
        document["rules"]
        for document in yaml.safe_load_all((REPOSITORY / "manifests" / "rbac.yaml").read_text())
        if document["kind"] == "Role"
    )
    account = {"name": "operator", "namespace": NAMESPACE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"}
    await control_plane.kubectl.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
    )
    await control_plane.kubectl.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {**account, "name": "nobody"},
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": account,
            "rules": rules,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": account,
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", **account}],
        },
    )
    yield control_plane.kubectl
    await control_plane.kubectl.run("delete", "namespace", NAMESPACE, "--wait=false")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kubeconfig(control_plane: ControlPlane, kubectl: Kubectl) -> Path:
    """With the operator's rights on leases, and no others."""
    return await control_plane.kubeconfig_for_service_account(NAMESPACE, "operator")


@pytest_asyncio.fixture(loop_scope="session")
async def api(kubeconfig: Path, kubectl: Kubectl) -> AsyncIterator[client.ApiClient]:
    await kubectl.run("delete", "leases", "--all", f"--namespace={NAMESPACE}")
    async with logged_in(kubeconfig) as api:
        yield api


async def test_a_lease_is_taken_renewed_and_given_back_under_the_operators_own_rights(api, kubectl):
    first = await contender(api, "first")
    await first.acquire()
    taken = await lease_of(kubectl)
    holding = asyncio.create_task(first.hold())
    await kubectl.run("label", "lease", NAME, "team=platform", f"--namespace={NAMESPACE}")
    await asyncio.sleep(1.5)  # real time is the subject: three renewals
    renewed = await lease_of(kubectl)
    assert taken["spec"]["holderIdentity"] == "first"
    assert taken["spec"]["leaseDurationSeconds"] == 3
    assert renewed["spec"]["renewTime"] > taken["spec"]["renewTime"]
    assert renewed["spec"]["acquireTime"] == taken["spec"]["acquireTime"]
    assert renewed["metadata"]["labels"] == {"team": "platform"}, "what others wrote stays"
    assert first.is_held()

    second = await contender(api, "second")
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await first.release()
    await holding
    async with asyncio.timeout(2):
        await waiting
    taken_over = await lease_of(kubectl)
    assert taken_over["spec"]["holderIdentity"] == "second"
    assert taken_over["spec"]["leaseTransitions"] == 1
    await second.release()
    given_back = await lease_of(kubectl)
    assert given_back["spec"].get("holderIdentity", "") == ""


async def test_the_api_server_takes_a_time_without_a_fraction(api):
    leases = KubernetesLeases(api, NAMESPACE, NAME)
    on_the_second = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
    made = await leases.create("first", 3, on_the_second)
    replaced = await leases.replace(made, "second", 3, on_the_second)
    assert (made.holder, replaced.holder, replaced.transitions) == ("first", "second", 1)


async def test_of_two_that_reach_for_the_same_version_one_gets_it(api):
    leases = KubernetesLeases(api, NAMESPACE, NAME)
    now = datetime.now(UTC)
    assert await leases.read() is None
    made = await leases.create("first", 3, now)
    with pytest.raises(LeaseConflict):
        await leases.create("second", 3, now)
    answers = await asyncio.gather(
        *(leases.replace(made, f"process-{number}", 3, now) for number in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, LeaseConflict) for answer in answers) == 4
    held = await leases.read()
    assert held in answers


async def test_a_lease_that_was_deleted_is_a_conflict_for_who_renews_it(api, kubectl):
    leases = KubernetesLeases(api, NAMESPACE, NAME)
    made = await leases.create("first", 3, datetime.now(UTC))
    await kubectl.run("delete", "lease", NAME, f"--namespace={NAMESPACE}")
    with pytest.raises(LeaseConflict):
        await leases.replace(made, "first", 3, datetime.now(UTC))


async def test_missing_rights_are_named(control_plane, kubectl):
    nobody = await control_plane.kubeconfig_for_service_account(NAMESPACE, "nobody")
    async with logged_in(nobody) as api:
        leases = KubernetesLeases(api, NAMESPACE, NAME)
        with pytest.raises(
            LeaseUnavailable,
            match=r"Cannot get the Lease leadership/spawnai-operator: 403 Forbidden; grant the "
            r"verb 'get' on leases\.coordination\.k8s\.io",
        ):
            await leases.read()


async def test_a_leader_stopped_past_its_lease_acts_no_more_when_it_is_let_go(api, kubeconfig):
    """SIGSTOP in the middle of its work; another leads; SIGCONT."""
    first = await Process.start(kubeconfig, NAME, "first")
    second: Process | None = None
    try:
        await first.until_says("acts")
        second = await Process.start(kubeconfig, NAME, "second")
        await asyncio.sleep(2)
        assert second.lines == [], "it waits while the first renews"
        first.process.send_signal(signal.SIGSTOP)
        await second.until_says("acts")
        first.process.send_signal(signal.SIGCONT)
        await first.until_says("lost")
        async with asyncio.timeout(10):
            await first.process.wait()
        await asyncio.sleep(0.5)
        assert len(first.acts) > 10
        assert len(second.acts) > 5
        assert max(first.acts) < min(second.acts)
        assert not any(line.startswith("lost") for line in second.lines)
    finally:
        await first.end()
        if second is not None:
            await second.end()


async def test_a_killed_leader_is_followed_after_the_lease_and_a_look(api, kubeconfig):
    first = await Process.start(kubeconfig, NAME, "first")
    second: Process | None = None
    try:
        await first.until_says("acts")
        second = await Process.start(kubeconfig, NAME, "second")
        await asyncio.sleep(2)
        await first.end()
        await second.until_says("acts")
        gap = min(second.acts) - max(first.acts)
        # Never sooner than what the first may still have believed; 3 s and what a look takes.
        assert 2 < gap < 3 + 2 * TIMES["retry"] + 2
    finally:
        await first.end()
        if second is not None:
            await second.end()


async def test_an_api_server_that_goes_away_ends_the_lead_in_time(tmp_path):
    """Its own control plane, since the API server is killed: nobody can renew, so nobody acts."""
    async with ControlPlane(tmp_path / "cluster", unsafe_no_fsync=True) as plane:
        await plane.kubectl.run("create", "namespace", NAMESPACE)
        async with logged_in(plane.kubeconfig) as api:
            leadership = await contender(api, "first")
            await leadership.acquire()
            holding = asyncio.create_task(leadership.hold())
            await asyncio.sleep(1)
            clock = SystemClock()
            await plane.stop_api_server()
            stopped = clock.now()
            with pytest.raises(LeadershipLost):
                await holding
            assert clock.now() - stopped <= TIMES["renew_deadline"] + 0.5
            assert not leadership.is_held()
            await plane.start_api_server()
            with pytest.raises(LeadershipLost):
                leadership.check()
            next_one = await contender(api, "second")
            async with asyncio.timeout(20):
                await next_one.acquire()
            next_one.check()
