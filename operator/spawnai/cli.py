"""The command line: `spawnai run` is the operator, `spawnai reap` cleans up by hand."""

import argparse
import asyncio
import os
import sys

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
    given = parser.parse_args(arguments)
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
