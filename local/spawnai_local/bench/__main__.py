"""`make bench`: measure, print a table, and write docs/benchmarks.md."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from spawnai_local.bench import (
    apps,
    crowd,
    gateway,
    https,
    lives,
    machine,
    money,
    pages,
    report,
    starts,
)
from spawnai_local.bench.figures import Figure
from spawnai_local.interruption import run_until_interrupted
from spawnai_local.narration import Narrator
from spawnai_local.paths import checkout
from spawnai_local.up import READABLE_ERRORS

CROWD_PARTS = ("rest", "restart", "expiry", "pressure")
PARTS = ("lives", *CROWD_PARTS, "console", "apps", "https", "gateway", "money")
LARGE = "crowd10k"
STARTS = "starts"
ALONE = frozenset({LARGE, STARTS})
"""What is measured only where it is named, and has a section of its own on the page."""
LARGE_PARTS = frozenset({"rest", "restart", "expiry"})
_LIMIT_SECONDS = 45 * 60.0
_INTERRUPTED = 130  # 128 + SIGINT, as shells count


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    lives: int = 20
    few: int = 10
    sessions: int = 1000
    expiring: int = 100
    storming: int = 500
    large: int = 10_000
    rest_seconds: float = 120.0
    pages: int = 1000
    changes: int = 20
    served: int = 20
    led: int = 10_000
    orders: int = 1000
    ledgers: int = 100_000


QUICK = Size(
    lives=6,
    few=6,
    sessions=250,
    expiring=10,
    storming=140,
    large=600,
    rest_seconds=30.0,
    pages=300,
    changes=5,
    served=4,
    orders=120,
    ledgers=2_000,
)


def main() -> None:
    """Run the benchmarks. The exit code says whether they ran, not whether goals are met."""
    parser = argparse.ArgumentParser(prog="python -m spawnai_local.bench", description=__doc__)
    parser.add_argument(
        "--only",
        choices=(*PARTS, *sorted(ALONE)),
        action="append",
        help=f"measure this part; may be repeated ({' and '.join(sorted(ALONE))} only so)",
    )
    parser.add_argument(
        "--storm", type=int, metavar="N", help="sessions that end in one minute in `pressure`"
    )
    parser.add_argument("--quick", action="store_true", help="fewer sessions, shorter times")
    arguments = parser.parse_args()
    parts = frozenset(arguments.only or PARTS)
    size = QUICK if arguments.quick else Size()
    if arguments.storm:
        size = replace(
            size,
            storming=arguments.storm,
            sessions=max(size.sessions, arguments.storm + size.few + crowd.FIRST_IN_STORM),
        )
    narrator = Narrator()
    try:
        code = run_until_interrupted(_run(narrator, parts, size))
    except (*READABLE_ERRORS, TimeoutError) as error:
        narrator.blank()
        narrator.warn(str(error) or "the benchmarks took too long and were ended")
        sys.exit(1)
    sys.exit(_INTERRUPTED if code is None else code)


async def _run(narrator: Narrator, parts: frozenset[str], size: Size) -> int:
    narrator.title(
        "SpawnAI measured",
        "The whole product on this machine, with droplets that are empty shells: an agent answers "
        "at each, and no process is behind it.",
    )
    directory = checkout() / "build" / "bench"
    figures: list[Figure] = []
    shares: list[float] = []
    async with asyncio.timeout(_LIMIT_SECONDS):
        if "lives" in parts:
            narrator.step(f"{size.lives} sessions at once, from manifest to tombstone")
            measured = await lives.measure(directory / "lives", narrator, sessions=size.lives)
            figures += _told(narrator, measured.figures())
            shares.append(measured.noise.others)
        if wanted := parts.intersection(CROWD_PARTS):
            narrator.step(f"{size.sessions} live sessions")
            found = await crowd.measure(
                directory / "crowd",
                narrator,
                sessions=size.sessions,
                few=size.few,
                expiring=size.expiring,
                storming=size.storming,
                rest_seconds=size.rest_seconds,
                parts=wanted,
            )
            figures += _told(narrator, found.figures())
            shares += found.noise_of_others()
        if "console" in parts:
            narrator.step(f"{size.pages} open pages")
            opened = await pages.measure(
                directory / "console",
                narrator,
                few=min(200, size.pages),
                many=size.pages,
                changes=size.changes,
                rest_seconds=min(30.0, size.rest_seconds),
            )
            figures += _told(narrator, opened.figures())
        if "apps" in parts:
            narrator.step("Generated apps: judged, opened, changed")
            seen = await apps.measure(directory / "apps", narrator, changes=size.changes)
            figures += _told(narrator, seen.figures())
        if "https" in parts:
            narrator.step(f"{size.served} sessions at once in each mode with HTTPS")
            served = await https.measure(directory / "https", narrator, sessions=size.served)
            figures += _told(narrator, served.figures())
        if "gateway" in parts:
            narrator.step(f"A gateway with 1 and with {size.led} sessions")
            led = await gateway.measure(directory / "gateway", narrator, sessions=size.led)
            figures += _told(narrator, led.figures())
        if "money" in parts:
            narrator.step(f"{size.orders} orders over limits, and {size.ledgers} ledgers exported")
            paid = await money.measure(
                directory / "money", narrator, orders=size.orders, ledgers=size.ledgers
            )
            figures += _told(narrator, paid.figures())
            if paid.queue is not None:
                shares.append(paid.queue.noise.others)
        if LARGE in parts:
            await _measure_large(narrator, directory / LARGE, size)
        if STARTS in parts:
            await _measure_starts(narrator, directory / STARTS, size)
    if parts <= ALONE:
        return 0
    narrator.step("All figures")
    report.print_table(narrator, figures)
    noise = _noise(shares)
    narrator.blank()
    narrator.say(f"On {machine.describe()}. {noise}")
    if parts == frozenset(PARTS) and size == Size():
        _write_page(figures, noise, size)
        narrator.say("Written down in docs/benchmarks.md.")
    return 0


async def _measure_large(narrator: Narrator, directory: Path, size: Size) -> None:
    """Measure the large crowd, and write its section of the page."""
    narrator.step(f"{size.large} live sessions")
    found = await crowd.measure(
        directory,
        narrator,
        sessions=size.large,
        few=size.few,
        expiring=size.expiring,
        storming=0,
        rest_seconds=size.rest_seconds,
        parts=LARGE_PARTS,
        goals=False,
    )
    figures = _told(narrator, found.figures())
    if size == Size():
        report.write_section(
            _page_path(),
            report.section(
                figures,
                sessions=size.large,
                day=datetime.now(UTC).date(),
                machine=machine.describe(),
                noise=_noise(found.noise_of_others()),
            ),
        )
        narrator.say("Written down in docs/benchmarks.md.")


async def _measure_starts(narrator: Narrator, directory: Path, size: Size) -> None:
    """Measure what a droplet starts from, and write its section of the page."""
    narrator.step("From order to Ready: stock image, baked image, pool")
    is_whole = size == Size()
    writings = tuple(starts.Writing) if is_whole else (starts.Writing.STORED,)
    found = await starts.measure(directory, narrator, times=size.few, writings=writings)
    _told(narrator, found.figures())
    if is_whole:
        text = report.starts_section(
            found,
            day=datetime.now(UTC).date(),
            machine=machine.describe(),
            noise=_noise([found.noise.others]),
        )
        report.write_section(_page_path(), text)
        narrator.say("Written down in docs/benchmarks.md.")


def _page_path() -> Path:
    return checkout() / "docs" / "benchmarks.md"


def _told(narrator: Narrator, figures: list[Figure]) -> list[Figure]:
    narrator.blank()
    report.print_table(narrator, figures)
    narrator.blank()
    report.print_remarks(narrator, figures)
    return figures


def _noise(shares: Sequence[float]) -> str:
    """How much the figures are to be trusted."""
    most = max(shares, default=0.0)
    quiet = 0.1
    if most < quiet:
        return "Nothing else ran on it."
    return (
        f"Other programs used up to {most:.0%} of a core meanwhile, so the times are upper bounds."
    )


def _write_page(figures: Sequence[Figure], noise: str, size: Size) -> None:
    text = report.page(
        figures,
        day=datetime.now(UTC).date(),
        machine=machine.describe(),
        noise=noise,
        facts={
            "lives": size.lives,
            "boot": lives.BOOT_SECONDS,
            "generation": lives.LONGEST_GENERATION_SECONDS,
            "install": lives.PACE.install + lives.PACE.start,
            "sessions": size.sessions,
            "expiring": size.expiring,
            "storming": size.storming,
            "few": size.few,
            "rest": size.rest_seconds,
        },
    )
    report.write_page(_page_path(), text)


if __name__ == "__main__":
    main()
