"""The scopes of a token: those that are probed are those that the guide lists."""

import re
from pathlib import Path

from spawnai.digitalocean import scopes

GUIDE = Path(__file__).parents[3] / "docs" / "guide.md"
ALL = (*scopes.BASE, *scopes.of_domain("example.com"), *scopes.LOAD_BALANCERS, *scopes.IMAGES)


def test_the_guide_lists_every_scope_that_is_probed_and_no_other():
    section = GUIDE.read_text().split("What the DigitalOcean token may do")[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    told = set(re.findall(r"`([a-z_]+:[a-z]+)`", "\n".join(table)))
    assert told - {"account:read"} == {scope.name for scope in ALL}


def test_no_probe_can_change_anything():
    for scope in ALL:
        call = scope.probe
        made_for_us = call.path == "/v2/tags" and call.body == {"name": "spawn-ai"}
        assert call.method == "GET" or not call.body or made_for_us, scope
        if call.method == "DELETE":
            assert {*call.values.values()} & {1, "00000000-0000-4000-8000-000000000000"}
