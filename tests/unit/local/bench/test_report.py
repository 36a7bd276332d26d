"""The page is written in parts, each of which keeps the others."""

from datetime import date

from spawnai_local.bench import report
from spawnai_local.bench.figures import Figure
from spawnai_local.bench.machine import Noise
from spawnai_local.bench.starts import Start, Starts, Writing


def test_each_part_of_the_page_keeps_the_other(tmp_path):
    page = tmp_path / "benchmarks.md"
    report.write_page(page, "# Benchmarks\n\nfirst\n")
    section = report.section(
        [Figure("memory", "MB", (300.0,), remark="resident")],
        sessions=10_000,
        day=date(2026, 11, 23),
        machine="2 cores",
        noise="Nothing else ran on it.",
    )
    report.write_section(page, section)
    assert page.read_text().startswith("# Benchmarks\n\nfirst\n\n## Ten times as many\n")
    assert "| memory | 1 | 300 MB |  |\n" in page.read_text()
    report.write_page(page, "# Benchmarks\n\nsecond\n")
    assert "second" in page.read_text()
    assert "first" not in page.read_text()
    assert page.read_text().endswith(section)
    report.write_section(page, section.replace("300 MB", "200 MB"))
    assert page.read_text().count("## Ten times as many") == 1
    assert "300 MB" not in page.read_text()


STARTED = Starts(
    local=(2.5, 2.0, 2.9),
    real={(start, Writing.STORED): 10.0 * number for number, start in enumerate(Start, 1)},
    hits=4,
    pool_orders=4,
    noise=Noise(),
)


def starts_section():
    return report.starts_section(
        STARTED, day=date(2026, 11, 30), machine="2 cores", noise="Nothing else ran on it."
    )


def test_what_a_droplet_starts_from_is_a_table_of_times_and_one_of_costs():
    text = starts_section()
    assert "| | nothing: the app is stored |\n|---|---|\n| stock image | 10 s |\n" in text
    assert "| pool | 30 s |" in text
    assert "2.50 s at the median of 3. 4 of 4 orders" in text
    # One spare of $0.00893 an hour for one order; three for sixty.
    assert "| 1 | 0.00025 | 0.000247 | 1 | 0.00893 | 0.00893 |" in text
    assert "| 60 | 0.00025 | 0.000004 | 3 | 0.02679 | 0.00045 |" in text


def test_sections_that_are_measured_by_themselves_keep_each_other(tmp_path):
    page = tmp_path / "benchmarks.md"
    report.write_page(page, "# Benchmarks\n\nfirst\n")
    large = report.SECTION + "\n\nof before\n"
    for text in (starts_section(), large, starts_section(), large.replace("before", "now")):
        report.write_section(page, text)
    report.write_page(page, "# Benchmarks\n\nsecond\n\n## Beside\n")
    headings = [line for line in page.read_text().splitlines() if line.startswith("## ")]
    assert headings == ["## Beside", report.STARTS_SECTION, report.SECTION]
    assert page.read_text().endswith("\n\nof now\n")
    assert starts_section() in page.read_text()


def test_a_stored_app_on_a_spare_has_the_two_goals_and_nothing_else_has_one():
    goals = {figure.title: figure.goal for figure in STARTED.figures() if figure.goal}
    assert list(goals.values()) == [3.0, 10.0]
    assert all("pool" in title for title in goals)
