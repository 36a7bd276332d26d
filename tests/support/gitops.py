"""What GitOps tools make of an object: Argo CD by argocd/health.lua, Flux by the real kstatus."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from lupa.lua51 import LuaRuntime

from spawnai_local import toolchain
from spawnai_local.paths import checkout

SCRIPT = (checkout() / "argocd" / "health.lua").read_text()

ARGO_CD_OF_KSTATUS = {
    "InProgress": "Progressing",
    "Current": "Healthy",
    "Failed": "Degraded",
    "Terminating": "Progressing",
}
"""Argo CD's word for a verdict of kstatus."""


def argo_cd_health(document: dict[str, Any]) -> tuple[str, str]:
    """Status and message, from the script as Argo CD runs it: with the object alone, no library."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    for library in ("os", "io", "string", "table", "math", "debug", "package", "require"):
        lua.globals()[library] = None
    lua.globals()["obj"] = lua.table_from(json.loads(json.dumps(document)), recursive=True)
    answer = lua.execute(SCRIPT)
    return answer["status"], answer["message"]


def kstatus_of(documents: Sequence[dict[str, Any]]) -> list[str]:
    """The verdict of Flux's own library on each (local/programs/kstatus)."""
    done = subprocess.run(
        [toolchain.kstatus()],
        input="".join(json.dumps(document) + "\n" for document in documents),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [json.loads(line)["status"] for line in done.stdout.splitlines()]
