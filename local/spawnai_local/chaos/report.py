"""What a campaign says to people: a line for what went wrong, a table, and a page."""

from collections import Counter
from collections.abc import Iterable, Sequence

from spawnai_local.chaos.campaign import Campaign
from spawnai_local.chaos.faults import Fault
from spawnai_local.chaos.judge import clock
from spawnai_local.chaos.lab import Verdict
from spawnai_local.chaos.plans import Boundary, Plan, Situation
from spawnai_local.paths import checkout

_BEGIN = "<!-- make chaos writes from here -->"
_END = "<!-- to here -->"
_STORY_CALLS = 150


def lines_of(verdict: Verdict) -> list[str]:
    """One plan's news: nothing when it went well."""
    name = verdict.plan.id if verdict.plan is not None else "the recorded run"
    if not verdict.struck:
        return [
            f"MISSED: {name}: the call did not come, so its fault could not strike",
            *(f"  VIOLATED: {one}" for one in verdict.violations),
            *(f"  {line}" for line in story(verdict)),
        ]
    if not verdict.violations:
        return []
    return [
        f"VIOLATED: {name} ({verdict.life.name}, session {verdict.life.uid})",
        *(f"  {one}" for one in verdict.violations),
        *(f"  {line}" for line in story(verdict)),
        f"  again: make chaos PLAN={name}" if verdict.plan is not None else "",
    ]


def story(verdict: Verdict) -> list[str]:
    """What the operator called, and what came of it."""
    told = [f"{clock(one.at)} {one}" for one in verdict.story]
    if len(told) > _STORY_CALLS:
        told = [*told[: _STORY_CALLS // 2], "…", *told[-_STORY_CALLS // 2 :]]
    return told


def boundary_table(boundaries: Sequence[Boundary]) -> list[str]:
    """How many calls there are in each situation, by whom they go to."""
    rows = []
    for situation in Situation:
        edges = Counter(one.call.edge for one in boundaries if one.situation is situation)
        words = ", ".join(f"{count} to {edge}" for edge, count in sorted(edges.items()))
        rows.append(f"{situation:<13} {sum(edges.values()):>3} calls: {words}")
    return rows


def _cells(verdicts: Iterable[Verdict]) -> dict[tuple[str, str], list[Verdict]]:
    cells: dict[tuple[str, str], list[Verdict]] = {}
    for one in verdicts:
        if one.plan is not None:
            cells.setdefault((one.plan.boundary.situation, one.plan.fault), []).append(one)
    return cells


def _plans(verdicts: Iterable[Verdict]) -> set[Plan]:
    return {one.plan for one in verdicts if one.plan is not None}


def missed(verdicts: Sequence[Verdict]) -> set[Plan]:
    """The plans whose call came in none of their lives."""
    return _plans(verdicts) - _plans(one for one in verdicts if one.struck)


def _cell(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return "–"
    bad = len(_plans(one for one in verdicts if one.violations))
    lost = len(missed(verdicts))
    marks = (f" {bad} violated" if bad else "") + (f" {lost} missed" if lost else "")
    return f"{len(_plans(verdicts))}{marks}"


def _rows(verdicts: Sequence[Verdict]) -> list[list[str]]:
    cells = _cells(verdicts)
    rows = [["fault", *Situation, "all"]]
    for fault in Fault:
        row = [cells.get((situation, fault), []) for situation in Situation]
        rows.append([fault, *map(_cell, row), _cell([one for cell in row for one in cell])])
    columns = [
        [one for (found, _), cell in cells.items() if found == situation for one in cell]
        for situation in Situation
    ]
    rows.append(["all", *map(_cell, columns), _cell([one for cell in columns for one in cell])])
    return rows


def table(verdicts: Sequence[Verdict]) -> list[str]:
    """Plans by fault and situation."""
    rows = _rows(verdicts)
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))]
    return [
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def summary(made: Campaign, left: Sequence[str]) -> list[str]:
    """The sentences below the table."""
    bad = len(_plans(one for one in made.verdicts if one.violations))
    lost = len(missed(made.verdicts))
    counted = f"{len(_plans(made.verdicts))} plans at {len(made.boundaries)} boundaries, "
    counted += f"{bad} violated, {lost} whose call did not come. "
    lines = [f"{counted}The operator was killed {made.kill_count} times."]
    if made.by_chance:
        words = ", ".join(f"`{one.id}`" for one in made.by_chance)
        lines.append(f"Left out, because only some of the recorded lives made it: {words}.")
    if made.repeated:
        again = ", ".join(f"`{plan.id}`" for plan in made.repeated)
        lines.append(
            f"The call of {len(made.repeated)} did not come the first time, so they were carried "
            f"out again, those with a kill alone: {again}."
        )
    overruns = sorted(made.overruns)
    if overruns:
        lines.append(
            f"{len(overruns)} deletions with nothing in their way were accepted "
            f"{overruns[len(overruns) // 2]:.2f} s after their expiry (median; "
            f"most {overruns[-1]:.2f} s)."
        )
    lines += [f"VIOLATED at the end: {one}" for one in left]
    return lines


def write_page(made: Campaign, left: Sequence[str], seconds: float) -> None:
    """Put the table into docs/reliability.md, between its marks."""
    path = checkout() / "docs" / "reliability.md"
    text = path.read_text()
    if _BEGIN not in text or _END not in text:
        return
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    header, *rows = _rows(made.verdicts)
    page = [
        "",
        "",
        "| " + " | ".join(header) + " |",
        "|---" * len(header) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        " ".join([*summary(made, left), f"It took {seconds / 60:.0f} minutes."]),
        "",
    ]
    path.write_text(before + _BEGIN + "\n".join(page) + _END + after)
