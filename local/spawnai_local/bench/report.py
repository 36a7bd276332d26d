"""The figures as a table for a terminal, and as the page docs/benchmarks.md."""

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from spawnai_local.bench.figures import Figure, shown
from spawnai_local.bench.starts import BOOT_SECONDS, Start, Starts, Writing, cost_rows
from spawnai_local.narration import Narrator, wrap

_TITLE_WIDTH = 52

_PAGE = """\
# Benchmarks

What the product costs in time, calls, writes, memory and processor time, held against the goals
it was built for. This page is written by

```
make bench
```

which brings the local stack up several times, takes 45 minutes at most, and leaves nothing
running. `.venv/bin/python -m spawnai_local.bench --only lives` (or `rest`, `restart`, `expiry`,
`pressure`, `console`, `apps`, `https`, `money`) measures a part, `--quick` fewer sessions for a
shorter time; neither writes this page.
The last sections are written by `--only starts` and `--only crowd10k`, and stay until these are run
again. To see where
time goes, let SPAWNAI_BENCH_OPERATOR be the command that runs the operator under a profiler.

Measured on {day} on {machine}. {noise}

| figure | n | median | p99 | goal | met |
|---|---|---|---|---|---|
{rows}

p99 is the sample that 99 of 100 do not exceed; of fewer than 100 samples it is the largest. The
goal is held against p99, except where it says "most": then against the largest sample.

## Beside the figures
{remarks}

## What is measured, and how
Everything is real but the cloud: a Kubernetes API server with etcd, the operator as its own
process with exactly the rights that `manifests/` give it, HTTP between all parts. The droplets are
**empty shells**: each has an address, and an agent that answers over HTTPS with the certificate
and the token of its user_data, but no process is behind it and no app is installed or run. So a
thousand of them fit one machine, and each delay is known exactly.

- **Time to Ready.** {lives} sessions (webapp, api and script in turn) are created at once. A
  droplet is `active` {boot:g} s after its order, Claude's longest answer takes {generation:g} s,
  installation and start take {install:g} s. The ideal for each session is max(boot, its
  generation) + installation + start. Measured from the moment the manifest is sent to the moment a
  watch of the API server shows phase Running.
- **Expiry.** {sessions} sessions are live; {expiring} of them get an annotation
  `spawn-ai.com/expires-at` some time before, so that they end within one minute. The time counts
  from `status.expirationTime` to the arrival of the session's first call that changes something
  at the emulator, and to the emulator's 204 for the droplet. One clock: all runs on one machine.
  DigitalOcean's limit of 250 calls a minute is in force.
- **Sessions that end in one minute.** {storming} of the live sessions, two deletions each. The
  ideal sends none before its expiry and no more than 250 calls in any minute, counting what was
  sent just before. {storming} and not more, so that it takes minutes; `--only pressure --storm
  1000` takes a quarter of an hour, and the tests do that in simulated time with the same limiter
  (`tests/simulation/test_pressure.py`).
- **Calls.** The emulator knows which session a call names; what names none is shared.
- **Writes.** The API server's audit log: every create, update, patch and delete that the
  operator's service account asked for, also a refused one. Apart are Events, Lease renewals, and
  progress: status patches that move `progress` and take no step (phase, URL, times, reasons and
  the conditions that sum up stay; what became known meanwhile rides along). Finalizer, ledger,
  Secret and all other status writes count.
- **Limits and budgets.** The time added to an order is that of the decision, in the operator's own
  code. The reservation costs no write: it stands in the SpawnRecord's intent, which is written in
  any case. One write comes right after Ready, so the goal of no write more is missed by one: what
  was reserved for repairs that were not needed comes back, about $0.75 of the $0.88 of a light
  session. There is no other write that it could be a part of. Until Ready the app may be repaired,
  the last write of the ledger at the start comes before that, and the next one at the end. The
  status is written with Ready, but its owner may edit it. Kept in memory alone, it would be lost
  with the process: the next leader would find the money reserved that another session has got
  since, and let the first one use it for a new prompt. Without the write $5 bear five light
  sessions that use ten cents each
  ([decision 21](decisions/0021-the-ledger-is-the-reservation.md)). A session that no budget pays
  for has no write more.
- **Live sessions.** DigitalOcean's limit makes a thousand creations take over a quarter of an
  hour. So the operator brings {few} sessions to Running and is stopped; these are copied, with all
  that identifies them replaced: SpawnSession with finalizer and status, SpawnRecord with ledger,
  droplet with the very user_data the operator would send, DNS record, app in the agent (not the
  Secret with the bundle, which a Running session does not need any more). The operator finds them
  at its start, as after a restart.
- **Restart.** Killed with SIGKILL, started at once; the time counts from the new process's start
  to the moment its metric `spawnai_sessions{{phase="Running"}}` shows all of them. As
  kubelet starts a container again, in the same pod: it takes over its predecessor's lease at once.
  A new pod, where a node was lost, waits up to 15 s more until that lease has run out.
- **At rest.** {rest:.0f} s, begun once the start has calmed down. CPU is the operator's utime and
  stime in /proc, memory its VmRSS at the end.
"""


SECTION = "## Ten times as many"
STARTS_SECTION = "## What a droplet starts from"
"""The headings of the sections that are measured by themselves."""

_STARTS = (
    STARTS_SECTION
    + """

From the order to Ready, by what a droplet starts from and what Claude has to write; measured by

```
.venv/bin/python -m spawnai_local.bench --only starts
```

on {day} on {machine}. {noise} Droplets really boot, with Caddy and an agent, on the local cloud
with delays as in earnest: {boot} s from the order of a droplet to `active` (stock and baked), and
Claude's time by what it writes. One session at a time, a webapp: what the packages of a server take
comes on top.

| | {writings} |
|---|{rules}|
{times}

With the local cloud's own delays, a pool and a stored app: {local}. {spares}.

What that costs beside the sessions' own droplets, on the light tier. A spare costs what a droplet
costs ($0.00893 an hour), the image $0.18 a month. So many spares that at most one order in twenty
finds none:

| orders an hour | baked image, $ an hour | $ an order | spares | pool, $ an hour | $ an order |
|---|---|---|---|---|---|
{costs}
"""
)

_SECTION = (
    SECTION
    + """

{sessions} live sessions on one operator, droplets as empty shells; measured by

```
.venv/bin/python -m spawnai_local.bench --only crowd10k
```

on {day} on {machine}. {noise}

| figure | n | median | p99 |
|---|---|---|---|
{rows}

{remarks}
"""
)


def write_page(path: Path, text: str) -> None:
    """Write the page anew, and keep the sections that are measured by themselves."""
    old = path.read_text() if path.exists() else ""
    kept = [found for heading in (STARTS_SECTION, SECTION) if (found := _section_of(old, heading))]
    path.write_text("\n".join([text.rstrip() + "\n", *kept]) if kept else text)


def write_section(path: Path, text: str) -> None:
    """Write one of these sections anew, and keep the rest of the page."""
    page = path.read_text()
    old = _section_of(page, text.partition("\n")[0])
    if old:
        path.write_text(page.replace(old, text))
    else:
        path.write_text(f"{page.rstrip()}\n\n{text}")


def _section_of(page: str, heading: str) -> str:
    """A section with its heading, up to the next one; empty where there is none."""
    found = re.search(rf"^{re.escape(heading)}\n.*?(?=^\n## |\Z)", page, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def starts_section(found: Starts, *, day: date, machine: str, noise: str) -> str:
    """The text of the section about what a droplet starts from."""
    writings = [one for one in Writing if any(key[1] is one for key in found.real)]
    times = [
        f"| {start} | "
        + " | ".join(shown(found.real[start, writing], "s") for writing in writings)
        + " |"
        for start in Start
    ]
    costs = [
        f"| {row.orders} | {row.image_hour:.5f} | {row.image_order:.6f} | {row.spares} | "
        f"{row.pool_hour:.5f} | {row.pool_order:.5f} |"
        for row in cost_rows()
    ]
    hit, *_ = found.figures()
    return _STARTS.format(
        day=day.isoformat(),
        machine=machine,
        noise=noise,
        boot=" and ".join(f"{BOOT_SECONDS[one]:g}" for one in (Start.STOCK, Start.BAKED)),
        writings=" | ".join(writings),
        rules="|".join("---" for _ in writings),
        times="\n".join(times),
        local=f"{shown(hit.median, 's')} at the median of {hit.n}",
        spares=hit.remark,
        costs="\n".join(costs),
    )


def section(
    figures: Sequence[Figure], *, sessions: int, day: date, machine: str, noise: str
) -> str:
    """The text of the section about a large crowd."""
    rows = [
        f"| {figure.title} | {figure.n} | {shown(figure.median, figure.unit)} | "
        f"{shown(figure.p99, figure.unit) if figure.n > 1 else ''} |"
        for figure in figures
    ]
    remarks = [f"- {figure.title}: {figure.remark}." for figure in figures if figure.remark]
    return _SECTION.format(
        sessions=sessions,
        day=day.isoformat(),
        machine=machine,
        noise=noise,
        rows="\n".join(rows),
        remarks="\n".join(remarks),
    )


def print_table(narrator: Narrator, figures: Sequence[Figure]) -> None:
    """Print figures, each with its remark below."""
    width = min(_TITLE_WIDTH, max(len(figure.title) for figure in figures))
    narrator.lines([f"{'':{width}}  {'n':>4} {'median':>9} {'p99':>9}    goal"])
    for figure in figures:
        mark = {True: "✓", False: "✗", None: " "}[figure.is_met]
        numbers = f"{_number(figure.median, figure):>9} {_number(figure.p99, figure):>9}"
        *above, last = wrap(figure.title, width)
        narrator.lines([*above, f"{last:{width}}  {figure.n:>4} {numbers}  {mark} {_goal(figure)}"])


def print_remarks(narrator: Narrator, figures: Sequence[Figure]) -> None:
    """Print what stands beside the figures."""
    for figure in figures:
        if figure.remark:
            narrator.say(f"{figure.title}: {figure.remark}")


def page(
    figures: Sequence[Figure],
    *,
    day: date,
    machine: str,
    noise: str,
    facts: dict[str, float],
) -> str:
    """The text of docs/benchmarks.md."""
    rows = [
        f"| {figure.title} | {figure.n} | {shown(figure.median, figure.unit)} | "
        f"{shown(figure.p99, figure.unit) if figure.n > 1 else ''} | {figure.goal_words} | "
        f"{ {True: 'yes', False: '**no**', None: ''}[figure.is_met] } |"
        for figure in figures
    ]
    remarks = [f"- {figure.title}: {figure.remark}." for figure in figures if figure.remark]
    return _PAGE.format(
        day=day.isoformat(),
        machine=machine,
        noise=noise,
        rows="\n".join(rows),
        remarks="\n".join(remarks),
        **facts,
    )


def _goal(figure: Figure) -> str:
    return "" if figure.goal is None else f"≤ {shown(figure.goal, '')}"


def _number(value: float, figure: Figure) -> str:
    unit = figure.unit if len(figure.unit) < 3 else figure.unit[0]  # noqa: PLR2004
    return shown(value, unit)
