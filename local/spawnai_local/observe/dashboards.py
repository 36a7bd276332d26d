"""The dashboards of the repository, as questions to a Prometheus."""

import json
from dataclasses import dataclass
from pathlib import Path

from spawnai_local.paths import checkout

DASHBOARDS = checkout() / "dashboards"

_SCRAPES_PER_RATE = 4  # as Grafana's $__rate_interval, for a Prometheus that scrapes each second


@dataclass(frozen=True, slots=True)
class Question:
    """One query of a panel. `instant`: its value now, not its course, is shown."""

    board: str
    panel: str
    unit: str
    expression: str
    legend: str
    instant: bool


def questions(window: str) -> list[Question]:
    """Every query of every dashboard, for a shown time of `window`, such as 10m."""
    return [
        Question(
            board=file.stem,
            panel=panel["title"],
            unit=panel["fieldConfig"]["defaults"]["unit"],
            expression=evaluable(target["expr"], window),
            legend=target["legendFormat"],
            instant=target["instant"],
        )
        for file in _files()
        for panel in json.loads(file.read_text())["panels"]
        for target in panel["targets"]
    ]


def evaluable(expression: str, window: str) -> str:
    """The expression with Grafana's variables filled in."""
    return expression.replace("$__range", window).replace(
        "$__rate_interval", f"{_SCRAPES_PER_RATE}s"
    )


def _files() -> list[Path]:
    order = ("operator", "sessions", "cost")
    return sorted(DASHBOARDS.glob("*.json"), key=lambda file: order.index(file.stem))
