"""What happens in the demo once everything is up, and what each step has to prove."""

import asyncio
import json
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from spawnai.api.conditions import ConditionType, is_true
from spawnai.api.durations import format_duration, format_time
from spawnai.api.names import API_VERSION, EXPIRES_AT_ANNOTATION, TTL_ANNOTATION
from spawnai.api.session import AppType, Phase, SessionStatus
from spawnai.api.spawnclass import LifetimeSpec, PricingModel, PricingSpec
from spawnai_local import demo_checks as checks
from spawnai_local.browser import FetchError, Page, fetch, lookup
from spawnai_local.classes import LOCAL_DNS_CLASS, LOCAL_DOMAIN
from spawnai_local.cloud_settings import CloudSettings
from spawnai_local.console import NAMESPACE
from spawnai_local.demo_checks import Claim, Ledger
from spawnai_local.narration import Narrator, bar, columns
from spawnai_local.session_watch import Change, SessionWatch, WaitError, WatchedSession
from spawnai_local.stack import LocalStack
from spawnai_local.stack_settings import Claude

CLOUD = CloudSettings(boot_seconds=(5.0, 7.0), tokens_per_second=300.0, first_token_seconds=0.8)
"""Short enough to wait for, long enough to see."""

LIFETIME = LifetimeSpec(
    max="10m", provisioning_deadline="150s", notice="5s", warning="15s", dead_man_grace="1m"
)

PRICING = PricingSpec(model=PricingModel.DYNAMIC)
"""Users are charged by how busy their droplets are, as the agents measure once a minute."""

TTL = timedelta(seconds=90)
"""What every session gets here: the slowest has to be Running before the first one ends."""
LONGER_TTL = timedelta(seconds=150)
"""Enough for a second boot, also on a busy machine."""
TIME_LEFT_AFTER_SHORTENING = timedelta(seconds=12)

SIXTH = "second-board"
SIXTH_TTL = timedelta(seconds=15)
BUDGET = "demo"
POOL = "demo"
NARROW_LIMIT = "0.90"
"""Dollars: enough for one session, but not beside what the others use and have reserved."""
WIDE_LIMIT = "5"

CHANGED_PROMPT = "A JSON API that keeps notes (simulate:app-dies-at-once-twice)"
"""Claude's first two answers of the session: the app itself, which its prompt asks nothing of, and
the change. The third, which is the repair, works."""

_RUNNING_SECONDS = 120.0
_RUNNING_SECONDS_WITH_REAL_CLAUDE = 420.0
_LATCHED_SECONDS = 10.0
_CHANGED_SECONDS = 60.0
_REPAIRED_VERSION = 3
_BACK_SECONDS = 90.0
_HELD_SECONDS = 60.0
_COUNTED_SECONDS = 30.0
"""A budget's status is written every ten seconds at most."""
_OVER_SECONDS = 60.0
_COMMAND_SECONDS = 60.0
_DNS_SECONDS = 5.0
_CONTROL_SECONDS = 5.0

_PAGE_LINES = 4
_LOG_LINES = 3


class StoryError(Exception):
    """The story cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Example:
    """One manifest of manifests/examples/."""

    path: Path
    name: str
    app_type: AppType
    is_broken: bool


def read_examples(directory: Path) -> tuple[Example, ...]:
    """Read the manifests; the one that cannot work has `broken` in its file's name.

    Raises:
        StoryError: it is not one of each app type and one that is broken.
    """
    examples = []
    for path in sorted(directory.glob("*.yaml")):
        document = yaml.safe_load(path.read_text())
        if document["kind"] == "SpawnSession":
            name, app_type = document["metadata"]["name"], AppType(document["spec"]["appType"])
            examples.append(Example(path, name, app_type, "broken" in path.stem))
    working = sorted(example.app_type for example in examples if not example.is_broken)
    if working != sorted(AppType) or len(examples) != len(working) + 1:
        raise StoryError(
            f"expected {directory} to hold one session of each app type and one with `broken` in "
            f"its file name, found {', '.join(example.path.name for example in examples)}"
        )
    order = {app_type: number for number, app_type in enumerate(AppType)}
    return tuple(sorted(examples, key=lambda one: (one.is_broken, order[one.app_type])))


class Verdict:
    """All claims so far: shown as they are checked, and remembered."""

    def __init__(self, narrator: Narrator) -> None:
        self.claims: list[Claim] = []
        self._narrator = narrator

    @property
    def broken(self) -> list[Claim]:
        """The claims that were not true."""
        return [claim for claim in self.claims if not claim.holds]

    @property
    def all_hold(self) -> bool:
        """Whether there was something to claim, and all of it is true."""
        return bool(self.claims) and not self.broken

    def check(self, claim: Claim) -> None:
        """Show a claim and remember it."""
        self.claims.append(claim)
        self._narrator.claim(claim.sentence, holds=claim.holds, found=claim.found)


class Story:
    """The steps, in order. A claim that does not hold is noted, and the story goes on."""

    def __init__(
        self,
        narrator: Narrator,
        verdict: Verdict,
        stack: LocalStack,
        watch: SessionWatch,
        examples: Sequence[Example],
    ) -> None:
        self._narrator = narrator
        self._verdict = verdict
        self._stack = stack
        self._watch = watch
        # The real Claude writes working apps, also for the prompt that is broken on purpose.
        self._with_real_claude = stack.settings.claude is Claude.ANTHROPIC
        self._examples = [one for one in examples if not (one.is_broken and self._with_real_claude)]
        self._working = {one.app_type: one for one in examples if not one.is_broken}
        self._sixth = Example(
            stack.directory / "second-board.yaml", SIXTH, AppType.WEBAPP, is_broken=False
        )
        self._hosts: set[str] = set()
        self._applied_at = 0.0

    async def tell(self) -> None:
        """Tell all of it.

        Raises:
            StoryError: something without which it cannot go on did not happen.
            KubectlError: the API server refused a command.
        """
        try:
            await self._apply()
            await self._until_running()
            await self._visit()
            if not self._with_real_claude:
                await self._change_and_roll_back()
            await self._wait_for_a_place()
            await self._extend_and_shorten()
            await self._wait_for_money()
            if not self._with_real_claude:
                await self._break_a_droplet()
            await self._until_over()
            await self._show_what_stays()
            await self._empty()
        except (WaitError, FetchError) as error:
            raise StoryError(str(error)) from error
        except httpx.HTTPError as error:
            what = str(error) or type(error).__name__
            raise StoryError(f"the local cloud gave no answer: {what}") from error

    @property
    def _manifests(self) -> list[str]:
        """The examples as kubectl is told of them."""
        if self._with_real_claude:
            paths = [example.path for example in self._examples]
        else:
            paths = [self._examples[0].path.parent]
        return [word for path in paths for word in ("-f", _relative(path))]

    # The steps.

    async def _apply(self) -> None:
        self._narrator.step("Apply five manifests")
        first = self._working[AppType.WEBAPP]
        self._narrator.command(f"cat {_relative(first.path)}")
        self._narrator.output(first.path.read_text())
        self._applied_at = time.monotonic()
        await self._kubectl("apply", *self._manifests)
        self._narrator.say("These may live for hours. Here each gets 90 s from when it runs:")
        await self._kubectl(
            *("annotate", *self._manifests, f"{TTL_ANNOTATION}={format_duration(TTL)}"),
            "--overwrite",
        )
        await self._watch.until(
            lambda: all(one.name in self._watch.sessions for one in self._examples),
            what="the sessions to appear in the API server",
            limit_seconds=_LATCHED_SECONDS,
        )

    async def _until_running(self) -> None:
        self._narrator.step("Watch them come to life")
        names = [example.name for example in self._working.values()]
        await self._show_until_running(*names)
        self._narrator.blank()
        self._narrator.lines(self._durations())
        self._narrator.blank()
        for name in names:
            self._verdict.check(checks.is_running(name, self._session(name).status))
        if self._stack.inspector is not None:
            for app_type in (AppType.WEBAPP, AppType.FULLSTACK):
                name = self._working[app_type].name
                self._verdict.check(checks.is_inspected(name, self._status(name)))
            await self._look_at_picture(self._working[AppType.WEBAPP].name)

    async def _look_at_picture(self, name: str) -> None:
        """The picture that the inspector took, as the console gives it to a person."""
        console = self._stack.console
        if console is None:
            return
        async with httpx.AsyncClient(
            base_url=console.url,
            headers={"Authorization": f"Bearer {console.token}"},
            timeout=_CONTROL_SECONDS,
            trust_env=False,
        ) as client:
            answer = await client.get(f"api/sessions/{NAMESPACE}.{name}/screenshot")
        self._verdict.check(
            Claim(
                f"the console shows a picture of {name}, {len(answer.content) // 1000} KB",
                answer.is_success and answer.content.startswith(b"\x89PNG"),
                f"status {answer.status_code}: {answer.text[:200]}",
            )
        )

    async def _visit(self) -> None:
        self._narrator.step("Look at the apps from outside")
        dns = self._stack.dns
        if dns is not None:
            self._narrator.say(
                f"Names are asked of the cloud's DNS server at {dns}, as a browser's resolver "
                "would; then the page is fetched from the address."
            )
        for example in self._working.values():
            url = self._session(example.name).status.url
            if url is None:
                self._verdict.check(Claim(f"{example.name} has a URL", holds=False, found="none"))
                continue
            try:
                await self._visit_one(example, url)
            except FetchError as error:
                self._verdict.check(
                    Claim(f"{example.name} answers at {url}", holds=False, found=str(error))
                )

    async def _visit_one(self, example: Example, url: str) -> None:
        page = await fetch(url, server=self._stack.dns, ca=self._stack.cloud.acme_root)
        host = urlsplit(url).hostname or ""
        self._narrator.blank()
        self._narrator.command(_curl(page))
        self._hosts.add(host)
        self._show_page(page)
        droplet = self._session(example.name).status.droplet
        self._verdict.check(
            Claim(
                f"{example.name} answers at its URL, from its own droplet {page.address}",
                page.status == httpx.codes.OK
                and droplet is not None
                and page.address == droplet.ip,
                f"status {page.status} from {page.address}, the droplet is {droplet}",
            )
        )
        match example.app_type:
            case AppType.WEBAPP | AppType.FULLSTACK:
                self._verdict.check(
                    Claim(
                        f"it is a web page with a title: {page.title}",
                        "html" in page.content_type and bool(page.title),
                        f"{page.content_type}, title {page.title!r}",
                    )
                )
            case AppType.API:
                await self._use_api(url, page)
            case AppType.SCRIPT:
                self._verdict.check(
                    Claim(
                        "the page shows what the script printed, and its exit code 0",
                        "exit code" in page.text.lower() and len(page.lines(100)) > _PAGE_LINES,
                        page.text[:200],
                    )
                )

    async def _use_api(self, url: str, page: Page) -> None:
        """Add something and read it again, by the routes that the API itself names."""
        collection = _collection(page)
        if collection is None:
            if not self._with_real_claude:
                found = page.text[:200]
                self._verdict.check(
                    Claim("the API names its routes at /", holds=False, found=found)
                )
            return
        mark = f"Hello at {format_time(datetime.now(UTC))}"
        item = {"title": "From the demo", "text": mark, "author": "the demo"}
        url = f"{url.rstrip('/')}{collection}"
        posted = await fetch(
            url,
            server=self._stack.dns,
            ca=self._stack.cloud.acme_root,
            method="POST",
            document=item,
        )
        self._narrator.command(_curl(posted, "--json", shlex.quote(json.dumps(item))))
        self._show_page(posted)
        listed = await fetch(url, server=self._stack.dns, ca=self._stack.cloud.acme_root)
        self._verdict.check(
            Claim(
                f"what was posted to {collection} is there when it is read again",
                posted.status == httpx.codes.CREATED and mark in listed.text,
                f"POST answered {posted.status}, GET {listed.status}: {listed.text[:200]}",
            )
        )

    async def _change_and_roll_back(self) -> None:
        """A new prompt for a running app: its first version crashes, and is repaired from its log.
        Then the prompt before, which costs nothing.
        """
        self._narrator.step("Change an app while it runs, and take the change back")
        name = self._working[AppType.API].name
        document = yaml.safe_load(self._working[AppType.API].path.read_text())
        before, url = document["spec"]["prompt"], self._status(name).url or ""
        self._narrator.say(
            "The marker in the new prompt has the simulated Claude write an app that crashes at "
            "its start. The operator sends its log back; the app before goes on meanwhile."
        )
        await self._set_prompt(name, CHANGED_PROMPT)
        await self._watch.until(
            lambda: (self._status(name).revision or 1) > 1,
            what=f"the changed {name} to run",
            limit_seconds=_CHANGED_SECONDS,
        )
        changed = self._status(name)
        await self._show_versions(name)
        page = await fetch(url, server=self._stack.dns, ca=self._stack.cloud.acme_root)
        self._show_page(page)
        self._verdict.check(
            Claim(
                f"{name} runs version {changed.revision}: version 2 crashed, and was repaired",
                changed.revision == _REPAIRED_VERSION,
                f"version {changed.revision}, {changed.message}",
            )
        )
        self._verdict.check(
            Claim(
                f"{name} answers as its new prompt says, at the same URL",
                page.status == httpx.codes.OK and "/notes" in page.text,
                f"status {page.status}: {page.text[:200]}",
            )
        )
        orders = await self._orders(name)
        await self._set_prompt(name, before)
        await self._watch.until(
            lambda: self._status(name).revision == 1,
            what=f"the first version of {name} to run again",
            limit_seconds=_CHANGED_SECONDS,
        )
        await self._show_versions(name)
        page = await fetch(url, server=self._stack.dns, ca=self._stack.cloud.acme_root)
        self._verdict.check(
            Claim(
                "the prompt before brought its version back, and Claude was not asked",
                "/quotes" in page.text and await self._orders(name) == orders,
                f"{await self._orders(name)} orders after {orders}: {page.text[:200]}",
            )
        )

    async def _set_prompt(self, name: str, prompt: str) -> None:
        first_line = prompt.strip().splitlines()[0]
        self._narrator.say(f"The prompt of {name} becomes: {first_line}")
        file = self._stack.directory / "prompt.json"
        file.write_text(json.dumps({"spec": {"prompt": prompt}}))
        patch = f"--patch-file={_relative(file)}"
        await self._kubectl("patch", "spawnsession", name, "--type=merge", patch)

    async def _show_versions(self, name: str) -> None:
        path = "jsonpath={.status.message}"
        await self._kubectl("get", "spawnsession", name, "-o", path)

    async def _orders(self, name: str) -> int:
        """How many answers of Claude were paid for, by its own bill."""
        uid = self._session(name).uid
        return int((await self._claude_bill())[uid]["calls"])

    async def _wait_for_a_place(self) -> None:
        """A limit of the class, and a sixth session that is over it."""
        self._narrator.step("Order one more than the class allows")
        running = len(self._working)
        limits = json.dumps({"spec": {"limits": {"perUser": {"active": running}}}})
        await self._kubectl("patch", "spawnclass", LOCAL_DNS_CLASS, "--type=merge", "-p", limits)
        document = yaml.safe_load(self._working[AppType.WEBAPP].path.read_text())
        document["metadata"] |= {
            "name": SIXTH,
            "annotations": {TTL_ANNOTATION: format_duration(SIXTH_TTL)},
        }
        await self._apply_file(self._sixth.path, document)
        await self._until_held_back(self._sixth.name, "Queued")
        await self._kubectl("get", "spawnsessions", SIXTH)
        status = self._status(SIXTH)
        self._verdict.check(checks.waits(SIXTH, status, "Queued", f"of {running} running"))
        self._verdict.check(checks.says_its_price_before(SIXTH, status))
        self._narrator.say("While it waits, a pool has a droplet boot for it:")
        # No more than the one: another spare would be deleted again in seconds.
        pool = {"className": LOCAL_DNS_CLASS, "replicas": 1, "maxTotal": 1}
        document = {
            "apiVersion": API_VERSION,
            "kind": "SpawnPool",
            "metadata": {"name": POOL},
            "spec": pool,
        }
        await self._apply_file(self._stack.directory / "pool.yaml", document)

    async def _wait_for_money(self) -> None:
        """A budget that holds back the session whose turn has come, and lets it go."""
        self._narrator.step("Hold it back with a budget, and let it go")
        document = {
            "apiVersion": API_VERSION,
            "kind": "SpawnBudget",
            "metadata": {"name": BUDGET},
            "spec": {"limit": NARROW_LIMIT, "selector": {"namespaces": [NAMESPACE]}},
        }
        await self._apply_file(self._stack.directory / "budget.yaml", document)
        name = self._working[AppType.API].name
        self._narrator.say(f"When {name} has ended, {SIXTH} has a place. Then it needs money:")
        await self._until_held_back(SIXTH, "WaitingForBudget")
        await self._kubectl("get", "spawnbudgets")
        self._verdict.check(
            checks.waits(SIXTH, self._status(SIXTH), "WaitingForBudget", f"budget {BUDGET} (")
        )
        calls = (await self._control("calls"))["by_session"]
        asked = {} if self._with_real_claude else await self._claude_bill()
        uid = self._session(SIXTH).uid
        self._verdict.check(
            Claim(
                f"nothing was made for {SIXTH} while it waited, and nobody was asked for it",
                self._status(SIXTH).droplet is None and uid not in calls and uid not in asked,
                f"the cloud's calls: {calls.get(uid)}, Claude's: {asked.get(uid)}",
            )
        )
        spare = await self._spare()
        limit = json.dumps({"spec": {"limit": WIDE_LIMIT}})
        await self._kubectl("patch", "spawnbudget", BUDGET, "--type=merge", "-p", limit)
        self._examples.append(self._sixth)
        await self._show_until_running(SIXTH)
        self._verdict.check(checks.is_running(SIXTH, self._status(SIXTH)))
        await self._kubectl("get", "spawnpools")
        droplet = self._status(SIXTH).droplet
        self._verdict.check(
            Claim(
                f"{SIXTH} took the pool's spare, droplet {spare}, instead of waiting for a boot",
                droplet is not None and droplet.id == spare,
                f"its droplet is {droplet}",
            )
        )
        await self._kubectl("delete", "spawnpools", POOL)

    async def _spare(self) -> int:
        """The droplet of the pool's spare, once sessions can take it."""
        await self._stack.kubectl.run(
            *("wait", "--for=jsonpath={.status.ready}=1", f"spawnpool/{POOL}"),
            f"--timeout={_RUNNING_SECONDS:.0f}s",
            limit_seconds=_RUNNING_SECONDS + 10,
        )
        records = await self._stack.kubectl.items("spawnrecords")
        [spare] = [one for one in records if one["spec"]["owner"]["kind"] == "SpawnPool"]
        [line] = spare["status"]["resources"]
        return int(line["id"])

    async def _until_held_back(self, name: str, reason: str) -> None:
        await self._watch.until(
            lambda: (
                name in self._watch.sessions and checks.reason_to_wait(self._status(name)) == reason
            ),
            what=f"{name} to wait ({reason})",
            limit_seconds=_HELD_SECONDS,
        )

    async def _apply_file(self, file: Path, document: Mapping[str, Any]) -> None:
        """Apply a manifest that is not among the examples, before the reader's eyes."""
        text = yaml.safe_dump(document, sort_keys=False)
        file.write_text(text)
        self._narrator.command(f"cat {_relative(file)}")
        self._narrator.output(text)
        await self._kubectl("apply", "-f", _relative(file))

    async def _extend_and_shorten(self) -> None:
        self._narrator.step("Extend one life, shorten another")
        longer, shorter = self._working[AppType.WEBAPP].name, self._working[AppType.API].name
        before = {name: self._status(name).expiration_time for name in (longer, shorter)}
        await self._kubectl(
            *("annotate", "spawnsession", longer),
            *(f"{TTL_ANNOTATION}={format_duration(LONGER_TTL)}", "--overwrite"),
        )
        at = datetime.now(UTC) + TIME_LEFT_AFTER_SHORTENING
        await self._kubectl(
            *("annotate", "spawnsession", shorter, f"{EXPIRES_AT_ANNOTATION}={format_time(at)}"),
        )
        await self._watch.until(
            lambda: all(self._status(name).expiration_time != before[name] for name in before),
            what="both new times to be in the sessions' status",
            limit_seconds=_LATCHED_SECONDS,
        )
        await self._kubectl("get", "spawnsessions")
        self._narrator.blank()
        for name, later in ((longer, True), (shorter, False)):
            after = self._status(name).expiration_time
            self._verdict.check(checks.expiry_moved(name, before[name], after, later=later))

    async def _break_a_droplet(self) -> None:
        """Somebody switches a droplet off: the operator switches it on, and its end stays."""
        self._narrator.step("Break a droplet")
        name = self._working[AppType.WEBAPP].name
        before, orders = self._status(name), await self._orders(name)
        if before.droplet is None:
            raise StoryError(f"{name} has no droplet to break")
        self._narrator.say(f"Somebody switches the droplet of {name} off:")
        path = f"/v2/droplets/{before.droplet.id}/actions"
        self._narrator.command(
            'curl --oauth2-bearer "$DIGITALOCEAN_TOKEN" --json \'{"type": "power_off"}\' '
            f'"$DIGITALOCEAN_API_URL{path}"'
        )
        async with httpx.AsyncClient(timeout=_CONTROL_SECONDS, trust_env=False) as client:
            answer = await client.post(
                f"{self._stack.cloud.digitalocean_url}{path}",
                headers={"Authorization": f"Bearer {self._stack.settings.digitalocean_token}"},
                json={"type": "power_off"},
            )
        answer.raise_for_status()
        went_away = False

        def is_back() -> bool:
            nonlocal went_away
            is_ready = is_true(self._status(name).conditions, ConditionType.READY)
            went_away = went_away or not is_ready
            return went_away and is_ready

        await self._show_until(
            lambda: is_back() or self._session(name).is_over,
            what=f"{name} to be Ready again",
            limit_seconds=_BACK_SECONDS,
        )
        after = self._status(name)
        self._narrator.blank()
        self._verdict.check(
            Claim(
                f"{name} runs again, to the same end, and Claude was not asked",
                after.phase is Phase.RUNNING
                and after.expiration_time == before.expiration_time
                and await self._orders(name) == orders,
                f"{after.phase}: {after.message}, until {after.expiration_time}",
            )
        )

    async def _until_over(self) -> None:
        self._narrator.step("Wait until all are over")
        ends = [
            session.status.expiration_time
            for session in self._watch.sessions.values()
            if session.status.expiration_time is not None
        ]
        last = max(ends, default=datetime.now(UTC))
        left = max(0.0, (last - datetime.now(UTC)).total_seconds())
        await self._show_until(
            lambda: all(self._session(one.name).is_over for one in self._examples),
            what="every session to be Destroyed",
            limit_seconds=left + _OVER_SECONDS,
        )
        ledgers = {ledger.session: ledger for ledger in await self._ledgers()}
        bill = await self._control("bill")
        self._narrator.blank()
        for example in self._examples:
            status = self._status(example.name)
            if example.is_broken:
                await self._show_why(example.name, ledgers.get(example.name))
                self._verdict.check(checks.failed_with_reason(example.name, status))
                continue
            gone_at = checks.droplet_gone_at(ledgers.get(example.name), bill["droplets"])
            self._verdict.check(checks.ended_in_time(example.name, status, gone_at))

    async def _show_why(self, name: str, ledger: Ledger | None) -> None:
        """What a person looks at first when a session has ended by itself."""
        arguments = ("get", "spawnsession", name, "-o", "jsonpath={.status.message}")
        self._narrator.command(self._stack.kubectl.shown(*arguments))
        self._narrator.prose(await self._stack.kubectl.run(*arguments))
        if ledger is not None and ledger.status.log:
            self._narrator.say("Its record keeps the last lines of the app's log:")
            self._narrator.output(
                "\n".join(f"│ {line}" for line in ledger.status.log[-_LOG_LINES:])
            )

    async def _show_what_stays(self) -> None:
        self._narrator.step("What stays: tombstones, receipts, the bill")
        await self._kubectl("get", "spawnsessions")
        for example in (one for one in self._examples if not one.is_broken):
            self._verdict.check(checks.is_tombstone(example.name, self._status(example.name)))
        self._narrator.blank()
        await self._kubectl("get", "spawnrecords")
        ledgers = await self._ledgers()
        rows = [row for ledger in ledgers for row in checks.receipt_lines(ledger)]
        header = ("SESSION", "RESOURCE", "ID", "MADE", "DELETED", "SEEN GONE", "COST")
        self._narrator.blank()
        self._narrator.lines(columns([header, *rows]))
        self._narrator.blank()
        names = [example.name for example in self._examples]
        self._verdict.check(checks.all_receipts_are_there(ledgers, names))
        await self._show_bill(ledgers)
        await self._show_budget(ledgers)

    async def _show_budget(self, ledgers: Sequence[Ledger]) -> None:
        """What the budget says was spent, once it has been written."""

        async def read() -> Claim:
            [budget] = await self._stack.kubectl.items("spawnbudgets")
            return checks.budget_says_the_bill(budget, ledgers)

        deadline = time.monotonic() + _COUNTED_SECONDS
        while not (claim := await read()).holds and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
        self._narrator.blank()
        await self._kubectl("get", "spawnbudgets")
        self._verdict.check(claim)

    async def _show_bill(self, ledgers: Sequence[Ledger]) -> None:
        """The records' costs beside what the cloud and Claude billed, and the claims about them."""
        bill, calls = await self._control("bill"), await self._control("calls")
        tokens = {} if self._with_real_claude else await self._claude_bill()
        billed = {ledger.uid: checks.cloud_dollars(ledger, bill["droplets"]) for ledger in ledgers}
        rows = [
            (
                ledger.session,
                f"${checks.dollars(ledger.droplet_dollars)}",
                f"${checks.dollars(billed[ledger.uid])}",
                f"${checks.dollars(ledger.token_dollars)}",
                f"${checks.dollars(checks.claude_dollars(ledger, tokens))}" if tokens else "–",
                f"${checks.dollars(ledger.total_dollars)}",
                str(calls["by_session"].get(ledger.uid, {}).get("total", 0)),
            )
            for ledger in ledgers
        ]
        total = sum((ledger.total_dollars for ledger in ledgers), Decimal(0))
        sum_row = ("together", "", "", "", "", f"${checks.dollars(total)}", "")
        header = ("SESSION", "DROPLET", "CLOUD'S BILL", "TOKENS", "CLAUDE'S BILL", "TOTAL", "CALLS")
        self._narrator.blank()
        self._narrator.lines(columns([header, *rows, sum_row]))
        self._narrator.blank()
        lines = bill["droplets"]
        self._verdict.check(checks.every_droplet_is_recorded(ledgers, lines))
        self._verdict.check(checks.droplets_cost_what_the_cloud_billed(ledgers, lines))
        if tokens:
            self._verdict.check(checks.tokens_cost_what_claude_billed(ledgers, tokens))
        statuses = {name: session.status for name, session in self._watch.sessions.items()}
        self._verdict.check(checks.sums_add_up(ledgers, statuses))
        self._show_prices(ledgers, statuses)

    def _show_prices(
        self, ledgers: Sequence[Ledger], statuses: Mapping[str, SessionStatus]
    ) -> None:
        """What users are charged: the range that was shown before, and what became of it."""
        self._narrator.blank()
        self._narrator.say("Users are charged by cost and by how busy their droplets were:")
        self._narrator.lines(columns(checks.price_lines(ledgers, statuses)))
        self._narrator.blank()
        self._verdict.check(checks.prices_follow_use(ledgers, statuses))

    async def _empty(self) -> None:
        self._narrator.step("The cloud is empty")
        await self._kubectl("delete", *self._manifests, "-f", _relative(self._sixth.path))
        await self._kubectl("delete", "spawnbudgets", BUDGET)
        await self._kubectl("delete", "spawnclasses", *self._stack.classes)
        url = self._stack.cloud.digitalocean_url
        for kind in ("droplets", "firewalls"):
            self._narrator.command(
                f'curl --oauth2-bearer "$DIGITALOCEAN_TOKEN" "$DIGITALOCEAN_API_URL/v2/{kind}"'
            )
            async with httpx.AsyncClient(timeout=_CONTROL_SECONDS, trust_env=False) as client:
                answer = await client.get(
                    f"{url}/v2/{kind}",
                    headers={"Authorization": f"Bearer {self._stack.settings.digitalocean_token}"},
                )
            self._narrator.output(answer.text)
        self._verdict.check(checks.cloud_is_empty(await self._control("state"), LOCAL_DOMAIN))
        still = {host: await self._addresses(host) for host in sorted(self._hosts)}
        self._verdict.check(
            Claim(
                f"DNS no longer knows {len(still)} names that it knew a minute ago",
                bool(still) and not any(still.values()),
                "; ".join(f"{host} → {', '.join(found)}" for host, found in still.items() if found),
            )
        )

    # What the steps use.

    async def _kubectl(self, *arguments: str) -> None:
        """Run a command before the reader's eyes."""
        self._narrator.command(self._stack.kubectl.shown(*arguments))
        printed = await self._stack.kubectl.run(*arguments, limit_seconds=_COMMAND_SECONDS)
        if arguments[0] == "get":
            self._narrator.table(printed)
        else:
            self._narrator.output(printed)

    def _session(self, name: str) -> WatchedSession:
        return self._watch.sessions[name]

    def _status(self, name: str) -> SessionStatus:
        return self._session(name).status

    async def _show_until_running(self, *names: str) -> None:
        """Show the sessions until these run, or have ended before."""
        await self._show_until(
            lambda: all(
                self._session(name).phase is Phase.RUNNING or self._session(name).is_over
                for name in names
            ),
            what=f"{', '.join(names)} to be Running",
            limit_seconds=_RUNNING_SECONDS_WITH_REAL_CLAUDE
            if self._with_real_claude
            else _RUNNING_SECONDS,
        )

    async def _show_until(
        self, holds: Callable[[], bool], *, what: str, limit_seconds: float
    ) -> None:
        """Show the sessions as they change, until `holds` says so."""
        with self._narrator.display() as display:
            display.show(self._table())
            async for change in self._watch.changes_until(
                holds, what=what, limit_seconds=limit_seconds
            ):
                if change is not None and change.new_phase:
                    display.say(_told(change))
                display.show(self._table())
            display.show(self._table())

    def _table(self) -> list[str]:
        now = datetime.now(UTC)
        rows = [("SESSION", "TYPE", "PHASE", "PROGRESS", "")]
        rows += [
            (
                session.name,
                session.app_type,
                session.phase or "–",
                f"{bar(session.status.progress or 0, 15)} {session.status.progress or 0:3d} %",
                _note(session, now),
            )
            for session in map(self._session, (one.name for one in self._examples))
        ]
        return columns(rows)

    def _durations(self) -> list[str]:
        """How long each step of each session took, as a table."""
        steps = (Phase.PROVISIONING, Phase.GENERATING, Phase.DEPLOYING, Phase.RUNNING)
        rows = [("SECONDS IN", *(step.upper() for step in steps[:-1]), "READY AFTER")]
        for example in self._examples:
            reached = self._session(example.name).reached
            cells = []
            for step, following in pairwise(steps):
                if step not in reached:
                    cells.append("–")
                    continue
                later = [at for phase, at in reached.items() if at > reached[step]]
                end = reached.get(following, min(later, default=reached[step]))
                cells.append(f"{end - reached[step]:.1f}")
            ready = reached.get(Phase.RUNNING)
            cells.append("–" if ready is None else f"{ready - self._applied_at:.1f}")
            rows.append((example.name, *cells))
        return columns(rows)

    async def _ledgers(self) -> list[Ledger]:
        documents = await self._stack.kubectl.items("spawnrecords")
        uids = [self._session(example.name).uid for example in self._examples]
        ours = [
            Ledger.read(document)
            for document in documents
            if document["spec"]["owner"]["uid"] in uids
        ]
        return sorted(ours, key=lambda ledger: uids.index(ledger.uid))

    async def _control(self, what: str) -> dict[str, Any]:
        return await _get(f"{self._stack.cloud.digitalocean_url}/_local/{what}")

    async def _claude_bill(self) -> Mapping[str, Mapping[str, int]]:
        bill = await _get(f"{self._stack.cloud.claude_url}/_local/bill")
        sessions: Mapping[str, Mapping[str, int]] = bill["sessions"]
        return sessions

    async def _addresses(self, host: str) -> tuple[str, ...]:
        """What DNS says of a host now; a record may be served for a moment after its deletion."""
        deadline = time.monotonic() + _DNS_SECONDS
        while (found := await lookup(host, self._stack.dns)) and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        return found

    def _show_page(self, page: Page) -> None:
        kind = page.content_type.partition(";")[0]
        title = f"  “{page.title}”" if page.title else ""
        self._narrator.output(f"{page.status} {kind}{title}")
        self._narrator.output("\n".join(f"│ {line}" for line in page.lines(_PAGE_LINES)))


async def _get(url: str) -> dict[str, Any]:
    async with httpx.AsyncClient(timeout=_CONTROL_SECONDS, trust_env=False) as client:
        answer = await client.get(url)
    answer.raise_for_status()
    document: dict[str, Any] = answer.json()
    return document


def _told(change: Change) -> str:
    session = change.session
    words = f"{session.name}: {session.phase}"
    if session.status.progress is not None:
        words += f" ({session.status.progress} %)"
    return f"{words}  {session.status.message or ''}".rstrip()


def _note(session: WatchedSession, now: datetime) -> str:
    """The most telling thing about a session, in one line."""
    status = session.status
    if session.phase is Phase.RUNNING and status.expiration_time is not None:
        left = max(0, round((status.expiration_time - now).total_seconds()))
        return f"ends in {left} s"
    if session.is_over:
        return f"{status.termination_reason or 'over'}"
    return status.message or ""


def _collection(page: Page) -> str | None:
    """The path of a collection that the API's own front page says one may POST to."""
    try:
        routes = json.loads(page.text).get("routes", [])
    except (ValueError, AttributeError):
        return None
    paths = [route.removeprefix("POST ") for route in routes if str(route).startswith("POST /")]
    return paths[0] if paths else None


def _curl(page: Page, *options: str) -> str:
    """The fetch as a person can repeat it without touching the machine's own DNS."""
    parts = urlsplit(page.url)
    words = ["curl", *options, page.url]
    if parts.scheme == "https":
        words[1:1] = ["--cacert", '"$SPAWNAI_CA"']
    if parts.hostname != page.address:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        words[1:1] = ["--resolve", f"{parts.hostname}:{port}:{page.address}"]
    return " ".join(words)


def _relative(path: Path) -> str:
    """A path from where the demo was started: a person there can repeat the command."""
    return os.path.relpath(path)
