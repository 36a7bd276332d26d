"""`kubectl spawn logs`: what an app writes."""

import time

import click

from kubectl_spawn.cli import call_of, common_options
from kubectl_spawn.commands.find import find_app
from kubectl_spawn.console import find_console
from kubectl_spawn.errors import CommandError
from kubectl_spawn.terminal import Terminal, harmless

_AGAIN_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


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
    seen = 0
    while True:
        try:
            for number, line in enumerate(console.lines(f"{path}?follow={str(follow).lower()}"), 1):
                if number > seen:
                    seen = number
                    pause = _AGAIN_SECONDS
                    _print(call.terminal, line)
        except ConnectionError as error:
            if not follow:
                raise CommandError(f"the log of {app} broke off", cause=str(error)) from None
            call.terminal.say(f"~ connection lost, again in {pause:g}s")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        else:
            return


def _print(terminal: Terminal, line: str) -> None:
    if terminal.as_json:
        terminal.event({"line": line})
    else:
        terminal.data(harmless(line))
