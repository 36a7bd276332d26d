"""`kubectl spawn open`: open an app in the browser."""

import webbrowser

import click

from kubectl_spawn.cli import call_of, common_options
from kubectl_spawn.commands.find import find_living_app
from kubectl_spawn.errors import CommandError, ExitCode


@click.command("open")
@click.argument("app")
@common_options
@click.pass_context
def command(ctx: click.Context, app: str, namespace: str | None, output: str | None) -> None:
    """Open an app in the browser. Without a browser, it prints the URL."""
    call = call_of(ctx, output, namespace)
    found = find_living_app(call.cluster, app)
    if not found.url.startswith(("https://", "http://")):
        raise CommandError(
            f"{app} has no URL yet",
            code=ExitCode.APP_FAILED,
            cause=found.message,
            next_steps=(f"kubectl spawn status --wait {app}",),
        )
    if call.terminal.as_json:
        call.terminal.document({"url": found.url})
    elif call.terminal.output_is_terminal and webbrowser.open(found.url):
        call.terminal.done(f"opened {found.url}")
    else:
        call.terminal.data(found.url)
