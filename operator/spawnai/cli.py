"""The command line. Each command is a process of its own in the cluster, or a person's tool.

A command imports its libraries when it is run: the console does without the operator's, which take
most of its memory, and the operator without those of the package's extras.
"""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from spawnai.settings import SettingsError, settings_from
from spawnai.telemetry.logs import configure_logging

_LOGGER = logging.getLogger("spawnai.settings")

Run = Callable[[argparse.Namespace], int]


@dataclass(frozen=True, slots=True)
class _Command:
    """A command: what it is for, and what imports it, describes its arguments and returns it."""

    help: str
    prepare: Callable[[argparse.ArgumentParser], Run]


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="spawnai", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run: Run | None = None
    for name, command in _COMMANDS.items():
        one = commands.add_parser(name, help=command.help)
        if given[:1] == [name]:
            run = command.prepare(one)
    namespace = parser.parse_args(given)
    if run is None:
        raise AssertionError(f"the parser took {given[:1]}, which is not a command")
    try:
        return run(namespace)
    except SettingsError as error:
        configure_logging("info", "json")
        for problem in error.problems:
            _LOGGER.error(  # noqa: TRY400 - the sentence says all
                "%s", problem.message, extra={"variable": problem.variable or None}
            )
        return 2


def _operator(_: argparse.ArgumentParser) -> Run:
    from spawnai.controller.operator import run  # noqa: PLC0415

    return lambda _: asyncio.run(run(settings_from()))


def _console(_: argparse.ArgumentParser) -> Run:
    from spawnai.console import command  # noqa: PLC0415

    return lambda _: command.main(os.environ)


def _gateway(parser: argparse.ArgumentParser) -> Run:
    from spawnai.gateway import command  # noqa: PLC0415

    command.add_arguments(parser)
    return lambda given: command.main(given, os.environ)


def _inspector(_: argparse.ArgumentParser) -> Run:
    from spawnai.inspector import command, settings  # noqa: PLC0415

    def run(_: argparse.Namespace) -> int:
        given = settings.inspector_settings_from(os.environ)
        configure_logging(given.log_level, given.log_format)
        return asyncio.run(command.run(given))

    return run


def _export(parser: argparse.ArgumentParser) -> Run:
    from spawnai.export import command  # noqa: PLC0415

    command.add_arguments(parser)
    return lambda given: command.run(given, os.environ, sys.stdout, sys.stderr.write)


def _reap(parser: argparse.ArgumentParser) -> Run:
    from spawnai.controller.reaping import command  # noqa: PLC0415

    command.add_arguments(parser)
    return lambda given: command.run(given, os.environ, sys.stdout.write)


def _runtime(parser: argparse.ArgumentParser) -> Run:
    from spawnai.app_runtime import command  # noqa: PLC0415

    command.add_arguments(parser)
    return command.run


def _image(parser: argparse.ArgumentParser) -> Run:
    from spawnai.controller.images import command  # noqa: PLC0415

    command.add_arguments(parser)
    return lambda given: command.run(given, os.environ, sys.stdout.write)


def _guard_uninstall(_: argparse.ArgumentParser) -> Run:
    from spawnai.controller.installation import guard_uninstall  # noqa: PLC0415

    return lambda _: asyncio.run(guard_uninstall(sys.stdout.write))


def _check_install(parser: argparse.ArgumentParser) -> Run:
    from spawnai.controller.installation import check_install  # noqa: PLC0415

    parser.add_argument("--ready-url", required=True, help="the operator's /readyz")
    parser.add_argument("--namespace", required=True, help="where a session is tried (dry run)")
    return lambda given: asyncio.run(
        check_install(given.ready_url, given.namespace, sys.stdout.write)
    )


_COMMANDS = {
    "run": _Command("run the operator until it is told to stop", _operator),
    "console": _Command("serve the page and its API until it is told to stop", _console),
    "gateway": _Command("look droplets up for a gateway's Caddy", _gateway),
    "inspector": _Command("open apps' pages in a browser until it is told to stop", _inspector),
    "export": _Command("what sessions cost, as a FOCUS file or in a database", _export),
    "reap": _Command("find and delete what was left in DigitalOcean", _reap),
    "image": _Command("bake an image for a class, or list the images", _image),
    "runtime": _Command("find out the hashes of what droplets install", _runtime),
    "guard-uninstall": _Command(
        "fail while sessions have anything at DigitalOcean", _guard_uninstall
    ),
    "check-install": _Command(
        "ask the operator and the API server whether sessions can be made", _check_install
    ),
}


if __name__ == "__main__":
    sys.exit(main())
