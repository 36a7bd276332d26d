"""The runbook says what the command and the operator really take."""

import argparse
import re
import shlex

import pytest

from spawnai.controller.reaping import command as reap_command
from spawnai.settings import settings_from
from spawnai_local.paths import checkout

RUNBOOK = (checkout() / "docs" / "runbooks" / "leaked-resources.md").read_text()
COMMANDS = sorted(
    set(re.findall(r"^\$ spawnai reap(.*)$", RUNBOOK, re.MULTILINE))
    | set(re.findall(r"`(--[^`]+)`", RUNBOOK))
)


@pytest.mark.parametrize("arguments", COMMANDS)
def test_every_command_of_the_runbook_is_understood(arguments):
    parser = argparse.ArgumentParser(exit_on_error=False)
    reap_command.add_arguments(parser)
    parser.parse_args(shlex.split(arguments.replace("<uid>", "a-uid")))


def test_every_argument_of_the_command_is_in_the_runbook():
    parser = argparse.ArgumentParser(add_help=False)
    reap_command.add_arguments(parser)
    named = {option for action in parser._actions for option in action.option_strings}
    assert [option for option in sorted(named) if option not in RUNBOOK] == []


def test_the_exit_codes_are_those_of_the_command():
    rows = re.findall(r"^\| (\d) \|", RUNBOOK, re.MULTILINE)
    assert [int(row) for row in rows] == [
        reap_command.NOTHING_LEFT,
        reap_command.SOMETHING_LEFT,
        reap_command.WRONG_USE,
        reap_command.IN_DOUBT,
        reap_command.NAMES_UNKNOWN,
    ]


def test_every_variable_and_default_is_the_operator_s():
    rows = dict(re.findall(r"^\| `(SPAWNAI_\w+)` \| `([^`]+)` \|", RUNBOOK, re.MULTILINE))
    assert len(rows) == 3
    shipped = settings_from({"POD_NAME": "one"})
    written = settings_from({"POD_NAME": "one", **rows})
    names = ("reaper_dry_run", "reaper_most_per_hour", "reaper_minimum_age")
    assert [getattr(shipped, name) for name in names] == [getattr(written, name) for name in names]
    changed = settings_from(
        {
            "SPAWNAI_REAPER": "dry-run",
            "SPAWNAI_REAPER_MOST_PER_HOUR": "7",
            "SPAWNAI_REAPER_MINIMUM_AGE": "1h",
        }
    )
    assert changed.reaper_dry_run
    assert changed.reaper_most_per_hour == 7
    assert changed.reaper_minimum_age.total_seconds() == 3600
    assert all(getattr(shipped, name) != getattr(changed, name) for name in names)


def test_every_event_of_the_reaper_is_in_the_runbook():
    source = (
        checkout() / "operator" / "spawnai" / "controller" / "reaping" / "reaper.py"
    ).read_text()
    reasons = set(re.findall(r'"(Orphan\w+)"', source))
    assert len(reasons) == 5
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in RUNBOOK] == []
