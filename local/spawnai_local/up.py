"""`make local`: bring SpawnAI up on this machine and keep it until Ctrl-C or `make local-down`."""

import asyncio
import os
import sys
from pathlib import Path

from spawnai_local.building import ToolchainError
from spawnai_local.helm import HelmError
from spawnai_local.installation import InstallationError
from spawnai_local.interruption import run_until_interrupted
from spawnai_local.kubectl import KubectlError
from spawnai_local.narration import Narrator
from spawnai_local.paths import checkout, local_directory
from spawnai_local.processes import ProcessError
from spawnai_local.stack import LocalStack, StackError
from spawnai_local.stack_settings import (
    Claude,
    Cloud,
    SettingsError,
    StackSettings,
    settings_from_environment,
)

READABLE_ERRORS = (
    HelmError,
    InstallationError,
    KubectlError,
    ProcessError,
    SettingsError,
    StackError,
    ToolchainError,
)
"""Errors whose message says all that a person needs; anything else is a defect of ours."""

_EXAMPLE = "manifests/examples/retro-board.yaml"


def main() -> None:
    """Run the command; exit code 1 when a part did not come up or could not be ended cleanly."""
    narrator = Narrator()
    try:
        # A signal is how this command is meant to end.
        run_until_interrupted(_run(narrator))
    except READABLE_ERRORS as error:
        narrator.blank()
        narrator.warn(str(error))
        sys.exit(1)
    narrator.say("Nothing is left running.")


async def _run(narrator: Narrator) -> int:
    settings = settings_from_environment(local_directory())
    narrator.title(
        "SpawnAI on this machine",
        "A Kubernetes API server, a cloud with droplets that boot, and the operator.",
    )
    warn_of_costs(narrator, settings)
    narrator.blank()
    try:
        async with LocalStack(settings, report=narrator.part, progress=narrator.say) as stack:
            _explain(narrator, stack)
            async for happening in stack.happenings():
                narrator.say(happening)
    except asyncio.CancelledError:
        narrator.blank()
        raise
    return 0


def warn_of_costs(narrator: Narrator, settings: StackSettings) -> None:
    """Say clearly when something real is used, because it costs money."""
    if settings.claude is Claude.ANTHROPIC:
        narrator.blank()
        narrator.warn(
            "THIS COSTS MONEY: the real Claude writes the apps, with your ANTHROPIC_API_KEY. "
            "CLAUDE=simulator uses the free simulator instead."
        )
    if settings.cloud is Cloud.DIGITALOCEAN:
        narrator.blank()
        narrator.warn(
            "THIS COSTS MONEY: droplets are made at DigitalOcean, with your DIGITALOCEAN_TOKEN. "
            "Ending this with Ctrl-C or `make local-down` destroys them all; killing it does not."
        )


def _explain(narrator: Narrator, stack: LocalStack) -> None:
    directory = _shown(stack.directory)
    narrator.blank()
    narrator.say("Ready. In another terminal:")
    narrator.blank()
    narrator.command(f". {directory}/env")
    narrator.command(f"kubectl apply -f {_EXAMPLE}")
    narrator.command("kubectl get spawnsessions --watch")
    narrator.blank()
    if stack.console is not None:
        narrator.say(f"Or in a browser: {stack.console.url}")
        narrator.say("Sign in there with this token:")
        narrator.blank()
        print(stack.console.token, flush=True)  # unbroken, so that it can be copied
        narrator.blank()
    narrator.say(f"Logs and pids are in {directory}; docs/guide.md goes on from here.")
    end = "Ctrl-C, or `make local-down`, ends all of it."
    if stack.settings.outlives_us:
        end = "Ctrl-C, or `make local-down`, deletes every session and then ends all of it."
    narrator.say(end)
    narrator.blank()


def _shown(directory: Path) -> str:
    """The directory as a person in the checkout would write it."""
    return os.path.relpath(directory) if directory.is_relative_to(checkout()) else str(directory)


if __name__ == "__main__":
    main()
