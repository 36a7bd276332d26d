"""What is told beside an app that is followed, and how each of its moments is told."""

import io
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from kubectl_spawn.app import App, Step, StepState
from kubectl_spawn.beside import Beside, Later, range_of
from kubectl_spawn.cli import Call
from kubectl_spawn.cluster import Cluster as RealCluster
from kubectl_spawn.commands import create_command, end_command, find, revise_command
from kubectl_spawn.errors import CommandError, ExitCode
from kubectl_spawn.follow import Outcome, follow, order_of, time_of
from kubectl_spawn.terminal import Terminal

NOW = datetime(2026, 11, 29, 14, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def an_app(name: str = "clock", **status) -> App:
    conditions = status.pop("conditions", {})
    status["conditions"] = [
        {"type": kind, "status": "True", **more} for kind, more in conditions.items()
    ]
    metadata = {"name": name, "namespace": "team-a"}
    return App({"metadata": metadata, "spec": {"appType": "webapp"}, "status": status})


def in_time(function):
    """What it answers once it has looked."""
    for _ in range(500):
        answer = function()
        if answer:
            return answer
        time.sleep(0.01)
    raise AssertionError("it never answered")


class Cluster:
    """One with apps, and without a console."""

    namespace = "team-a"

    def __init__(self, *apps: App):
        self.apps = apps

    def items(self, kind):
        return [app.document for app in self.apps]

    def find(self, kind, name, namespace=None):
        return None


def runs(name: str, minutes: int) -> App:
    end = (NOW + minutes * MINUTE).isoformat()
    return an_app(name, phase="Running", readyAt="2026-11-29T13:00:00Z", expirationTime=end)


def test_who_waits_is_told_which_apps_end_next_and_how_to_make_room():
    beside = Beside(Cluster(runs("board", 117), runs("quiz", 4), runs("far", 900), an_app("new")))
    assert in_time(lambda: beside.ends_next(NOW)) == (
        "Ends next: quiz in 4m, board in 1h57m · to make room: kubectl spawn end quiz"
    )


def test_without_a_console_no_usual_time_is_told():
    beside = Beside(Cluster())
    app = an_app(className="standard")
    beside.ready_range(app)
    beside._offers["standard"]._thread.join(10)
    assert (beside.ready_range(app), beside.step_ranges(app)) == (None, [])


def test_the_usual_times_are_those_of_the_class_and_type(monkeypatch):
    kinds = [
        {"appType": "api", "readySeconds": [1, 2], "stepSeconds": None},
        {"appType": "webapp", "readySeconds": [60, 80], "stepSeconds": [[30, 36], None, [5, 12]]},
    ]
    asked = []
    monkeypatch.setattr(Beside, "_offer", lambda _, name: asked.append(name) or {"appTypes": kinds})
    beside = Beside(Cluster())
    app = an_app(className="big")
    assert in_time(lambda: beside.ready_range(app)) == (60, 80)
    assert beside.step_ranges(app) == [(30, 36), None, (5, 12)]
    assert asked == ["big"]


@pytest.mark.parametrize("value", [None, "60-80", [60], [60, 80, 90], [60, "80"]])
def test_what_is_no_range_is_none(value):
    assert range_of(value) is None


@pytest.mark.parametrize(
    ("step", "usual", "shown"),
    [
        (Step("Code", StepState.DONE, "", MINUTE), (45, 70), "1m"),
        (Step("Code", StepState.BUSY, "", None, NOW), (45, 70), "35s of 45-70s"),
        (Step("Code", StepState.BUSY, "", None, NOW), None, "35s"),
        (Step("Code", StepState.OPEN, ""), (45, 70), "45-70s"),
        (Step("Code", StepState.OPEN, ""), None, ""),
    ],
)
def test_a_step_tells_what_it_took_and_usually_takes(step, usual, shown):
    assert time_of(step, usual, NOW + timedelta(seconds=35)) == shown


def test_a_question_that_fails_has_no_answer_and_disturbs_nobody():
    def fail():
        raise CommandError("the console is away")

    later = Later(fail)
    assert later.get() is None
    later._thread.join(10)
    assert later.get() is None


def test_a_failure_tells_the_step_and_what_was_tried():
    at_start = an_app(
        phase="Destroyed", progress=80, terminationReason="AppCrashed", generation={"repairs": 2}
    )
    assert create_command._failure(at_start) == (
        "clock failed at Start (AppCrashed). Claude repaired it twice, in vain"
    )
    for reason, progress, step in [
        ("ProvisioningDeadlineExceeded", 15, "Server"),
        ("ProvisioningDeadlineExceeded", 20, "Code"),
        ("GenerationRefused", 10, "Code"),
        ("PageBroken", 80, "Check"),
    ]:
        failed = an_app(phase="Destroyed", progress=progress, terminationReason=reason)
        assert create_command._failure(failed) == f"clock failed at {step} ({reason})"


def test_an_app_that_has_ended_tells_when():
    ended = an_app(
        phase="Destroyed", terminationReason="Expired", destroyedAt="2026-01-01T00:00:00Z"
    )

    class Found(Cluster):
        def find(self, kind, name, namespace=None):
            return ended.document

    with pytest.raises(CommandError, match=r"^clock ended at .*\(Expired\)$") as told:
        find.find_living_app(Found(), "clock")
    assert told.value.next_steps == ("kubectl spawn create --like clock",)


# A change that waits for a budget.

WAITS = {"reason": "WaitingForBudget", "message": "The new prompt waits: budget team has no room"}


class Silent:
    def show(self, app, elapsed):
        pass


def test_a_change_that_waits_for_a_budget_says_so_once():
    talk = io.StringIO()
    follower = revise_command._Waits(Silent(), Terminal(io.StringIO(), talk, {}))
    app = an_app(phase="Running", conditions={"UpdateFailed": WAITS})
    follower.show(app, MINUTE)
    follower.show(app, 2 * MINUTE)
    assert talk.getvalue().count("budget team has no room; the app runs on as it is") == 1
    assert "kubectl spawn budgets" in talk.getvalue()


def test_a_change_that_still_waits_for_a_budget_has_not_failed():
    app = an_app(phase="Running", conditions={"UpdateFailed": WAITS})
    with pytest.raises(CommandError, match="It goes on") as told:
        revise_command.tell(None, app, Outcome(app, timed_out=True), MINUTE, MINUTE)
    assert told.value.code is ExitCode.TIMEOUT
    assert "no room" in told.value.cause


# A change that is over.

PAST = {"promptDigest": "a", "at": "2026-11-29T13:00:00Z"}


def changed(**status) -> App:
    return an_app(phase="Running", revisions=[{"revision": 1, **PAST}], **status)


def done(monkeypatch, files) -> str:
    """What is told of version 2, for which Claude was paid 3 cents, with those files of both."""

    def source_of(_, app, version):
        assert app.name == "clock"
        return files[version]

    monkeypatch.setattr(revise_command, "find_console", lambda _: None)
    monkeypatch.setattr(revise_command, "source_of", source_of)
    before = changed(revision=1, cost={"claude": "0.086"})
    after = changed(revision=2, cost={"claude": "0.116"})
    talk = io.StringIO()
    call = Call(Cluster(), Terminal(io.StringIO(), talk, {}))
    revise_command.tell(call, before, Outcome(after, timed_out=False), MINUTE, MINUTE)
    return talk.getvalue().strip()


def test_a_change_names_its_files_and_its_cost(monkeypatch):
    old = {"index.html": b"1", "board.js": b"1", "old.css": b"1"}
    new = {"index.html": b"1", "board.js": b"2", "new.css": b"1"}
    assert done(monkeypatch, {1: old, 2: new}) == (
        "✓ version 2 of clock runs after 1m (board.js, new.css, old.css changed) · $0.03 "
        "· data kept"
    )
    many = {f"{n}.js": b"1" for n in range(6)}
    assert "(0.js, 1.js, 2.js, 3.js and 2 more changed)" in done(monkeypatch, {1: {}, 2: many})


def test_a_change_whose_files_cannot_be_had_is_told_without_them(monkeypatch):
    class Gone(dict):
        def __missing__(self, version):
            raise CommandError("the console is away")

    assert done(monkeypatch, Gone()) == "✓ version 2 of clock runs after 1m · $0.03 · data kept"


def test_a_failed_change_names_its_cost():
    failure = {"UpdateFailed": {"reason": "AppCrashed", "message": "it crashed"}}
    before = changed(cost={"claude": "0.086"})
    after = changed(cost={"claude": "0.116"}, conditions=failure)
    with pytest.raises(CommandError, match=r"the old one still runs · \$0\.03$"):
        revise_command.tell(None, before, Outcome(after, timed_out=False), MINUTE, MINUTE)
    with pytest.raises(CommandError, match=r"the old one still runs$"):
        revise_command.tell(None, after, Outcome(after, timed_out=False), MINUTE, MINUTE)


def test_the_head_of_an_order_splits_its_estimate():
    app = an_app(tier="light", cost={"estimated": "0.104"})
    assert order_of(app, Decimal("0.086")) == (
        "webapp, light · about $0.10 (server 0.018, Claude 0.086)"
    )
    assert order_of(app, None) == "webapp, light · about $0.10"
    # The estimate of an app that was changed has Claude in it more than once.
    again = changed(tier="light", cost={"estimated": "0.19"})
    assert order_of(again, Decimal("0.086")) == "webapp, light · about $0.19"


# The end.


def test_the_moments_of_an_end_are_told_one_by_one(monkeypatch):
    receipts = iter([[{"kind": "Droplet"}], [{"kind": "Droplet", "deletionAcceptedAt": "x"}]])

    class Console:
        def json(self, path):
            assert path == "/api/sessions/team-a.clock/receipt"
            return {"resources": next(receipts)}

    monkeypatch.setattr(end_command, "find_console", lambda _: Console())
    monkeypatch.setattr(end_command, "_LOOK_SECONDS", 0)
    talk = io.StringIO()
    before = an_app(url="https://clock.example.com")
    marks = end_command._Marks(Terminal(io.StringIO(), talk, {}), Cluster(), before)
    ending = an_app(phase="Destroying")

    def look():
        marks.show(ending, timedelta(seconds=2.6))
        return marks.told_server

    in_time(look)
    marks.show(ending, timedelta(seconds=3))
    assert talk.getvalue().splitlines() == [
        "✓ address off after 2.6s",
        "✓ server destroyed after 2.6s",
    ]


def test_whoever_waits_no_longer_has_seen_the_app_all_the_same(tmp_path):
    """The API server's watch tells nothing in the time: what was found at first is known."""
    program = tmp_path / "kubectl"
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in *--watch*) exec sleep 30;; esac\n'
        'echo \'{"metadata": {"name": "clock"}, "spec": {}, "status": {}}\'\n'
    )
    program.chmod(0o755)
    cluster = RealCluster(program=str(program))
    outcome = follow(cluster, "clock", lambda _app: False, Silent(), limit=timedelta())
    assert outcome.timed_out
    assert outcome.app.name == "clock"
