"""`kubectl spawn cost`: what your apps cost."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import click

from kubectl_spawn.app import App, dollars
from kubectl_spawn.cli import call_of, common_options
from kubectl_spawn.cluster import SESSIONS
from kubectl_spawn.commands.create_command import duration_option
from kubectl_spawn.terminal import table

_ALWAYS = datetime.min.replace(tzinfo=UTC)


@click.command("cost")
@click.argument("app", required=False)
@click.option(
    "--since", default="7d", help="Apps that were ordered within this time: 7d by default."
)
@click.option("-A", "--all-namespaces", is_flag=True, help="The apps of all namespaces.")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    app: str | None,
    since: str,
    *,
    all_namespaces: bool,
    namespace: str | None,
    output: str | None,
) -> None:
    """What your apps cost: so far for those that live, in all for those that ended."""
    call = call_of(ctx, output, namespace)
    now = datetime.now(UTC)
    oldest = now - (duration_option("--since", since) or timedelta())
    found = [App(one) for one in call.cluster.items(SESSIONS, all_namespaces=all_namespaces)]
    chosen = sorted(
        (one for one in found if (one.name == app if app else (one.created or _ALWAYS) >= oldest)),
        key=lambda one: one.created or _ALWAYS,
        reverse=True,
    )
    total = sum((one.cost_so_far(now) or Decimal(0) for one in chosen), Decimal(0))
    if call.terminal.as_json:
        items = [
            {
                "name": one.name, "namespace": one.namespace, "state": str(one.state),
                "cost": _text(one.cost_so_far(now)), "estimated": _text(one.cost_in_all),
            }
            for one in chosen
        ]  # fmt: skip
        call.terminal.document({"items": items, "total": str(total)})
        return
    rows = [
        [one.name, str(one.state), dollars(one.cost_so_far(now)), dollars(one.cost_in_all)]
        for one in chosen
    ]
    for line in table([["APP", "STATE", "COST", "ESTIMATE"], *rows]):
        call.terminal.data(line)
    call.terminal.say(
        f"{len(chosen)} {'app' if len(chosen) == 1 else 'apps'}, {dollars(total)} in all"
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)
