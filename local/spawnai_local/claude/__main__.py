"""Run a simulator until it is told to end: `python -m spawnai_local.claude --port 8089`."""

import argparse
import asyncio
import os
import signal
from pathlib import Path

from spawnai_local.claude.settings import DEFAULT_API_KEY, SimulatorSettings
from spawnai_local.claude.simulator import ClaudeSimulator


def arguments() -> argparse.ArgumentParser:
    """Return the command line's form."""
    usual = SimulatorSettings()
    parser = argparse.ArgumentParser(
        prog="python -m spawnai_local.claude",
        description="Claude's Messages API on this machine, free of charge.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8089, help="port to listen on (0: any)")
    parser.add_argument(
        "--api-key",
        default=os.environ.get("ANTHROPIC_API_KEY") or DEFAULT_API_KEY,
        help=f"the key that is accepted (default: ANTHROPIC_API_KEY, or {DEFAULT_API_KEY})",
    )
    parser.add_argument(
        "--first-token-seconds", type=float, default=usual.first_token_seconds, metavar="S"
    )
    parser.add_argument(
        "--tokens-per-second",
        type=float,
        default=usual.tokens_per_second,
        metavar="N",
        help="0: as fast as it goes",
    )
    parser.add_argument("--seed", type=int, default=usual.seed, help="seed of all that is chance")
    parser.add_argument(
        "--bundles",
        type=Path,
        metavar="FOLDER",
        help="answers that a prompt may ask for by bundle:NAME (FOLDER/NAME/answer.json)",
    )
    return parser


async def run(options: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM."""
    simulator = ClaudeSimulator(
        SimulatorSettings(
            api_key=options.api_key,
            first_token_seconds=options.first_token_seconds,
            tokens_per_second=options.tokens_per_second,
            seed=options.seed,
            bundles=options.bundles,
        )
    )
    url = await simulator.start(options.host, options.port)
    print(f"Claude's Messages API at {url}, control API at {url}/_local/calls", flush=True)  # noqa: T201
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()
    await simulator.stop()


def main() -> None:
    """Run the command line program."""
    asyncio.run(run(arguments().parse_args()))


if __name__ == "__main__":
    main()
