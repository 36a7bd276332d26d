"""The scopes of a token: every one that a call needs stands in the guide."""

import re
from pathlib import Path

from spawnai.digitalocean import scopes
from spawnai.digitalocean.scope_names import scope_of

ROOT = Path(__file__).parents[3]
ADAPTER = ROOT / "operator" / "spawnai" / "digitalocean"
SILENT = (
    *scopes.BASE,
    *scopes.of_domain("example.com"),
    *scopes.LOAD_BALANCERS,
    *scopes.IMAGES,
    *scopes.POOLS,
)


def told() -> set[str]:
    guide = (ROOT / "docs" / "guide.md").read_text()
    section = guide.split("What the DigitalOcean token may do")[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    return set(re.findall(r"`([a-z_]+:[a-z]+)`", "\n".join(table)))


def called() -> set[str]:
    """Every call that the adapter makes, as "METHOD /path"."""
    text = "".join(path.read_text() for path in ADAPTER.glob("*.py"))
    calls = re.findall(r'Call\(\s*"([A-Z]+)",\s*"([^"]+)"', text)
    return {f"{method} {path}" for method, path in calls}


def test_the_guide_lists_every_scope_that_a_call_needs():
    needed = {endpoint: scope_of(endpoint) for endpoint in called()}
    assert len(needed) > 20
    assert None not in needed.values(), needed
    # droplet:read brings sizes:read.
    names = [name for scopes in needed.values() for name in scopes.split(" or ")]
    named = {*names, *(scope.name for scope in SILENT)}
    assert named - {"sizes:read"} == told()


def test_a_probe_is_the_call_of_its_scope_and_can_change_nothing():
    for scope in SILENT:
        call = scope.probe
        assert scope_of(call.endpoint) == scope.name
        renames = call.method == "POST" and call.body == {"type": "rename", "name": "nothing"}
        assert call.method in ("GET", "DELETE") or renames
        if call.method != "GET":
            assert set(call.values.values()) & {1, "00000000-0000-4000-8000-000000000000"}
