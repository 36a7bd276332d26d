"""For each alert: series with which it fires, and series with which it stays silent.

A series is written as promtool reads it: `0+1x60` is 0, 1, 2 … 60, one value each minute.

Windows of hours are looked at after one: a rate is a mean over what there is.
"""

from dataclasses import dataclass, field

Series = dict[str, str]


@dataclass(frozen=True)
class Case:
    """Input series, when to look, and the severities of the alerts that fire then."""

    alert: str
    name: str
    series: Series
    at: str
    severities: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def fires(self) -> bool:
        return bool(self.severities)


def ready(within_90: str, count: str) -> Series:
    return {
        'spawnai_session_ready_seconds_bucket{le="90.0"}': within_90,
        "spawnai_session_ready_seconds_count": count,
        'spawnai_session_results_total{result="failed_start"}': "0x70",
    }


def starts(failed: str, count: str) -> Series:
    return {
        'spawnai_session_results_total{result="failed_start"}': failed,
        "spawnai_session_ready_seconds_count": count,
        'spawnai_session_ready_seconds_bucket{le="90.0"}': count,
    }


def overruns(in_time: str, count: str) -> Series:
    return {
        'spawnai_ttl_overrun_seconds_bucket{le="5.0"}': in_time,
        "spawnai_ttl_overrun_seconds_count": count,
    }


def ratios(within: str, count: str) -> Series:
    return {
        'spawnai_session_cost_ratio_bucket{le="1.5"}': within,
        "spawnai_session_cost_ratio_count": count,
    }


def certificate(*, expires_at: int) -> Series:
    return {
        'spawnai_certificate_expiration_timestamp_seconds{class="wild",source="acme"}': (
            f"{expires_at}x80"
        ),
        'spawnai_certificate_not_before_timestamp_seconds{class="wild",source="acme"}': "0x80",
    }


def limit(limit: str, domain: str, *, allowed: int, remaining: int) -> Series:
    labels = f'{{limit="{limit}",domain="{domain}"}}'
    return {
        f"spawnai_acme_limit_allowed{labels}": f"{allowed}x10",
        f"spawnai_acme_limit_remaining{labels}": f"{remaining}x10",
    }


def budget(
    *, spent: str = "0x30", reserved: str = "0x30", limit: str = "50x30", warn: str = "40x30"
) -> Series:
    parts = {"spent": spent, "reserved": reserved, "limit": limit, "warn": warn}
    return {
        f'spawnai_spawnbudget_{part}_dollars{{budget="team"}}': values
        for part, values in parts.items()
    }


CASES = (
    # Nine of ten are slow; all the time.
    Case(
        "SpawnAITimeToReadyBurn",
        "most sessions are slow",
        ready("0+1x70", "0+10x70"),
        "65m",
        ("critical", "warning"),
    ),
    # A third is slow: less than 14.4 times the budget, more than six times.
    Case(
        "SpawnAITimeToReadyBurn",
        "a third is slow",
        ready("0+6x70", "0+9x70"),
        "65m",
        ("warning",),
    ),
    Case("SpawnAITimeToReadyBurn", "one of 30 is slow", ready("0+29x70", "0+30x70"), "65m"),
    # The only session of the night took two minutes.
    Case("SpawnAITimeToReadyBurn", "one slow session alone", ready("0x70", "0x50 1x20"), "52m"),
    Case("SpawnAITimeToReadyBurn", "no session at all", ready("0x70", "0x70"), "65m"),
    Case(
        "SpawnAISuccessBurn",
        "nothing starts",
        starts("0+1x70", "0x70"),
        "65m",
        ("critical", "warning"),
    ),
    Case("SpawnAISuccessBurn", "one of 40 fails", starts("0+1x70", "0+39x70"), "65m"),
    Case("SpawnAISuccessBurn", "one failure alone", starts("0x50 1x20", "0x70"), "52m"),
    Case(
        "SpawnAITTLOverrunBurn",
        "a fifth is late",
        overruns("0+4x70", "0+5x70"),
        "65m",
        ("critical", "warning"),
    ),
    # All took at most 5 s, some more than 2.5: an interpolated quantile would cry.
    Case("SpawnAITTLOverrunBurn", "all in time", overruns("0+5x70", "0+5x70"), "65m"),
    Case(
        "SpawnAICostAboveEstimate",
        "a tenth is dear",
        ratios("0+9x70", "0+10x70"),
        "65m",
        ("warning",),
    ),
    Case(
        "SpawnAICostAboveEstimate",
        "none is",
        ratios("0+10x70", "0+10x70"),
        "65m",
    ),
    Case(
        "SpawnAIBudgetNearLimit",
        "four fifths are used",
        budget(spent="30x30", reserved="10x30"),
        "20m",
        ("warning",),
        {"budget": "team"},
    ),
    Case(
        "SpawnAIBudgetNearLimit",
        "many start at once",
        budget(spent="30x30", reserved="10x10 2x20"),
        "20m",
    ),
    # Its share is no number.
    Case("SpawnAIBudgetNearLimit", "a limit of 0", budget(limit="0x30", warn="0x30"), "20m"),
    Case(
        "SpawnAIBudgetExceeded",
        "the limit was lowered",
        budget(spent="30x30", limit="50x10 20x20"),
        "20m",
        ("critical",),
        {"budget": "team"},
    ),
    Case(
        "SpawnAIBudgetExceeded",
        "all of it is reserved",
        budget(spent="30.1x30", reserved="19.9x30"),
        "20m",
    ),
    Case("SpawnAIOrphans", "one stays", {"spawnai_orphans": "1x30"}, "15m", ("critical",)),
    Case("SpawnAIOrphans", "one is reaped", {"spawnai_orphans": "1x5 0x25"}, "15m"),
    Case(
        "SpawnAICleanupLate",
        "a firewall cannot be deleted",
        {'spawnai_sessions_waiting{reason="Cleanup"}': "1x40"},
        "20m",
        ("critical",),
    ),
    Case(
        "SpawnAICleanupLate",
        "it goes in time",
        {'spawnai_sessions_waiting{reason="Cleanup"}': "1x10 0x30"},
        "20m",
    ),
    Case(
        "SpawnAIReaperInDoubt",
        "only doubt",
        {
            'spawnai_reaper_looks_total{result="ok"}': "5x90",
            'spawnai_reaper_looks_total{result="doubt"}': "0+2x90",
        },
        "80m",
        ("warning",),
    ),
    Case(
        "SpawnAIReaperInDoubt",
        "some doubt",
        {
            'spawnai_reaper_looks_total{result="ok"}': "0+1x90",
            'spawnai_reaper_looks_total{result="doubt"}': "0+2x90",
        },
        "80m",
    ),
    Case("SpawnAIDown", "no metrics", {"up": "0x20"}, "10m", ("critical",)),
    Case("SpawnAIDown", "metrics", {'spawnai_build_info{version="1"}': "1x20"}, "10m"),
    Case(
        "SpawnAINobodyLeads",
        "both wait",
        {'spawnai_leader{pod="a"}': "0x20", 'spawnai_leader{pod="b"}': "0x20"},
        "10m",
        ("critical",),
    ),
    Case(
        "SpawnAINobodyLeads",
        "a hand-over of a minute",
        {'spawnai_leader{pod="a"}': "1x5 0x15", 'spawnai_leader{pod="b"}': "0x6 1x14"},
        "10m",
    ),
    Case(
        "SpawnAIQueueStuck",
        "it waits",
        {"spawnai_queue_oldest_wait_seconds": "90x10"},
        "5m",
        ("critical",),
    ),
    Case("SpawnAIQueueStuck", "a burst", {"spawnai_queue_oldest_wait_seconds": "2x10"}, "5m"),
    Case(
        "SpawnAIReconcilesFailing",
        "half fail",
        {
            'spawnai_reconciles_total{result="ok"}': "0+5x40",
            'spawnai_reconciles_total{result="failed"}': "0+5x40",
        },
        "30m",
        ("warning",),
    ),
    Case(
        "SpawnAIReconcilesFailing",
        "few fail",
        {
            'spawnai_reconciles_total{result="ok"}': "0+50x40",
            'spawnai_reconciles_total{result="failed"}': "0+1x40",
        },
        "30m",
    ),
    Case(
        "SpawnAIBlind",
        "half cannot be reached",
        {
            'spawnai_sessions_running{ready="True"}': "5x20",
            'spawnai_sessions_running{ready="Unknown"}': "5x20",
        },
        "10m",
        ("critical",),
    ),
    # Two of two: too few to tell a cut network from two broken droplets.
    Case(
        "SpawnAIBlind",
        "two cannot",
        {
            'spawnai_sessions_running{ready="True"}': "0x20",
            'spawnai_sessions_running{ready="Unknown"}': "2x20",
        },
        "10m",
    ),
    Case(
        "SpawnAIDigitalOceanCallsLow",
        "few are left",
        {'spawnai_digitalocean_remaining_calls{window="hour"}': "100x10"},
        "5m",
        ("warning",),
    ),
    Case(
        "SpawnAIDigitalOceanCallsLow",
        "enough are left",
        {
            'spawnai_digitalocean_remaining_calls{window="hour"}': "4000x10",
            'spawnai_digitalocean_remaining_calls{window="minute"}': "10x10",
        },
        "5m",
    ),
    Case(
        "SpawnAIDigitalOceanErrors",
        "half fail",
        {
            'spawnai_digitalocean_calls_total{result="ok"}': "0+5x30",
            'spawnai_digitalocean_calls_total{result="unavailable"}': "0+5x30",
        },
        "25m",
        ("warning",),
    ),
    Case(
        "SpawnAIDigitalOceanErrors",
        "all succeed",
        {'spawnai_digitalocean_calls_total{result="ok"}': "0+5x30"},
        "25m",
    ),
    Case(
        "SpawnAIClaudeAway",
        "no credit",
        {'spawnai_sessions_waiting{reason="ClaudeNoCredit"}': "1x20"},
        "10m",
        ("critical",),
    ),
    Case(
        "SpawnAIClaudeAway",
        "sessions wait for something else",
        {'spawnai_sessions_waiting{reason="WaitingForDropletLimit"}': "1x20"},
        "10m",
    ),
    Case(
        "SpawnAISessionsWaiting",
        "for a droplet",
        {'spawnai_sessions_waiting{reason="WaitingForDropletLimit"}': "2x30"},
        "20m",
        ("warning",),
        {"reason": "WaitingForDropletLimit"},
    ),
    Case(
        "SpawnAISessionsWaiting",
        "for a moment",
        {'spawnai_sessions_waiting{reason="WaitingForDropletLimit"}': "2x5 0x25"},
        "20m",
    ),
    Case(
        "SpawnAIPoolNotReady",
        "its refills fail",
        {
            'spawnai_pool_ready_status{pool="light"}': "1x5 0x30",
            'spawnai_pool_ready_status{pool="other"}': "1x35",
        },
        "25m",
        ("warning",),
        {"pool": "light"},
    ),
    Case(
        "SpawnAIPoolNotReady",
        "it is refilled after each claim",
        {'spawnai_pool_ready_status{pool="light"}': "1x5 0x2 1x8 0x2 1x20"},
        "30m",
    ),
    Case(
        "SpawnAINoticesFailing",
        "the webhook is gone",
        {'spawnai_notices_total{channel="Slack",result="refused"}': "0+1x40"},
        "35m",
        ("warning",),
        {"channel": "Slack"},
    ),
    Case(
        "SpawnAINoticesFailing",
        "all are sent",
        {'spawnai_notices_total{channel="Slack",result="sent"}': "0+1x40"},
        "35m",
    ),
    Case(
        "SpawnAIMissingRights",
        "a role was not upgraded",
        {"spawnai_missing_rights": "2x10"},
        "5m",
        ("critical",),
    ),
    Case("SpawnAIMissingRights", "all are there", {"spawnai_missing_rights": "0x10"}, "5m"),
    Case(
        "SpawnAIClockWrong",
        "the node's clock is behind",
        {'spawnai_clock_ahead_seconds{whose="DigitalOcean"}': "-45x20"},
        "10m",
        ("warning",),
        {"whose": "DigitalOcean"},
    ),
    Case(
        "SpawnAIClockWrong",
        "nearly right",
        {
            'spawnai_clock_ahead_seconds{whose="Kubernetes"}': "2x20",
        },
        "10m",
    ),
    Case(
        "SpawnAICertificatesFailing",
        "the limit is used up",
        {'spawnai_acme_orders_total{result="limited"}': "0+1x70"},
        "65m",
        ("warning",),
        {"result": "limited"},
    ),
    Case(
        "SpawnAICertificatesFailing",
        "all are issued",
        {
            'spawnai_acme_orders_total{result="issued"}': "0+1x70",
            'spawnai_acme_orders_total{result="refused"}': "1x70",
        },
        "65m",
    ),
    Case(
        "SpawnAICertificateLimitNear",
        "of a domain's fifty nine are left",
        limit("domain", "example.com", allowed=50, remaining=9),
        "5m",
        ("warning",),
        {"limit": "domain", "domain": "example.com"},
    ),
    Case(
        "SpawnAICertificateLimitNear",
        "of a domain's fifty ten are left",
        limit("domain", "example.com", allowed=50, remaining=10),
        "5m",
    ),
    # Times are seconds since the test's start: 74 minutes are 4,440.
    Case(
        "SpawnAICertificateExpiring",
        "it was not renewed",
        certificate(expires_at=5000),
        "74m",
        ("warning",),
        {"class": "wild", "source": "acme"},
    ),
    Case(
        "SpawnAICertificateExpiring",
        "it has expired",
        certificate(expires_at=4000),
        "74m",
        ("critical", "warning"),
        {"class": "wild", "source": "acme"},
    ),
    Case("SpawnAICertificateExpiring", "half is left", certificate(expires_at=9000), "74m"),
    Case(
        "SpawnAIGatewayCertificateStale",
        "a replica did not take it",
        {'spawnai_gateway_certificate_is_current{instance="one"}': "1x10 0x40"},
        "45m",
        ("warning",),
        {"instance": "one"},
    ),
    Case(
        "SpawnAIGatewayCertificateStale",
        "all took it within a minute",
        {'spawnai_gateway_certificate_is_current{instance="one"}': "1x10 0x1 1x40"},
        "45m",
    ),
)
