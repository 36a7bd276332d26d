"""The command line: `spawnai run` is the operator, `spawnai reap` cleans up by hand."""

import argparse
import asyncio
import os
import sys

from spawnai.controller.installation import check_install, guard_uninstall
from spawnai.controller.operator import run
from spawnai.controller.reaping import command as reap_command
from spawnai.settings import SettingsError, settings_from


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="spawnai", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="run the operator until it is told to stop")
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
    try:
        settings = settings_from()
    except SettingsError as error:
        print(f"spawnai: {error}", file=sys.stderr)
        return 2
    return asyncio.run(run(settings))


if __name__ == "__main__":
    sys.exit(main())
