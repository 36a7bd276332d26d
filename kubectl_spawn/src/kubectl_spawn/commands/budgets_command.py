"""`kubectl spawn budgets`: how much may be spent, and what is left."""

import click

from kubectl_spawn.cli import call_of, common_options
from kubectl_spawn.cluster import BUDGETS, Object
from kubectl_spawn.terminal import table


@click.command("budgets")
@common_options
@click.pass_context
def command(ctx: click.Context, namespace: str | None, output: str | None) -> None:
    """List the budgets: limit, spent, reserved and left in this period."""
    call = call_of(ctx, output, namespace)
    found = call.cluster.items(BUDGETS)
    if call.terminal.as_json:
        call.terminal.document({"items": found})
        return
    if not found:
        call.terminal.say("There is no budget: nothing limits what is spent.")
        return
    rows = [_row(one) for one in sorted(found, key=lambda one: str(one["metadata"]["name"]))]
    for line in table([["NAME", "LIMIT", "PERIOD", "SPENT", "RESERVED", "LEFT", "RESETS"], *rows]):
        call.terminal.data(line)


def _row(one: Object) -> list[str]:
    spec, status = one.get("spec") or {}, one.get("status") or {}
    return [
        str(one["metadata"]["name"]),
        f"${spec.get('limit', '-')}",
        str(spec.get("period", "-")),
        *(
            f"${status[key]}" if status.get(key) is not None else "-"
            for key in ("spent", "reserved", "left")
        ),
        str(status.get("resetsAt", "-")),
    ]
