"""What Claude may answer: each answer is used, repaired, asked for again, or ends with its name."""

import asyncio
from collections.abc import Mapping

import pytest
import pytest_asyncio
from tests.e2e.sessions.kstatus import is_true, kstatus
from tests.e2e.sessions.world import Manifest, Session, World, session

HURRIED = "hurried"
"""A class whose sessions must be ready soon."""

REPAIRING = "repairing"
"""A class that has apps repaired which stop after they were Ready."""

STOPS = "An API about ferns simulate:app-dies-later-once"

TRICKY_PROMPTS = {
    "quotes-and-lines": 'A "page" `of` $(id) {{title}} <b>&amp;</b> \\n\n\t- one\r\nend',
    "emoji": "🪴🧑🏽‍🚀 ein Blümchen für 🇺🇳",
    "right-to-left": "صفحة ترحيب بالزوار שלום לכולם",
    "longest": "x" * 2000,
}
REPAIRED = {
    "syntax": "syntax-error-once",
    "escape": "path-escape-once",
}
RETRIED = {
    "overloaded": "overloaded-once",
    "server": "server-error-once",
    "cut": "connection-cut-once",
    "half": "overloaded-mid-stream-once",
}
ENDED = {
    "refused": ("refusal", "GenerationRefused", 1),
    "truncated": ("max-tokens", "GenerationTruncated", 2),
    "same": ("same-answer", "GenerationInvalid", 2),
    "broken": ("syntax-error", "GenerationInvalid", 3),
    "escapes": ("path-escape", "GenerationInvalid", 3),
    "huge": ("huge-file", "GenerationInvalid", 3),
}
"""Sessions by name: the fault, the reason, and the most calls it may cost."""

CUT_OFF = ("huge",)
"""The operator leaves before the answer's end: only Claude knows what was written until then."""


def manifest(name: str, fault: str, class_name: str | None = None) -> Manifest:
    how = {} if class_name is None else {"class_name": class_name}
    return session(name, f"A page about ferns simulate:{fault}", **how)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def answers(world: World, namespace: str) -> Mapping[str, Session]:
    await world.apply_class(HURRIED, lifetime={"provisioningDeadline": "15s"})
    await world.apply_class(REPAIRING, health={"onAppFailure": "Repair"})
    faults = {**REPAIRED, **RETRIED, **{name: fault for name, (fault, _, _) in ENDED.items()}}
    sessions = await world.apply(
        namespace,
        *(manifest(name, fault) for name, fault in faults.items()),
        manifest("always-overloaded", "overloaded", HURRIED),
        session("revised", "A page about liverworts"),
        session("crash", "An API about ferns simulate:app-dies-at-once-once", "api"),
        session("stops", STOPS, "api", class_name=REPAIRING),
        *(session(name, prompt) for name, prompt in TRICKY_PROMPTS.items()),
    )
    return {one.name: one for one in sessions}


async def test_while_claude_is_overloaded_a_session_says_so(answers):
    one = answers["always-overloaded"]
    await one.until(
        "says that Claude is overloaded",
        lambda seen: "overloaded" in seen.status.get("message", "").lower(),
        60,
    )
    assert one.condition("Generated")["reason"] == "Retrying"
    assert one.condition("DropletReady")["reason"] == "WaitingForClaude"


@pytest.mark.parametrize("name", TRICKY_PROMPTS)
async def test_any_text_may_be_a_prompt(answers, name):
    one = answers[name]
    await one.until_running()
    page = await one.fetch()
    assert page.status == 200
    assert one.document["spec"]["prompt"] == TRICKY_PROMPTS[name]
    first = TRICKY_PROMPTS[name].splitlines()[0]
    assert page.title.rstrip("…") in first


async def test_an_app_that_crashes_at_its_start_is_repaired_from_its_log(answers):
    one = answers["crash"]
    await one.until_running()
    assert one.status["generation"]["repairs"] == 1
    bill = await one.claude_bill()
    assert bill["calls"] == 2
    assert one.status["generation"]["outputTokens"] == bill["output_tokens"]
    assert (await one.fetch()).status == 200


async def test_a_new_prompt_changes_the_app_and_the_old_one_brings_it_back_for_nothing(answers):
    one = answers["revised"]
    await one.until_running()
    assert one.status["revision"] == 1
    await one.set_prompt("A page about mosses")
    await one.until("runs its second version", lambda seen: seen.status.get("revision") == 2, 60)
    assert "mosses" in (await one.until_page(lambda page: "mosses" in page.text)).title
    await one.set_prompt("A page about liverworts")
    await one.until("runs its first version", lambda seen: seen.status.get("revision") == 1, 60)
    assert (await one.until_page(lambda page: "liverworts" in page.text)).status == 200
    assert (await one.claude_bill())["calls"] == 2
    assert one.status["phase"] == "Running"


@pytest.mark.parametrize("name", REPAIRED)
async def test_a_broken_answer_is_repaired_and_every_token_counted(answers, name):
    one = answers[name]
    await one.until_running()
    assert one.status["generation"]["repairs"] == 1
    assert (await one.claude_bill())["calls"] == 2
    assert (await one.fetch()).status == 200


@pytest.mark.parametrize("name", RETRIED)
async def test_a_call_that_did_not_end_well_is_made_again(answers, name):
    one = answers[name]
    await one.until_running()
    assert one.status["generation"]["repairs"] == 0
    assert (await one.fetch()).status == 200


@pytest.mark.parametrize("name", ENDED)
async def test_an_answer_that_is_no_app_ends_the_session_with_that_reason(answers, name):
    one = answers[name]
    _, reason, calls = ENDED[name]
    await one.until_destroyed()
    assert one.status["terminationReason"] == reason
    assert kstatus(one.document) == "Failed"
    assert one.condition("Stalled")["reason"] == one.status["terminationReason"]
    assert len(one.status["message"]) > 20
    assert is_true(one.document, "CleanupComplete")
    assert (await one.claude_bill())["calls"] <= calls
    told = await one.until_event(one.status["terminationReason"])
    assert told["type"] == "Warning"


@pytest.mark.parametrize("name", ENDED)
async def test_a_session_that_ended_so_leaves_nothing_and_its_cost_is_known(answers, name):
    await answers[name].until_destroyed()
    await answers[name].assert_nothing_is_left()
    if name not in CUT_OFF:
        await answers[name].assert_cost_is_what_was_billed()


async def test_a_path_that_escapes_is_named_and_never_stored(world, answers):
    one = answers["escapes"]
    await one.until_destroyed()
    assert "../../etc/cron.d/escape" in one.status["message"]
    assert await world.secrets_of(one) == []


async def test_without_claude_a_session_ends_at_its_provisioning_deadline_and_says_why(answers):
    one = answers["always-overloaded"]
    await one.until_destroyed(60)
    assert one.status["terminationReason"] == "ProvisioningDeadlineExceeded"
    assert "15s" in one.status["message"]
    assert "overloaded" in one.status["message"].lower()
    await one.assert_nothing_is_left()
    assert (await one.claude_bill()).get("output_tokens", 0) == 0


async def test_what_was_repaired_or_asked_for_again_costs_what_was_billed(answers):
    names = [*REPAIRED, "overloaded", "server"]
    for name in names:
        await answers[name].until_running()
    await asyncio.gather(*(answers[name].annotate(expires_at="now") for name in names))
    for name in names:
        await answers[name].until_destroyed()
        await answers[name].assert_cost_is_what_was_billed()


async def test_an_app_that_stops_after_it_was_ready_is_repaired_from_its_log(answers):
    one = answers["stops"]
    await one.until_running()
    await one.until("runs its repaired version", lambda seen: seen.status.get("revision") == 2, 200)
    await one.until(
        "is Ready again", lambda seen: seen.condition("Ready").get("status") == "True", 60
    )
    assert not is_true(one.document, "Stalled")
    assert (await one.claude_bill())["calls"] == 2
    assert (await one.fetch()).status == 200
    [first, second] = one.status["revisions"]
    assert first["promptDigest"] == second["promptDigest"]
