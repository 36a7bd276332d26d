"""docs/security.md names a test for each promise, and each of them exists."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "security.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def promises() -> dict[str, str]:
    section = PAGE.partition("\n## Promises\n")[2].partition("\n## ")[0]
    parts = re.split(r"\n### (.+)\n", section)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_each_named_test_exists(file, name):
    text = (REPOSITORY / file).read_text()
    assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE)


def test_each_promise_has_a_test():
    assert len(promises()) > 8
    for promise, text in promises().items():
        assert "::test_" in text, promise


def test_whoever_reports_finds_where_to():
    assert "docs/security.md" in (REPOSITORY / "SECURITY.md").read_text()
