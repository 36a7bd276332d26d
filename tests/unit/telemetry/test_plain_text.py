"""Foreign text is shown, never acted on; and it takes no longer than its length is worth."""

import pytest

from spawnai.telemetry.plain_text import plain_text
from spawnai.telemetry.redaction import Redactor


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab\r\n", "two\nlines\tand a tab\r\n"),
        ("\x1b[31;1mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hcleared", "cleared"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\\\link\x1b]8;;\x1b\\\\", "link"),
        ("\x1bPdevice control\x1b\\\\after", "after"),
        ("\x9b31mred in C1", "red in C1"),
        ("\x9d0;title\x9cafter", "after"),
        ("cut off \x1b[31", "cut off "),
        ("cut off \x1b", "cut off "),
        ("a\x00b\x08c\x7fd", "abcd"),
        ("user\u202etxt.exe\u202c", "usertxt.exe"),
        ("\u2066a\u2069\u200fb\u061c", "ab"),
        ("line\u2028break\u2029and\x85another", "line\nbreak\nand\nanother"),
        ("half \ud800 a pair", "half  a pair"),
        ("naïve 白板 لوحة 🪴 e\u0301", "naïve 白板 لوحة 🪴 e\u0301"),
        ("👩\u200d🔬", "👩\u200d🔬"),
    ],
)
def test_what_would_be_acted_on_is_gone_and_the_rest_stays(text, shown):
    assert plain_text(text.replace("\\\\", "\\")) == shown


def test_no_escape_sequence_in_the_middle_of_a_secret_hides_it():
    redactor = Redactor()
    redactor.register("a-very-secret-token")
    assert "secret" not in redactor.redact("a-very-\x1b[0msec\x00ret-token")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "part",
    [
        "ey" + "Jaaaaaaaaa-",
        "ey" + "Jaaaaaaaaa.",
        "-----BEGIN A",
        "-----BEGIN A-----",
        "-----BEGIN A-----\n-----END A",
        "bearer ",
        "bearer" + " " * 50,
        "x-api-key: ",
        "://a:",
        "://a:b",
        "a:",
        "sk-" + "ant-",
        "\x1b",
        "\x1b[",
        "\x1b]",
        "\x1b[0;",
        "\x9d",
    ],
)
def test_two_megabytes_made_to_be_slow_are_read_in_linear_time(part):
    """In quadratic time each would take many minutes."""
    Redactor().redact(part * (2_000_000 // len(part)))
