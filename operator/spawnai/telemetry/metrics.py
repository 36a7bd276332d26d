"""The operator's Prometheus metrics, behind methods named for what happened.

Every name starts with `spawnai_`, carries its unit, and is documented in
`docs/reference/metrics.md`; a test compares the two. No label holds a name or a UID: the number of
series does not grow with the number of sessions.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from spawnai import __version__
from spawnai.api.conditions import ConditionStatus, ConditionType, find_condition, is_true
from spawnai.api.session import Phase, SessionStatus

# The targets stand among the bounds, so that a quantile near one is read exactly: Ready in 90 s,
# the droplet's deletion accepted within 150 ms of the expiry, all of it gone within 5 s.
_READY_BOUNDS = (5, 10, 15, 20, 30, 45, 60, 75, 90, 120, 180, 300, 600, 1200)
_OVERRUN_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)
_RECONCILE_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
# What a session cost, in parts of its estimate. 1.5 is the bound of the alert.
_RATIO_BOUNDS = (0.25, 0.5, 0.75, 0.9, 1, 1.1, 1.25, 1.5, 2, 4)
_CALL_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


# A part that is missing for these reasons is being made; nothing is waited for.
_USUAL_REASONS = frozenset({"Creating", "Booting", "Generating"})
_ADMITTED = "Admitted"


FEEDBACK_ANSWERS = ("yes", "no")
"""The values of the annotation spawn-ai.com/feedback that count."""


class CallOutcome(Protocol):
    """One finished call to DigitalOcean, as its adapter reports it."""

    @property
    def endpoint(self) -> str:
        """Method and path template, such as "DELETE /v2/droplets/{id}"; never a real id."""
        ...

    @property
    def result(self) -> str:
        """What came of it: "ok", or the error's kind in snake case."""
        ...

    @property
    def seconds(self) -> float:
        """How long the call took."""
        ...


class BudgetSums(Protocol):
    """How a SpawnBudget stands, in dollars."""

    @property
    def limit(self) -> Decimal:
        """What it allows in its period."""

    @property
    def spent(self) -> Decimal:
        """What ended sessions cost."""

    @property
    def reserved(self) -> Decimal:
        """What living sessions may cost at most."""

    @property
    def warn(self) -> Decimal:
        """From how much on, spent and reserved together, people are warned."""


class EndResult(StrEnum):
    """How a session ended, as far as its promise goes."""

    COMPLETED = "completed"
    """It was Ready, and ended when its time was over or somebody asked for it."""
    FAILED_START = "failed_start"
    """It was never Ready, for a reason that its user did not choose."""
    FAILED_LATER = "failed_later"
    """It was Ready, and its app or its droplet failed."""
    WITHDRAWN = "withdrawn"
    """It was ended before it was Ready, by its user or by its time."""


def result_of(status: SessionStatus) -> EndResult:
    """How a session that ends, or has ended, is counted."""
    failed = is_true(status.conditions, ConditionType.STALLED)
    if status.ready_at is None:
        return EndResult.FAILED_START if failed else EndResult.WITHDRAWN
    return EndResult.FAILED_LATER if failed else EndResult.COMPLETED


PROBE_ANSWERS = ("Up", "Down", "Failed", "None")
HEALTH_REASONS = frozenset(
    {"Answers", "NetworkPath", "PoweredOff", "AgentUnreachable", "OperatorBlind", "Replacing"}
)
"""Why AppHealthy is as it is, but for the many reasons of apps that failed."""


def _health_of(status: SessionStatus) -> str | None:
    """What is made of a running app, in a word out of few."""
    if status.phase is not Phase.RUNNING:
        return None
    known = find_condition(status.conditions, ConditionType.APP_HEALTHY)
    if known is None:
        return "Unheard"
    return known.reason if known.reason in HEALTH_REASONS else "AppFailed"


class _Sorted:
    """A gauge of how many sessions have each value of a label; None: it counts nowhere."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._value_of: dict[str, str] = {}
        self._counts: Tally[str] = Tally()

    def put(self, uid: str, value: str | None) -> None:
        before = self._value_of.get(uid)
        if value == before:
            return
        if before is not None:
            self._add(before, -1)
        if value is None:
            del self._value_of[uid]
            return
        self._value_of[uid] = value
        self._add(value, 1)

    def _add(self, value: str, by: int) -> None:
        self._counts[value] += by
        self._gauge.labels(value).set(self._counts[value])


ACME_RESULTS = ("placed", "issued", "limited", "refused", "failed", "unrevoked")
"""What becomes of an order for a certificate: each is placed once and ends once, or is limited.
`unrevoked`: at its session's end the server was away, and it expires by itself."""


CERTIFICATE_SOURCES = ("acme", "secret")
"""Who fills the Secret of a gateway's certificate: the operator, or somebody else."""


@dataclass(frozen=True, slots=True)
class GatewayCertificate:
    """The certificate of a class's gateway; its times are None where there is none."""

    source: str
    is_ready: bool
    expiration: datetime | None = None
    not_before: datetime | None = None
    renewal: datetime | None = None


@dataclass(frozen=True, slots=True)
class AcmeLimit:
    """A limit of the ACME server: how many orders it allows in its time, and how many more now.

    `domain`: the domain or wildcard that it is for; empty for the account's own.
    """

    limit: str
    domain: str
    allowed: int
    remaining: int


class _AcmeLimits(Collector):
    """The limits as they are when the metrics are read; the domains are those of the classes."""

    def __init__(self) -> None:
        self.ask: Callable[[], Iterable[AcmeLimit]] = tuple

    def collect(self) -> Iterator[GaugeMetricFamily]:
        labels = ["limit", "domain"]
        allowed = GaugeMetricFamily(
            "spawnai_acme_limit_allowed",
            "How many orders a limit of the ACME server allows in its time",
            labels=labels,
        )
        remaining = GaugeMetricFamily(
            "spawnai_acme_limit_remaining",
            "How many more orders a limit of the ACME server allows now",
            labels=labels,
        )
        for one in self.ask():
            allowed.add_metric([one.limit, one.domain], one.allowed)
            remaining.add_metric([one.limit, one.domain], one.remaining)
        yield allowed
        yield remaining


POOL_STATES = ("ready", "booting", "leaving", "claimed")
CLAIM_RESULTS = ("taken", "missed", "lost", "given_back")
REFILL_FAILURES = ("NeverReady", "OrderRefused", "NoRoom")
"""Why a refill came to nothing: it did not answer in time, DigitalOcean refused it, or the account
had no room."""


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """How a pool stands. `droplets`: how many there are in each of `POOL_STATES`; `class_name`: of
    the class that it names, where its spec can be read.
    """

    class_name: str | None
    wanted: int
    is_ready: bool
    droplets: Mapping[str, int]


class Metrics:
    """All metrics of one operator process, in the registry it is given."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        ProcessCollector(registry=registry)
        Gauge(
            "spawnai_build_info",
            "1; the label tells the version",
            ["version"],
            registry=registry,
        ).labels(__version__).set(1)
        phases = Gauge(
            "spawnai_sessions",
            "SpawnSessions in the cluster, by phase",
            ["phase"],
            registry=registry,
        )
        ready = Gauge(
            "spawnai_sessions_running",
            "SpawnSessions in phase Running, by their condition Ready",
            ["ready"],
            registry=registry,
        )
        waiting = Gauge(
            "spawnai_sessions_waiting",
            "SpawnSessions that cannot go on yet, by what they wait for",
            ["reason"],
            registry=registry,
        )
        for phase in Phase:
            phases.labels(phase.value).set(0)
        for known in ConditionStatus:
            ready.labels(known.value).set(0)
        self._phases, self._readiness, self._waiting = map(_Sorted, (phases, ready, waiting))
        feedback = Gauge(
            "spawnai_session_feedback",
            "SpawnSessions whose owner said whether the app works as expected, by answer",
            ["answer"],
            registry=registry,
        )
        for answer in FEEDBACK_ANSWERS:
            feedback.labels(answer).set(0)
        self._feedback = _Sorted(feedback)
        self._results = Counter(
            "spawnai_session_results_total",
            "Sessions whose end was decided, by result",
            ["result"],
            registry=registry,
        )
        for end in EndResult:
            self._results.labels(end.value)
        self._ends = Counter(
            "spawnai_session_ends_total",
            "Sessions whose end was decided, by reason",
            ["reason"],
            registry=registry,
        )
        self._cost_ratio = Histogram(
            "spawnai_session_cost_ratio",
            "What a session cost, in parts of its estimate",
            buckets=_RATIO_BOUNDS,
            registry=registry,
        )
        self._estimated = Counter(
            "spawnai_estimated_dollars_total",
            "Dollars that closed sessions were estimated to cost, by class",
            ["class"],
            registry=registry,
        )
        self._reconciles = Counter(
            "spawnai_reconciles_total",
            "Finished reconciles, by kind and result",
            ["kind", "result"],
            registry=registry,
        )
        self._reconcile_seconds = Histogram(
            "spawnai_reconcile_duration_seconds",
            "How long a reconcile took, by kind",
            ["kind"],
            buckets=_RECONCILE_BOUNDS,
            registry=registry,
        )
        self._ready = Histogram(
            "spawnai_session_ready_seconds",
            "Time from a session's creation to its first Ready",
            buckets=_READY_BOUNDS,
            registry=registry,
        )
        self._ttl_overrun = Histogram(
            "spawnai_ttl_overrun_seconds",
            "Time from a session's expiry to the accepted deletion of its droplet",
            buckets=_OVERRUN_BOUNDS,
            registry=registry,
        )
        self._calls = Counter(
            "spawnai_digitalocean_calls_total",
            "Calls to DigitalOcean, by endpoint and result",
            ["endpoint", "result"],
            registry=registry,
        )
        self._call_seconds = Histogram(
            "spawnai_digitalocean_call_duration_seconds",
            "How long a call to DigitalOcean took, by endpoint",
            ["endpoint"],
            buckets=_CALL_BOUNDS,
            registry=registry,
        )
        self._tokens = Counter(
            "spawnai_claude_tokens_total",
            "Claude tokens paid for, by model and kind",
            ["model", "kind"],
            registry=registry,
        )
        self._claude_orders = Counter(
            "spawnai_claude_orders_total",
            "Orders to Claude that were paid for, by outcome",
            ["outcome"],
            registry=registry,
        )
        self._repairs = Counter(
            "spawnai_claude_repairs_total",
            "Repair rounds within orders to Claude",
            registry=registry,
        )
        self._inspections = Histogram(
            "spawnai_inspection_seconds",
            "How long the inspector took for a page, by what came of it",
            ["result"],
            buckets=_CALL_BOUNDS,
            registry=registry,
        )
        for result in ("passed", "findings", "away"):
            self._inspections.labels(result)
        self._notices = Counter(
            "spawnai_notices_total",
            "Notices to users, by channel and what became of them",
            ["channel", "result"],
            registry=registry,
        )
        self._acme_orders = Counter(
            "spawnai_acme_orders_total",
            "Orders for certificates, by what became of them",
            ["result"],
            registry=registry,
        )
        for result in ACME_RESULTS:
            self._acme_orders.labels(result)
        self._certificates = {
            moment: Gauge(
                f"spawnai_certificate_{moment}_timestamp_seconds",
                words,
                ["class", "source"],
                registry=registry,
            )
            for moment, words in {
                "expiration": "When the certificate of a class's gateway expires",
                "not_before": "Since when the certificate of a class's gateway is valid",
                "renewal": "When the operator renews the certificate of a class's gateway",
            }.items()
        }
        self._certificate_ready = Gauge(
            "spawnai_certificate_ready_status",
            "Whether the gateway of a class has a certificate that nothing is wrong with",
            ["class", "source"],
            registry=registry,
        )
        self._images = Gauge(
            "spawnai_baked_images",
            "Baked images of a class: regions that have one (offered), images being made (baking)",
            ["class", "state"],
            registry=registry,
        )
        self._pool_spares = Gauge(
            "spawnai_pool_spares",
            "Droplets of a pool by state: ready, booting, leaving, or claimed by sessions",
            ["pool", "state"],
            registry=registry,
        )
        self._pool_wanted = Gauge(
            "spawnai_pool_wanted_spares",
            "Spares that a pool is to keep",
            ["pool"],
            registry=registry,
        )
        self._pool_ready = Gauge(
            "spawnai_pool_ready_status",
            "Whether a pool has as many ready spares as it has to, and its refills succeed",
            ["pool"],
            registry=registry,
        )
        self._pool_claims = Counter(
            "spawnai_pool_claims_total",
            "What became of sessions that a pool fits: they took a spare, lost it to another "
            "session, gave it back because it could not be handed over, or missed one",
            ["class", "result"],
            registry=registry,
        )
        self._pool_failures = Counter(
            "spawnai_pool_refill_failures_total",
            "Refills of pools that came to nothing, by why",
            ["pool", "reason"],
            registry=registry,
        )
        self._acme_limits = _AcmeLimits()
        registry.register(self._acme_limits)
        self._cost = Counter(
            "spawnai_cost_dollars_total",
            "Dollars spent, by kind and class",
            ["kind", "class"],
            registry=registry,
        )
        self._events = Counter(
            "spawnai_events_total",
            "Kubernetes Events, by what became of them",
            ["result"],
            registry=registry,
        )
        self._api_writes = Counter(
            "spawnai_api_writes_total",
            "Writes sent to the API server, Events and Lease renewals apart, by verb and object",
            ["write"],
            registry=registry,
        )
        self._clock_ahead = Gauge(
            "spawnai_clock_ahead_seconds",
            "By how many seconds the operator's clock is ahead of another's, by whose it is",
            ["whose"],
            registry=registry,
        )
        for whose in ("DigitalOcean", "Kubernetes"):
            self._clock_ahead.labels(whose).set(float("nan"))  # not measured yet
        self._missing_fields = Gauge(
            "spawnai_missing_fields",
            "Fields that the operator writes and the CRDs in the cluster do not have",
            registry=registry,
        )
        self._missing_rights = Gauge(
            "spawnai_missing_rights",
            "Rights that the operator needs and the API server does not give it",
            registry=registry,
        )
        health = Gauge(
            "spawnai_sessions_health",
            "SpawnSessions in phase Running, by what is made of their app",
            ["verdict"],
            registry=registry,
        )
        for reason in (*sorted(HEALTH_REASONS), "AppFailed", "Unheard"):
            health.labels(reason)
        self._health = _Sorted(health)
        self._probes = Counter(
            "spawnai_health_probes_total",
            "Looks at running apps from outside, by what they showed",
            ["answer"],
            registry=registry,
        )
        for answer in PROBE_ANSWERS:
            self._probes.labels(answer)
        self._blind = Gauge(
            "spawnai_blind",
            "1 while so many droplets are silent at once that the operator's network is suspected",
            registry=registry,
        )
        self._recoveries = Counter(
            "spawnai_droplet_recoveries_total",
            "Droplets that were switched on or rebooted because nothing on them answered",
            ["action"],
            registry=registry,
        )
        self._replacements = Counter(
            "spawnai_replacements_total",
            "Droplets of running sessions that were given up for another one, by why",
            ["reason"],
            registry=registry,
        )
        for how in ("power_on", "reboot"):
            self._recoveries.labels(how)
        for reason in ("DropletLost", "DropletFailed"):
            self._replacements.labels(reason)
        self._orphans = Gauge(
            "spawnai_orphans",
            "Droplets of this cluster that no living SpawnRecord explains",
            registry=registry,
        )
        self._reaped = Counter(
            "spawnai_reaped_total",
            "Orphans that were to be deleted, by what became of them",
            ["result"],
            registry=registry,
        )
        self._reaper_looks = Counter(
            "spawnai_reaper_looks_total",
            "Looks of the reaper at both sides, by whether they could be trusted",
            ["result"],
            registry=registry,
        )
        for result in ("deleted", "gone", "unverified", "left", "failed", "dry_run"):
            self._reaped.labels(result)
        for result in ("ok", "doubt"):
            self._reaper_looks.labels(result)
        self._budgets = tuple(
            (
                Gauge(f"spawnai_spawnbudget_{part}_dollars", words, ["budget"], registry=registry),
                part,
            )
            for part, words in (
                ("limit", "Dollars that a SpawnBudget allows in its period"),
                ("spent", "Dollars that sessions cost which ended in the budget's period"),
                ("reserved", "Dollars that living sessions of the budget may cost at most"),
                ("warn", "Dollars, spent and reserved, from which on the budget warns"),
            )
        )
        self._queue_depth = Gauge(
            "spawnai_queue_depth",
            "Keys that wait for a worker",
            registry=registry,
        )
        self._queue_delayed = Gauge(
            "spawnai_queue_delayed_keys",
            "Keys that have a time to come",
            registry=registry,
        )
        self._queue_oldest = Gauge(
            "spawnai_queue_oldest_wait_seconds",
            "How long the key that is ready longest has waited for a worker",
            registry=registry,
        )
        self._budget = Gauge(
            "spawnai_digitalocean_remaining_calls",
            "Calls that DigitalOcean still allows, by window",
            ["window"],
            registry=registry,
        )
        self._leading = Gauge(
            "spawnai_leader",
            "1 while this process holds the lease, else 0",
            registry=registry,
        )

    def session_seen(
        self, uid: str, status: SessionStatus | None, *, feedback: str | None = None
    ) -> None:
        """A session has this status now; None: the session is gone from the cluster.

        `feedback` is its owner's answer, where there is one.
        """
        phase = status.phase if status is not None else None
        self._phases.put(uid, str(phase) if phase is not None else None)
        ready = None
        if status is not None and phase is Phase.RUNNING:
            found = find_condition(status.conditions, ConditionType.READY)
            ready = str(found.status if found is not None else ConditionStatus.UNKNOWN)
        self._readiness.put(uid, ready)
        self._health.put(uid, _health_of(status) if status is not None else None)
        self._waiting.put(uid, _waits_for(status) if status is not None else None)
        self._feedback.put(uid, feedback if feedback in FEEDBACK_ANSWERS else None)

    def health_probe(self, answer: str) -> None:
        """A running app was looked at from outside: "Up", "Down", "Failed" or "None"."""
        self._probes.labels(answer).inc()

    def is_blind(self, value: int) -> None:
        """1 while the operator takes its own network for cut, else 0."""
        self._blind.set(value)

    def droplet_recovery(self, action: str) -> None:
        """A droplet is switched on or rebooted: "power_on" or "reboot"."""
        self._recoveries.labels(action).inc()

    def droplet_replaced(self, reason: str) -> None:
        """A droplet was given up for another one: "DropletLost" or "DropletFailed"."""
        self._replacements.labels(reason).inc()

    def session_ended(self, status: SessionStatus) -> None:
        """The end of a session was decided, for `status.termination_reason`."""
        self._results.labels(result_of(status).value).inc()
        self._ends.labels(status.termination_reason or "Unknown").inc()

    def reconciled(self, kind: str, result: str, seconds: float) -> None:
        """A reconcile of an object of `kind` ended: `result` is "ok" or "failed"."""
        self._reconciles.labels(kind, result).inc()
        self._reconcile_seconds.labels(kind).observe(seconds)

    def ready(self, seconds: float) -> None:
        """A session became Ready for the first time, `seconds` after its creation."""
        self._ready.observe(seconds)

    def ttl_overrun(self, seconds: float) -> None:
        """The deletion of a session's droplet was accepted `seconds` after its expiry."""
        self._ttl_overrun.observe(seconds)

    def digitalocean_call(self, outcome: CallOutcome) -> None:
        """A call to DigitalOcean ended."""
        self._calls.labels(outcome.endpoint, outcome.result).inc()
        self._call_seconds.labels(outcome.endpoint).observe(outcome.seconds)

    def claude_tokens(self, model: str, kind: str, count: int) -> None:
        """Tokens were paid for; `kind` is "input", "output", "cache_read" or "cache_write"."""
        self._tokens.labels(model, kind).inc(count)

    def inspected(self, result: str, seconds: float) -> None:
        """The inspector was asked for a page: passed, findings, or away."""
        self._inspections.labels(result).observe(seconds)

    def claude_order(self, outcome: str, repairs: int) -> None:
        """An order to Claude was paid for; `outcome` is one word, as in the ledger."""
        self._claude_orders.labels(outcome).inc()
        self._repairs.inc(repairs)

    def notice(self, channel: str, result: str) -> None:
        """A notice to a user was "sent", "refused", "failed" or "dropped" (queue full)."""
        self._notices.labels(channel, result).inc()

    def estimate(self, class_name: str, *, estimated: Decimal, actual: Decimal) -> None:
        """A session of that class is closed: what was estimated, and what it cost."""
        self._estimated.labels(class_name).inc(float(estimated))
        if estimated > 0:
            self._cost_ratio.observe(float(actual / estimated))

    def cost(self, dollars: Decimal, kind: str, class_name: str) -> None:
        """`dollars` were spent on `kind`, such as "droplet" or "claude"; never counted twice.

        The sum is for graphs, and starts at zero with every process. The bill is in the records.
        """
        self._cost.labels(kind, class_name).inc(float(dollars))

    def api_write(self, write: str) -> None:
        """A write was sent to the API server: verb and object, such as "patch session-status"."""
        self._api_writes.labels(write).inc()

    def event(self, result: str) -> None:
        """An Event was "written", "dropped" (queue full) or "failed" (all tries used up)."""
        self._events.labels(result).inc()

    def orphans(self, count: int) -> None:
        """The reaper's last look found `count` droplets that nobody explains."""
        self._orphans.set(count)

    def reaped(self, result: str) -> None:
        """An orphan was "deleted" (seen gone), "gone" by itself, "unverified", "left" or "failed".

        "dry_run": it would have been deleted.
        """
        self._reaped.labels(result).inc()

    def reaper_look(self, result: str) -> None:
        """The reaper looked: "ok", or in "doubt", when nothing is deleted."""
        self._reaper_looks.labels(result).inc()

    def clock_ahead(self, whose: str, seconds: float) -> None:
        """Our clock was compared with DigitalOcean's or Kubernetes'; negative: it is behind."""
        self._clock_ahead.labels(whose).set(seconds)

    def missing_fields(self, count: int) -> None:
        """So many fields would be dropped by the API server."""
        self._missing_fields.set(count)

    def missing_rights(self, count: int) -> None:
        """So many rights are missing, by the API server's own word."""
        self._missing_rights.set(count)

    def budget(self, name: str, sums: BudgetSums | None) -> None:
        """A budget stands so; None: it is gone."""
        for gauge, part in self._budgets:
            if sums is None:
                with suppress(KeyError):
                    gauge.remove(name)
            else:
                gauge.labels(name).set(float(getattr(sums, part)))

    def watch_queue(
        self,
        *,
        depth: Callable[[], float],
        delayed: Callable[[], float],
        oldest_wait_seconds: Callable[[], float],
    ) -> None:
        """Ask these for the work queue's figures whenever the metrics are read."""
        self._queue_depth.set_function(depth)
        self._queue_delayed.set_function(delayed)
        self._queue_oldest.set_function(oldest_wait_seconds)

    def watch_budget(
        self, *, remaining_in_hour: Callable[[], float], remaining_in_minute: Callable[[], float]
    ) -> None:
        """Ask these for what is left of DigitalOcean's two limits whenever the metrics are read."""
        self._budget.labels("hour").set_function(remaining_in_hour)
        self._budget.labels("minute").set_function(remaining_in_minute)

    def acme_order(self, result: str) -> None:
        """An order for a certificate went a step further: one of `ACME_RESULTS`."""
        self._acme_orders.labels(result).inc()

    def gateway_certificate(self, class_name: str, certificate: GatewayCertificate | None) -> None:
        """How the certificate of a class's gateway was found; None: the class has no gateway."""
        ours = (*self._certificates.values(), self._certificate_ready)
        for source in CERTIFICATE_SOURCES:
            for gauge in ours:
                with suppress(KeyError):
                    gauge.remove(class_name, source)
        if certificate is None:
            return
        labels = (class_name, certificate.source)
        self._certificate_ready.labels(*labels).set(certificate.is_ready)
        moments = (certificate.expiration, certificate.not_before, certificate.renewal)
        for gauge, moment in zip(self._certificates.values(), moments, strict=True):
            if moment is not None:
                gauge.labels(*labels).set(moment.timestamp())

    def images(self, class_name: str, offered: int, baking: int) -> None:
        """In how many regions droplets of a class start from a baked image, and how many images
        are being made.
        """
        for state, count in (("offered", offered), ("baking", baking)):
            self._images.labels(class_name, state).set(count)

    def pool(self, name: str, figures: PoolFigures | None) -> None:
        """A pool stands so; None: there is no such pool any more."""
        if figures is None:
            with suppress(KeyError):
                self._pool_wanted.remove(name)
                self._pool_ready.remove(name)
                for state in POOL_STATES:
                    self._pool_spares.remove(name, state)
                for reason in REFILL_FAILURES:
                    self._pool_failures.remove(name, reason)
            return
        self._pool_wanted.labels(name).set(figures.wanted)
        self._pool_ready.labels(name).set(figures.is_ready)
        for state in POOL_STATES:
            self._pool_spares.labels(name, state).set(figures.droplets[state])
        for reason in REFILL_FAILURES:
            self._pool_failures.labels(name, reason)
        if figures.class_name is not None:
            for result in CLAIM_RESULTS:
                self._pool_claims.labels(figures.class_name, result)

    def pool_claim(self, class_name: str, result: str) -> None:
        """A session of the class that a pool fits came to a droplet: one of `CLAIM_RESULTS`."""
        self._pool_claims.labels(class_name, result).inc()

    def pool_refill_failed(self, pool: str, reason: str) -> None:
        """A refill came to nothing: one of `REFILL_FAILURES`."""
        self._pool_failures.labels(pool, reason).inc()

    def watch_acme_limits(self, limits: Callable[[], Iterable[AcmeLimit]]) -> None:
        """Show what is left of these limits, asked for at each scrape."""
        self._acme_limits.ask = limits

    def watch_leadership(self, is_held: Callable[[], bool]) -> None:
        """Ask `is_held` whether this process leads whenever the metrics are read."""
        self._leading.set_function(lambda: float(is_held()))


def _waits_for(status: SessionStatus) -> str | None:
    """Why a session cannot go on yet: the reason of a condition, which is one of a few words."""
    if status.phase in (Phase.RUNNING, Phase.DESTROYED):
        return None
    if status.phase is Phase.DESTROYING:
        # False for longer than a teardown takes only when something cannot be destroyed.
        cleanup = find_condition(status.conditions, ConditionType.CLEANUP_COMPLETE)
        is_late = cleanup is not None and status.message == cleanup.message
        return "Cleanup" if is_late else None
    for type_ in (_ADMITTED, ConditionType.DROPLET_READY, ConditionType.GENERATED):
        found = find_condition(status.conditions, type_)
        if found is not None and found.status is not ConditionStatus.TRUE:
            if found.reason in _USUAL_REASONS:
                continue
            return found.reason
    return None
