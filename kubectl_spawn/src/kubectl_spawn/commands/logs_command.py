"""`kubectl spawn logs`: what an app writes."""

import time
from collections import deque
from collections.abc import Iterable, Iterator

import click

from kubectl_spawn.app import App
from kubectl_spawn.cli import call_of, common_options
from kubectl_spawn.cluster import SESSIONS, Cluster
from kubectl_spawn.commands.find import find_app
from kubectl_spawn.console import ConsoleAwayError, find_console
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
    while True:
        try:
            for line in not_told(console.lines(f"{path}?follow={str(follow).lower()}"), told):
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
        call.terminal.say(f"~ connection lost, again in {pause:g}s")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _is_over(cluster: Cluster, name: str) -> bool:
    """Whether the app writes nothing any more."""
    found = cluster.find(SESSIONS, name)
    return found is None or App(found).status.get("phase") in {"Destroying", "Destroyed"}


def not_told(lines: Iterable[str], told: Iterable[str]) -> Iterator[str]:
    """The lines of a log that come after `told`, where it begins somewhere in that.

    After a cut the console tells its last lines once more. What may still be among them is held
    back until that is clear.
    """
    window = list(told)
    begins = list(range(len(window)))
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
            yield from held[known:]
            window, begins, held, known = [], [], [], 0


def _print(terminal: Terminal, line: str) -> None:
    if terminal.as_json:
        terminal.event({"line": line})
    else:
        terminal.data(harmless(line))
