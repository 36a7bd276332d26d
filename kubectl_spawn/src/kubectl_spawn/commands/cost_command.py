"""`kubectl spawn cost`: what your apps cost."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import click

from kubectl_spawn.app import App, decimal, dollars
from kubectl_spawn.cli import call_of, common_options
from kubectl_spawn.cluster import CLASSES, SESSIONS, Cluster, Object
from kubectl_spawn.durations import duration_option
from kubectl_spawn.errors import CommandError
from kubectl_spawn.history import NEVER, Receipt, Search, read_history
from kubectl_spawn.terminal import table

_LEAST = Decimal("0.000001")  # as the operator rounds


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
    """What your apps cost: so far for those that live, in all for those that ended.

    Also for those that were deleted, which the console knows.
    """
    call = call_of(ctx, output, namespace)
    now = datetime.now(UTC)
    oldest = NEVER if app else now - (duration_option("--since", since) or timedelta())
    apps = [App(one) for one in call.cluster.items(SESSIONS, all_namespaces=all_namespaces)]
    search = Search(text=app) if app else Search(since=oldest)
    history = read_history(call.cluster, search, all_namespaces=all_namespaces)
    everything: list[App | Receipt] = [*apps, *history.of_deleted(apps)]
    chosen = sorted(
        (one for one in everything if (one.created or NEVER) >= oldest and app in {None, one.name}),
        key=lambda one: one.created or NEVER,
        reverse=True,
    )
    receipts = {one.uid: history.receipts.get(one.uid) for one in chosen}
    overheads = _overheads(call.cluster, chosen, now)
    total = sum((one.cost_so_far(now) or Decimal(0) for one in chosen), Decimal(0))
    if call.terminal.as_json:
        items = [_document(one, receipts[one.uid], overheads.get(one.uid), now) for one in chosen]
        document = {"items": items, "total": str(total), "missing": history.missing}
        call.terminal.document(document)
        return
    rows = [
        [
            one.name, str(one.state),
            *(dollars(part) for part in _parts(one, receipts[one.uid], now)),
            dollars(one.cost_so_far(now)), dollars(one.cost_in_all),
            dollars(overheads.get(one.uid)), dollars(one.price),
        ]
        for one in chosen
    ]  # fmt: skip
    head = ["APP", "STATE", "SERVER", "CLAUDE", "COST", "ESTIMATE", "OVERHEAD", "PRICE"]
    for line in table([head, *rows]):
        call.terminal.data(line)
    call.terminal.say(
        f"{len(chosen)} {'app' if len(chosen) == 1 else 'apps'}, {dollars(total)} in all"
    )
    if history.missing:
        call.terminal.note(history.missing)


def _parts(
    one: App | Receipt, receipt: Receipt | None, now: datetime
) -> tuple[Decimal | None, Decimal | None]:
    """Dollars for server and Claude: of the receipt, or so far, as the status tells."""
    if receipt is not None:
        return receipt.server_cost, receipt.claude_cost
    spent, claude = one.cost_so_far(now), one.claude_cost
    return (None if spent is None else spent - (claude or Decimal(0))), claude


def _overheads(
    cluster: Cluster, apps: Iterable[App | Receipt], now: datetime
) -> dict[str, Decimal]:
    """By UID, the dollars that an app's class adds to its cost for all else, within its price.

    They are reckoned with the share that the class has now.
    """
    served = [(one, one.class_name) for one in apps if one.class_name]
    if not served:
        return {}
    try:
        classes = cluster.items(CLASSES)
    except CommandError:
        return {}  # who may not read the classes is told all the rest
    shares = {str(one["metadata"]["name"]): overhead_share(one) for one in classes}
    found = ((one.uid, shares.get(name), one.cost_so_far(now)) for one, name in served)
    return {
        uid: (share * cost).quantize(_LEAST)
        for uid, share, cost in found
        if share and cost is not None
    }


def overhead_share(spawn_class: Object) -> Decimal | None:
    """What a class adds to a cost, as a share of it; None where its prices do not follow costs."""
    pricing: Object = (spawn_class.get("spec") or {}).get("pricing") or {}
    terms = {"CostPlus": "costPlus", "Dynamic": "dynamic"}.get(str(pricing.get("model")))
    return None if terms is None else decimal((pricing.get(terms) or {}).get("overhead"))


def _document(
    one: App | Receipt, receipt: Receipt | None, overhead: Decimal | None, now: datetime
) -> dict[str, str | None]:
    server, claude = _parts(one, receipt, now)
    amounts = {
        "server": server,
        "claude": claude,
        "cost": one.cost_so_far(now),
        "estimated": one.cost_in_all,
        "overhead": overhead,
        "price": one.price,
    }
    return {
        "name": one.name,
        "namespace": one.namespace,
        "state": str(one.state),
        **{name: None if amount is None else str(amount) for name, amount in amounts.items()},
    }
