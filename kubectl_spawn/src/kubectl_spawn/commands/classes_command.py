"""`kubectl spawn classes`: what the platform offers."""

import click

from kubectl_spawn.cli import call_of, common_options
from kubectl_spawn.cluster import CLASSES, Object
from kubectl_spawn.terminal import table

_DEFAULT = "spawn-ai.com/is-default-class"


@click.command("classes")
@common_options
@click.pass_context
def command(ctx: click.Context, namespace: str | None, output: str | None) -> None:
    """List the classes: regions, longest life and whether they can be used now."""
    call = call_of(ctx, output, namespace)
    found = call.cluster.items(CLASSES)
    if call.terminal.as_json:
        call.terminal.document({"items": found})
        return
    if not found:
        call.terminal.say("There is no class yet. The platform team makes one.")
        call.terminal.next("kubectl explain spawnclass.spec")
        return
    rows = [_row(one) for one in sorted(found, key=lambda one: str(one["metadata"]["name"]))]
    for line in table([["NAME", "READY", "REGIONS", "EXPOSURE", "LONGEST", "MESSAGE"], *rows]):
        call.terminal.data(line)


def _row(one: Object) -> list[str]:
    metadata, spec = one["metadata"], one.get("spec") or {}
    conditions: list[Object] = (one.get("status") or {}).get("conditions") or []
    ready = next((c for c in conditions if c.get("type") == "Ready"), {})
    default = (metadata.get("annotations") or {}).get(_DEFAULT) == "true"
    return [
        metadata["name"] + (" (default)" if default else ""),
        str(ready.get("status") or "Unknown"),
        ",".join(spec.get("regions") or []) or "-",
        str((spec.get("exposure") or {}).get("mode") or "-"),
        str((spec.get("lifetime") or {}).get("max") or "-"),
        "" if ready.get("status") == "True" else str(ready.get("message") or ""),
    ]
