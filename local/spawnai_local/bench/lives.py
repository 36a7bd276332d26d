"""Twenty sessions at once, from manifest to tombstone: how quick, with how many calls and writes.

Their droplets are shells with an agent, so that every delay is known: the ideal time to Ready is
max(droplet boot, generation) + installation + app start, for each session by its own app's length.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from spawnai.api.names import API_VERSION, TTL_ANNOTATION
from spawnai.api.spawnclass import LifetimeSpec
from spawnai.generation.schemas import answer_schema
from spawnai_local.bench import audit
from spawnai_local.bench.cluster import ClusterClient, SessionFollower, sessions_path
from spawnai_local.bench.emulator import Call, EmulatorControl
from spawnai_local.bench.figures import Figure, Judge, quantile, words_of
from spawnai_local.bench.machine import Noise, Onlooker
from spawnai_local.bench.operator_process import OperatorProcess
from spawnai_local.bench.stacks import BenchStack, bench_stack
from spawnai_local.claude.answers import answer_text
from spawnai_local.claude.request import Request
from spawnai_local.claude.tokens import BYTES_PER_TOKEN
from spawnai_local.cloud_settings import LOCAL_DIGITALOCEAN_TOKEN, CloudSettings
from spawnai_local.machines.shell_host import ShellPace
from spawnai_local.narration import Narrator

NAMESPACE = "default"
BOOT_SECONDS = 12.0
LONGEST_GENERATION_SECONDS = 15.0
FIRST_TOKEN_SECONDS = 0.8
PACE = ShellPace(agent=0.0, install=2.0, start=1.0)
LIFE_SECONDS = 40
LIFETIME = LifetimeSpec(
    max="24h", provisioning_deadline="4m", notice="15s", warning="20s", dead_man_grace="1m"
)
_READY_SECONDS = 120.0
_END_SECONDS = 120.0

ORDERS: tuple[tuple[str, str], ...] = (
    ("webapp", "A retro board with three columns, cards people can add and vote on"),
    ("api", "A JSON API that keeps quotes in memory and picks one at random"),
    ("script", "Print the first thousand prime numbers and a histogram of their last digits"),
)


@dataclass(frozen=True, slots=True)
class Lives:
    """What was measured."""

    sessions: int
    ratios: tuple[float, ...]
    seconds_to_ready: tuple[float, ...]
    ideal_seconds: tuple[float, ...]
    calls: tuple[Counter[str], ...]
    shared_calls: Counter[str]
    seconds_of_sharing: float
    writes: tuple[Counter[str], ...]
    progress_writes: tuple[int, ...]
    event_writes: int
    other_writes: Counter[str] = field(default_factory=Counter)
    noise: Noise = field(default_factory=Noise)

    def figures(self) -> list[Figure]:
        """The figures of the table."""
        return [
            Figure(
                "time to Ready ÷ ideal critical path",
                "",
                self.ratios,
                1.05,
                remark=(
                    f"{self.sessions} sessions at once; ideal "
                    f"{min(self.ideal_seconds):.1f} to {max(self.ideal_seconds):.1f} s, "
                    f"measured median {quantile(self.seconds_to_ready, 0.5):.2f} s"
                ),
            ),
            Figure(
                "DigitalOcean calls of a session's whole life",
                "",
                tuple(float(one.total()) for one in self.calls),
                5,
                Judge.MOST,
                remark=f"{_words(self.calls)}; beside them, shared by all: "
                + words_of(self.shared_calls),
            ),
            Figure(
                "API-server writes of a session's whole life",
                "",
                tuple(float(one.total()) for one in self.writes),
                14,
                Judge.MOST,
                remark=f"{_words(self.writes)}; apart: {sum(self.progress_writes)} progress writes "
                f"and {self.event_writes} Event writes for all {self.sessions} sessions. The patch "
                "of spawnrecords takes the finalizer off the closed ledger; the goal is older",
            ),
        ]


async def measure(directory: Path, narrator: Narrator, *, sessions: int) -> Lives:
    """Bring up a stack, run the sessions through their lives, and count."""
    rate = tokens_per_second()
    cloud = CloudSettings(
        boot_seconds=(BOOT_SECONDS, BOOT_SECONDS),
        first_token_seconds=FIRST_TOKEN_SECONDS,
        tokens_per_second=rate,
        agents=PACE,
        droplet_limit=100,
    )
    async with (
        bench_stack(directory, cloud, LIFETIME, narrator) as stack,
        ClusterClient(stack.kubeconfig) as cluster,
        EmulatorControl(stack.cloud.digitalocean_url or "", LOCAL_DIGITALOCEAN_TOKEN) as emulator,
    ):
        return await stack.while_up(
            _live(stack, cluster, emulator, narrator, sessions=sessions, rate=rate)
        )


async def _live(
    stack: BenchStack,
    cluster: ClusterClient,
    emulator: EmulatorControl,
    narrator: Narrator,
    *,
    sessions: int,
    rate: float,
) -> Lives:
    operator = OperatorProcess(stack)
    await operator.start()
    await stack.until_classes_are_ready(cluster)
    before = await emulator.last_number()
    onlooker = Onlooker(stack.pids())
    orders = [ORDERS[number % len(ORDERS)] for number in range(sessions)]
    names = [f"life-{number:02d}" for number in range(sessions)]
    narrator.say(f"{sessions} sessions are ordered at once")
    async with SessionFollower(cluster, NAMESPACE) as follower:
        ordered: dict[str, float] = {}

        async def order(name: str, app_type: str, prompt: str) -> None:
            ordered[name] = time.monotonic()
            await cluster.create(
                sessions_path(NAMESPACE), session_document(name, app_type, prompt, LIFE_SECONDS)
            )

        await asyncio.gather(
            *(
                order(name, app_type, prompt)
                for name, (app_type, prompt) in zip(names, orders, strict=True)
            )
        )
        await follower.until_all("Running", set(names), limit_seconds=_READY_SECONDS)
        noise = onlooker.noise()
        narrator.say("all are Ready; now their time runs out")
        await follower.until_all("Destroyed", set(names), limit_seconds=_END_SECONDS)
        await asyncio.sleep(8)  # the finalizers go, and what waits to be written is
        calls = await emulator.calls(before)
        writes = audit.read_writes(stack.audit_log)
        await operator.stop()
        uids = {name: str(follower.newest[name]["metadata"]["uid"]) for name in names}
        taken = [follower.reached[name]["Running"] - ordered[name] for name in names]
    ideal = [ideal_seconds(app_type, prompt, rate) for app_type, prompt in orders]
    return _counts(uids, calls, writes, taken=taken, ideal=ideal, noise=noise)


def _counts(
    uids: dict[str, str],
    calls: Sequence[Call],
    writes: Sequence[audit.Write],
    *,
    taken: Sequence[float],
    ideal: Sequence[float],
    noise: Noise,
) -> Lives:
    names = list(uids)
    name_of = {uid: name for name, uid in uids.items()}
    per_session: dict[str, Counter[str]] = {name: Counter() for name in names}
    shared: Counter[str] = Counter()
    for call in calls:
        name = name_of.get(call.session or "")
        (shared if name is None else per_session[name])[call.endpoint] += 1
    written: dict[str, Counter[str]] = {name: Counter() for name in names}
    progress: Counter[str] = Counter()
    events, others = 0, Counter[str]()
    for write in writes:
        owner = session_of(write, uids)
        if write.kind is audit.WriteKind.EVENT:
            events += 1
        elif write.kind is audit.WriteKind.LEASE or owner is None:
            others[write.what] += 1
        elif write.kind is audit.WriteKind.PROGRESS:
            progress[owner] += 1
        else:
            written[owner][write.what] += 1
    return Lives(
        sessions=len(names),
        ratios=tuple(real / best for real, best in zip(taken, ideal, strict=True)),
        seconds_to_ready=tuple(taken),
        ideal_seconds=tuple(ideal),
        calls=tuple(per_session.values()),
        shared_calls=shared,
        seconds_of_sharing=max((call.received_at for call in calls), default=0.0)
        - min((call.received_at for call in calls), default=0.0),
        writes=tuple(written.values()),
        progress_writes=tuple(progress[name] for name in names),
        event_writes=events,
        other_writes=others,
        noise=noise,
    )


def session_of(write: audit.Write, uids: Mapping[str, str]) -> str | None:
    """The session that a write belongs to, told from the name of what was written."""
    if write.resource.startswith("spawnsessions"):
        return write.name if write.name in uids else None
    return next((name for name, uid in uids.items() if uid in write.name), None)


def session_document(
    name: str, app_type: str, prompt: str, ttl_seconds: int | None = None
) -> dict[str, Any]:
    """A manifest."""
    annotations = {} if ttl_seconds is None else {TTL_ANNOTATION: f"{ttl_seconds}s"}
    return {
        "apiVersion": API_VERSION,
        "kind": "SpawnSession",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations},
        "spec": {"prompt": prompt, "appType": app_type},
    }


def answer_length(app_type: str, prompt: str) -> int:
    """How many characters the simulated Claude writes for an order."""
    request = Request(
        model="",
        max_tokens=0,
        streamed=True,
        session="",
        app_type=app_type,
        prompt=prompt,
        text="",
        marked_prefix="",
        unmarked="",
        wants_app=True,
        is_repair=False,
        properties=frozenset(answer_schema(app_type)["properties"]),
    )
    return len(answer_text(request, (), 1))


def tokens_per_second() -> float:
    """The speed at which the longest answer takes LONGEST_GENERATION_SECONDS."""
    longest = max(answer_length(*order) for order in ORDERS)
    return longest / BYTES_PER_TOKEN / (LONGEST_GENERATION_SECONDS - FIRST_TOKEN_SECONDS)


def ideal_seconds(app_type: str, prompt: str, rate: float) -> float:
    """The critical path without anything of ours on it."""
    generation = FIRST_TOKEN_SECONDS + answer_length(app_type, prompt) / BYTES_PER_TOKEN / rate
    return max(BOOT_SECONDS + PACE.agent, generation) + PACE.install + PACE.start


def _words(counters: Sequence[Counter[str]]) -> str:
    """What most sessions have, then what the others have instead."""
    kinds = Counter(tuple(sorted(one.items())) for one in counters).most_common()
    if len(kinds) == 1:
        return _listed(kinds[0][0])
    return "; ".join(f"{count} of {len(counters)} have {_listed(kind)}" for kind, count in kinds)


def _listed(kind: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{number} {what}" if number > 1 else what for what, number in kind)


def seconds_of(moment: str) -> float:
    """An RFC 3339 time as epoch seconds."""
    return datetime.fromisoformat(moment).timestamp()
