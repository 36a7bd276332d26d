"""docs/security.md names a test for each promise."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "security.md").read_text()


def promises() -> dict[str, str]:
    section = PAGE.partition("\n## Promises\n")[2].partition("\n## ")[0]
    parts = re.split(r"\n### (.+)\n", section)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_each_promise_has_a_test():
    assert len(promises()) > 8
    for promise, text in promises().items():
        assert "::test_" in text, promise


def test_whoever_reports_finds_where_to():
    assert "docs/security.md" in (REPOSITORY / "SECURITY.md").read_text()
