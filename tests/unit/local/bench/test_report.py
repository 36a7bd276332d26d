"""The page is written in two parts, each of which keeps the other."""

from datetime import date

from spawnai_local.bench import report
from spawnai_local.bench.figures import Figure


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
