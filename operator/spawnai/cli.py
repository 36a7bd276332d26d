"""The command line: `spawnai run` is the operator, `spawnai console` the page and its API,
`spawnai gateway` the process beside a gateway's Caddy, `spawnai reap` cleans up by hand, and the
chart's hooks and tests use the rest.

Commands import their libraries when they are run: the console's process does without the
operator's, which would take most of its memory, and the operator without the console's, which are
an extra of the package.
"""

import argparse
import asyncio
import logging
import os
import sys

from spawnai.settings import SettingsError, settings_from
from spawnai.telemetry.logs import configure_logging

_LOGGER = logging.getLogger("spawnai.settings")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if given == ["console"]:
            return _run_console()
        if given[:1] == ["gateway"]:
            return _run_gateway(given[1:])
        return _run_operator_command(given)
    except SettingsError as error:
        configure_logging("info", "json")
        for problem in error.problems:
            _LOGGER.error(  # noqa: TRY400 - the sentence says all
                "%s", problem.message, extra={"variable": problem.variable or None}
            )
        return 2


def _run_console() -> int:
    from spawnai.console.command import main as run_console  # noqa: PLC0415

    return run_console(os.environ)


def _run_gateway(arguments: list[str]) -> int:
    from spawnai.gateway import command  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="spawnai gateway", description=command.__doc__)
    command.add_arguments(parser)
    return command.main(parser.parse_args(arguments), os.environ)


def _run_operator_command(arguments: list[str]) -> int:
    from spawnai.controller.installation import check_install, guard_uninstall  # noqa: PLC0415
    from spawnai.controller.operator import run  # noqa: PLC0415
    from spawnai.controller.reaping import command as reap_command  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="spawnai", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="run the operator until it is told to stop")
    commands.add_parser("console", help="serve the page and its API until it is told to stop")
    commands.add_parser("gateway", help="look droplets up for a gateway's Caddy (--help)")
    reap_command.add_arguments(
        commands.add_parser("reap", help="find and delete what was left in DigitalOcean")
    )
    commands.add_parser("guard-uninstall", help="fail while sessions have anything at DigitalOcean")
    check = commands.add_parser(
        "check-install", help="ask the operator and the API server whether sessions can be made"
    )
    check.add_argument("--ready-url", required=True, help="the operator's /readyz")
    check.add_argument("--namespace", required=True, help="where a session is tried (dry run)")
    given = parser.parse_args(arguments)
    if given.command == "guard-uninstall":
        return asyncio.run(guard_uninstall(sys.stdout.write))
    if given.command == "check-install":
        return asyncio.run(check_install(given.ready_url, given.namespace, sys.stdout.write))
    if given.command == "reap":
        return reap_command.run(given, os.environ, sys.stdout.write)
    return asyncio.run(run(settings_from()))


if __name__ == "__main__":
    sys.exit(main())
