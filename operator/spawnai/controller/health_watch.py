"""Looks at every running app from outside, and tells its session when that changes.

A look costs a connection and nothing else: no plan, no write. Only what holds for several looks in
a row wakes a session, so an app that comes and goes costs no write for each time.

All looks together tell more than each: when many droplets are silent at once, the fault is most
likely the operator's own, and then nothing may be concluded from any of them.
"""

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from random import Random

from spawnai import background
from spawnai.clock import Clock
from spawnai.droplet.probe import ProbeAnswer, Probes
from spawnai.lifecycle.health import ProbeTarget, is_blind
from spawnai.lifecycle.observation import OutsideView, Reachability, Sight
from spawnai.telemetry.metrics import Metrics

from .actions.agents import AGENT_PORT

JITTER = 0.2
GOOD_AGAIN = 2
"""How many good looks in a row it takes to believe that a silent app is back."""

TOGETHER = 1.0
"""Looks that are due within so many seconds are made at once: most of what one costs is to wake up
for it (0.86 ms of processor time alone, 0.33 ms among twenty).
"""

FRESH_INTERVALS = 2.5
"""For how many of its intervals an answer of a droplet proves the operator's own way."""


@dataclass(slots=True)
class _Followed:
    """What the looks at one app have shown."""

    target: ProbeTarget
    misses: int = 0
    downs: int = 0
    goods: int = 0
    first_miss: datetime | None = None
    view: OutsideView | None = None


class HealthWatch:
    """The looks from outside of one operator process. A restart forgets them."""

    def __init__(
        self,
        probes: Probes,
        clock: Clock,
        random: Random,
        metrics: Metrics,
        *,
        wake: Callable[[str], None],
    ) -> None:
        self._probes = probes
        self._clock = clock
        self._random = random
        self._metrics = metrics
        self._wake = wake
        self._followed: dict[str, _Followed] = {}
        self._due: list[tuple[float, str, _Followed]] = []
        self._news = asyncio.Event()
        self._looks: set[asyncio.Task[None]] = set()
        self._silent: set[str] = set()
        self._blind = False
        self._blind_until: datetime | None = None
        self._sees_since: datetime | None = None
        self._last_answer = float("-inf")
        # The two apps whose answers are fresh for longest: any third adds nothing to what is asked.
        self._fresh_until: dict[str, float] = {}

    def follow(self, uid: str, target: ProbeTarget) -> None:
        """Look at this app from now on; what is looked at already goes on."""
        known = self._followed.get(uid)
        if known is not None and known.target == target:
            return
        self.leave(uid)
        followed = self._followed[uid] = _Followed(target)
        self._schedule(uid, followed, self._random.random())

    def leave(self, uid: str) -> None:
        """Look at this app no more."""
        if self._followed.pop(uid, None) is not None:
            self._silent.discard(uid)
            self._judge_sight()

    def view(self, uid: str) -> OutsideView | None:
        """How an app is seen from outside."""
        followed = self._followed.get(uid)
        return followed.view if followed is not None else None

    def sight(self, uid: str) -> Sight:
        """What the operator sees of all droplets but this one's."""
        times = [at for at in (self._blind_until, self._sees_since) if at is not None]
        return Sight(self._blind, max(times, default=None), self._others_answer(uid))

    def move_dates(self, step: timedelta) -> None:
        """The clock was set by `step`: what is remembered here keeps its age."""
        if self._blind_until is not None:
            self._blind_until += step
        if self._sees_since is not None:
            self._sees_since += step
        for followed in self._followed.values():
            followed.view = followed.view.moved(step) if followed.view is not None else None
            if followed.first_miss is not None:
                followed.first_miss += step

    async def run(self) -> None:
        """Look at all of them, each in its time; never ends."""
        while True:
            if not self._due:
                self._news.clear()
                await self._news.wait()
            wait = self._due[0][0] - self._clock.now()
            if wait > 0:
                await self._clock.sleep(wait)
                continue
            soon = self._clock.now() + TOGETHER
            while self._due and self._due[0][0] <= soon:
                _, uid, followed = heapq.heappop(self._due)
                if self._followed.get(uid) is followed:
                    look = background.once(self._look(uid, followed), name=f"look at {uid}")
                    self._looks.add(look)
                    look.add_done_callback(self._looks.discard)

    async def close(self) -> None:
        """End the looks under way."""
        looks = list(self._looks)
        for look in looks:
            look.cancel()
        if looks:
            await asyncio.wait(looks)

    def _schedule(self, uid: str, followed: _Followed, intervals: float) -> None:
        due = self._clock.now() + followed.target.interval * intervals
        heapq.heappush(self._due, (due, uid, followed))
        self._news.set()

    async def _look(self, uid: str, followed: _Followed) -> None:
        answer = await self._ask(followed.target)
        if self._followed.get(uid) is not followed:
            return
        self._metrics.health_probe(answer.value)
        self._schedule(uid, followed, self._random.uniform(1 - JITTER, 1 + JITTER))
        self._take_in(uid, followed, answer)

    async def _ask(self, target: ProbeTarget) -> ProbeAnswer:
        if target.port is not None:
            return await self._probes.health(target.address, target.port, target.timeout)
        if (entry := target.entry) is not None:
            answer = await self._probes.health_of(
                entry.host, entry.address, entry.port, target.timeout
            )
            if answer is not ProbeAnswer.DOWN:
                return answer
            # A load balancer answers also for a droplet that does not.
        knocked = await self._probes.knock(target.address, AGENT_PORT, target.timeout)
        if target.entry is not None and knocked is ProbeAnswer.UP:
            return ProbeAnswer.DOWN
        return knocked

    def _take_in(self, uid: str, followed: _Followed, answer: ProbeAnswer) -> None:
        now = self._clock.utc_now()
        if answer is ProbeAnswer.NONE:
            followed.first_miss = followed.first_miss or now
            followed.misses += 1
            followed.goods = followed.downs = 0
            self._silent.add(uid)
        else:
            followed.misses, followed.first_miss = 0, None
            self._note_answer(uid, followed, now)
            self._silent.discard(uid)
            good = answer is ProbeAnswer.UP
            followed.goods = followed.goods + 1 if good else 0
            followed.downs = 0 if good else followed.downs + 1
        self._judge_sight()
        seen = _seen(followed, answer)
        before = followed.view.state if followed.view is not None else None
        if seen is None or seen is before:
            return
        since = followed.first_miss if seen is Reachability.SILENT else now
        followed.view = OutsideView(seen, since or now)
        if before is not None or seen is not Reachability.ANSWERS:
            self._wake(uid)

    def _note_answer(self, uid: str, followed: _Followed, now: datetime) -> None:
        """Somebody answers. After a time in which nobody did, silence says something from now on:
        whoever is silent yet may just not have been asked again.
        """
        at, fresh_for = self._clock.now(), followed.target.interval * FRESH_INTERVALS
        if at - self._last_answer > fresh_for:
            self._sees_since = now
        self._last_answer = at
        answers = self._fresh_until | {uid: at + fresh_for}
        self._fresh_until = dict(sorted(answers.items(), key=itemgetter(1))[-2:])

    def _judge_sight(self) -> None:
        blind = is_blind(len(self._silent), len(self._followed))
        if self._blind and not blind:
            self._blind_until = self._clock.utc_now()
        if blind != self._blind:
            self._blind = blind
            self._metrics.is_blind(int(blind))

    def _others_answer(self, uid: str) -> bool:
        now = self._clock.now()
        return any(now < until for name, until in self._fresh_until.items() if name != uid)


def _seen(followed: _Followed, answer: ProbeAnswer) -> Reachability | None:
    """What the looks show by now; None: too few in a row say the same."""
    if followed.misses >= followed.target.failures:
        return Reachability.SILENT
    if answer is ProbeAnswer.FAILED or followed.downs >= followed.target.failures:
        return Reachability.DOWN
    if followed.goods >= (GOOD_AGAIN if followed.view is not None else 1):
        return Reachability.ANSWERS
    return None
