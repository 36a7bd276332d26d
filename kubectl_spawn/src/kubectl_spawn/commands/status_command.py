"""`kubectl spawn status`: one app, a healthy part on one line, an unhealthy one with its reason."""

from datetime import UTC, datetime, timedelta

import click

from kubectl_spawn.app import LIVING, UP, App, dollars
from kubectl_spawn.cli import call_of, common_options
from kubectl_spawn.commands.create_command import wait_for
from kubectl_spawn.commands.find import find_app
from kubectl_spawn.durations import duration_option, format_duration, local_clock, parse_time
from kubectl_spawn.errors import ExitCode
from kubectl_spawn.terminal import Terminal, harmless

_LINE_CELLS = 40
_LABEL = 8


@click.command("status")
@click.argument("app")
@click.option("--wait", is_flag=True, help="Wait until it runs, and print its URL.")
@click.option("--timeout", help="With --wait: how long at most.")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    app: str,
    *,
    wait: bool,
    timeout: str | None,
    namespace: str | None,
    output: str | None,
) -> int:
    """Show one app. The exit code is 0 when it runs, is built or ended in good order, else 3."""
    call = call_of(ctx, output, namespace)
    limit = duration_option("--timeout", timeout)
    found = find_app(call.cluster, app)
    if wait:
        return wait_for(call, app, limit)
    if call.terminal.as_json:
        call.terminal.document(found.document)
    else:
        for line in describe(call.terminal, found, datetime.now(UTC), https=https_of(found)):
            call.terminal.data(line)
    return ExitCode.APP_FAILED if found.state.value == "Failed" else ExitCode.OK


def https_of(app: App) -> str:
    """What this machine sees of the app's certificate; empty where there is none to see."""
    if not app.url.startswith("https:") or app.state not in UP:
        return ""
    import ssl

    from kubectl_spawn.certificate import certificate_end

    try:
        return f"https until {certificate_end(app.url).astimezone():%d %b %Y}"
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not trusted here: {error.verify_message}"
    except OSError:
        return "no answer from here"


def describe(terminal: Terminal, app: App, now: datetime, *, https: str = "") -> list[str]:
    """The lines of one app."""
    who = ", ".join(part for part in (app.namespace, str(app.spec.get("user") or "")) if part)
    parts = [terminal.bold(app.name) if terminal.output_is_terminal else app.name, str(app.state)]
    if app.revision is not None:
        parts.append(f"version {app.revision}")
    parts += [who, f"class {app.status.get('className', '-')}"]
    lines = [" · ".join(parts)]
    if now_told := _now_of(app):
        lines.append(_row("Now", now_told))
    if app.expires is not None and app.state in LIVING:
        left = app.left(now) or timedelta()
        lines.append(_row("Life", f"{_line(app, now)}  {format_duration(left)} left, ends "
                                  f"{local_clock(app.expires, now)}"))  # fmt: skip
    if app.url:
        lines.append(_row("URL", " · ".join(part for part in (app.url, https) if part)))
    droplet = app.status.get("droplet") or {}
    server = [app.status.get("region"), app.status.get("size"), droplet.get("ip")]
    if any(server):
        lines.append(_row("Server", ", ".join(str(part) for part in server if part)))
    lines.append(_row("Cost", _cost(app, now)))
    if app.status.get("note"):
        lines.append(_row("Note", str(app.status["note"])))
    if app.state not in UP:
        lines += [
            _row(step.name, f"{step.state}: {step.says}" if step.says else str(step.state))
            for step in app.steps
            if app.state in LIVING
        ]
    lines += [
        _row(str(condition["type"]), str(condition.get("message") or condition.get("reason")))
        for condition in app.status.get("conditions") or []
        if condition.get("type") in {"Degraded", "UpdateFailed", "Stalled"}
        and condition.get("status") == "True"
        and condition.get("message") != app.status.get("message")
    ]
    return lines


def _now_of(app: App) -> str:
    """The operator's sentence, without what other lines say: the URL and Claude's note."""
    note = str(app.status.get("note") or "")
    told = app.message
    if app.url:
        told = told.removeprefix(f"Running at {app.url}").removesuffix(f". {harmless(note)}")
        told = (
            told.removesuffix(f"; its output is at {app.url}").removeprefix("; ").removeprefix(", ")
        )
    return told[:1].upper() + told[1:]


def _cost(app: App, now: datetime) -> str:
    cost = app.status.get("cost") or {}
    price = cost.get("price")
    said = []
    if app.has_ended:
        said.append(f"{dollars(app.cost_so_far(now))} in all")
    else:
        spent = app.cost_so_far(now)
        if spent is not None:
            said.append(f"{dollars(spent)} so far")
        if app.cost_in_all is not None:
            said.append(f"about {dollars(app.cost_in_all, digits=2)} in all")
    if isinstance(price, dict):
        amount = price.get("final") or price.get("estimated")
        if amount is not None:
            said.append(f"price ${amount}")
    return ", ".join(said) or "not known yet"


def _row(label: str, text: str) -> str:
    return f"  {label.ljust(_LABEL)}{text}" if len(label) < _LABEL else f"  {label}  {text}"


def _line(app: App, now: datetime) -> str:
    """A life as a line: dots are used, the rest is still to come."""
    began = parse_time(app.status.get("readyAt"))
    if began is None or app.expires is None or app.expires <= began:
        return "·" * _LINE_CELLS
    share = (now - began) / (app.expires - began)
    used = min(_LINE_CELLS, max(0, round(share * _LINE_CELLS)))
    return "·" * used + "━" * (_LINE_CELLS - used)
