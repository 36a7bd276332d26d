"""What the plugin reads and prints, without a cluster."""

import io
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256

import pytest

from kubectl_spawn.app import App
from kubectl_spawn.cli import COMMANDS, Call, cli, run
from kubectl_spawn.cluster import AlreadyExistsError, Cluster, UnreachableError, flags_of
from kubectl_spawn.commands import (
    cost_command,
    extend_command,
    revise_command,
    status_command,
)
from kubectl_spawn.commands.create_command import _variable
from kubectl_spawn.commands.eject_command import readme
from kubectl_spawn.commands.logs_command import not_told
from kubectl_spawn.commands.source_command import _safe, require_empty
from kubectl_spawn.completion import candidates
from kubectl_spawn.durations import format_duration, parse_duration, parse_time
from kubectl_spawn.errors import CommandError, ExitCode
from kubectl_spawn.follow import Outcome
from kubectl_spawn.names import name_for
from kubectl_spawn.terminal import Terminal, table
from spawnai_local.paths import checkout


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("1h30m", 5400), ("3d", 259200), ("0s", 0)]
)
def test_durations_are_read_as_the_ttl_is(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "2 hours", "h", "1.5h", "-1h", "99999999d"])
def test_what_is_no_duration_is_refused_with_what_to_write(text):
    with pytest.raises(ValueError, match="write a duration such as 90m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("told", "lines", "fresh", "joined"),
    [
        ("", "abc", "abc", True),
        ("abc", "abcd", "d", True),
        ("abc", "bcd", "d", True),  # the console's window has moved on
        ("abc", "xyz", "xyz", False),  # and is full of new lines
        ("aa", "aaa", "a", True),
        ("aab", "abc", "c", True),
        ("aba", "abx", "bx", True),
        ("abc", "bc", "", True),
        ("abc", "ab", "", None),  # nobody knows yet
    ],
)
def test_after_a_cut_no_line_is_printed_twice_and_it_is_known_whether_some_are_missing(
    told, lines, fresh, joined
):
    heard = []
    resumed = lambda *, joined: heard.append(joined)  # noqa: E731
    assert "".join(not_told(lines, told, resumed)) == fresh
    assert heard == ([] if joined is None else [joined])


@pytest.mark.parametrize(
    ("pricing", "share"),
    [
        ({}, None),
        ({"model": "Flat", "costPlus": {"overhead": "0.05"}}, None),
        ({"model": "CostPlus", "costPlus": {"overhead": "0.05"}}, Decimal("0.05")),
        ({"model": "Dynamic", "dynamic": {"overhead": "0.1"}}, Decimal("0.1")),
    ],
)
def test_a_class_adds_an_overhead_where_its_prices_follow_costs(pricing, share):
    assert cost_command.overhead_share({"spec": {"pricing": pricing}}) == share


def test_an_address_that_does_not_answer_is_told_beside_the_url():
    status = {"url": "https://127.0.0.1:9", "readyAt": "2026-11-29T12:00:00Z", "phase": "Running"}
    app = App({"metadata": {"name": "clock"}, "status": status})
    assert status_command.https_of(app) == "no answer from here"
    plain = App({**app.document, "status": {**status, "url": "http://127.0.0.1:9"}})
    assert status_command.https_of(plain) == ""


def test_a_key_is_named_as_the_spec_has_it():
    reference = {"name": "weather", "key": "open.weather"}
    assert _variable("KEY_1=weather/open.weather") == {"name": "KEY_1", "secretRef": reference}
    for text in ("key=weather/a", "KEY=weather", "KEY", "KEY=Weather/a", "=weather/a"):
        with pytest.raises(CommandError, match="write NAME=SECRET/KEY"):
            _variable(text)


def test_durations_are_written_with_their_two_largest_units():
    assert format_duration(timedelta(hours=1, minutes=57, seconds=30)) == "1h57m"
    assert format_duration(timedelta(seconds=-5)) == "0s"


def test_a_time_that_cannot_be_read_is_none():
    assert parse_time("soon") is None
    assert parse_time(None) is None


def test_a_name_is_made_of_the_telling_words():
    name = name_for("A retro board with three columns")
    assert name.rsplit("-", 1)[0] == "retro-board"
    assert name != name_for("A retro board with three columns")
    assert name_for("éàü 漢字").startswith("eau-")
    assert name_for("漢字").startswith("app-")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('Error from server (NotFound): spawnsessions "a" not found', ExitCode.NOT_FOUND),
        ('Error from server (Forbidden): spawnsessions is forbidden: User "d"', ExitCode.NO_RIGHT),
        ("error: You must be logged in to the server (Unauthorized)", ExitCode.NO_RIGHT),
        ('The SpawnSession "a" is invalid: spec.tier: Unsupported value', ExitCode.USAGE),
        ('error: the server doesn\'t have a resource type "spawnsessions"', ExitCode.UNEXPECTED),
    ],
)
def test_the_words_of_kubectl_become_exit_codes(said, code):
    error = Cluster()._error(said)
    assert error.code is code
    assert error.cause == said.removeprefix("error: ")


def test_a_request_that_may_have_arrived_is_told_apart_from_one_that_was_refused():
    cluster = Cluster()
    refused = (
        "The connection to the server 127.0.0.1:1 was refused - did you specify the right host?"
    )
    assert isinstance(cluster._error(refused), UnreachableError)
    assert isinstance(cluster._error("Error from server (Timeout): x"), UnreachableError)
    exists = 'Error from server (AlreadyExists): spawnsessions "a" already exists'
    assert isinstance(cluster._error(exists), AlreadyExistsError)


def test_a_missing_kubectl_is_told_as_such():
    with pytest.raises(CommandError, match="kubectl is not on the PATH"):
        Cluster(program="/nowhere/kubectl").get("pods", "a")


def test_flags_pass_what_was_given():
    flags = flags_of(context="dev", kubeconfig=None, namespace="team-a")
    assert flags == ("--context=dev", "--namespace=team-a")
    assert Cluster(flags).in_namespace("other")._flags == ("--context=dev", "--namespace=other")


def test_every_command_loads_and_says_what_it_is_for():
    for name in COMMANDS:
        command = cli.get_command(None, name)
        assert command is not None
        assert command.name == name
        assert command.help, name


@pytest.mark.parametrize(
    "arguments",
    [["created"], ["extend"], ["create", "--tier", "huge", "x"], ["list", "--user", "dana"]],
)
def test_wrong_arguments_end_with_2_and_the_help_that_leads_on(arguments, capsys):
    assert run(arguments) == ExitCode.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert "--help" in said.err


def test_a_blank_prompt_is_refused_before_anything_is_asked(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("  \n"))
    assert run(["create"]) == ExitCode.USAGE
    assert "no prompt: give it as an argument, with -f FILE or on stdin" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "x", "--ttl", "2 hours"],
        ["create", "x", "--timeout", "2 hours"],
        ["status", "x", "--timeout", "2 hours"],
        ["extend", "x", "1h", "--timeout", "2 hours"],
        ["revise", "x", "y", "--timeout", "2 hours"],
        ["end", "x", "--timeout", "2 hours"],
        ["list", "--ended", "--since", "2 hours"],
        ["cost", "--since", "2 hours"],
    ],
)
def test_a_bad_duration_is_refused_before_anything_is_asked(arguments, capsys):
    assert run(arguments) == ExitCode.USAGE
    option = arguments[-2]
    said = f'{option} "2 hours": write a duration such as 90m, 1h30m or 3d'
    assert said in capsys.readouterr().err


def test_errors_are_documents_for_programs(capsys):
    assert run(["create", "x", "--ttl", "soon", "-o", "json"]) == ExitCode.USAGE
    assert '"code": 2' in capsys.readouterr().err


def test_a_pipe_gets_no_colours_and_ascii_where_the_encoding_has_no_more():
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    terminal = Terminal(out, out, {})
    assert terminal.green("ok") == "ok"
    assert terminal.symbols.done == "ok"
    assert not terminal.is_live


def a_call(*, as_json: bool = False) -> Call:
    return Call(Cluster(), Terminal(io.StringIO(), io.StringIO(), {}, as_json=as_json))


@pytest.mark.parametrize("as_json", [True, False])
def test_an_end_that_the_operator_has_not_moved_is_no_success(as_json):
    end = "2026-11-29T14:00:00Z"
    app = App({"metadata": {"name": "clock"}, "status": {"expirationTime": end}})
    wanted = parse_time("2026-11-29T15:00:00Z")
    with pytest.raises(CommandError, match="has not taken it yet") as told:
        extend_command._tell(a_call(as_json=as_json), before=app, after=app, wanted=wanted)
    assert told.value.code is ExitCode.TIMEOUT


@pytest.mark.parametrize(
    ("wanted", "to", "undo"),
    [("2026-11-29T15:00:00Z", "15:00", "-1h"), ("2027-01-01T00:00:00Z", "14:20", "-20m"),
     ("2026-11-29T13:30:00Z", "13:30", "30m")],
)  # fmt: skip
def test_the_undo_of_an_extension_is_of_what_the_class_let_through(wanted, to, undo):
    before, after = (
        App({"metadata": {"name": "clock"}, "status": {"expirationTime": f"2026-11-29T{at}:00Z"}})
        for at in ("14:00", to)
    )
    talk = io.StringIO()
    call = Call(Cluster(), Terminal(io.StringIO(), talk, {}))
    extend_command._tell(call, before=before, after=after, wanted=parse_time(wanted))
    assert talk.getvalue().endswith(f"undo: kubectl spawn extend clock {undo}\n")
    assert ("capped" in talk.getvalue()) == (undo == "-20m")


def test_a_change_whose_app_ends_meanwhile_is_no_success():
    ended = App({"metadata": {"name": "clock"}, "status": {"phase": "Destroyed", "revision": 1}})
    minute = timedelta(minutes=1)
    outcome = Outcome(ended, timed_out=False)
    with pytest.raises(CommandError, match="clock ended before the new version ran") as told:
        revise_command.tell(a_call(), ended, outcome, minute, minute)
    assert told.value.code is ExitCode.APP_FAILED


@pytest.mark.parametrize(
    ("revision", "failed", "observed", "decided"),
    [
        (1, None, 2, False),
        (2, None, 1, False),
        (2, None, 2, True),
        (1, 2, 2, True),
        (1, 1, 2, False),
    ],
)
def test_a_change_is_waited_for_until_its_version_runs_or_was_given_up(
    revision, failed, observed, decided
):
    digests = {1: sha256(b"A clock").hexdigest(), 2: sha256(b"A loud clock").hexdigest()}
    status = {
        "phase": "Running",
        "observedGeneration": observed,
        "revision": revision,
        "revisions": [
            {"revision": number, "promptDigest": digests[number], "failed": number == failed}
            for number in ((1, 2) if failed != 1 else (1,))
        ],
        "conditions": [{"type": "UpdateFailed", "status": str(failed is not None)}],
    }
    app = App({"metadata": {"name": "clock"}, "status": status})
    assert revise_command.is_decided(app, "A loud clock", 2) is decided


def test_a_step_that_is_done_tells_how_long_it_took():
    def true(kind, second):
        at = f"2026-11-29T12:00:{second}Z"
        return {"type": kind, "status": "True", "lastTransitionTime": at}

    times = {"DropletReady": 30, "FirewallReady": 34, "Generated": 52, "AppHealthy": 58}
    status = {
        "startedAt": "2026-11-29T12:00:00Z",
        "conditions": [true(kind, second) for kind, second in times.items()],
    }
    steps = App({"metadata": {"name": "clock"}, "status": status}).steps
    took = [step.took.seconds if step.took else None for step in steps]
    assert took == [34, 52, 6, None]


def test_what_is_told_in_other_lines_is_not_told_again():
    status = {"url": "https://a.example.com", "note": "Cards are kept.", "readyAt": "x"}
    where = "Running at https://a.example.com"
    told = {
        f"{where}. Cards are kept.": "",
        f"{where}; the app is being changed": "The app is being changed",
        f"{where}, but a link is dead": "But a link is dead",
        "The script has ended with exit code 0; its output is at https://a.example.com": (
            "The script has ended with exit code 0"
        ),
        "The script has ended with exit code 0; its output is at https://a.example.com. "
        "Cards are kept.": "The script has ended with exit code 0",
        "The droplet does not answer": "The droplet does not answer",
    }
    for message, now in told.items():
        app = App({"metadata": {"name": "clock"}, "status": status | {"message": message}})
        assert status_command._now_of(app) == now


def test_columns_are_as_wide_as_their_widest_cell():
    assert table([["NAME", "STATE"], ["retro-board", "Running"]]) == [
        "NAME          STATE",
        "retro-board   Running",
    ]


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a\\..\\x", ""])
def test_an_archive_cannot_write_beside_its_folder(path):
    with pytest.raises(CommandError, match="leaves the folder"):
        _safe(path)


def test_files_of_an_archive_lie_below_its_one_folder():
    assert _safe("board/src/main.js") == "src/main.js"


def test_source_is_not_written_over_what_is_there(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(CommandError, match="is not empty"):
        require_empty(tmp_path)


def test_an_ejected_app_says_how_to_run_it():
    app = App(
        {
            "metadata": {"name": "quotes"},
            "spec": {"appType": "api", "prompt": "Quotes\nas JSON"},
            "status": {"note": "Quotes are kept in a file."},
        }
    )
    text = readme(app, "Quotes\nas JSON")
    assert "> Quotes\n> as JSON" in text
    assert "node server.js" in text
    assert "Quotes are kept in a file." in text


def test_commands_and_options_are_completed():
    assert ("create", COMMANDS["create"]) in candidates(["cr"])
    assert "--ttl" in [value for value, _ in candidates(["create", "--t"])]


def test_every_command_is_documented():
    page = (checkout() / "docs" / "kubectl-spawn.md").read_text()
    missing = [name for name in COMMANDS if f"`{name}" not in page and name not in page]
    assert missing == []
    assert all(f"| {int(code)} |" in page for code in ExitCode)
