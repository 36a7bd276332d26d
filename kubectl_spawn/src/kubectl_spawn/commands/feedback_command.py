"""`kubectl spawn feedback`: say whether an app works as expected."""

import click

from kubectl_spawn.cli import call_of, common_options
from kubectl_spawn.cluster import SESSIONS
from kubectl_spawn.commands.find import find_app

FEEDBACK = "spawn-ai.com/feedback"


@click.command("feedback")
@click.argument("app")
@click.argument("answer", type=click.Choice(["yes", "no"]))
@common_options
@click.pass_context
def command(
    ctx: click.Context, app: str, answer: str, namespace: str | None, output: str | None
) -> None:
    """Say whether an app works as expected. The platform team sees the share of each answer."""
    call = call_of(ctx, output, namespace)
    find_app(call.cluster, app)
    changed = call.cluster.patch(SESSIONS, app, {"metadata": {"annotations": {FEEDBACK: answer}}})
    if call.terminal.as_json:
        call.terminal.document(changed)
    else:
        call.terminal.done(
            f"noted: {app} {'works' if answer == 'yes' else 'does not work'} as expected"
        )
