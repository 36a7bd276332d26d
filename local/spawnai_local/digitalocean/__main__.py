"""Run an emulator until it is told to end: `python -m spawnai_local.digitalocean --port 8080`."""

import argparse
import asyncio
import logging
import os
import signal
from dataclasses import replace

from spawnai_local.digitalocean.clock import SystemClock
from spawnai_local.digitalocean.emulator import Emulator
from spawnai_local.digitalocean.settings import DEFAULT_TOKEN, Delays, Limits, Settings


def arguments() -> argparse.ArgumentParser:
    """Return the command line's form."""
    parser = argparse.ArgumentParser(
        prog="python -m spawnai_local.digitalocean",
        description="DigitalOcean's API v2 on this machine. Droplets are shells: they have their "
        "states, addresses and prices, and no process behind them.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8080, help="port of the API (0: any)")
    parser.add_argument("--dns-port", type=int, default=0, help="port of the DNS server (0: any)")
    parser.add_argument(
        "--token",
        action="append",
        help="token that is accepted; may be repeated (default: DIGITALOCEAN_TOKEN, or "
        f"{DEFAULT_TOKEN})",
    )
    parser.add_argument("--droplet-limit", type=int, default=Limits().droplets)
    parser.add_argument("--no-rate-limit", action="store_true", help="never answer 429")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything that is chance")
    parser.add_argument(
        "--delay",
        action="append",
        default=[],
        metavar="NAME=SECONDS",
        help=f"one of {', '.join(Delays().document())}; may be repeated",
    )
    parser.add_argument(
        "--clock-offset",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how far the emulator's clock is ahead of the machine's",
    )
    parser.add_argument("--domain", action="append", default=[], help="domain to begin with")
    return parser


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings that a command line asks for.

    Raises:
        ValueError: a delay is not of the form NAME=SECONDS, or is unknown.
    """
    delays = Delays()
    for text in options.delay:
        name, _, seconds = text.partition("=")
        delays = delays.changed({name: float(seconds)})
    tokens = options.token or [os.environ.get("DIGITALOCEAN_TOKEN") or DEFAULT_TOKEN]
    limits = replace(
        Limits(), droplets=options.droplet_limit, rate_limited=not options.no_rate_limit
    )
    return Settings(tokens=frozenset(tokens), delays=delays, limits=limits, seed=options.seed)


async def run(options: argparse.Namespace, settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    emulator = Emulator(SystemClock(options.clock_offset), settings=settings)
    for name in options.domain:
        emulator.cloud.domains.create({"name": name})
    await emulator.start(options.host, options.port, dns_port=options.dns_port)
    print(f"DigitalOcean API at {emulator.url}, control API at {emulator.url}/_local/state")  # noqa: T201
    print(f"DNS on {options.host} port {emulator.dns.port}", flush=True)  # noqa: T201
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()
    await emulator.stop()


def main() -> None:
    """Run the command line program."""
    logging.basicConfig(level=logging.WARNING)
    parser = arguments()
    options = parser.parse_args()
    try:
        settings = settings_of(options)
    except ValueError as error:
        parser.error(str(error))
    asyncio.run(run(options, settings))


if __name__ == "__main__":
    main()
