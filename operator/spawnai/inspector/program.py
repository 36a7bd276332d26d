"""Which browser this machine has."""

import shutil

PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
"""What it is called on Debian, on Ubuntu, and where Google packs it."""


def find_chromium(named: str | None = None) -> str | None:
    """The browser's program: the one that is named, or the system's; None: there is none."""
    if named is not None:
        return shutil.which(named)
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)
