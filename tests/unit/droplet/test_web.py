"""What the agent has Caddy do; the machines of tests/contract run it."""

import json
from pathlib import Path

from spawnai.droplet.agent import web
from spawnai.droplet.agent.settings import Machine


def test_an_older_caddy_is_told_nothing_that_it_does_not_know_at_any_depth():
    """The routes to a version that is held stand within others."""
    routes = web.app_routes(Machine(), Path("/opt/spawnai"), is_server=True)
    assert json.dumps(routes).count(web.STREAM_DELAY) == 4  # two ports, each held or not
    plain = json.dumps(web._without(web.STREAM_DELAY, routes))
    assert web.STREAM_DELAY not in plain
    assert plain.count('"reverse_proxy"') == 4
