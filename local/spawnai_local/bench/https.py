"""What HTTPS costs: calls of a session's life in each mode, and time until the app is shown.

Their droplets are machines with the real agent and web server; certificates come from a real ACME
server (Pebble), which looks for proofs and refuses nonces as it pleases. So the time that is added
holds the server's own, as far as it was not done while the app was written.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spawnai.api.names import TTL_ANNOTATION
from spawnai_local.bench.cluster import ClusterClient, Seen, SessionFollower, sessions_path
from spawnai_local.bench.emulator import EmulatorControl
from spawnai_local.bench.figures import Figure, Judge, quantile
from spawnai_local.bench.lives import LIFETIME, ORDERS, session_document
from spawnai_local.classes import LOCAL_CLASS, LOCAL_DNS_CLASS, LOCAL_WILDCARD_CLASS
from spawnai_local.cloud_settings import LOCAL_DIGITALOCEAN_TOKEN, CloudSettings
from spawnai_local.narration import Narrator
from spawnai_local.stack import LocalStack
from spawnai_local.stack_settings import StackSettings

NAMESPACE = "default"
BOOT_SECONDS = 3.0
LIFE_SECONDS = 30
MOST_CALLS = {LOCAL_CLASS: 3, LOCAL_DNS_CLASS: 5, LOCAL_WILDCARD_CLASS: 3}
MODES = {
    LOCAL_CLASS: "Direct on the address",
    LOCAL_DNS_CLASS: "Direct with a name",
    LOCAL_WILDCARD_CLASS: "Wildcard",
}
_READY_SECONDS = 240.0
_END_SECONDS = 240.0
_CLASS_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Served:
    """What was measured, by class."""

    sessions: int
    calls: Mapping[str, tuple[Counter[str], ...]]
    added_seconds: Mapping[str, tuple[float, ...]]
    without: Mapping[str, int]
    """How many were shown by HTTP after all."""

    def figures(self) -> list[Figure]:
        """The figures of the table."""
        found = [
            Figure(
                f"DigitalOcean calls of a session's life, {MODES[name]}",
                "",
                tuple(float(one.total()) for one in calls),
                MOST_CALLS[name],
                Judge.MOST,
                remark=", ".join(
                    f"{count} {endpoint}"
                    for endpoint, count in sum(calls, Counter[str]()).most_common()
                ),
            )
            for name, calls in self.calls.items()
        ]
        added = self.added_seconds[LOCAL_CLASS]
        return [
            *found,
            Figure(
                "added to Ready by HTTPS, Direct on the address",
                "s",
                added,
                0.3,
                Judge.MEDIAN,
                remark=(
                    f"from the app's first answer to Ready, {self.sessions} at once; with a name "
                    f"{quantile(self.added_seconds[LOCAL_DNS_CLASS], 0.5):.2f} s at the median; "
                    f"shown by HTTP: {sum(self.without.values())}"
                ),
            ),
        ]


class _Follower(SessionFollower):
    """Notes also when each app first answered."""

    def __init__(self, cluster: ClusterClient, namespace: str) -> None:
        super().__init__(cluster, namespace)
        self.answers: dict[str, float] = {}

    def take(self, seen: Seen) -> None:
        """A session was seen in its newest state."""
        super().take(seen)
        conditions: list[dict[str, Any]] = seen.object.get("status", {}).get("conditions", [])
        for one in conditions:
            if one["type"] == "AppHealthy" and one["status"] == "True":
                self.answers.setdefault(seen.object["metadata"]["name"], seen.at)


async def measure(directory: Path, narrator: Narrator, *, sessions: int) -> Served:
    """Bring up a stack with an ACME server, and run sessions of each class through their lives."""
    settings = StackSettings(
        directory / "stack",
        local_cloud=CloudSettings(boot_seconds=(BOOT_SECONDS, BOOT_SECONDS), droplet_limit=100),
        lifetime=LIFETIME,
        https=True,
    )
    calls: dict[str, tuple[Counter[str], ...]] = {}
    added: dict[str, tuple[float, ...]] = {}
    without: dict[str, int] = {}
    async with (
        LocalStack(settings) as stack,
        ClusterClient(stack.kubeconfig) as cluster,
        EmulatorControl(stack.cloud.digitalocean_url or "", LOCAL_DIGITALOCEAN_TOKEN) as emulator,
    ):
        await _until_ready(cluster, LOCAL_WILDCARD_CLASS)
        for class_name in MODES:
            narrator.say(f"{sessions} sessions of class {class_name} are ordered at once")
            async with _Follower(cluster, NAMESPACE) as follower:
                counted = await _live(cluster, emulator, follower, class_name, sessions)
            calls[class_name], added[class_name], without[class_name] = counted
    return Served(sessions, calls, added, without)


async def _live(
    cluster: ClusterClient,
    emulator: EmulatorControl,
    follower: _Follower,
    class_name: str,
    sessions: int,
) -> tuple[tuple[Counter[str], ...], tuple[float, ...], int]:
    names = {f"{class_name}-{number:02d}" for number in range(sessions)}
    before = await emulator.last_number()
    app_type, prompt = ORDERS[0]
    for name in sorted(names):
        document = session_document(name, app_type, prompt)
        document["metadata"]["annotations"] = {TTL_ANNOTATION: f"{LIFE_SECONDS}s"}
        document["spec"]["className"] = class_name
        await cluster.create(sessions_path(NAMESPACE), document)
    await follower.until_all("Running", names, limit_seconds=_READY_SECONDS)
    seen = [follower.newest[name] for name in names]
    plain = sum(not one["status"]["url"].startswith("https://") for one in seen)
    uids = {str(one["metadata"]["uid"]) for one in seen}
    added = tuple(
        max(0.0, follower.reached[name]["Running"] - follower.answers[name]) for name in names
    )
    await follower.until_all("Destroyed", names, limit_seconds=_END_SECONDS)
    await asyncio.sleep(3)  # what proves that all is gone is still to come
    counted = {uid: Counter[str]() for uid in uids}
    for call in await emulator.calls(before):
        if call.session in counted:
            counted[call.session][call.endpoint] += 1
    return tuple(counted.values()), added, plain


async def _until_ready(cluster: ClusterClient, class_name: str) -> None:
    """Wait until sessions of a class can begin.

    Raises:
        TimeoutError: they cannot; the message has the class's own words.
    """
    ends_at = time.monotonic() + _CLASS_SECONDS
    while True:
        found = await cluster.get(f"/apis/spawn-ai.com/v1alpha1/spawnclasses/{class_name}")
        conditions = {one["type"]: one for one in found.get("status", {}).get("conditions", [])}
        ready = conditions.get("Ready", {})
        if ready.get("status") == "True":
            return
        if time.monotonic() > ends_at:
            raise TimeoutError(f"class {class_name} is not ready: {ready.get('message')}")
        await asyncio.sleep(0.5)
