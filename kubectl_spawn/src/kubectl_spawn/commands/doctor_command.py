"""`kubectl spawn doctor`: what is missing, with the line that mends it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import click

from kubectl_spawn.cli import Call, call_of, common_options
from kubectl_spawn.cluster import CLASSES, INSTALL, SESSIONS, Object
from kubectl_spawn.console import find_console
from kubectl_spawn.durations import parse_time
from kubectl_spawn.errors import CommandError, ExitCode

OPERATOR_NAMESPACE = "spawnai-system"
_LEASE = "leases.coordination.k8s.io"
_EDITOR_ROLE = "spawnai-session-editor"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor."""

    state: str  # "ok", "wrong" or "note"
    says: str
    mend: str = ""


@click.command("doctor")
@common_options
@click.pass_context
def command(ctx: click.Context, namespace: str | None, output: str | None) -> int:
    """Look for what is missing in this cluster or for you. The exit code is 1 when something is."""
    call = call_of(ctx, output, namespace)
    findings = list(examine(call))
    if call.terminal.as_json:
        call.terminal.document(
            {
                "items": [
                    {"state": one.state, "message": one.says, "next": one.mend} for one in findings
                ]
            }
        )
    else:
        t = call.terminal
        for one in findings:
            if one.state == "ok":
                t.done(one.says)
            elif one.state == "note":
                t.note(one.says)
            else:
                t.say(f"{t.red(t.symbols.failed)} {one.says}")
            if one.mend:
                t.next(one.mend)
    wrong = any(one.state == "wrong" for one in findings)
    return ExitCode.UNEXPECTED if wrong else ExitCode.OK


def examine(call: Call) -> Iterator[Finding]:
    """What the doctor finds, in the order in which it can be mended."""
    cluster = call.cluster
    try:
        version = cluster.run("version", "--output=json")
    except CommandError as error:
        yield Finding("wrong", f"{error.what}: {error.cause}", "kubectl cluster-info")
        return
    del version
    yield Finding(
        "ok", f"cluster reached, context {cluster.context}, namespace {cluster.namespace}"
    )
    try:
        served = "spawnsessions" in cluster.run(
            "api-resources", "--api-group=spawn-ai.com", "--output=name"
        )
    except CommandError as error:
        yield Finding("wrong", f"{error.what}: {error.cause}")
        return
    if not served:
        yield Finding(
            "wrong",
            f"SpawnAI is not installed in context {cluster.context}",
            INSTALL,
        )
        return
    yield Finding("ok", "SpawnAI's kinds are installed")
    yield _operator(call)
    yield from _rights(call)
    yield from _classes(call)
    yield _console(call)


def _operator(call: Call) -> Finding:
    """Whether an operator leads: by its Lease, where the caller may read it."""
    try:
        leases: list[Object] = call.cluster.in_namespace(OPERATOR_NAMESPACE).items(_LEASE)
    except CommandError:
        return Finding("note", "you may not read the operator's Lease: nothing is known about it")
    now = datetime.now(UTC)
    for lease in leases:
        spec = lease.get("spec") or {}
        renewed = parse_time(spec.get("renewTime"))
        length = timedelta(seconds=int(spec.get("leaseDurationSeconds") or 15))
        if spec.get("holderIdentity") and renewed is not None and now - renewed < 2 * length:
            return Finding("ok", f"the operator leads ({spec['holderIdentity']})")
    return Finding(
        "wrong",
        "no operator is at work: orders are kept and start when it is back",
        f"kubectl -n {OPERATOR_NAMESPACE} get pods",
    )


def _rights(call: Call) -> Iterator[Finding]:
    cluster = call.cluster
    for verb, says in (
        ("create", "order apps"),
        ("get", "see apps"),
        ("patch", "extend and end apps"),
    ):
        if cluster.may(verb, SESSIONS):
            continue
        yield Finding(
            "wrong",
            f"you may not {verb} spawnsessions in {cluster.namespace}, so you cannot {says}; "
            "an admin mends it:",
            f"kubectl -n {cluster.namespace} create rolebinding spawnai-YOU "
            f"--clusterrole={_EDITOR_ROLE} --user=YOU",
        )
        return
    yield Finding("ok", f"you may order, extend and end apps in {cluster.namespace}")


def _classes(call: Call) -> Iterator[Finding]:
    try:
        classes = call.cluster.items(CLASSES)
    except CommandError:
        yield Finding("note", "you may not list classes: the default class is used")
        return
    if not classes:
        yield Finding(
            "wrong", "there is no SpawnClass", "kubectl apply -f manifests/settings/spawnclass.yaml"
        )
        return
    for one in classes:
        name = one["metadata"]["name"]
        conditions: list[Object] = (one.get("status") or {}).get("conditions") or []
        ready = next((c for c in conditions if c.get("type") == "Ready"), {})
        if ready.get("status") == "True":
            yield Finding("ok", f"class {name} is ready")
        else:
            why = ready.get("message", "the operator has not looked at it yet")
            mend = f"kubectl describe spawnclass {name}"
            yield Finding("wrong", f"class {name} is not ready: {why}", mend)


def _console(call: Call) -> Finding:
    try:
        console = find_console(call.cluster)
    except CommandError as error:
        return Finding("note", error.what, error.next_steps[0] if error.next_steps else "")
    return Finding("ok", f"console at {console.url}")
