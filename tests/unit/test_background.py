"""A background task that dies fails its process's liveness, and no task is started in another way.

Together: the product starts background tasks by `spawnai.background` alone (read from its source),
each end that is a death is noticed, and every process's probe asks for it.
"""

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

import spawnai
from spawnai import background
from spawnai.gateway import command as gateway
from spawnai.gateway.settings import gateway_settings_from
from spawnai.telemetry.http import TelemetryServer
from spawnai_local.processes import free_port

PRODUCT = Path(spawnai.__file__).parent
AGENT = PRODUCT / "droplet" / "agent"
"""Runs on droplets, on threads and the standard library alone; systemd looks after it."""


async def broken() -> None:
    raise RuntimeError("a mistake of our own")


async def endless() -> None:
    await asyncio.Event().wait()


async def brief() -> None:
    return None


async def cancelled_inside() -> None:
    """Something it waits for is cancelled, not the task itself."""
    waited_for = asyncio.get_running_loop().create_future()
    waited_for.cancel()
    await waited_for


async def ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])
    await asyncio.sleep(0)


@pytest.mark.parametrize("work", [broken, brief, cancelled_inside])
async def test_whatever_ends_a_task_that_runs_for_ever_is_its_death(work, caplog):
    await ended(background.forever(work(), name="watch"))
    assert background.failure() == "the background task watch died; see the log"
    assert "The background task watch died" in caplog.text


@pytest.mark.parametrize("work", [broken, cancelled_inside])
async def test_a_task_that_ends_by_itself_dies_by_what_it_does_not_handle(work):
    await ended(background.once(work(), name="look"))
    assert background.failure() == "the background task look died; see the log"


async def test_a_task_that_was_told_to_end_and_one_that_has_done_its_work_are_no_deaths():
    working = background.once(brief(), name="look")
    watching = background.forever(endless(), name="watch")
    assert background.running() == {working, watching}
    await ended(working)
    watching.cancel()
    await ended(watching)
    assert background.failure() is None
    assert not background.running()


async def test_the_first_death_stays_the_one_that_is_told():
    await ended(background.once(broken(), name="first"))
    await ended(background.once(broken(), name="second"))
    assert "first" in str(background.failure())


async def test_the_first_of_several_ends_the_others_and_its_error_is_raised():
    other = asyncio.Event()

    async def noticing() -> None:
        try:
            await endless()
        finally:
            other.set()

    with pytest.raises(RuntimeError, match="a mistake of our own"):
        await background.first_of(noticing(), broken())
    await other.wait()


async def test_whoever_waits_for_the_end_of_any_hears_of_one_that_just_returned():
    watching = background.awaited(endless(), name="watch")
    with pytest.raises(background.EndedByItself, match="brief"):
        await background.until_one_ends([watching, background.awaited(brief(), name="brief")])
    watching.cancel()


async def test_the_probe_of_every_process_asks_for_a_death():
    server = TelemetryServer(CollectorRegistry(), host="127.0.0.1", port=0)
    await server.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        assert (await client.get("/healthz")).status_code == 200
        await ended(background.once(broken(), name="look"))
        answer = await client.get("/healthz")
    await server.stop()
    assert (answer.status_code, answer.text) == (
        500,
        "the background task look died; see the log\n",
    )


@pytest.mark.parametrize("name", ["watch", "certificate", "served certificate", "telemetry"])
async def test_a_gateway_that_lost_a_task_answers_on_and_is_not_alive(name, monkeypatch, tmp_path):
    """It ended no task and told nobody before: routes stood still for ever with /healthz at 200."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "{clusters: [{name: a, cluster: {server: 'http://127.0.0.1:9'}}], users: [],"
        " contexts: [{name: a, context: {cluster: a}}], current-context: a}"
    )
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    settings = gateway_settings_from(
        {
            "SPAWNAI_GATEWAY_DOMAIN": "apps.example.com",
            "SPAWNAI_GATEWAY_DNS": f"127.0.0.1:{free_port('127.0.0.1')}",
            "SPAWNAI_GATEWAY_ADMIN_SOCKET": str(tmp_path / "admin.sock"),
        }
    )
    process = asyncio.create_task(gateway._run(settings))
    while not (found := [one for one in background.running() if one.get_name() == name]):
        await asyncio.sleep(0.01)
        assert not process.done()
    [task] = found
    while task._fut_waiter is None:
        await asyncio.sleep(0)
    task._fut_waiter.cancel()  # what it waits for: nobody has asked the task itself
    await ended(task)
    assert background.failure() == f"the background task {name} died; see the log"
    assert not process.done()
    process.cancel()
    await asyncio.wait([process])


def test_no_background_task_of_the_product_is_started_without_supervision():
    found = [
        f"{path.relative_to(PRODUCT)}:{line} {what}"
        for path in PRODUCT.rglob("*.py")
        if AGENT not in path.parents and path.name != "background.py"
        for line, what in unsupervised(ast.parse(path.read_text()))
    ]
    assert found == [], "start it by spawnai.background: forever, once or awaited"


@pytest.mark.parametrize(
    "source",
    [
        "asyncio.create_task(work())",
        "asyncio.ensure_future(work())",
        "loop.create_task(work())",
        "asyncio.get_running_loop().create_task(work())",
        "threading.Thread(target=work)",
        "Thread(target=work)",
        "Timer(3, work)",
        "async def a():\n async with open() as group:\n  group.create_task(work())",
    ],
)
def test_the_rule_finds_each_way_to_start_one(source):
    assert len(list(unsupervised(ast.parse(source)))) == 1


def test_the_rule_lets_the_children_of_a_group_be():
    source = "async def a():\n async with asyncio.TaskGroup() as group:\n  group.create_task(b())"
    assert list(unsupervised(ast.parse(source))) == []


def unsupervised(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every call that starts a task or a thread by itself, with its line."""
    groups = {
        item.optional_vars.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncWith)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name)
        and isinstance(item.context_expr, ast.Call)
        and ast.unparse(item.context_expr.func).endswith("TaskGroup")
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        receiver, _, name = called.rpartition(".")
        if name in ("ensure_future", "Thread", "Timer", "start_new_thread") or (
            name == "create_task" and receiver not in groups
        ):
            yield node.lineno, called
