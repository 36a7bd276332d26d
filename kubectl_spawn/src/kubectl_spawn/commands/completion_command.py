"""`kubectl spawn completion`: how to switch on completion."""

import click

from kubectl_spawn.cli import call_of

_TEXT = """\
kubectl completes its plugins once its own completion is on and kubectl_complete-spawn is on the
PATH beside kubectl-spawn (the package brings both):

  bash:  source <(kubectl completion bash)
  zsh:   source <(kubectl completion zsh)
  fish:  kubectl completion fish | source

Write the line into your shell's start file to keep it."""


@click.command("completion")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Say how to switch on completion in your shell."""
    call_of(ctx).terminal.data(_TEXT)
