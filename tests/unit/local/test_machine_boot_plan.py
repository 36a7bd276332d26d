import base64
import gzip
from pathlib import Path

import pytest

from spawnai_local.machines.cloud_init import own_paths, plan_boot

ROOT = Path("/machines/7")


def content(file):
    return base64.b64decode(file.content)


def only_file(entry):
    plan = plan_boot(f"#cloud-config\nwrite_files:\n- {entry}\n", ROOT)
    (file,) = plan.files
    return file


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat /etc/motd", "cat /machines/7/etc/motd"),
        ("echo x >/var/log/a", "echo x >/machines/7/var/log/a"),
        ("A=/opt/spawnai B=/tmp", "A=/machines/7/opt/spawnai B=/machines/7/tmp"),
        ("/bin/sh /dev/null /proc/1 /usr/bin/env", "/bin/sh /dev/null /proc/1 /usr/bin/env"),
        ("$HOME/etc ./var/x a/tmp/b http://h/opt/x", "$HOME/etc ./var/x a/tmp/b http://h/opt/x"),
        ("/etcetera /optional /variable", "/etcetera /optional /variable"),
    ],
)
def test_a_machines_own_directories_are_led_below_its_root(text, expected):
    assert own_paths(text, ROOT) == expected


@pytest.mark.parametrize("encoding", ["gz+b64", "gzip+base64", "gz+base64", "gzip+b64"])
def test_compressed_content_is_unpacked(encoding):
    packed = base64.b64encode(gzip.compress(b"hello")).decode()
    file = only_file(f"{{path: /a, encoding: {encoding}, content: {packed}}}")
    assert content(file) == b"hello"


@pytest.mark.parametrize(
    ("permissions", "mode"),
    [("'0600'", 0o600), ("0755", 0o755), ("'755'", 0o755), ("null", 0o644), ("rwx", 0o644)],
)
def test_permissions_are_octal_however_they_are_written(permissions, mode):
    assert only_file(f"{{path: /a, permissions: {permissions}}}").mode == mode


def test_commands_become_the_script_that_cloud_init_makes():
    plan = plan_boot("#cloud-config\nruncmd:\n- [echo, it's, 5]\n- echo $HOME\n- null\n", ROOT)
    assert plan.final_script == "#!/bin/sh\n'echo' 'it'\\''s' '5'\necho $HOME\n"


def test_one_unquoted_boolean_discards_all_of_runcmd_but_nothing_else():
    plan = plan_boot("#cloud-config\npackages: [caddy]\nruncmd:\n- echo a\n- false\n", ROOT)
    assert plan.final_script == ""
    assert plan.packages == ["caddy"]
    assert any("Unable to shellify type 'bool'" in complaint for complaint in plan.complaints)


def test_an_owner_that_does_not_exist_yet_loses_the_files_after_it_too():
    plan = plan_boot(
        "#cloud-config\nwrite_files:\n- {path: /a}\n- {path: /b, owner: 'app:app'}\n"
        "- {path: /c}\n- {path: /d, owner: 'app:app', defer: true}\n",
        ROOT,
    )
    assert [file.path for file in plan.files] == ["/a"]
    assert plan.deferred_files == []


def test_deferred_files_come_after_the_packages():
    plan = plan_boot("#cloud-config\nwrite_files:\n- {path: /a, defer: true}\n", ROOT)
    assert plan.files == []
    assert [file.path for file in plan.deferred_files] == ["/a"]


def test_a_script_is_run_last_by_the_interpreter_it_names():
    plan = plan_boot("#!/bin/bash -e\necho /etc/x\n", ROOT)
    assert plan.final_interpreter == "/bin/bash -e"
    assert "echo /machines/7/etc/x" in plan.final_script


@pytest.mark.parametrize(
    ("user_data", "complaint"),
    [
        ("cloud-config\nruncmd: [ls]", "Unhandled non-multipart"),
        ("# cloud-config\nruncmd: [ls]", "Unhandled non-multipart"),
        ("#cloud-config\n\tx: 1", "Failed loading yaml blob"),
        ("#cloud-config\njust text", "not a mapping"),
        ("#cloud-config\nruncmd: ls", "Expected list"),
        ("#cloud-config\nwrite_files: [{content: x}]", "No path provided"),
        ("#cloud-config\nwrite_files: [{path: /a, encoding: gz+b64, content: aGk=}]", "decoded as"),
    ],
)
def test_what_cloud_init_ignores_is_ignored_with_its_complaint(user_data, complaint):
    plan = plan_boot(user_data, ROOT)
    assert any(complaint in said for said in plan.complaints)
    assert (plan.files, plan.final_script) == ([], "")


@pytest.mark.parametrize("user_data", ["", "  \n", "#cloud-config\n"])
def test_nothing_to_do_is_no_complaint(user_data):
    assert plan_boot(user_data, ROOT).complaints == []
