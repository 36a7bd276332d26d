"""Two commands for an installation tool: may it be uninstalled, and does it work?

`spawnai guard-uninstall` runs before `helm uninstall`, under the operator's account. `spawnai
check-install` is the chart's test, under an account that may only create sessions in one namespace.
Neither changes anything.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
from kubernetes.aio import client

from spawnai.api.names import GROUP, VERSION
from spawnai.cluster_access import NoClusterAccess, cluster_access

from .cluster import RECORDS, SESSIONS, Cluster, ClusterError

_MOST_NAMED = 10
_READY_SECONDS = 10.0

Say = Callable[[str], object]


async def guard_uninstall(say: Say) -> int:
    """Say what would be left without the operator; returns 0 when nothing would.

    Exit codes: 0 nothing is left; 1 sessions or ledgers are open; 2 nobody can say.
    """
    try:
        access = await cluster_access()
    except NoClusterAccess as problem:
        say(f"{problem}\n")
        return 2
    async with client.ApiClient(access) as api:
        cluster = Cluster(api, before_write=_refuse)
        try:
            sessions = [one async for one in cluster.list_all(SESSIONS)]
            records = [one async for one in cluster.list_all(RECORDS)]
        except ClusterError as error:
            say(f"Cannot tell whether sessions are left: {error}\n")
            return 2
    left = [*filter(None, map(_living, sessions)), *filter(None, map(_open, records))]
    if not left:
        say("No session and no open ledger: nothing is left at DigitalOcean.\n")
        return 0
    say(f"{len(left)} sessions and open ledgers need the operator to destroy what they use:\n")
    for line in left[:_MOST_NAMED]:
        say(f"  {line}\n")
    if len(left) > _MOST_NAMED:
        say(f"  … and {len(left) - _MOST_NAMED} more\n")
    say(
        "Delete the sessions, then the classes, and uninstall again:\n"
        "  kubectl delete spawnsessions --all --all-namespaces\n"
        "  kubectl delete spawnclasses --all\n"
    )
    return 1


def _living(session: dict[str, Any]) -> str | None:
    """A session that holds its finalizer: the operator is not done with it."""
    metadata = session["metadata"]
    if session.get("status", {}).get("phase") == "Destroyed" or not metadata.get("finalizers"):
        return None
    return f"SpawnSession {metadata['namespace']}/{metadata['name']}"


def _open(record: dict[str, Any]) -> str | None:
    """A ledger that is not closed, or still held by the operator."""
    closed = record.get("status", {}).get("completedAt") is not None
    if closed and not record["metadata"].get("finalizers"):
        return None
    owner = record["spec"]["owner"]
    whose = "/".join(part for part in (owner.get("namespace"), owner["name"]) if part)
    return f"SpawnRecord {record['metadata']['name']} ({owner['kind']} {whose})"


async def check_install(ready_url: str, namespace: str, say: Say) -> int:
    """Ask the operator whether it is ready, and the API server whether it would take a session.

    Returns 0 when both say yes.
    """
    try:
        async with httpx.AsyncClient(timeout=_READY_SECONDS, trust_env=False) as http:
            answer = await http.get(ready_url)
    except httpx.HTTPError as error:
        say(f"{ready_url} gave no answer ({type(error).__name__}): does the operator run?\n")
        return 1
    if not answer.is_success:
        say(f"{ready_url} answered {answer.status_code}: {answer.text[:200]}\n")
        return 1
    say(f"{ready_url}: ready\n")
    try:
        access = await cluster_access()
    except NoClusterAccess as problem:
        say(f"{problem}\n")
        return 2
    session = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "SpawnSession",
        "metadata": {"generateName": "check-", "namespace": namespace},
        "spec": {"prompt": "A page that says hello", "appType": "webapp"},
    }
    async with client.ApiClient(access) as api:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await client.CustomObjectsApi(api).create_namespaced_custom_object(
                    GROUP, VERSION, namespace, SESSIONS, session, dry_run="All"
                )
        except client.ApiException as error:
            say(f"The API server refused a session (dry run): {error.status} {error.body}\n")
            return 1
        except (TimeoutError, OSError) as error:
            say(f"The API server gave no answer ({type(error).__name__})\n")
            return 1
    say(f"The API server takes a SpawnSession in {namespace} (dry run).\n")
    return 0


def _refuse() -> None:
    raise AssertionError("this command only reads")
