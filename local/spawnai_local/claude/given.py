"""Given answers: what a prompt asks for by `bundle:NAME` is read from a folder.

FOLDER/NAME/answer.json is the text of the answer, exactly as Claude would send it. Several markers
in one prompt are the answers of the first call, the second and so on; the last one stays.
"""

import re
from pathlib import Path

_MARKER = re.compile(r"\bbundle:([A-Za-z0-9][A-Za-z0-9_-]{0,80})")


def given_answer(folder: Path | None, prompt: str, round_number: int) -> str | None:
    """The text that the prompt asks for; None when it asks for none, or for one that is not there.

    `round_number` counts the session's calls, from 1 on.
    """
    names = _MARKER.findall(prompt)
    if folder is None or not names:
        return None
    file = folder / names[min(round_number, len(names)) - 1] / "answer.json"
    return file.read_text("utf-8") if file.is_file() else None
