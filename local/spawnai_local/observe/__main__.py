"""`make observe`: sessions under a real Prometheus and Alertmanager, each panel's value, one alert.

It brings the local stack up, lets the examples live and end while Prometheus scrapes the operator
each second, and asks every expression of every dashboard. Then it stops the operator: the alert
SpawnAIDown goes through Alertmanager to a Discord-like and a Slack-like webhook on loopback. At the
end nothing is left running. Exit code 0 only if every panel had a value and the alert arrived.
"""

import asyncio
import re
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import yaml

from spawnai.api.names import API_VERSION, TTL_ANNOTATION
from spawnai_local.classes import LOCAL_CLASS
from spawnai_local.demo_story import CLOUD, LIFETIME, Example, StoryError, read_examples
from spawnai_local.interruption import run_until_interrupted
from spawnai_local.kubectl import Kubectl
from spawnai_local.narration import Narrator
from spawnai_local.observe.chart import chart, shown
from spawnai_local.observe.dashboards import Question, questions
from spawnai_local.observe.prometheus import (
    Alertmanager,
    Prometheus,
    QueryError,
    missing_programs,
)
from spawnai_local.observe.sinks import Sinks
from spawnai_local.paths import checkout
from spawnai_local.stack import LocalStack
from spawnai_local.stack_settings import Cloud, SettingsError, settings_from_environment
from spawnai_local.up import READABLE_ERRORS

_LIFE = "20s"
_READY_SECONDS = 180.0
_ENDED_SECONDS = 120.0
_SCRAPED_SECONDS = 5.0
_ALERT_SECONDS = 60.0
_ALERT = "SpawnAIDown"
_DRAWN = {
    "Sessions by phase": "Running",
    "Calls to DigitalOcean": "ok",
    "Estimated and actual": "actual",
}
"""The panels that are drawn, and the series of each that tells most."""
_BUDGET = {
    "apiVersion": API_VERSION,
    "kind": "SpawnBudget",
    "metadata": {"name": "observed"},
    "spec": {"limit": "20"},
}
_POOL_NAME = "observed"
_POOL = {
    "apiVersion": API_VERSION,
    "kind": "SpawnPool",
    "metadata": {"name": _POOL_NAME},
    "spec": {"className": LOCAL_CLASS},
}
_INTERRUPTED = 130  # 128 + SIGINT, as shells count


def main() -> None:
    """Run it; the exit code says whether all was answered and delivered."""
    narrator = Narrator()
    if missing := missing_programs():
        narrator.warn(
            f"{' and '.join(missing)} must be installed for this. On Debian and Ubuntu: "
            "apt-get install --no-install-recommends prometheus prometheus-alertmanager"
        )
        sys.exit(1)
    try:
        code = run_until_interrupted(_run(narrator))
    except (*READABLE_ERRORS, StoryError, QueryError, TimeoutError) as error:
        narrator.warn(str(error) or type(error).__name__)
        code = 1
    narrator.blank()
    narrator.say("Nothing is left running.")
    sys.exit(_INTERRUPTED if code is None else code)


async def _run(narrator: Narrator) -> int:
    settings = settings_from_environment(checkout() / "build" / "observe")
    if settings.cloud is not Cloud.LOCAL:
        raise SettingsError("make observe always uses the local cloud")
    settings = replace(settings, local_cloud=CLOUD, lifetime=LIFETIME)
    narrator.title(
        "SpawnAI under Prometheus and Alertmanager",
        "Sessions live and end on this machine while a real Prometheus watches.",
    )
    narrator.step("Bring everything up")
    async with Sinks() as sinks, LocalStack(settings, report=narrator.part) as stack:
        alertmanager = Alertmanager(
            stack.directory, discord_url=sinks.url("discord"), slack_url=sinks.url("slack")
        )
        prometheus = Prometheus(
            stack.directory,
            metrics_url=stack.metrics_url,
            rules=_impatient_rules(stack.directory),
            alertmanager=alertmanager.address,
        )
        try:
            await stack.kubectl.apply(_BUDGET, _POOL)
            await alertmanager.start()
            await prometheus.start()
            narrator.part("Prometheus", f"{prometheus.url}  scrapes each second")
            narrator.part("Alertmanager", f"http://{alertmanager.address}")
            began = time.time()
            narrator.step("Let four sessions live and end")
            await _sessions(narrator, stack.kubectl)
            narrator.step("Ask every panel of every dashboard")
            unanswered = await _panels(narrator, prometheus, began)
            narrator.step("Stop the operator, and see the alert arrive")
            await _alert(narrator, stack, sinks)
        finally:
            await prometheus.stop()
            await alertmanager.stop()
    for panel in unanswered:
        narrator.warn(f"No value: {panel}")
    return 1 if unanswered or stack.forgotten_processes else 0


def _impatient_rules(directory: Path) -> Path:
    """The rules as they are, but the alert that is provoked does not wait for five minutes."""
    document = yaml.safe_load((checkout() / "rules" / "spawnai.yaml").read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            if rule.get("alert") == _ALERT:
                rule["for"] = "2s"
    path = directory / "rules.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


async def _sessions(narrator: Narrator, kubectl: Kubectl) -> None:
    examples = read_examples(checkout() / "manifests" / "examples")
    await kubectl.run(
        *("wait", "--for=jsonpath={.status.ready}=1", f"spawnpool/{_POOL_NAME}"),
        f"--timeout={_READY_SECONDS:.0f}s",
        limit_seconds=_READY_SECONDS + 10,
    )
    await kubectl.apply(*(_with_short_life(example) for example in examples))
    names = ", ".join(example.name for example in examples)
    narrator.say(f"Applied {names}, each for {_LIFE}.")
    working = [f"spawnsession/{example.name}" for example in examples if not example.is_broken]
    # A life may be over before the slowest is Ready: a time stays in the status, a phase does not.
    await asyncio.gather(
        *(
            kubectl.run(
                *("wait", "--for=jsonpath={.status.readyAt}", name),
                f"--timeout={_READY_SECONDS:.0f}s",
                limit_seconds=_READY_SECONDS + 10,
            )
            for name in working
        )
    )
    narrator.say(f"{len(working)} were Ready. Now their time runs out, and their pool goes.")
    await kubectl.run("delete", "spawnpool", _POOL_NAME)
    await kubectl.run(
        *("wait", "--for=jsonpath={.status.phase}=Destroyed", "spawnsessions", "--all"),
        f"--timeout={_ENDED_SECONDS:.0f}s",
        limit_seconds=_ENDED_SECONDS + 10,
    )
    narrator.say("All have ended, and everything they used is gone.")
    await asyncio.sleep(_SCRAPED_SECONDS)


def _with_short_life(example: Example) -> dict[str, object]:
    document: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(example.path.read_text())
    document["metadata"].setdefault("annotations", {})[TTL_ANNOTATION] = _LIFE
    document["metadata"]["namespace"] = "default"  # type: ignore[assignment]
    return dict(document)


async def _panels(narrator: Narrator, prometheus: Prometheus, began: float) -> list[str]:
    """Ask and print; returns the panels without a value."""
    now = time.time()
    window = f"{now - began:.0f}s"
    answered: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    drawn: dict[str, list[str]] = {}
    for question in questions(window):
        lines = answered[question.board, question.panel]
        if question.instant:
            found = await prometheus.now(question.expression)
        else:
            found = await prometheus.course(question.expression, began, now)
        for series in found:
            label = _label(question, series.labels)
            value = series.last if question.instant else max(series.values)
            lines.append(f"{label} {shown(value, question.unit)}")
            if not question.instant and _DRAWN.get(question.panel) == label:
                picture = [f"{question.panel}: {label}"]
                picture += chart(series.values, unit=question.unit)
                drawn.setdefault(question.panel, picture)
    board = ""
    for (name, panel), lines in answered.items():
        if name != board:
            board = name
            narrator.blank()
            narrator.say(f"Dashboard {name} (a course is told by its highest value)")
        narrator.lines([f"{panel:32} {', '.join(lines) or '—'}"])
    for picture in drawn.values():
        narrator.blank()
        narrator.lines(picture)
    return [f"{name}: {panel}" for (name, panel), lines in answered.items() if not lines]


def _label(question: Question, labels: object) -> str:
    values = dict(labels) if isinstance(labels, dict) else {}
    label = re.sub(r"\{\{(\w+)\}\}", lambda match: str(values.get(match[1], "")), question.legend)
    return label.strip() or "none"


async def _alert(narrator: Narrator, stack: LocalStack, sinks: Sinks) -> None:
    if stack.operator is None:
        raise SettingsError("the stack runs no operator")
    await stack.operator.stop()
    narrator.say(f"The operator has ended. Waiting for {_ALERT}.")
    for channel in ("discord", "slack"):
        message = await sinks.until(channel, _ALERT, _ALERT_SECONDS)
        page = re.search(r"docs/runbooks/([a-z-]+\.md)", message.text)
        narrator.say(f"✓ {channel}: {_ALERT}, with its page {page[1] if page else '(missing)'}")
    if sinks.refused:
        raise StoryError("; ".join(sinks.refused))


if __name__ == "__main__":
    main()
