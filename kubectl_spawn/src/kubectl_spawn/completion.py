"""Completion for kubectl: it runs `kubectl_complete-spawn` with the words so far.

The protocol is cobra's: a candidate a line with its help behind a tab, then `:` and a directive.
"""

import sys

from click.shell_completion import ShellComplete

from kubectl_spawn.app import LIVING, App
from kubectl_spawn.cli import COMMANDS, cli
from kubectl_spawn.cluster import SESSIONS, Cluster
from kubectl_spawn.errors import CommandError

_NO_FILES = 4
_TAKES_AN_APP = frozenset({
    "status", "open", "extend", "end", "logs", "revise", "source", "eject", "feedback", "cost",
})  # fmt: skip


def candidates(words: list[str]) -> list[tuple[str, str]]:
    """What may stand in place of the last word, each with its help."""
    *before, incomplete = words or [""]
    if before and before[0] in _TAKES_AN_APP and not incomplete.startswith("-"):
        if all(word.startswith("-") for word in before[1:]):
            return [(name, "") for name in _app_names() if name.startswith(incomplete)]
        return []
    if not before and not incomplete.startswith("-"):
        return [(name, text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
    complete = ShellComplete(cli, {}, "kubectl spawn", "_KUBECTL_SPAWN_COMPLETE")
    found = complete.get_completions(before, incomplete)
    return [(item.value, item.help or "") for item in found if item.type == "plain"]


def _app_names() -> list[str]:
    try:
        apps = [App(one) for one in Cluster().items(SESSIONS)]
    except CommandError:
        return []
    return sorted(app.name for app in apps if app.state in LIVING)


def main() -> None:
    """Print the candidates for the words given as arguments."""
    for value, text in candidates(sys.argv[1:]):
        print(f"{value}\t{text}" if text else value)
    print(f":{_NO_FILES}")
