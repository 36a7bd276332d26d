"""Foreign text without what a terminal, a page or an editor would act on instead of showing it.

An app's log, a cloud's answer or a manifest may hold escape sequences that rewrite a terminal's
screen, NUL bytes that end a string too early, or marks that show text in another order than it is
written in (CVE-2021-42574, "Trojan Source").
"""

import re

# ECMA-48: control sequences, and strings such as a window's title; also those that are cut off.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)

_LINE_BREAKS = {0x85: "\n", 0x2028: "\n", 0x2029: "\n"}

_DROPPED = (
    *(code for code in range(0x20) if chr(code) not in "\t\n\r"),
    *range(0x7F, 0x85),
    *range(0x86, 0xA0),
    # Unicode's bidirectional controls (UAX #9).
    0x061C,
    0x200E,
    0x200F,
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    # Halves of a pair, which no UTF-8 can hold.
    *range(0xD800, 0xE000),
)

_TABLE: dict[int, str | None] = {**dict.fromkeys(_DROPPED), **_LINE_BREAKS}


def plain_text(text: str) -> str:
    """The text as it would be printed: in time that grows with its length alone."""
    if text.isascii() and text.isprintable():
        return text
    return _ESCAPES.sub("", text).translate(_TABLE)
