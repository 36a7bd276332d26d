"""`kubectl spawn logs`: what an app writes."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Protocol

import click

from kubectl_spawn.app import App
from kubectl_spawn.cli import call_of, common_options
from kubectl_spawn.cluster import SESSIONS, Cluster
from kubectl_spawn.commands.find import find_app
from kubectl_spawn.console import ConsoleAwayError, find_console
from kubectl_spawn.durations import format_duration
from kubectl_spawn.errors import CommandError
from kubectl_spawn.terminal import Terminal, harmless

_AGAIN_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_TOLD_LINES = 1_000  # as many as the console may tell once more


@click.command("logs")
@click.argument("app")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@common_options
@click.pass_context
def command(
    ctx: click.Context, app: str, *, follow: bool, namespace: str | None, output: str | None
) -> None:
    """Print what an app writes. Lines go to stdout, everything else to stderr."""
    call = call_of(ctx, output, namespace)
    found = find_app(call.cluster, app)
    console = find_console(call.cluster)
    path = f"/api/sessions/{found.namespace}.{found.name}/logs"
    pause = _AGAIN_SECONDS
    told: deque[str] = deque(maxlen=_TOLD_LINES)
    answered = False
    cut: float | None = None

    def resumed(*, joined: bool) -> None:
        nonlocal cut
        if cut is None:
            return
        took = format_duration(timedelta(seconds=time.monotonic() - cut))
        missed = "nothing missed" if joined else "lines between may be missing"
        call.terminal.say(f"~ resumed after {took}, {missed}")
        cut = None

    while True:
        try:
            lines = console.lines(f"{path}?follow={str(follow).lower()}")
            for line in not_told(lines, told, resumed):
                told.append(line)
                pause = _AGAIN_SECONDS
                _print(call.terminal, line)
            # A console whose operator goes away ends the stream, too.
            if not follow or _is_over(call.cluster, app):
                return
        except ConnectionError as error:
            if not follow:
                raise CommandError(f"the log of {app} broke off", cause=str(error)) from None
        except ConsoleAwayError:
            if not answered:
                raise
        answered = True
        if cut is None:
            cut = time.monotonic()
            call.terminal.say("~ connection lost, trying again")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _is_over(cluster: Cluster, name: str) -> bool:
    """Whether the app writes nothing any more."""
    found = cluster.find(SESSIONS, name)
    return found is None or App(found).status.get("phase") in {"Destroying", "Destroyed"}


class Resumed(Protocol):
    """Hears that a log goes on."""

    def __call__(self, *, joined: bool) -> None:
        """`joined`: its first lines follow the last that were told, so that none is missing."""


def not_told(lines: Iterable[str], told: Iterable[str], resumed: Resumed) -> Iterator[str]:
    """The lines of a log that come after `told`, where it begins somewhere in that.

    After a cut the console tells its last lines once more. What may still be among them is held
    back until that is clear; then `resumed` hears of it, once.
    """
    window = list(told)
    begins = list(range(len(window)))
    nothing_told = not window
    is_clear = False
    held: list[str] = []
    known = 0
    for line in lines:
        held.append(line)
        count = len(held)
        begins = [one for one in begins if one + count <= len(window)]
        begins = [one for one in begins if window[one + count - 1] == line]
        if any(one + count == len(window) for one in begins):
            known = count
        if not any(one + count < len(window) for one in begins):
            if not is_clear:
                is_clear = True
                resumed(joined=nothing_told or known > 0)
            yield from held[known:]
            window, begins, held, known = [], [], [], 0


def _print(terminal: Terminal, line: str) -> None:
    if terminal.as_json:
        terminal.event({"line": line})
    else:
        terminal.data(harmless(line))
