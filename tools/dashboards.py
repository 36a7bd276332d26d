"""Write dashboards/*.json for Grafana, or check that they are as this file says.

`python tools/dashboards.py` writes; `--check` writes nothing and fails when a file differs. The
JSON is the classic dashboard schema, which every Grafana reads. Each panel says what it is for, in
which unit, and what a good value is.
"""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import DataSourceRef

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "dashboards"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: its queries are pairs of an expression and a legend."""

    title: str
    description: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: Literal["graph", "stat", "bars"] = "graph"
    width: int = 12
    least: int | None = 0
    """Where its axis begins; None: at the lowest value."""


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    name: str
    title: str
    description: str
    panels: tuple[Panel, ...]


def _share(metric: str, bound: str, window: str = "$__range") -> str:
    """The share of a histogram's events at or below a bucket's bound: exact, not interpolated."""
    within = f'sum(increase({metric}_bucket{{le="{bound}"}}[{window}]))'
    return f"{within} / (sum(increase({metric}_count[{window}])) > 0)"


def _mean(metric: str, by: str) -> str:
    window = "$__rate_interval"
    return (
        f"sum by ({by}) (rate({metric}_sum[{window}])) "
        f"/ (sum by ({by}) (rate({metric}_count[{window}])) > 0)"
    )


_READY, _OVERRUN = "spawnai_session_ready_seconds", "spawnai_ttl_overrun_seconds"
_FAILED = 'sum(increase(spawnai_session_results_total{result="failed_start"}[$__range]))'
_SUCCESS = (
    f"sum(increase({_READY}_count[$__range])) "
    f"/ ((sum(increase({_READY}_count[$__range])) + {_FAILED}) > 0)"
)

_CLAIMS = "sum by (class) (increase(spawnai_pool_claims_total"
_FOUND_A_SPARE = (
    f'{_CLAIMS}{{result="taken"}}[$__range])) '
    f'/ ({_CLAIMS}{{result=~"taken|missed"}}[$__range])) > 0)'
)

_REFILL_FAILURES = "spawnai_pool_refill_failures_total"

_PROMISES = (
    Panel(
        "Ready within 90 s",
        "Share of the sessions that were Ready within 90 seconds. The promise: 95 %.",
        ((_share(_READY, "90.0"), "within 90 s"),),
        "percentunit",
        "stat",
        6,
    ),
    Panel(
        "Started with success",
        "Share of the sessions that came to Ready, of those that did or failed before. The "
        "promise: more than 95 %.",
        ((_SUCCESS, "success"),),
        "percentunit",
        "stat",
        6,
    ),
    Panel(
        "Ended in time",
        "Share of the expired sessions whose droplet's deletion was accepted within 5 seconds. "
        "The promise: 99 %.",
        ((_share(_OVERRUN, "5.0"), "within 5 s"),),
        "percentunit",
        "stat",
        6,
    ),
    Panel(
        "Orphans",
        "Droplets that no ledger explains. Good: 0.",
        (("max(spawnai_orphans)", "orphans"),),
        kind="stat",
        width=6,
    ),
)

OPERATOR = Board(
    "operator",
    "SpawnAI / Operator",
    "Does the operator keep its promises, and what holds it up?",
    (
        *_PROMISES,
        Panel(
            "Leaders",
            "Processes that hold the lease. Good: 1, and 0 for seconds when one takes over.",
            (("sum(spawnai_leader)", "leaders"),),
            kind="stat",
            width=6,
        ),
        Panel(
            "Alerts",
            "Alerts of rules/spawnai.yaml that fire now. Good: 0.",
            (
                (
                    'count(ALERTS{alertname=~"SpawnAI.+",alertstate="firing"}) or vector(0)',
                    "firing",
                ),
            ),
            kind="stat",
            width=6,
        ),
        Panel(
            "DigitalOcean calls left",
            "Calls that DigitalOcean still allows in this hour, of 5,000.",
            (('min(spawnai_digitalocean_remaining_calls{window="hour"})', "this hour"),),
            kind="stat",
            width=6,
        ),
        Panel(
            "Looks of the reaper",
            "Looks for leaks in the last hour: trusted, and in doubt.",
            (("sum by (result) (increase(spawnai_reaper_looks_total[1h]))", "{{result}}"),),
            kind="stat",
            width=6,
        ),
        Panel(
            "Work queue",
            "Keys that wait for a worker, and keys that are scheduled for later.",
            (
                ("sum(spawnai_queue_depth)", "ready"),
                ("sum(spawnai_queue_delayed_keys)", "scheduled"),
            ),
        ),
        Panel(
            "Longest wait in the queue",
            "How long the oldest ready key has waited. Good: below a second.",
            (("max(spawnai_queue_oldest_wait_seconds)", "oldest"),),
            "s",
        ),
        Panel(
            "Calls to DigitalOcean",
            "Calls a second, by result.",
            (
                (
                    "sum by (result) (rate(spawnai_digitalocean_calls_total[$__rate_interval]))",
                    "{{result}}",
                ),
            ),
            "reqps",
        ),
        Panel(
            "Duration of calls to DigitalOcean",
            "Mean duration by endpoint.",
            ((_mean("spawnai_digitalocean_call_duration_seconds", "endpoint"), "{{endpoint}}"),),
            "s",
        ),
        Panel(
            "Reconciles",
            "Reconciles a second, by kind and result.",
            (
                (
                    "sum by (kind, result) (rate(spawnai_reconciles_total[$__rate_interval]))",
                    "{{kind}} {{result}}",
                ),
            ),
            "ops",
        ),
        Panel(
            "Duration of reconciles",
            "Mean duration by kind.",
            ((_mean("spawnai_reconcile_duration_seconds", "kind"), "{{kind}}"),),
            "s",
        ),
        Panel(
            "Writes to the API server",
            "Writes a second by verb and object. A quiet operator writes nothing.",
            (
                (
                    "sum by (write) (rate(spawnai_api_writes_total[$__rate_interval]))",
                    "{{write}}",
                ),
            ),
            "wps",
        ),
        Panel(
            "Memory",
            "Resident memory of each process.",
            (("process_resident_memory_bytes", "{{instance}}"),),
            "bytes",
            width=6,
        ),
        Panel(
            "Processor",
            "Processor time of each process; 1 is a core.",
            (("rate(process_cpu_seconds_total[$__rate_interval])", "{{instance}}"),),
            "short",
            width=6,
        ),
    ),
)

SESSIONS = Board(
    "sessions",
    "SpawnAI / Sessions",
    "How sessions begin, live and end.",
    (
        *_PROMISES,
        Panel(
            "Sessions by phase",
            "Sessions in the cluster. Tombstones count as Destroyed until they are deleted.",
            (("sum by (phase) (spawnai_sessions)", "{{phase}}"),),
        ),
        Panel(
            "Running sessions by Ready",
            "True: the app answers. False: it stopped. Unknown: its agent does not answer; many "
            "at once mean that the operator's own network is cut.",
            (("sum by (ready) (spawnai_sessions_running)", "{{ready}}"),),
        ),
        Panel(
            "Time to Ready",
            "Share of the sessions that were Ready within 30, 60 and 90 seconds.",
            tuple((_share(_READY, f"{s}.0"), f"within {s} s") for s in (30, 60, 90)),
            "percentunit",
        ),
        Panel(
            "Waiting",
            "Sessions that cannot go on yet, by what they wait for.",
            (
                (
                    "sum by (reason) (spawnai_sessions_waiting > 0) or vector(0)",
                    "{{reason}}",
                ),
            ),
        ),
        Panel(
            "Ends by result",
            "Sessions that ended in the shown time.",
            (
                (
                    "sum by (result) (increase(spawnai_session_results_total[$__range]))",
                    "{{result}}",
                ),
            ),
            kind="bars",
        ),
        Panel(
            "Ends by reason",
            "Sessions that ended since the operator's start, by status.terminationReason.",
            (("sum by (reason) (spawnai_session_ends_total)", "{{reason}}"),),
            kind="bars",
        ),
        Panel(
            "Works as expected",
            "Answers of owners whose sessions are still in the cluster. The goal: over 80 % yes.",
            (("sum by (answer) (spawnai_session_feedback)", "{{answer}}"),),
            kind="bars",
        ),
        Panel(
            "Overrun",
            "Share of the expired sessions whose droplet was given back within 0.15, 1 and 5 "
            "seconds.",
            tuple((_share(_OVERRUN, s), f"within {s} s") for s in ("0.15", "1.0", "5.0")),
            "percentunit",
        ),
        Panel(
            "Orders to Claude",
            "Orders by outcome, and repair rounds within them, since the operator's start.",
            (
                ("sum by (outcome) (spawnai_claude_orders_total)", "{{outcome}}"),
                ("sum(spawnai_claude_repairs_total)", "repairs"),
            ),
            kind="bars",
        ),
        Panel(
            "Spares of pools",
            "Spares that a session can take now, and those that each pool is to keep. Good: as "
            "many as wanted but for half a minute after a claim.",
            (
                ('sum by (pool) (spawnai_pool_spares{state="ready"})', "{{pool}} ready"),
                ("sum by (pool) (spawnai_pool_wanted_spares)", "{{pool}} wanted"),
            ),
        ),
        Panel(
            "Sessions that found a spare",
            "Share of the sessions of a class that took a spare, of those that one of its pools "
            "fits. Good: above 95 %; below, the pool needs more replicas.",
            ((_FOUND_A_SPARE, "{{class}}"),),
            "percentunit",
            "bars",
            6,
        ),
        Panel(
            "Refills that failed",
            "Spares in the shown time that came to nothing, by pool and why. Good: 0.",
            (
                (
                    f"sum by (pool, reason) (increase({_REFILL_FAILURES}[$__range]))",
                    "{{pool}} {{reason}}",
                ),
            ),
            kind="bars",
            width=6,
        ),
        Panel(
            "Events",
            "Kubernetes Events a second, by what became of them.",
            (("sum by (result) (rate(spawnai_events_total[$__rate_interval]))", "{{result}}"),),
            "ops",
        ),
        Panel(
            "Notices to users",
            "Notices since the operator's start, by channel and what became of them.",
            (
                (
                    "sum by (channel, result) (spawnai_notices_total) or vector(0)",
                    "{{channel}} {{result}}",
                ),
            ),
            kind="bars",
        ),
    ),
)

_LIMIT, _SPENT, _RESERVED = (
    f"sum by (budget) (spawnai_spawnbudget_{part}_dollars)"
    for part in ("limit", "spent", "reserved")
)

COST = Board(
    "cost",
    "SpawnAI / Cost",
    "What sessions cost. Counted when a session is closed, from zero with every process: the bill "
    "is in the SpawnRecords.",
    (
        Panel(
            "Spent",
            "Dollars since the operator's start.",
            (("sum(spawnai_cost_dollars_total)", "spent"),),
            "currencyUSD",
            "stat",
            6,
        ),
        Panel(
            "Cost of a session",
            "Mean dollars of a closed session.",
            (
                (
                    "sum(spawnai_cost_dollars_total) / (sum(spawnai_session_cost_ratio_count) > 0)",
                    "a session",
                ),
            ),
            "currencyUSD",
            "stat",
            6,
        ),
        Panel(
            "Within 150 % of the estimate",
            "Share of the closed sessions that cost at most one and a half times their estimate.",
            ((_share("spawnai_session_cost_ratio", "1.5"), "within"),),
            "percentunit",
            "stat",
            6,
        ),
        Panel(
            "Actual against estimate",
            "What closed sessions cost in all, in parts of what was estimated. Good: near 1; less "
            "when people end sessions early.",
            (
                (
                    "sum(spawnai_cost_dollars_total) / (sum(spawnai_estimated_dollars_total) > 0)",
                    "ratio",
                ),
            ),
            "percentunit",
            "stat",
            6,
        ),
        Panel(
            "Dollars an hour, by kind",
            "Droplets, Claude, baked images and spares.",
            (
                (
                    "3600 * sum by (kind) (rate(spawnai_cost_dollars_total[$__rate_interval]))",
                    "{{kind}}",
                ),
            ),
            "currencyUSD",
        ),
        Panel(
            "Dollars an hour, by class",
            "Which offer the money goes to.",
            (
                (
                    "3600 * sum by (class) (rate(spawnai_cost_dollars_total[$__rate_interval]))",
                    "{{class}}",
                ),
            ),
            "currencyUSD",
        ),
        Panel(
            "Spares",
            "Dollars in the shown time for spares until a session took them or they went, by "
            "class. No session pays for them.",
            (
                (
                    'sum by (class) (increase(spawnai_cost_dollars_total{kind="pool"}[$__range]))',
                    "{{class}}",
                ),
            ),
            "currencyUSD",
            "bars",
        ),
        Panel(
            "Estimated and actual",
            "Dollars of closed sessions since the operator's start.",
            (
                ("sum(spawnai_estimated_dollars_total)", "estimated"),
                ("sum(spawnai_cost_dollars_total)", "actual"),
            ),
            "currencyUSD",
        ),
        Panel(
            "Budgets: used",
            "Share of each SpawnBudget that is spent or reserved in its period. At 100 % what it "
            "selects waits.",
            (
                (
                    f"({_SPENT} + {_RESERVED}) / ({_LIMIT} > 0)",
                    "{{budget}}",
                ),
            ),
            "percentunit",
            "bars",
        ),
        Panel(
            "Budgets: left",
            "Dollars that each SpawnBudget can still give. Below zero: its limit was lowered.",
            ((f"{_LIMIT} - {_SPENT} - {_RESERVED}", "{{budget}}"),),
            "currencyUSD",
            least=None,
        ),
        Panel(
            "Waiting for a place or for money",
            "Sessions over a limit of their class, and sessions for which a budget has no room.",
            (
                (
                    'sum(spawnai_sessions_waiting{reason="Queued"}) or vector(0)',
                    "for a place",
                ),
                (
                    'sum(spawnai_sessions_waiting{reason="WaitingForBudget"}) or vector(0)',
                    "for money",
                ),
            ),
        ),
        Panel(
            "Tokens of Claude",
            "Tokens a second, by model and kind.",
            (
                (
                    "sum by (model, kind) (rate(spawnai_claude_tokens_total[$__rate_interval]))",
                    "{{model}} {{kind}}",
                ),
            ),
        ),
    ),
)

BOARDS = (OPERATOR, SESSIONS, COST)


def rendered(board: Board) -> str:
    """The dashboard as Grafana imports it."""
    source = DataSourceRef(type_val="prometheus", uid="${datasource}")
    built = (
        dashboard.Dashboard(board.title)
        .uid(f"spawnai-{board.name}")
        .description(board.description)
        .tags(["spawnai"])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
    )
    for panel in board.panels:
        built = built.with_panel(_built(panel, source))
    return JSONEncoder(sort_keys=True, indent=2).encode(built.build()) + "\n"


def _built(panel: Panel, source: DataSourceRef) -> timeseries.Panel | stat.Panel | bargauge.Panel:
    kinds = {"graph": timeseries.Panel, "stat": stat.Panel, "bars": bargauge.Panel}
    built = (
        kinds[panel.kind]()
        .title(panel.title)
        .description(panel.description)
        .datasource(source)
        .unit(panel.unit)
        .span(panel.width)
        .height(4 if panel.kind == "stat" else 8)
    )
    if not isinstance(built, timeseries.Panel):
        built = built.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    if panel.least is not None:
        built = built.min(panel.least)
    for number, (expression, legend) in enumerate(panel.queries):
        query = (
            prometheus.Dataquery()
            .expr(expression)
            .legend_format(legend)
            .ref_id("ABCDEFG"[number])
            .datasource(source)
        )
        built = built.with_target(query.range() if panel.kind == "graph" else query.instant())
    return built


def main(arguments: Iterable[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    options = parser.parse_args(None if arguments is None else list(arguments))
    differences = 0
    for board in BOARDS:
        path, text = Path(FOLDER, f"{board.name}.json"), rendered(board)
        file = ROOT / path
        if file.is_file() and file.read_text() == text:
            continue
        differences += 1
        if options.check:
            sys.stderr.write(f"{path} is not what `make generate` writes\n")
        else:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
            sys.stdout.write(f"wrote {path}\n")
    return 1 if options.check and differences else 0


if __name__ == "__main__":
    sys.exit(main())
