"""A checkout may lie anywhere: each path that goes into a shell, a Caddyfile or a unit is one word.

Machines (tests/contract/machines) and a gateway with a real Caddy (tests/contract/gateway) work in
paths with spaces, too.
"""

import re
import shlex
import subprocess
from pathlib import Path

from spawnai.gateway.caddy import render_caddyfile
from spawnai.gateway.settings import gateway_settings_from
from spawnai_local.machines.mirror import _starter
from spawnai_local.stack import exports

ODD = """a b's "c" $HOME `d`"""


def shell(script: str) -> str:
    done = subprocess.run(
        ["sh", "-euc", script], capture_output=True, text=True, timeout=20, check=True
    )
    return done.stdout


def test_what_a_person_sources_sets_the_variables_as_they_are(tmp_path):
    file = tmp_path / "env"
    file.write_text(exports({"KUBECONFIG": f"/{ODD}/kubeconfig"}, Path(f"/{ODD}/bin")))
    said = shell(f'. {shlex.quote(str(file))}; printf "%s\\n" "$KUBECONFIG" "${{PATH%%:*}}"')
    assert said.splitlines() == [f"/{ODD}/kubeconfig", f"/{ODD}/bin"]


def test_a_program_of_the_mirror_starts_one_that_lies_anywhere(tmp_path):
    program = tmp_path / ODD
    program.write_text('#!/bin/sh\nprintf "%s" "$1"\n')
    program.chmod(0o755)
    starter = tmp_path / "starter"
    starter.write_text(_starter(program))
    assert shell(f"sh {shlex.quote(str(starter))} 'x y'") == "x y"


def test_every_path_in_the_gateways_caddyfile_is_one_quoted_word():
    folders = {
        name: f"/{name} {ODD}"
        for name in ("SPAWNAI_GATEWAY_ADMIN_SOCKET", "SPAWNAI_GATEWAY_TLS", "SPAWNAI_GATEWAY_CA")
    }
    text = render_caddyfile(
        gateway_settings_from({"SPAWNAI_GATEWAY_DOMAIN": "a.example", **folders})
    )
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', text)
    for folder in folders.values():
        escaped = folder.replace('"', '\\"')
        assert text.count(escaped) == sum(escaped in word for word in words) > 0
