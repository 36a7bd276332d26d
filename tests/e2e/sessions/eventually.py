"""Waiting without hoping: look until it is so, and say what was seen last when it never is."""

import asyncio
import inspect
import json
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from spawnai_local.browser import FetchError
from spawnai_local.kubectl import KubectlError

Seen = TypeVar("Seen")
LONGEST_SHOWN = 6000
PATIENCE = 4
"""How many times as long a wait may take as on a quiet machine. A limit ends a wait for what never
comes; how quick things are is measured by the benchmarks."""


async def eventually(
    description: str,
    look: Callable[[], Awaitable[Seen] | Seen],
    holds: Callable[[Seen], object] = bool,
    seconds: float = 30.0,
    *,
    pause: float = 0.1,
) -> Seen:
    """Look until `holds` says so of what was seen, and return that; fail when a quiet machine
    would have needed more than `seconds`.
    """
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = look()
            seen: Seen | str = await found if inspect.isawaitable(found) else found
            if holds(seen):
                return seen
        except (FetchError, KubectlError) as error:
            seen = str(error)
        if time.monotonic() > deadline:
            pytest.fail(f"{description}: not within {seconds:g} s; last seen: {shown(seen)}")
        await asyncio.sleep(pause)


async def stays(
    description: str,
    look: Callable[[], Awaitable[Seen] | Seen],
    holds: Callable[[Seen], object],
    seconds: float,
    *,
    pause: float = 0.5,
) -> Seen:
    """Look for `seconds`, and fail as soon as it is not so."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        seen = await found if inspect.isawaitable(found) else found
        if not holds(seen):
            pytest.fail(f"{description}: was seen as {shown(seen)}")
        if time.monotonic() > deadline:
            return seen
        await asyncio.sleep(pause)


def shown(seen: object) -> str:
    """What was seen, as text that fits into a report."""
    try:
        text = json.dumps(seen, indent=1, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        text = repr(seen)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]} …"
