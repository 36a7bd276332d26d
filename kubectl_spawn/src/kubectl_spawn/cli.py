"""The command line: options that every command has, and which file holds which command."""

import importlib
import sys
from dataclasses import dataclass
from typing import Any

import click

from kubectl_spawn import __version__
from kubectl_spawn.cluster import Cluster, flags_of
from kubectl_spawn.errors import CommandError, ExitCode
from kubectl_spawn.terminal import Terminal

COMMANDS = {
    "create": "Order an app, and wait until it runs.",
    "list": "Your apps, with what is left of their time and what they cost.",
    "status": "One app: its life, address, server and cost.",
    "open": "Open an app in the browser.",
    "extend": "Move the end of an app.",
    "end": "End an app now; its server and data are destroyed.",
    "logs": "What an app writes.",
    "revise": "Change the prompt of a running app, or go back to an earlier version.",
    "source": "Write the files of an app into a folder.",
    "eject": "Take an app out: its files and versions into a folder or a Git remote.",
    "feedback": "Say whether an app works as expected.",
    "cost": "What your apps cost.",
    "classes": "What the platform offers.",
    "budgets": "How much may be spent, and what is left.",
    "doctor": "What is missing in this cluster, or for you, with the line that mends it.",
    "completion": "How to switch on completion in your shell.",
}


@dataclass(frozen=True, slots=True)
class Call:
    """What a command works with."""

    cluster: Cluster
    terminal: Terminal


class _LazyGroup(click.Group):
    """Imports a command when it is called: `--help` and `list` stay quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"kubectl_spawn.commands.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


_EPILOG = """\b
Exit codes: 0 done (create: the app runs), 1 unexpected or unreachable, 2 wrong
arguments or a refused value, 3 the app failed or ended first, 4 not signed in or
no right, 5 no such app or class, 6 --timeout is over and the app goes on,
7 a budget refuses, 130 Ctrl-C and the app goes on."""


@click.group(
    cls=_LazyGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("-n", "--namespace", help="The namespace; that of the context by default.")
@click.option("--context", "context_name", help="The context of the kubeconfig.")
@click.option("--kubeconfig", help="The kubeconfig file.")
@click.option("--plain", is_flag=True, help="One line for each change instead of a live picture.")
@click.version_option(__version__, prog_name="kubectl spawn")
@click.pass_context
def cli(
    ctx: click.Context,
    namespace: str | None,
    context_name: str | None,
    kubeconfig: str | None,
    *,
    plain: bool,
) -> None:
    """Apps that live for an hour or a day: say what you want, get a URL, and it is gone in time."""
    flags = flags_of(context=context_name, kubeconfig=kubeconfig, namespace=namespace)
    ctx.obj = (Cluster(flags), plain)


def call_of(ctx: click.Context, output: str | None = None, namespace: str | None = None) -> Call:
    """What a command works with; `namespace` may also be given behind the command."""
    cluster, plain = ctx.find_root().obj
    if namespace:
        cluster = cluster.in_namespace(namespace)
    return Call(cluster, Terminal.of_this_process(as_json=output == "json", plain=plain))


def common_options(function: Any) -> Any:
    """-n and -o, where people write them: behind the command."""
    function = click.option(
        "-o", "--output", type=click.Choice(["json"]), help="Print documents for programs."
    )(function)
    return click.option("-n", "--namespace", help="The namespace.")(function)


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line; the exit code.

    `-o json` is looked for here too, so that an error is a document also where no command ran.
    """
    terminal = Terminal.of_this_process(as_json=_wants_json(arguments))
    try:
        result = cli.main(arguments, prog_name="kubectl spawn", standalone_mode=False)
    except CommandError as error:
        terminal.error(error)
        return int(error.code)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        terminal.error(
            CommandError(
                error.format_message(),
                code=ExitCode.USAGE,
                next_steps=(_help_for(error),),
            )
        )
        return int(ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        terminal.say()
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        return int(ExitCode.UNEXPECTED)
    return int(result) if isinstance(result, int) else 0


def _wants_json(arguments: list[str]) -> bool:
    joined = " ".join(arguments)
    return any(form in joined for form in ("-o json", "-ojson", "--output json", "--output=json"))


def _help_for(error: click.ClickException) -> str:
    ctx = getattr(error, "ctx", None)
    return f"{ctx.command_path if ctx is not None else 'kubectl spawn'} --help"
