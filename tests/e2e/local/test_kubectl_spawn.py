"""`kubectl spawn` as a person runs it, against the whole product on this machine."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.support.local_program import Local

from spawnai_local.paths import checkout

BROKEN = "A server that ends as soon as it is started (simulate:app-dies-at-once)"
CREATE = 'kubectl spawn create --name board --ttl 30m "A retro board with three columns"'


def run(stack: Local, command: str) -> subprocess.CompletedProcess[str]:
    """A command in another terminal, whatever its exit code."""
    return subprocess.run(
        ["sh", "-euc", f". {stack.directory}/env\n{command}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
        cwd=checkout(),
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def created(stack: Local) -> Iterator[subprocess.CompletedProcess[str]]:
    yield run(stack, CREATE)
    stack.shell("kubectl delete spawnsessions --all --timeout=60s")


def test_create_waits_and_prints_the_url_alone(stack, created):
    assert created.returncode == 0, created.stderr
    url = stack.shell("kubectl get ss board -o jsonpath='{.status.url}'")
    assert created.stdout == f"{url}\n"
    assert "board runs after" in created.stderr
    assert "100%" in created.stderr or "Next: kubectl spawn open" in created.stderr


def test_the_same_name_again_is_refused_with_what_to_do(stack, created):
    again = run(stack, CREATE)
    assert again.returncode == 2
    assert "board exists already" in again.stderr
    other = run(stack, 'kubectl spawn create --name board "A chess clock"')
    assert "board exists already with another order" in other.stderr


def test_list_and_status_tell_the_same_as_the_object(stack, created):
    assert "board" in run(stack, "kubectl spawn list").stdout
    items = json.loads(run(stack, "kubectl spawn list -o json").stdout)["items"]
    assert [item["metadata"]["name"] for item in items] == ["board"]
    status = run(stack, "kubectl spawn status board")
    assert status.returncode == 0
    assert "board · Running" in status.stdout
    assert re.search(r"URL +https://\S+ · https until \d\d \w+ \d{4}", status.stdout)


def test_extend_moves_the_end_and_says_how_to_undo_it(stack, created):
    end = "kubectl get ss board -o jsonpath='{.status.expirationTime}'"
    before = stack.shell(end)
    extended = run(stack, "kubectl spawn extend board 1h")
    assert extended.returncode == 0, extended.stderr
    assert "undo: kubectl spawn extend board -1h" in extended.stderr
    assert stack.shell(end) > before
    undone = run(stack, "kubectl spawn extend board -1h")
    assert undone.returncode == 0, undone.stderr
    assert stack.shell(end) == before
    managers = stack.shell(
        "kubectl get ss board -o jsonpath='{.metadata.managedFields[*].manager}'"
    )
    assert "spawn" in managers.split()


def test_an_app_that_is_not_there_is_not_found_and_the_nearest_is_named(stack, created):
    missing = run(stack, "kubectl spawn status bord")
    assert missing.returncode == 5
    assert "Did you mean board?" in missing.stderr


def test_a_class_that_is_not_there_is_not_waited_for(stack):
    refused = run(stack, 'kubectl spawn create --class locale "A page about tea"')
    assert refused.returncode == 5
    assert "Did you mean local?" in refused.stderr


def test_a_refused_value_comes_with_the_sentence_of_the_api_server(stack):
    refused = run(stack, 'kubectl spawn create --region nowhere "A page"')
    assert refused.returncode == 2
    assert "write a DigitalOcean region slug" in refused.stderr


def test_without_a_right_the_exit_code_is_4(stack):
    account = "system:serviceaccount:default:default"
    stranger = f"{stack.directory}/stranger"
    as_stranger = f"kubectl --kubeconfig {stranger} config"
    stack.shell(
        f"cp {stack.directory}/kubeconfig {stranger}\n"
        f"{as_stranger} set-credentials stranger --token=$(kubectl create token default)\n"
        f"{as_stranger} set-context --current --user=stranger"
    )
    refused = run(stack, f'kubectl spawn --kubeconfig {stranger} create "A page about tea"')
    assert refused.returncode == 4
    assert account in refused.stderr
    assert "kubectl spawn doctor" in refused.stderr


def test_an_app_that_fails_ends_with_3_and_its_reason(stack):
    broken = run(stack, f"echo '{BROKEN}' | kubectl spawn create --type api -f -")
    assert broken.returncode == 3, broken.stderr
    assert "failed at Start (AppCrashed)" in broken.stderr, broken.stderr


def test_the_time_limit_of_waiting_ends_with_6_and_the_app_goes_on(stack):
    order = 'kubectl spawn create --name slow --type api "Quotes as JSON" --timeout 0s'
    limited = run(stack, order)
    assert limited.returncode == 6
    assert "kubectl spawn status --wait slow" in limited.stderr
    waited = run(stack, "kubectl spawn status --wait slow")
    assert waited.returncode == 0, waited.stderr


def test_revise_waits_for_the_new_version_and_goes_back_to_the_old_one(stack, created):
    prompt = "kubectl get ss board -o jsonpath='{.spec.prompt}'"
    before = stack.shell(prompt)
    changed = run(stack, 'kubectl spawn revise board "A countdown to a release" --timeout 90s')
    assert changed.returncode == 0, changed.stderr
    files = r"app\.js, index\.html, style\.css changed"
    told = rf"version 2 of board runs after \S+ \({files}\) · \$0\.\d\d · data kept"
    assert re.search(told, changed.stderr), changed.stderr
    back = run(stack, "kubectl spawn revise board --to 1 --timeout 90s")
    assert back.returncode == 0, back.stderr
    assert stack.shell(prompt) == before
    unknown = run(stack, "kubectl spawn revise board --to 9")
    assert unknown.returncode == 5
    assert "those that worked: 1, 2" in unknown.stderr


def test_eject_makes_a_repository_of_its_versions(stack, created, tmp_path):
    done = run(stack, f"kubectl spawn eject board --to {tmp_path}/board -o json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["commits"], told["branch"]) == (2, "main")
    assert {"README.md", "index.html"} <= set(told["files"])
    assert (tmp_path / "board" / "index.html").is_file()
    again = run(stack, f"kubectl spawn eject board --to {tmp_path}/board")
    assert again.returncode == 2
    assert "is not empty" in again.stderr


def test_end_asks_first_and_sees_it_gone(stack, created):
    unsure = run(stack, "kubectl spawn end board")
    assert unsure.returncode == 2
    assert "kubectl spawn end board --yes" in unsure.stderr
    ended = run(stack, "kubectl spawn end board --yes")
    assert ended.returncode == 0, ended.stderr
    assert re.search("(?s)address off after .*seen gone after", ended.stderr)
    assert stack.shell("kubectl get ss board -o jsonpath='{.status.phase}'") == "Destroyed"
    assert "board" in run(stack, "kubectl spawn list --ended").stdout
    assert "in all" in run(stack, "kubectl spawn cost").stderr


def test_a_deleted_app_is_still_listed_with_what_it_cost(stack, created):
    stack.shell("kubectl delete ss board --timeout=60s")
    listed = run(stack, "kubectl spawn list --ended --class local --since 1d")
    names = [line.split()[0] for line in listed.stdout.splitlines()]
    assert names.count("board") == 1, listed.stderr
    # One that ended and is not deleted is known twice, and listed once.
    assert sum(name.startswith("server-ends") for name in names) == 1
    assert "board" not in run(stack, "kubectl spawn list --ended --user nobody").stdout
    everywhere = run(stack, "kubectl spawn list --ended -A")
    assert re.search("(?m)^default +board ", everywhere.stdout), everywhere.stderr
    (cost,) = json.loads(run(stack, "kubectl spawn cost board -o json").stdout)["items"]
    assert float(cost["server"]) + float(cost["claude"]) == pytest.approx(float(cost["cost"]))
    assert float(cost["claude"]) > 0


def test_the_doctor_finds_this_cluster_in_order(stack):
    examined = run(stack, "kubectl spawn doctor")
    assert "the operator leads" in examined.stderr, examined.stderr
    assert "class local is ready" in examined.stderr


def test_kubectl_completes_the_commands_and_the_apps(stack):
    assert "create\t" in stack.shell("kubectl __complete spawn cr")
    assert "slow" in stack.shell("kubectl __complete spawn end sl")


def test_a_log_is_followed_to_the_end_of_its_app_and_over_a_restart_of_the_operator(stack):
    command = f". {stack.directory}/env\nexec kubectl spawn logs -f slow"
    add = (
        'curl -sSf --cacert $SPAWNAI_CA --json \'{"text": "Haste makes waste."}\' '
        "$(kubectl get ss slow -o jsonpath='{.status.url}')/quotes"
    )
    with subprocess.Popen(
        ["sh", "-euc", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as following:
        lines = iter(following.stdout.readline, "")
        assert any("Quote API listens" in line for line in lines)
        stack.shell(add)
        assert any("quote 4 was added" in line for line in lines)
        os.kill(stack.pid("operator"), signal.SIGKILL)
        stack.shell(add)
        assert "quote 5 was added" in next(lines)
        assert run(stack, "kubectl spawn end slow --yes").returncode == 0
        rest = list(lines)
        told = following.stderr.read()
    assert following.returncode == 0
    assert re.search("~ resumed after [0-9ms]+, nothing missed", told), told
    assert not [line for line in rest if "was added" in line]


def test_what_ended_here_is_exported_with_its_cost(stack):
    period = "--since 2026-01-01T00:00:00Z --to 2100-01-01T00:00:00Z"
    python = shlex.quote(sys.executable)
    lines = stack.shell(f"{python} -m spawnai.cli export focus {period}").splitlines()
    assert any(",Anthropic," in line and "board" in line for line in lines)
    assert any(",Virtual Machines," in line and "board" in line for line in lines)
    export = f"{python} -m spawnai.cli export sql --to sqlite:///{stack.directory}/export.db 2>&1"
    assert "rows changed" in stack.shell(export)
    assert "0 rows changed" in stack.shell(export)
