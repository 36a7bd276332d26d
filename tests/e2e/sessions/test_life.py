"""One session of each kind, from its manifest to its receipt."""

import asyncio
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import pytest_asyncio
from tests.e2e.busy import CpuWait
from tests.e2e.sessions.eventually import eventually, stays
from tests.e2e.sessions.kstatus import is_true, kstatus
from tests.e2e.sessions.scrape import Scrape, documented_names
from tests.e2e.sessions.world import (
    READY_SECONDS,
    Session,
    World,
    in_seconds,
    moment,
    session,
)

from spawnai import __version__
from spawnai.api.names import FINALIZER, session_host_label
from spawnai_local.classes import LOCAL_DNS_CLASS, LOCAL_DOMAIN

PROMPT = 'A page about the "Grüne Gießkanne" 🪴'
KINDS = ("page", "notes", "report", "named")
PHASES = ["Provisioning", "Generating", "Deploying", "Running"]
GONE_WITHIN = timedelta(seconds=5)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def before(world: World) -> Scrape:
    """The metrics before any of these sessions."""
    return await world.scrape()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lives(
    world: World, before: Scrape, misbehaving: Mapping[str, Session], namespace: str
) -> Mapping[str, Session]:
    # Their neighbours misbehave, which takes longer than all of this and is looked at next.
    sessions = await world.apply(
        namespace,
        session("page", PROMPT, "webapp", ttl="8m"),
        session("notes", "A JSON API that keeps notes", "api"),
        session("report", "A report of the sales of a month", "script"),
        session("named", "A countdown to the holidays", "webapp", class_name=LOCAL_DNS_CLASS),
    )
    await asyncio.gather(*(one.until_running() for one in sessions))
    return {one.name: one for one in sessions}


@pytest.fixture(scope="module")
def busy() -> CpuWait:
    """How long this machine has kept its programs waiting since the ends were asked for."""
    return CpuWait()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ends(world: World, lives: Mapping[str, Session], busy: CpuWait) -> Mapping[str, str]:
    """All four sessions at the end of their time; returns the URLs they had."""
    urls = {name: one.status["url"] for name, one in lives.items()}
    made = await lives["notes"].fetch(
        "/notes", method="POST", document={"title": "water it once more"}
    )
    assert made.status == 201, made
    at = in_seconds(8)
    await asyncio.gather(*(one.annotate(expires_at=at) for one in lives.values()))
    await asyncio.gather(*(one.until_destroyed() for one in lives.values()))
    return urls


async def test_a_webapp_is_served_behind_the_url_that_kubectl_prints(lives):
    url = (await lives["page"].columns())["URL"]
    assert url == lives["page"].status["url"]
    page = await lives["page"].fetch()
    assert page.status == 200
    assert "text/html" in page.content_type
    assert page.title == PROMPT


async def test_an_api_is_installed_with_its_packages_and_keeps_what_it_is_sent(lives):
    home = await lives["notes"].fetch()
    assert home.status == 200, home
    made = await lives["notes"].fetch("/notes", method="POST", document={"title": "water it"})
    assert made.status == 201, made
    assert "water it" in (await lives["notes"].fetch("/notes")).text


async def test_a_script_is_a_page_with_its_output(lives):
    page = await lives["report"].until_page(lambda seen: "exit" in seen.text.lower())
    assert page.status == 200
    assert "text/html" in page.content_type
    assert "csv" in page.text


async def test_every_app_answers_at_health(lives):
    for one in lives.values():
        assert (await one.fetch("/health")).status == 200


async def test_a_class_with_a_domain_gives_a_name_that_dns_knows(world, lives):
    named = lives["named"]
    host = f"{session_host_label('named', named.uid)}.{LOCAL_DOMAIN}"
    assert named.status["url"].removeprefix("http://").partition(":")[0] == host
    assert await world.addresses(host) == (named.status["droplet"]["ip"],)
    assert "countdown" in (await named.fetch()).text.lower()


@pytest.mark.parametrize("name", KINDS)
async def test_phases_come_one_after_the_other_and_progress_never_falls(lives, name):
    one = lives[name]
    phases = [phase for phase in one.phases if phase != "Requested"]
    assert phases == PHASES
    progress = [
        document["status"]["progress"]
        for document in one.history
        if "progress" in document.get("status", {})
    ]
    assert progress == sorted(progress)
    assert progress[-1] == 100


@pytest.mark.parametrize("name", KINDS)
async def test_kstatus_reads_in_progress_until_the_app_answers_then_current(lives, name):
    reported = [one for one in lives[name].history if "conditions" in one.get("status", {})]
    assert {kstatus(one) for one in reported[:-1] if one["status"]["phase"] != "Running"} == {
        "InProgress"
    }
    assert kstatus(lives[name].document) == "Current"


@pytest.mark.parametrize("name", KINDS)
async def test_conditions_of_a_running_session_say_what_is_true(lives, name):
    document = lives[name].document
    true = {"Ready", "DropletReady", "FirewallReady", "Generated", "AppHealthy"}
    if name == "named":
        true.add("DNSReady")
    known = {one["type"]: one["status"] for one in document["status"]["conditions"]}
    assert {type_ for type_, value in known.items() if value == "True"} == true
    for one in document["status"]["conditions"]:
        assert one["observedGeneration"] == document["metadata"]["generation"]
        assert one["reason"]
    assert document["status"]["observedGeneration"] == document["metadata"]["generation"]


@pytest.mark.parametrize("name", KINDS)
async def test_status_names_what_the_cloud_holds(lives, name):
    one = lives[name]
    status = one.status
    [droplet] = await one.droplets()
    assert status["droplet"] == {
        "id": droplet["id"],
        "name": f"spawn-{one.uid}",
        "ip": droplet["public_address"],
    }
    assert droplet["name"] == f"spawn-{one.uid}"
    assert (status["region"], status["size"]) == (droplet["region"], droplet["size"])
    assert status["size"] == ("s-1vcpu-1gb" if name in ("page", "named") else "s-2vcpu-2gb")
    assert status["generation"]["model"] == "claude-sonnet-5-5"
    assert len(status["generation"]["bundleDigest"]) == 64
    assert status["generation"]["outputTokens"] > 0
    assert moment(status["startedAt"]) <= moment(status["readyAt"])
    assert float(status["cost"]["estimated"]) > 0


async def test_the_life_begins_when_the_app_is_ready(lives):
    ttl = {"page": timedelta(minutes=8), "notes": timedelta(minutes=10)}  # 24 h, capped
    for name, expected in ttl.items():
        status = lives[name].status
        assert moment(status["expirationTime"]) - moment(status["readyAt"]) == expected


async def test_droplets_carry_the_tags_that_tell_clusters_and_sessions_apart(world, lives):
    cluster = (await world.kubectl.json("get", "namespace", "kube-system"))["metadata"]["uid"]
    for one in lives.values():
        [droplet] = await one.droplets()
        wanted = {"spawn-ai", "ephemeral", f"cluster:{cluster}", f"session:{one.uid}"}
        assert wanted <= set(droplet["tags"])
        assert any(tag.startswith("ttl:") for tag in droplet["tags"])


async def test_kubectl_get_shows_a_line_that_a_person_understands(lives):
    line = await lives["page"].columns()
    assert line["PHASE"] == "Running"
    assert line["READY"] == "True"
    assert line["EXPIRES"] == lives["page"].status["expirationTime"]
    assert float(line["COST"]) > 0
    assert (line["TYPE"], line["PROGRESS"], line["REGION"]) == ("webapp", "100", "nyc3")


@pytest.mark.parametrize("name", KINDS)
async def test_each_transition_is_told_once_as_an_event(lives, name):
    await lives[name].until_event("Running")
    events = await lives[name].events()
    reasons = [one["reason"] for one in events]
    for reason in ("Provisioning", "DropletCreated", "Generated", "Running"):
        assert reasons.count(reason) == 1, reasons
    assert {one["type"] for one in events if one["reason"] != "ExpiryCapped"} == {"Normal"}
    running = next(one for one in events if one["reason"] == "Running")
    assert lives[name].status["url"] in running["note"]
    assert running["regarding"]["kind"] == "SpawnSession"


async def test_the_prompt_is_copied_nowhere(world, lives, namespace):
    one = lives["page"]
    status = json.dumps(one.document["status"], ensure_ascii=False)
    record = json.dumps(await one.record(), ensure_ascii=False)
    events = json.dumps(await one.events(), ensure_ascii=False)
    log = (world.stack.directory / "operator.log").read_text()
    for text in (status, record, events, log):
        assert "Gießkanne" not in text
        assert json.dumps("Gießkanne").strip('"') not in text


async def test_the_app_is_kept_in_a_secret_that_goes_with_its_ledger(world, lives):
    [secret] = await world.secrets_of(lives["page"])
    [owner] = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("SpawnRecord", lives["page"].uid)


async def test_no_secret_is_in_the_operators_log(world, lives):
    log = (world.stack.directory / "operator.log").read_text()
    for secret in ("local-token", "local-key", "BEGIN PRIVATE"):
        assert secret not in log


@pytest.mark.parametrize("name", KINDS)
async def test_an_expired_session_stays_as_a_tombstone_that_reads_as_current(lives, ends, name):
    document = await lives[name].get()
    status = document["status"]
    assert (status["phase"], status["terminationReason"]) == ("Destroyed", "Expired")
    assert is_true(document, "Expired")
    assert is_true(document, "CleanupComplete")
    assert not {"Ready", "Stalled", "Reconciling"} & {one["type"] for one in status["conditions"]}
    assert kstatus(document) == "Current"
    assert "url" not in status
    assert FINALIZER not in document["metadata"].get("finalizers", [])
    assert lives[name].phases[-3:] == ["Running", "Destroying", "Destroyed"]


@pytest.mark.parametrize("name", KINDS)
async def test_the_droplet_is_gone_within_five_seconds_of_its_time(world, lives, ends, busy, name):
    one = lives[name]
    lines = (await world.cloud.bill())["droplets"]
    [line] = [line for line in lines if f"session:{one.uid}" in line["tags"]]
    gone = datetime.fromtimestamp(line["deleted_at"], UTC)
    late = gone - moment(one.status["expirationTime"])
    assert timedelta(0) <= late <= GONE_WITHIN + timedelta(seconds=busy.seconds())


@pytest.mark.parametrize("name", KINDS)
async def test_the_ledger_holds_a_receipt_for_everything_that_was_made(lives, ends, name):
    await lives[name].assert_nothing_is_left()
    record = await lives[name].record()
    kinds = {one["kind"] for one in record["status"]["resources"]}
    assert kinds == ({"Droplet", "DomainRecord"} if name == "named" else {"Droplet"})
    assert record["status"]["terminationReason"] == "Expired"
    assert record["spec"]["owner"]["name"] == name


@pytest.mark.parametrize("name", KINDS)
async def test_the_cost_is_what_the_cloud_and_claude_billed(lives, ends, name):
    await lives[name].assert_cost_is_what_was_billed()


async def test_the_ledger_keeps_the_last_lines_of_the_log_of_an_app_with_a_process(lives, ends):
    for name in ("notes", "report"):
        assert (await lives[name].record())["status"]["log"], name


async def test_the_kept_log_is_that_of_the_end_and_not_of_the_beginning(lives, ends):
    log = "\n".join((await lives["notes"].record())["status"]["log"])
    assert re.search(r"note \d+ was added", log), log


async def test_nothing_answers_any_more_and_the_name_is_gone(world, lives, ends):
    host = ends["named"].removeprefix("http://").partition(":")[0]
    await eventually(f"{host} is gone", lambda: world.addresses(host), lambda seen: not seen)
    for name in ("page", "notes", "report"):
        assert not await world.is_answering(ends[name])


async def test_the_name_goes_before_its_address_goes_back_to_strangers(world, lives, ends):
    changes = await world.cloud.history()
    dangling = [one for one in changes if "dangling" in json.dumps(one)]
    assert dangling == []


async def test_a_life_costs_at_most_five_calls_of_its_own(lives, ends):
    calls = await lives["page"].calls()
    assert calls["POST /v2/droplets"] == 1
    assert sum(calls.values()) <= 5, calls


async def test_after_the_end_nothing_is_written_and_nothing_is_called(lives, ends):
    async def traces() -> dict[str, object]:
        return {
            name: (
                (await one.get())["metadata"]["resourceVersion"],
                (await one.record())["metadata"]["resourceVersion"],
                await one.calls(),
            )
            for name, one in lives.items()
        }

    before = await traces()
    await stays("the tombstones are at rest", traces, lambda now: now == before, 6, pause=2)


async def test_every_line_of_the_log_about_a_session_names_it(world, lives, ends):
    lines = (world.stack.directory / "operator.log").read_text().splitlines()
    for one in lives.values():
        about = [json.loads(line) for line in lines if one.uid in line]
        assert len(about) >= 5
        named = {(line.get("namespace"), line.get("session"), line.get("uid")) for line in about}
        assert named == {(one.namespace, one.name, one.uid)}


async def test_after_a_life_each_documented_metric_is_served_and_says_what_happened(
    world, before, lives, ends
):
    sessions = len(lives)
    seen = await world.scrape()
    grown, mean = partial(seen.grown, before), partial(seen.mean, before)
    assert seen.names == documented_names()
    sensible = {
        "spawnai_sessions": seen.value("spawnai_sessions", phase="Destroyed") >= sessions,
        "spawnai_reconciles_total": grown("spawnai_reconciles_total", kind="session", result="ok")
        >= 5 * sessions,
        "spawnai_reconcile_duration_seconds": 0 < mean("spawnai_reconcile_duration_seconds") < 5,
        "spawnai_session_ready_seconds": grown("spawnai_session_ready_seconds_count") >= sessions
        and 1 < mean("spawnai_session_ready_seconds") < READY_SECONDS,
        "spawnai_ttl_overrun_seconds": grown("spawnai_ttl_overrun_seconds_count") == sessions
        and 0 < mean("spawnai_ttl_overrun_seconds") < GONE_WITHIN.total_seconds(),
        "spawnai_digitalocean_calls_total": all(
            grown("spawnai_digitalocean_calls_total", endpoint=endpoint, result="ok") >= sessions
            for endpoint in ("POST /v2/droplets", "DELETE /v2/droplets/{id}")
        ),
        "spawnai_digitalocean_call_duration_seconds": 0
        < mean("spawnai_digitalocean_call_duration_seconds")
        < 5,
        "spawnai_digitalocean_remaining_calls": 0
        <= seen.value("spawnai_digitalocean_remaining_calls", window="minute")
        < seen.value("spawnai_digitalocean_remaining_calls", window="hour")
        < 5000,
        "spawnai_claude_tokens_total": all(
            grown("spawnai_claude_tokens_total", kind=kind) > 0 for kind in ("input", "output")
        ),
        "spawnai_cost_dollars_total": all(
            0 < grown("spawnai_cost_dollars_total", kind=kind) < 10
            for kind in ("droplet", "claude")
        ),
        "spawnai_api_writes_total": grown("spawnai_api_writes_total", write="patch session-status")
        >= 3 * sessions,
        "spawnai_events_total": grown("spawnai_events_total", result="written") >= 4 * sessions,
        "spawnai_orphans": seen.value("spawnai_orphans") == 0,
        "spawnai_reaped_total": grown("spawnai_reaped_total") == 0,
        "spawnai_reaper_looks_total": seen.value("spawnai_reaper_looks_total", result="ok") >= 1,
        "spawnai_queue_depth": 0 <= seen.value("spawnai_queue_depth") < 100,
        "spawnai_queue_delayed_keys": seen.value("spawnai_queue_delayed_keys") >= sessions,
        "spawnai_queue_oldest_wait_seconds": 0
        <= seen.value("spawnai_queue_oldest_wait_seconds")
        < 5,
        "spawnai_leader": seen.value("spawnai_leader") == 1,
        "spawnai_sessions_running": seen.value("spawnai_sessions_running", ready="True") >= 0,
        "spawnai_sessions_waiting": seen.value("spawnai_sessions_waiting", reason="Cleanup") == 0,
        "spawnai_session_feedback": seen.value("spawnai_session_feedback", answer="yes") == 0,
        "spawnai_session_results_total": grown("spawnai_session_results_total", result="completed")
        >= sessions,
        "spawnai_session_ends_total": grown("spawnai_session_ends_total", reason="Expired")
        >= sessions,
        "spawnai_claude_orders_total": grown("spawnai_claude_orders_total", outcome="Stored")
        >= sessions,
        "spawnai_claude_repairs_total": grown("spawnai_claude_repairs_total") >= 0,
        "spawnai_estimated_dollars_total": 0 < grown("spawnai_estimated_dollars_total") < 10,
        "spawnai_session_cost_ratio": 0 < mean("spawnai_session_cost_ratio") < 10,
        "spawnai_notices_total": grown("spawnai_notices_total") == 0,
        **{
            f"spawnai_spawnbudget_{part}_dollars": seen.value(f"spawnai_spawnbudget_{part}_dollars")
            == 0
            for part in ("limit", "spent", "reserved", "warn")
        },
        "spawnai_sessions_health": seen.value("spawnai_sessions_health", verdict="Answers") >= 0,
        "spawnai_health_probes_total": grown("spawnai_health_probes_total") >= 0,
        "spawnai_blind": seen.value("spawnai_blind") == 0,
        "spawnai_droplet_recoveries_total": grown("spawnai_droplet_recoveries_total") == 0,
        "spawnai_replacements_total": grown("spawnai_replacements_total") == 0,
        "spawnai_inspection_seconds": mean("spawnai_inspection_seconds") >= 0,
        # No class of these sessions has a gateway.
        **{
            f"spawnai_certificate_{part}": seen.value(f"spawnai_certificate_{part}") == 0
            for part in (
                "ready_status",
                "expiration_timestamp_seconds",
                "not_before_timestamp_seconds",
                "renewal_timestamp_seconds",
            )
        },
        "spawnai_baked_images": seen.value("spawnai_baked_images") == 0,
        "spawnai_pool_spares": seen.value("spawnai_pool_spares") == 0,
        "spawnai_pool_wanted_spares": seen.value("spawnai_pool_wanted_spares") == 0,
        "spawnai_pool_ready_status": seen.value("spawnai_pool_ready_status") == 0,
        "spawnai_pool_claims_total": grown("spawnai_pool_claims_total") == 0,
        "spawnai_pool_refill_failures_total": grown("spawnai_pool_refill_failures_total") == 0,
        "spawnai_acme_orders_total": grown("spawnai_acme_orders_total") == 0,
        # There is no ACME server.
        "spawnai_acme_limit_allowed": seen.value("spawnai_acme_limit_allowed") == 0,
        "spawnai_acme_limit_remaining": seen.value("spawnai_acme_limit_remaining") == 0,
        "spawnai_clock_ahead_seconds": all(
            abs(seen.value("spawnai_clock_ahead_seconds", whose=whose)) < 5
            for whose in ("DigitalOcean", "Kubernetes")
        ),
        "spawnai_missing_fields": seen.value("spawnai_missing_fields") == 0,
        "spawnai_missing_rights": seen.value("spawnai_missing_rights") == 0,
        "spawnai_build_info": seen.value("spawnai_build_info", version=__version__) == 1,
    }
    assert sensible.keys() == documented_names()
    assert [name for name, holds in sensible.items() if not holds] == []


async def test_deleting_a_tombstone_takes_the_object_and_leaves_the_ledger(lives, ends):
    await lives["page"].delete()
    await lives["page"].until_gone(10)
    record = await lives["page"].record()
    assert record["status"]["completedAt"]
