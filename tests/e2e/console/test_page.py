"""The page in a real browser, against a real API server; a test writes what an operator would."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright, expect
from tests.e2e.console.conftest import TEAM, World

from spawnai.admission.budgets import Book
from spawnai.admission.places import Begun, ClassLimits, Tally, Waiting, places
from spawnai.api.budget import BudgetSpec
from spawnai.lifecycle.inspection import words_of
from spawnai.lifecycle.placing import NO_CALL_LEFT, NO_ROOM, WAITING_FOR_LIMIT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"
)

FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PROMPT = "A retro board with three columns, cards people can add and vote on"
WAIT = 60_000
"""Milliseconds; patience for a busy machine. The benchmarks measure how quick the page is."""
expect.set_options(timeout=WAIT)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        await running.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, clean: World) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    context.set_default_timeout(WAIT)
    opened = await context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "console",
        lambda message: errors.append(message.text) if "Content Security" in message.text else None,
    )
    yield opened
    await context.close()
    assert errors == []


async def sign_in(page: Page, world: World, token: str, path: str = "") -> None:
    await page.goto(f"{world.console.url}{path}")
    await sign_in_here(page, token)


async def sign_in_here(page: Page, token: str) -> None:
    await page.fill("#token", token)
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#token", state="detached")


def soon(**delta: float) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(type_: str, status: str = "True", reason: str = "Done", message: str = "") -> Any:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": soon(),
    }


STARTED = ("DropletReady", "FirewallReady")

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def waits(limits: ClassLimits, limit: str | None = None) -> str:
    """What is said of an order of 0.79 dollars where five apps run, one with a load balancer."""
    order = Waiting("uid", "dana", "team-a", NOW, amount=Decimal("0.79"))
    running = [Begun("dana", "team-a", NOW, is_open=True, is_balanced=n < 1) for n in range(5)]
    books = []
    if limit is not None:
        spec = BudgetSpec(limit=limit, period="Month")
        books = [Book("team", spec, NOW, NOW + timedelta(days=1), spent=Decimal(limit))]
    return places([order], Tally.of(running), limits, NOW, books)["uid"].message


ANY = ClassLimits()
FRENCH_WAITS = {
    waits(ClassLimits(active_per_user=5)): "1re sur 1 : apps en cours pour dana : 5 sur 5",
    waits(ClassLimits(active_per_namespace=5)): (
        "1re sur 1 : apps en cours dans l’espace de noms team-a : 5 sur 5"
    ),
    waits(
        ClassLimits(load_balancers=1)
    ): "1re sur 1 : répartiteurs de la classe en service : 1 sur 1",
    waits(ClassLimits(new_per_user=4)): (
        "1re sur 1 : commandes de dana en 15 minutes : 5, le maximum est de 4"
    ),
    waits(ANY, "5"): (
        "1re sur 1 : le budget team (5,00 $ par mois) ne couvre plus les 0,79 $ qu’elle peut coûter"
    ),
    waits(ANY, "0.5"): (
        "1re sur 1 : elle peut coûter 0,79 $, plus que tout le budget team (0,50 $ par mois) : "
        "choisissez plus court ou une machine plus petite"
    ),
    "3rd of 7: budget team is used up by what began before": (
        "3e sur 7 : le budget team est épuisé par ce qui a commencé avant"
    ),
    "The new prompt waits: budget team has no room for what Claude may take": (
        "Le budget team ne couvre plus ce que Claude peut prendre."
    ),
    f"{WAITING_FOR_LIMIT}; position 2 in the queue (25 of 25)": (
        "Les serveurs du compte sont tous pris ; place 2 dans la file"
    ),
    f"{NO_ROOM} (for s-1vcpu-1gb in nyc3, sfo3): sold out": (
        "Aucun serveur libre à New York, San Francisco pour l’instant ; nouvel essai automatique"
    ),
    "No room for s-1vcpu-1gb in nyc3, trying ams3: sold out": (
        "Aucun serveur libre à New York ; essai à Amsterdam"
    ),
    NO_CALL_LEFT: "Trop d’appels chez DigitalOcean ; les suppressions passent d’abord",
    "Something else": "Something else",
}


async def test_an_order_comes_to_life_step_by_step_and_ends_with_a_receipt(
    page: Page, clean: World, ready
):
    await sign_in(page, clean, clean.editor)
    await expect(page.locator("#prompt")).to_be_focused()
    await page.keyboard.type(PROMPT)
    await page.keyboard.press("Control+Enter")
    await page.wait_for_url(re.compile(r"#/s/retro-board-[0-9a-f]{4}$"))
    name = page.url.rpartition("/")[2]
    await expect(page.get_by_role("heading", level=1)).to_have_text(name)
    spec = (await clean.kubectl.json("get", "spawnsession", name, "--namespace", TEAM))["spec"]
    assert (spec["prompt"], spec["appType"], spec["tier"]) == (PROMPT, "webapp", "light")

    begun = soon()
    steps = [
        ("Provisioning", 20, [], "Server"),
        ("Generating", 50, STARTED, "Code"),
        ("Deploying", 80, (*STARTED, "Generated"), "Start"),
    ]
    for phase, progress, true, now in steps:
        await clean.set_status(
            name,
            phase=phase,
            progress=progress,
            startedAt=begun,
            region="nyc3",
            conditions=[condition(one) for one in true],
        )
        await expect(page.locator(".ends span").last).to_have_text(f"{progress}%")
        await expect(page.locator("[aria-current=step]").first).to_contain_text(now)
        assert (await page.title()).startswith(f"{progress}%")

    picture = await page.screenshot()
    await page.route(
        "**/screenshot", lambda route: route.fulfill(body=picture, content_type="image/png")
    )
    await clean.set_status(
        name, **ready | {"startedAt": begun}, readyAt=soon(), expirationTime=soon(hours=2),
        conditions=[condition(one) for one in (*STARTED, "Generated", "AppHealthy", "Ready")],
    )  # fmt: skip
    link = page.get_by_role("link", name="Open app")
    await expect(link).to_have_attribute("href", ready["url"])
    await expect(link).to_have_attribute("rel", "noopener noreferrer")
    await expect(page.get_by_alt_text("Picture of the app")).to_have_js_property(
        "naturalWidth", 1280
    )
    await expect(page.get_by_role("timer")).to_contain_text("2h")
    await expect(page.locator("#say")).to_contain_text(f"{name} is ready")

    # Extend: at once on the screen, as an annotation in the cluster.
    await page.click("#plus-hour")
    await expect(page.get_by_role("timer")).to_contain_text("3h")
    # Read what it writes.
    said = "listening\nPOST /cards 201\n"
    await page.route("**/logs?follow=true", lambda route: route.fulfill(body=said))
    await page.click("#tab-details")
    await page.click("#tab-logs")
    await expect(page.locator("[role=log] div")).to_have_text(["listening", "POST /cards 201"])
    # Change the text.
    await page.click("#tab-change")
    by_votes = f"{PROMPT}, sorted by votes"
    await page.fill("#change-text", by_votes)
    await page.click("#change-go")
    await expect(page.locator(".prompt")).to_have_text(by_votes)
    # And go back: the status has digests, the texts come from the operator.
    told = [{"version": 1, "prompt": PROMPT}, {"version": 2, "prompt": by_votes}]
    await page.route("**/versions", lambda route: route.fulfill(json={"items": told}))
    entry = {"promptDigest": "0" * 64, "at": soon(), "failed": False}
    await clean.set_status(name, revision=2, revisions=[entry | {"revision": n} for n in (1, 2)])
    await page.get_by_role("button", name="Go back v1").click()
    await expect(page.locator(".prompt")).to_have_text(PROMPT)
    # Judge it.
    await page.click("#feedback-yes")
    await expect(page.locator("#feedback-yes")).to_have_attribute("aria-pressed", "true")
    shown = await clean.kubectl.json("get", "spawnsession", name, "--namespace", TEAM)
    annotations = shown["metadata"]["annotations"]
    assert annotations["spawn-ai.com/feedback"] == "yes"
    assert shown["spec"]["prompt"] == PROMPT
    until = datetime.fromisoformat(annotations["spawn-ai.com/expires-at"])
    assert timedelta(hours=2.9) < until - datetime.now(UTC) < timedelta(hours=3.1)

    # End: it asks first, and the safe answer has the focus.
    await page.click("#end-now")
    await expect(page.get_by_role("button", name="Keep it running")).to_be_focused()
    server = {"kind": "Droplet", "name": "spawn-1", "createdAt": begun, "presence": "Present"}
    ledger: dict[str, Any] = {"resources": [server], "generations": []}
    await page.route("**/receipt", lambda route: route.fulfill(json=ledger))
    await page.click("#end-app")
    await expect(page.locator(".tag").first).to_have_text("Ending")
    done = page.locator(".steps .done")
    await clean.set_status(name, phase="Destroying", url=None)
    await expect(done).to_have_text([re.compile(r"Address off\d+\.\d.s")])
    # The status has not changed; the ledger tells.
    server["deletionAcceptedAt"] = soon()
    await expect(done).to_have_text([re.compile("Address off"), re.compile("Server destroyed")])
    server |= {"goneAt": soon(), "presence": "Gone"}
    await clean.set_status(
        name, phase="Destroyed", url=None, destroyedAt=soon(), terminationReason="Expired",
        cost={"estimated": "0.11", "actual": "0.0911", "hourly": "0.00893"},
        conditions=[condition("Expired"), condition("CleanupComplete")],
    )  # fmt: skip
    receipt = page.get_by_role("region", name="Receipt")
    await expect(receipt).to_contain_text("You ended it")
    await expect(receipt).to_contain_text("Nothing is left")
    await expect(receipt).to_contain_text("$0.0911")
    await expect(receipt).to_contain_text("The source is kept")


async def test_a_change_that_waits_for_a_budget_says_so_above_the_app(
    page: Page, clean: World, ready
):
    await clean.order("clock")
    words = "The new prompt waits: budget team has no room for what Claude may take"
    await clean.set_status(
        "clock", **ready, readyAt=soon(minutes=-2), expirationTime=soon(hours=1), revision=2,
        conditions=[
            condition("Ready"),
            condition("UpdateFailed", reason="WaitingForBudget", message=words),
        ],
    )  # fmt: skip
    await sign_in(page, clean, clean.editor, "#/s/clock")
    said = "The change waits for its budget. Version 2 answers until then. " + words
    await expect(page.locator("main .note")).to_have_text(said)
    await expect(page.locator(".tag").first).to_have_text("Running")
    assert await look(page) == []


async def test_what_failed_says_why_and_what_to_do(page: Page, clean: World):
    await clean.order("stock", prompt="Read the warehouse sales", appType="script")
    await clean.set_status(
        "stock", phase="Destroyed", startedAt=soon(minutes=-2), terminationReason="AppCrashed",
        conditions=[
            condition("DropletReady"),
            condition("Stalled", reason="AppCrashed", message="URLError: Name not known"),
            condition("CleanupComplete"),
        ],
        progress=80,
    )  # fmt: skip
    await sign_in(page, clean, clean.editor, "#/s/stock")
    await expect(
        page.get_by_role("heading", name="The app crashed when it started")
    ).to_be_visible()
    await expect(page.locator("pre.log")).to_have_text("URLError: Name not known")
    await expect(page.locator(".steps .fail")).to_have_text("Start")
    await page.get_by_role("button", name="Edit and order again").click()
    await expect(page.locator("#prompt")).to_have_value("Read the warehouse sales")


async def test_who_may_only_look_sees_everything_and_cannot_order(page: Page, clean: World):
    await clean.order("clock")
    await sign_in(page, clean, clean.viewer, "#/new")
    notice = page.locator("#notices")
    await expect(notice).to_contain_text("You can look here, but not order.")
    await expect(notice).to_contain_text('cannot create resource "spawnsessions"')
    await expect(page.get_by_role("button", name="Create app")).to_have_attribute(
        "aria-disabled", "true"
    )
    await page.get_by_role("link", name="Apps").click()
    await expect(page.get_by_role("row")).to_contain_text(["App", "clock"])


async def test_who_may_see_nothing_is_told_whom_to_ask(page: Page, clean: World):
    await sign_in(page, clean, clean.stranger)
    await expect(page.locator("#notices")).to_contain_text(f"You may not see the apps in {TEAM}.")


async def test_a_token_that_is_not_accepted_can_be_corrected(page: Page, clean: World):
    await page.goto(clean.console.url)
    await page.fill("#token", "invalid")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert").first).to_contain_text("This token is not accepted.")
    await page.fill("#token", clean.viewer)
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#prompt")


async def test_the_token_is_in_no_url_storage_or_cookie_and_is_gone_after_a_reload(
    page: Page, clean: World
):
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.on("websocket", lambda socket: urls.append(socket.url))
    await sign_in(page, clean, clean.viewer)
    await page.wait_for_timeout(300)
    kept = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert not [url for url in urls if clean.viewer in url]
    assert clean.viewer not in kept
    assert await page.context.cookies() == []
    await page.reload()
    await page.wait_for_selector("#token")


async def test_a_refused_order_comes_back_with_its_text_and_the_reason(page: Page, clean: World):
    await sign_in(page, clean, clean.editor)
    await page.route(
        "**/api/sessions",
        lambda route: route.fulfill(
            status=422, json={"error": "budget is used up", "reason": "Invalid", "fields": []}
        ),
    )
    await page.fill("#prompt", PROMPT)
    await page.get_by_role("button", name="Create app").click()
    await expect(page.locator("#prompt")).to_have_value(PROMPT)
    await expect(page.locator("#prompt-count")).to_contain_text("budget is used up")


async def test_keys_are_ordered_by_name_for_apps_that_can_keep_them(page: Page, clean: World):
    await sign_in(page, clean, clean.editor)
    keys, create = page.locator("#keys"), page.get_by_role("button", name="Create app")
    field = page.locator("details", has=keys)
    await page.fill("#prompt", "Tells whether to take an umbrella")
    await expect(field).to_be_hidden()  # everyone may read what a web page is made of
    await page.get_by_role("radio", name="Pages + API").check()
    await field.locator("summary").click()
    await keys.fill("weather=openweather")
    await create.click()
    await expect(page.locator("#keys-wrong")).to_have_text(
        "Write NAME=secret/key, the name in capital letters."
    )
    await expect(keys).to_be_focused()
    assert await look(page) == []
    # A refused order brings them back, too.
    refusal = {"error": "budget is used up", "reason": "Invalid", "fields": []}
    refused = re.compile(r"/api/sessions$")
    await page.route(refused, lambda route: route.fulfill(status=422, json=refusal))
    lines = "WEATHER=weather/openweather\nMAPS=maps/token"
    await keys.fill(lines)
    await create.click()
    await expect(page.locator("#prompt-count")).to_contain_text("budget is used up")
    await expect(keys).to_have_value(lines)
    await page.unroute(refused)
    await create.click()
    await page.wait_for_url(re.compile("#/s/"))
    await expect(page.locator(".tag").first).to_have_text("Building")
    (made,) = await clean.kubectl.items("spawnsessions", "--namespace", TEAM)
    assert made["spec"]["env"] == [
        {"name": "WEATHER", "secretRef": {"name": "weather", "key": "openweather"}},
        {"name": "MAPS", "secretRef": {"name": "maps", "key": "token"}},
    ]


async def test_an_order_is_shown_before_the_server_has_answered_and_survives_a_cut(
    page: Page, clean: World
):
    await sign_in(page, clean, clean.editor)
    answered = asyncio.Event()
    tries = 0

    async def answer(route) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            # It arrives, and the answer is lost.
            await route.fetch()
            await route.abort()
        else:
            await answered.wait()
            await route.continue_()

    await page.route(re.compile(r"/api/sessions$"), answer)
    await page.fill("#prompt", PROMPT)
    await page.get_by_role("button", name="Create app").click()
    await expect(page.locator(".tag").first).to_have_text(re.compile("Ordered|Building"))
    answered.set()
    await expect(page.locator(".tag").first).to_have_text("Building")
    found = await clean.kubectl.items("spawnsessions", "--namespace", TEAM)
    assert len(found) == 1


async def test_text_of_strangers_is_text(page: Page, clean: World):
    evil = "<img src=x onerror=document.title='owned'> and **bold**"
    await clean.order("evil", prompt=evil)
    await sign_in(page, clean, clean.viewer, "#/s/evil")
    await expect(page.locator(".prompt")).to_have_text(evil)
    await page.get_by_role("link", name="Apps").click()
    await expect(page.locator(".list .p")).to_have_text(evil)
    assert "owned" not in await page.title()


async def test_a_url_that_is_no_web_address_is_no_link(page: Page, clean: World, ready):
    await clean.order("evil")
    await clean.set_status(
        "evil",
        **ready | {"url": "javascript:alert(1)"},
        readyAt=soon(),
        expirationTime=soon(hours=1),
    )
    await sign_in(page, clean, clean.viewer, "#/s/evil")
    await expect(page.locator("#open-app")).to_be_visible()
    assert await page.locator("#open-app").get_attribute("href") is None


async def test_all_of_it_works_with_the_keyboard(page: Page, clean: World, ready):
    for name in ("clock", "quiz"):
        await clean.order(name)
        await clean.set_status(
            name, **ready, readyAt=soon(), expirationTime=soon(hours=2 if name == "quiz" else 1)
        )
    await sign_in(page, clean, clean.editor, "#/apps")
    await expect(page.get_by_role("row")).to_have_count(3)
    await page.keyboard.press("j")
    await expect(page.get_by_role("heading", level=1)).to_have_text("clock")
    await page.keyboard.press("j")
    await expect(page.get_by_role("heading", level=1)).to_have_text("quiz")
    await page.keyboard.press("e")
    await expect(page.get_by_role("dialog")).to_contain_text("Extend quiz")
    await page.keyboard.press("Escape")
    await expect(page.locator("#extend")).to_be_focused()
    await page.keyboard.press("d")
    await expect(page.locator("#tab-details")).to_have_attribute("aria-selected", "true")
    await page.keyboard.press("ArrowLeft")
    await expect(page.locator("#tab-source")).to_be_focused()
    await page.keyboard.press("n")
    await expect(page.locator("#prompt")).to_be_focused()
    await page.keyboard.type("no shortcut works in a field")
    await expect(page.locator("#prompt")).to_have_value("no shortcut works in a field")


async def test_the_history_shows_receipts_also_of_what_was_deleted(page: Page, clean: World):
    await clean.order("clock")
    await clean.export("crossword", "ada", completedAt=soon(hours=-1))
    await clean.export("poll", "bob", completedAt=soon(hours=-2), totalCost="0.04")
    await clean.export("menu", "bob", completedAt=soon(days=-40))
    await clean.export("abroad", "ada", namespace="default", completedAt=soon(hours=-3))
    await sign_in(page, clean, clean.auditor, "#/apps")
    await page.get_by_role("radio", name="History").check()
    count = page.get_by_role("status").filter(has_text="in all")
    await expect(count).to_contain_text("3 ended")
    await page.fill("#since", soon(days=-4)[:10])
    await expect(count).to_contain_text("2 ended, $0.14 in all")
    await expect(count).to_contain_text("The operator does not answer")
    row = page.locator(".list tbody tr")
    await expect(row).to_have_count(2)
    await page.fill("#user", "bob")
    await page.fill("#className", "standard")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text("poll · bob")
    assert "user=bob&class=standard" in page.url
    await page.fill("#className", "other")
    await expect(row).to_have_count(0)
    await page.fill("#className", "")
    await page.fill("#user", "")
    await page.fill("#find", "ada")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text("crossword · ada")
    await expect(row).to_contain_text("Ended")
    await expect(row).to_contain_text("Server $0.02 · Claude $0.09")
    await page.get_by_label("All namespaces").check()
    await expect(row).to_contain_text(["crossword · ada", "abroad · default · ada"])
    assert await look(page) == []
    # The address holds what is searched for: a reload shows the same.
    await page.reload()
    await sign_in_here(page, clean.auditor)
    await expect(row).to_contain_text(["crossword · ada", "abroad · default · ada"])
    await expect(page.locator("#since")).to_have_value(soon(days=-4)[:10])
    await page.fill("#find", "")
    await page.get_by_role("radio", name="All", exact=True).check()
    await expect(page.locator(".list tbody tr")).to_contain_text("clock")
    assert page.url.endswith("#/apps")


async def test_it_speaks_french(page: Page, clean: World, ready):
    await clean.order("clock")
    await clean.set_status("clock", **ready, readyAt=soon(), expirationTime=soon(hours=2))
    await sign_in(page, clean, clean.editor, "#/s/clock")
    await page.locator(".menu summary").click()
    await page.get_by_role("button", name="Français").click()
    await expect(page.locator("html")).to_have_attribute("lang", "fr")
    await expect(page.get_by_role("link", name="Ouvrir l’app")).to_be_visible()
    await expect(page.locator(".side")).to_contain_text("0,11\u00a0$")
    english = "Running|Time left|Cost so far|Extend|Change|Details"
    assert not re.findall(english, await page.locator("main").inner_text())


TROUBLE = {
    ("Unknown", "AgentUnreachable"): ("nobody knows how the app is", "nul ne sait"),
    ("Unknown", "OperatorBlind"): ("the fault is most likely not theirs", "la panne est sans"),
    ("False", "NetworkPath"): ("nobody reaches it", "rien ne l’atteint"),
    ("False", "PoweredOff"): ("switched off", "Son serveur est éteint."),
    ("False", "Replacing"): ("moves to another one", "elle passe sur un autre"),
    ("False", "AppCrashed"): ("Claude is repairing it.\nTypeError", "la répare.\nTypeError"),
}


async def test_what_is_wrong_with_an_app_that_ran_is_told_in_both_languages(
    page: Page, clean: World, ready
):
    await clean.order("clock")
    await sign_in(page, clean, clean.editor, "#/s/clock")
    for language in (0, 1):
        for (status, reason), said in TROUBLE.items():
            message = "TypeError: x is undefined; Claude repairs the app"
            await clean.set_status(
                "clock", **ready, readyAt=soon(minutes=-20), expirationTime=soon(hours=1),
                conditions=[condition("Ready", status, reason, message)],
            )  # fmt: skip
            trouble = page.locator(".trouble")
            await expect(trouble).to_contain_text(said[language], use_inner_text=True)
        await page.evaluate("localStorage.setItem('language', 'fr')")
        await page.reload()
        await sign_in_here(page, clean.editor)


async def test_what_does_not_work_on_a_page_that_runs_is_told_once(page: Page, clean: World, ready):
    await clean.order("clock")
    words = words_of(("a click on Export threw TypeError",))
    await clean.set_status(
        "clock", **ready, readyAt=soon(minutes=-20), expirationTime=soon(hours=1),
        conditions=[condition("Ready"), condition("Degraded", reason="PageBroken", message=words)],
    )  # fmt: skip
    await sign_in(page, clean, clean.editor, "#/s/clock")
    await expect(page.locator(".trouble")).to_have_text(
        "It runs, but one thing does not work: a click on Export threw TypeError"
    )


async def test_a_repair_is_told_with_what_it_is_for(page: Page, clean: World):
    await clean.order("clock")
    written = {
        "fraction": 0.4,
        "files": [{"path": "app.js", "bytes": 10}],
        "repairs": 1,
        "problem": "app.js:3: unexpected end of input",
    }
    await page.route("**/generation", lambda route: route.fulfill(body=json.dumps(written) + "\n"))
    await clean.set_status("clock", **STATES["building"], **COMMON)
    await sign_in(page, clean, clean.editor, "#/s/clock")
    await expect(page.locator(".steps")).to_contain_text(
        "Claude is repairing it, 1 of 2: app.js:3: unexpected end of input"
    )


@pytest.mark.parametrize(
    ("seconds", "said"), [(12, "It ran for 12 s and ended well."), (None, "It ran and ended well.")]
)
async def test_how_long_a_script_ran_is_told(page: Page, clean: World, ready, seconds, said):
    await clean.order("clock", appType="script")
    status = ready | ({"ranSeconds": seconds} if seconds else {})
    await clean.set_status("clock", **status, readyAt=soon(), expirationTime=soon(hours=1))
    await sign_in(page, clean, clean.editor, "#/s/clock")
    await expect(page.locator(".shot")).to_contain_text(said)


async def test_a_failed_change_says_what_it_has_cost(page: Page, clean: World, ready):
    await clean.order("clock")
    versions = [
        {"revision": 1, "promptDigest": "a", "at": soon(minutes=-20)},
        {"revision": 2, "promptDigest": "b", "at": soon(minutes=-2), "failed": True},
    ]
    failure = condition("UpdateFailed", reason="AppCrashed", message="The app crashed")
    await clean.set_status(
        "clock", **ready, readyAt=soon(minutes=-20), expirationTime=soon(hours=1), revision=1,
        revisions=versions, conditions=[condition("Ready"), failure],
    )  # fmt: skip
    paid = {
        soon(minutes=-21): "0.05",
        soon(minutes=-4): "0.03",
        soon(minutes=-3): "0.01",
    }
    await page.route(
        "**/receipt",
        lambda route: route.fulfill(
            json={"generations": [{"startedAt": at, "cost": cost} for at, cost in paid.items()]}
        ),
    )
    await sign_in(page, clean, clean.editor, "#/s/clock")
    await expect(page.locator("main .note")).to_have_text(
        "The new version did not work; version 1 is still running. The change cost $0.04. "
        "The app crashed"
    )


OFFER = {
    "className": "local",
    "maxTtlSeconds": 259_200,
    "provisioningDeadlineSeconds": 600,
    "overhead": "0",
    "tiers": [],
    "appTypes": [
        {
            "appType": "webapp",
            "claudeCost": "0.086",
            "readySeconds": [60, 80],
            "stepSeconds": [[30, 36], [40, 60], [6, 10], [4, 8]],
        }
    ],
}


async def test_what_an_order_and_a_change_cost_is_told_with_its_parts(
    page: Page, clean: World, ready
):
    await page.route("**/api/offer?**", lambda route: route.fulfill(json=OFFER))
    await clean.order("clock")
    await clean.set_status("clock", **STATES["building"], **COMMON)
    await sign_in(page, clean, clean.editor, "#/s/clock")
    said = "About $0.11 in all: server $0.024, Claude $0.086"
    await expect(page.locator(".side")).to_contain_text(said)
    await clean.set_status("clock", **ready, readyAt=soon(), expirationTime=soon(hours=2))
    await page.get_by_role("tab", name="Change").click()
    hint = page.locator("#change-hint")
    await expect(hint).to_contain_text("Data is kept. Usually about 64 s and $0.09.")


async def test_what_an_order_waits_for_is_told_in_french(page: Page, clean: World):
    """With the operator's own sentences: one that is worded anew is found here."""
    await page.goto(clean.console.url)
    told = await page.evaluate(
        """async (texts) => {
            const { setLanguage } = await import('./words.js');
            const { told } = await import('./told.js');
            setLanguage('fr');
            return texts.map(told);
        }""",
        list(FRENCH_WAITS),
    )
    plain = [re.sub("[\u00a0\u202f]", " ", text) for text in told]
    assert plain == list(FRENCH_WAITS.values())


async def test_a_wait_for_a_budget_is_no_wait_in_line(page: Page, clean: World):
    await clean.order("clock")
    message = waits(ANY, "5")
    admitted = condition("Admitted", "False", "WaitingForBudget", message)
    await clean.set_status("clock", phase="Requested", conditions=[admitted])
    await sign_in(page, clean, clean.editor, "#/s/clock")
    await expect(page.locator("main")).to_contain_text("Waits for its budget")
    await expect(page.locator("main")).to_contain_text(message)


async def test_a_cut_connection_is_told_and_what_was_missed_comes(page: Page, clean: World):
    await clean.order("clock")
    await sign_in(page, clean, clean.viewer, "#/apps")
    await expect(page.get_by_role("row")).to_have_count(2)
    await page.context.set_offline(True)
    await page.evaluate("dispatchEvent(new Event('offline'))")
    await clean.order("quiz")
    await page.context.set_offline(False)
    await expect(page.get_by_role("row")).to_have_count(3)


STATES: dict[str, dict[str, Any]] = {
    "building": {
        "phase": "Generating", "progress": 31, "region": "nyc3",
        "conditions": [condition(one) for one in STARTED],
    },
    "running": {"phase": "Running", "progress": 100, "url": "https://a.example.com"},
    "waiting": {
        "phase": "Requested",
        "conditions": [condition("Admitted", "False", "Queued", "3rd of 7, as 5 of 5 are in use")],
    },
    "failed": {
        "phase": "Destroyed", "terminationReason": "AppCrashed",
        "conditions": [condition("Stalled", reason="AppCrashed", message="It crashed")],
    },
    "ended": {
        "phase": "Destroyed", "terminationReason": "Expired", "destroyedAt": soon(),
        "conditions": [condition("CleanupComplete")],
    },
}  # fmt: skip
COMMON = {"startedAt": soon(minutes=-1), "cost": {"estimated": "0.11", "hourly": "0.00893"}}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("light", 768), ("dark", 1280)])
async def test_nothing_stands_in_anyones_way(browser: Browser, clean: World, scheme, width, ready):
    """axe finds nothing, and no view scrolls sideways."""
    for name, status in STATES.items():
        await clean.order(name)
        lived = {"readyAt": soon(minutes=-1), "expirationTime": soon(hours=1)}
        await clean.set_status(
            name, **COMMON, **status, **(lived if name in ("running", "ended") else {})
        )
    context = await browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    context.set_default_timeout(WAIT)
    page = await context.new_page()
    found: dict[str, Any] = {}
    await page.goto(clean.console.url)
    await page.wait_for_selector("#token")
    found["sign in"] = await look(page)
    await sign_in(page, clean, clean.editor)
    for path in ("/new", "/apps", *(f"/s/{name}" for name in STATES)):
        await page.evaluate("path => { location.hash = path }", path)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        found[path] = await look(page)
    await page.evaluate("location.hash = '/s/running'")
    for tab in ("change", "source", "details", "logs"):
        await page.click(f"#tab-{tab}")
        found[tab] = await look(page)
    await page.click("#extend")
    found["dialog"] = await look(page)
    await context.close()
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


async def look(page: Page) -> list[str]:
    results = (await Axe().run(page)).response["violations"]
    wrong = [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in results]
    if await page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        wrong.append("it scrolls sideways")
    return wrong


async def test_it_is_small_and_soon_there(page: Page, clean: World):
    sizes: list[int] = []

    async def measure(response) -> None:
        sizes.append((await response.request.sizes())["responseBodySize"])

    page.on("response", measure)
    await page.goto(clean.console.url)
    await page.wait_for_selector("#token")
    await page.wait_for_load_state("networkidle")
    assert 10_000 < sum(sizes) <= 60_000
