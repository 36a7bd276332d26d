"""`spawnai reap`, as a person runs it: its table, its exit code, and what is left afterwards."""

import argparse
import asyncio
import os
import sys
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml
from kubernetes.aio import client
from tests.contract.reaper.world import CLASS, CLUSTER, DOMAIN, OTHER_CLUSTER, TOKEN, UID, tags

from spawnai.clock import SystemClock
from spawnai.controller.reaping.command import ReapCommand, add_arguments, reap
from spawnai.controller.reaping.removal import Removal
from spawnai.digitalocean.budget import RateBudget
from spawnai.digitalocean.client import ApiClient
from spawnai.lifecycle.reaping import ReapingRules

LOST_CLASS = "c1a55000-0000-4000-8000-00000000010c"
LEFT_UID = "5e551234-0000-4000-8000-000000000003"


@pytest.fixture
def kubeconfig(tmp_path: Path, api_server) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                "clusters": [{"name": "test", "cluster": {"server": api_server.url}}],
                "users": [{"name": "test", "user": {}}],
            }
        )
    )
    return path


@pytest.fixture
def run(world, kubeconfig):
    """Runs the command; returns its exit code and what it printed."""

    async def run(*arguments: str, **environment: str) -> tuple[int, str]:
        world.age()
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        text: list[str] = []
        known = {
            "DIGITALOCEAN_TOKEN": TOKEN,
            "DIGITALOCEAN_API_URL": world.emulator.url,
            "SPAWNAI_DROPLET_NETWORKS": "127.0.0.0/8",
            "KUBECONFIG": str(kubeconfig),
            **environment,
        }
        code = await reap(parser.parse_args(arguments), known, text.append)
        return code, "".join(text)

    return run


@pytest.fixture
def run_program(world, kubeconfig):
    """Runs the program; returns its exit code and what it printed."""

    async def run(*arguments: str, **environment: str) -> tuple[int, str]:
        world.age()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "spawnai.cli", "reap", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={
                **{key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ},
                "DIGITALOCEAN_TOKEN": TOKEN,
                "DIGITALOCEAN_API_URL": world.emulator.url,
                "SPAWNAI_DROPLET_NETWORKS": "127.0.0.0/8",
                "KUBECONFIG": str(kubeconfig),
                **environment,
            },
        )
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
        return process.returncode, output.decode()

    return run


@pytest.fixture
async def command(world):
    """The command itself, with other rules than people can give."""
    cloud = ApiClient(
        TOKEN,
        world.emulator.url,
        RateBudget(SystemClock()),
        droplet_networks=(ip_network("127.0.0.0/8"),),
    )
    text: list[str] = []
    rules = ReapingRules(between_sightings=timedelta(0), most_per_hour=None)

    def made(*, delete: bool) -> ReapCommand:
        world.age()
        return ReapCommand(cloud, SystemClock(), text.append, rules=rules, delete=delete)

    made.text = text
    yield made
    await cloud.close()


LOST = ("--cluster-lost", "--cluster-id", CLUSTER)


async def everything_of_a_cluster(world) -> dict:
    """A droplet with names and both kinds of firewall, and one that is young."""
    class_tag = f"class:{LOST_CLASS}"
    made = await world.droplet(tags=[*tags(class_uid=LOST_CLASS)])
    await world.name("retro-board-5e550000", made["public_address"])
    await world.firewall(f"fw-spawn-{UID}", droplet_ids=[made["id"]])
    await world.firewall(f"fw-spawn-class-{LOST_CLASS}", tags=[class_tag])
    return made


async def test_a_dry_run_for_a_lost_cluster_shows_all_of_it_and_deletes_nothing(run, world):
    made = await everything_of_a_cluster(world)
    code, text = await run(*LOST, "--dry-run")
    assert code == 1
    for part in (
        f"Droplet        {made['id']}",
        f"retro-board-5e550000.{DOMAIN}",
        f"fw-spawn-{UID}",
        f"fw-spawn-class-{LOST_CLASS}",
        "Nothing was deleted",
        "--yes",
    ):
        assert part in text
    assert await world.left() == {made["id"]}
    assert len(await world.firewalls()) == 2


async def test_the_program_finds_a_cluster_by_its_kubeconfig(run_program, world):
    made = await world.droplet()
    code, text = await run_program("--dry-run")
    assert (code, "would be deleted" in text) == (1, True), text
    assert await world.left() == {made["id"]}


async def test_the_program_needs_no_kubeconfig_for_a_lost_cluster(run_program, world, tmp_path):
    await world.droplet()
    code, text = await run_program(*LOST, "--yes", KUBECONFIG=str(tmp_path / "nowhere"))
    assert (code, "deleted" in text) == (0, True), text
    assert await world.left() == set()


async def test_a_lost_cluster_leaves_nothing_behind(run, world):
    made = await everything_of_a_cluster(world)
    code, text = await run(*LOST, "--yes")
    assert code == 0, text
    assert "no receipt can be written" in text
    assert world.api_server.writes == []
    assert await world.left() == set()
    assert await world.firewalls() == set()
    assert not {name for name in await world.names() if name[1] == made["public_address"]}
    assert "deleted" in text
    assert "would be" not in text
    code, text = await run(*LOST, "--yes")
    assert (code, "Nothing was deleted" in text) == (0, False)


async def test_the_baked_images_of_a_lost_cluster_go_and_no_other(run, world):
    images = world.emulator.cloud.images
    base = next(iter(world.emulator.cloud.catalogue.images.values()))
    theirs = [
        images.snapshot(1, name, base, "nyc3", 25)
        for name in ("backup of the database", f"spawn-image-{OTHER_CLUSTER}-{UID}")
    ]
    baked = images.snapshot(1, f"spawn-image-{CLUSTER}-{UID}", base, "nyc3", 25)
    code, text = await run(*LOST)
    (row,) = rows_about(text, baked.name)
    assert (code, "would be deleted" in row) == (1, True)
    assert images.all() == [*theirs, baked]
    code, text = await run(*LOST, "--yes")
    (row,) = rows_about(text, baked.name)
    assert (code, row.endswith("deleted")) == (0, True)
    assert images.all() == theirs


async def test_without_yes_nothing_is_deleted(run, world):
    made = await world.droplet()
    code, text = await run(*LOST)
    assert (code, "--yes" in text) == (1, True)
    assert await world.left() == {made["id"]}


async def test_dry_run_wins_over_yes(run, world):
    made = await world.droplet()
    assert (await run(*LOST, "--yes", "--dry-run"))[0] == 1
    assert await world.left() == {made["id"]}


async def test_a_young_droplet_of_a_lost_cluster_is_left_and_asked_about(run, world):
    made = await world.droplet(old=False)
    code, text = await run(*LOST, "--yes")
    assert (code, "is the cluster really lost?" in text) == (1, True)
    assert await world.left() == {made["id"]}
    assert (await run(*LOST, "--yes", "--minimum-age", "0s"))[0] == 0
    assert await world.left() == set()


def rows_about(text: str, name: str) -> list[str]:
    return [line for line in text.splitlines() if name in line]


@pytest.mark.parametrize("name", [f"fw-spawn-class-{LOST_CLASS}", f"fw-spawn-{LEFT_UID}"])
async def test_firewalls_whose_droplets_have_gone_are_listed_with_the_reason_and_left(
    run, world, name
):
    number = await world.firewall(name, tags=[])
    code, text = await run(*LOST, "--yes")
    (row,) = rows_about(text, name)
    assert (code, number in row, "which cluster made it cannot be told" in row) == (0, True, True)
    assert "doctl compute firewall delete" in text
    assert await world.firewalls() == {name}


async def test_names_that_lead_to_no_droplet_are_listed_with_the_reason_and_left(run, world):
    number = await world.name("retro-board-5e551234", "127.9.9.7")
    code, text = await run(*LOST, "--yes")
    (row,) = rows_about(text, f"retro-board-5e551234.{DOMAIN}")
    words = "LISTED ONLY: no droplet that stays has the address 127.9.9.7"
    assert (code, number.rpartition("/")[2] in row, words in row) == (0, True, True)
    assert "doctl compute domain records delete" in text
    assert ("retro-board-5e551234", "127.9.9.7") in await world.names()


async def test_a_name_of_another_session_at_an_address_that_is_given_back_is_listed(run, world):
    made = await world.droplet()
    await world.name("retro-board-5e551234", made["public_address"])
    code, text = await run(*LOST, "--yes")
    (row,) = rows_about(text, "retro-board-5e551234")
    assert (code, "LISTED ONLY" in row) == (0, True)
    assert await world.left() == set()


async def test_what_belongs_to_droplets_that_stay_is_not_listed(run, world):
    other = await world.droplet(LEFT_UID, tags=[*tags(LEFT_UID, OTHER_CLUSTER, LOST_CLASS)])
    await world.name("retro-board-5e551234", other["public_address"])
    await world.name("www", "127.9.9.7")
    await world.firewall(f"fw-spawn-{LEFT_UID}", droplet_ids=[other["id"]])
    await world.firewall(f"fw-spawn-class-{LOST_CLASS}", tags=[f"class:{LOST_CLASS}"])
    await world.firewall("fw-spawn-of-mine", tags=[])
    code, text = await run(*LOST, "--yes")
    listed = ("retro-board-5e551234", "127.9.9.7", LEFT_UID, LOST_CLASS, "fw-spawn-of-mine")
    assert (code, [name for name in listed if rows_about(text, name)]) == (0, [])


async def test_what_may_be_left_over_is_shown_before_anything_is_deleted(run, world):
    await everything_of_a_cluster(world)
    await world.control.add_faults("GET /v2/firewalls error_before status=500 nth=3 times=0")
    assert (await run(*LOST, "--yes"))[0] == 3
    assert len(await world.left()) == 1


NO_DOMAINS = "GET /v2/domains error_before status=403 times=0"


@pytest.mark.parametrize("arguments", [("--yes",), ("--dry-run",)])
async def test_a_token_that_may_not_list_domains_deletes_no_droplet(run, world, arguments):
    made = await everything_of_a_cluster(world)
    await world.control.add_faults(NO_DOMAINS)
    code, text = await run(*LOST, *arguments)
    assert (code, "the token may not list domains" in text, "--without-names" in text) == (
        4,
        True,
        True,
    )
    assert f"Droplet    {made['id']}" in text
    assert await world.left() == {made["id"]}
    assert len(await world.firewalls()) == 2


async def test_with_a_cluster_too_no_droplet_goes_before_its_names_are_known(
    reaped_with_cluster, world
):
    made = await world.droplet()
    await world.control.add_faults(NO_DOMAINS)
    assert await reaped_with_cluster() == 4
    assert await world.left() == {made["id"]}
    assert world.api_server.writes == []


async def test_without_names_the_droplets_go_all_the_same(run, world):
    made = await everything_of_a_cluster(world)
    await world.control.add_faults(NO_DOMAINS)
    code, text = await run(*LOST, "--yes", "--without-names")
    assert (code, "DNS records were not looked for" in text) == (0, True)
    assert await world.left() == set()
    assert ("retro-board-5e550000", made["public_address"]) in await world.names()


async def test_a_class_firewall_that_still_covers_a_droplet_stays(run, world):
    await everything_of_a_cluster(world)
    foreign = await world.droplet(name="somebody-s", tags=[f"class:{LOST_CLASS}"])
    code, text = await run(*LOST, "--yes")
    assert (code, "it still covers 1 droplets" in text) == (1, True)
    assert await world.left() == {foreign["id"]}
    assert await world.firewalls() == {f"fw-spawn-class-{LOST_CLASS}"}


async def test_with_a_cluster_only_what_its_ledgers_do_not_explain_is_shown(run, world):
    made = await world.droplet()
    world.api_server.put_record(UID, {})
    code, text = await run("--dry-run")
    assert (code, "left to the operator" in text) == (0, True)
    world.api_server.records.clear()
    code, text = await run("--dry-run")
    assert (code, "would be deleted" in text) == (1, True)
    assert await world.left() == {made["id"]}


async def test_with_a_cluster_an_orphan_goes_after_a_second_look(command, world):
    await world.droplet()
    async with client.ApiClient(client.Configuration(host=world.api_server.url)) as api:
        assert await command(delete=True).with_cluster(api, None) == 0
    assert "one sighting proves nothing" in command.text[0]
    assert await world.left() == set()


@pytest.fixture
async def reaped_with_cluster(command, world):
    """What the command deletes by the cluster's ledgers; returns its exit code."""

    async def reaped_with_cluster(**changes) -> int:
        one = command(delete=True)
        for name, value in changes.items():
            setattr(one, name, value)
        async with client.ApiClient(client.Configuration(host=world.api_server.url)) as api:
            return await one.with_cluster(api, None)

    return reaped_with_cluster


async def test_what_it_deletes_stands_in_a_closed_ledger(reaped_with_cluster, world):
    made = await world.droplet()
    world.api_server.put_record(UID, {"completedAt": "2026-01-02T11:00:00Z", "totalCost": "0.5"})
    assert await reaped_with_cluster() == 0
    status = world.api_server.records[UID]["status"]
    (entry,) = status["resources"]
    assert (entry["id"], entry["presence"], entry["cost"]) == (str(made["id"]), "Gone", "0.01")
    assert status["totalCost"] == "0.01"


async def test_what_has_no_ledger_gets_one(reaped_with_cluster, world):
    made = await world.droplet()
    world.api_server.classes["standard"] = {
        "metadata": {
            "name": "standard",
            "uid": CLASS,
            "resourceVersion": "1",
            "creationTimestamp": "2026-11-23T10:00:00Z",
        },
        "spec": {"credentials": {"secretName": "spawnai-credentials"}},
    }
    assert await reaped_with_cluster() == 0
    record = world.api_server.records[UID]
    assert record["spec"]["owner"] == {"kind": "SpawnSession", "name": "(unknown)", "uid": UID}
    assert record["spec"]["className"] == "standard"
    assert record["status"]["resources"][0]["id"] == str(made["id"])
    assert record["status"]["totalCost"] == "0.01"


@pytest.mark.parametrize("verb", ["create", "patch"])
async def test_who_may_not_write_ledgers_deletes_nothing_by_them(
    reaped_with_cluster, command, world, verb
):
    made = await world.droplet()
    world.api_server.refuses[verb] = 403
    assert await reaped_with_cluster() == 1
    assert "it has to be in a SpawnRecord first" in command.text[-1]
    assert await world.left() == {made["id"]}


async def test_a_receipt_that_cannot_be_written_is_left_to_the_operator(
    reaped_with_cluster, command, world, monkeypatch
):
    await world.droplet()
    remove = Removal.remove

    async def then_away(removal, estate):
        outcomes = await remove(removal, estate)
        world.api_server.refuses["patch"] = 503
        return outcomes

    monkeypatch.setattr(Removal, "remove", then_away)
    assert await reaped_with_cluster() == 0
    assert f"The receipt in SpawnRecord {UID} is left to the operator" in "".join(command.text)
    status = world.api_server.records[UID]["status"]
    assert status["resources"][0]["presence"] == "Present"
    assert len(status["residuals"]) == 1


async def test_an_orphan_that_is_explained_at_the_second_look_stays(command, world, monkeypatch):
    made = await world.droplet()
    one = command(delete=True)

    async def meanwhile(_seconds: float) -> None:
        world.api_server.put_session(UID, "Running")

    monkeypatch.setattr(one._clock, "sleep", meanwhile)
    async with client.ApiClient(client.Configuration(host=world.api_server.url)) as api:
        assert await one.with_cluster(api, None) == 0
    assert await world.left() == {made["id"]}


async def test_another_cluster_s_ledgers_decide_nothing(run, world):
    made = await world.droplet()
    code, text = await run("--yes", "--cluster-id", OTHER_CLUSTER)
    assert (code, "explain nothing of the other one" in text) == (2, True)
    assert await world.left() == {made["id"]}


async def test_without_an_api_server_it_says_how_to_go_on(run, world):
    made = await world.droplet()
    await world.api_server.stop()
    code, text = await run("--yes")
    assert (code, "--cluster-lost" in text) == (3, True)
    assert await world.left() == {made["id"]}


async def test_without_a_kubeconfig_it_says_how_to_go_on(run, tmp_path):
    code, text = await run("--dry-run", KUBECONFIG=str(tmp_path / "nowhere"))
    assert (code, "--cluster-lost" in text) == (3, True)


async def test_lost_ledgers_are_a_doubt(run, world):
    made = [await world.droplet(f"5e55100{n}-0000-4000-8000-00000000000f") for n in range(3)]
    code, text = await run("--yes")
    assert (code, "were the records lost?" in text) == (3, True)
    assert await world.left() == {one["id"] for one in made}


@pytest.mark.parametrize(
    ("arguments", "environment", "part"),
    [
        (("--cluster-lost",), {}, "needs --cluster-id"),
        (LOST, {"DIGITALOCEAN_TOKEN": ""}, "DIGITALOCEAN_TOKEN"),
        ((*LOST, "--minimum-age", "soon"), {}, "write a duration"),
    ],
)
async def test_wrong_use_is_a_sentence_and_2(run, arguments, environment, part):
    code, text = await run(*arguments, **environment)
    assert (code, part in text) == (2, True)


async def test_a_token_that_digitalocean_refuses_is_a_sentence_and_3(run):
    code, text = await run(*LOST, "--dry-run", DIGITALOCEAN_TOKEN="not-the-token")
    assert (code, "Traceback" in text, "not-the-token" in text) == (3, False, False)
    assert "401" in text


def test_the_help_tells_the_exit_codes():
    parser = argparse.ArgumentParser(prog="spawnai reap")
    add_arguments(parser)
    text = " ".join(parser.format_help().split())
    assert "0 nothing is left, 1 something was found and is still there" in text
