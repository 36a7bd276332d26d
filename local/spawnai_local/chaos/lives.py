"""One session's life with one trap in it: from its manifest to an empty cloud."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from spawnai.api.names import session_host_label
from spawnai_local.chaos import strays
from spawnai_local.chaos.calls import EVENTS, LEASE_MADE, ORDER, Edge
from spawnai_local.chaos.faults import CALLER_SECONDS, KILLS, Fault
from spawnai_local.chaos.gate import Passage, Trap
from spawnai_local.chaos.plans import OF_EACH_START, Flavour, Situation
from spawnai_local.chaos.stack import OPERATOR
from spawnai_local.chaos.world import Document, Unmet, World, moment_of

RUNNING_SECONDS = 200.0
"""How long a session may take to run: a lost answer is settled for 30 s, a silent Claude is given
up after 60 s, and operators that are killed begin again."""

END_SECONDS = 150.0
"""How long it may take to end."""

STRIKE_SECONDS = 60.0
"""How long a call is waited for that was made in the recorded run."""

LATE_STRIKE_SECONDS = 12.0
"""How long it is waited for when the situation is otherwise over: Events come late, for one."""

QUIET_SECONDS = 2.5
"""A session that made no call for so long has done what it had to."""

EVENTS_SECONDS = 1.5
"""How long an Event takes at most, on a quiet machine, from what it tells of to its write."""

REAPED_SECONDS = 300.0
"""How long a droplet that nobody ordered may live: two walks of the inventory and the pause between
them, all of it again when an operator dies or a listing fails."""

REST_SECONDS = 3.0
"""How long nothing may be written after the end."""

_LEAD_SECONDS = 3.0
"""How far ahead an end is set."""

_LONG_LEAD_SECONDS = 8.0
"""The same where the end itself is what is looked at: with its log, warning and promise before."""

_LONGER_TTL = "45m"
_TTL_DIFFERENCE_SECONDS = 15 * 60
_PAUSE_SECONDS = 0.1
_AGAIN_SECONDS = 0.5
_AT_THE_END = (
    Situation.EXPIRING,
    Situation.DELETED,
    Situation.FORGOTTEN,
    Situation.REAPED,
)
"""Where a fault strikes after the app ran."""


@dataclass(slots=True, eq=False)
class Life:
    """What happened to one session. Times are epoch seconds."""

    name: str
    lane: str
    flavour: Flavour
    situation: Situation | None
    """Where the trap is; None: a life without a fault, which is recorded."""
    trap: Trap | None = None
    edge: Edge | None = None
    """Whom the trapped call goes to."""
    before: Trap | None = None
    """What goes wrong first, so that the trapped call is made at all."""
    stray: int | None = None
    """The droplet that turned up after it was over."""
    uid: str = ""
    began: float = field(default_factory=time.time)
    expiry: float | None = None
    ended: float | None = None
    rest_from: float | None = None
    ledger: Document = field(default_factory=dict)
    phases: list[tuple[float, str]] = field(default_factory=list)
    """Its phases, each with the moment it was seen."""
    unmet: str | None = None
    """What did not happen in its time."""

    @property
    def struck(self) -> bool:
        """Whether its call came."""
        return self.trap is None or self.trap.struck_at is not None


class Stage(IntEnum):
    """Where lives that are led together wait for each other."""

    RUNS = 1
    """The app runs, and nothing has gone wrong yet but for who is being created."""
    STRUCK = 2
    """What was to go wrong has; what is left is the end."""


class Company:
    """Lives that are led together, because they share the operator's kills.

    None goes on from a stage before all others have reached it, so that a kill meets everyone in
    his own situation or at rest, and not, say, between the promise of an end and its telling.
    """

    def __init__(self, lives: Iterable["Life"]) -> None:
        self._stages = dict.fromkeys(lives, 0)
        self._changed = asyncio.Event()

    async def reach(self, life: "Life", stage: Stage) -> None:
        """Wait until all have reached it. Each does, or leaves, within its own limits."""
        self._stages[life] = stage
        self._tell()
        while min(self._stages.values()) < stage:
            await self._changed.wait()

    def leave(self, life: "Life") -> None:
        """Nobody waits for it any more."""
        self._stages.pop(life, None)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def is_complete(self) -> bool:
        """Whether all calls that are waited for, for a kill, have come."""
        return not any(
            life.trap is not None
            and life.trap.fault in KILLS
            and life.trap.owner == life.name
            and life.trap.struck_at is None
            and stage < Stage.STRUCK
            for life, stage in self._stages.items()
        )


class Living:
    """Leads lives. `restart` has the operator started again, for all who ask at once."""

    def __init__(self, world: World, restart: Callable[[], Awaitable[None]]) -> None:
        self._world = world
        self._gate = world.gate
        self._restart = restart
        self._turn = asyncio.Lock()

    async def live(self, life: Life, company: Company | None = None) -> None:
        """Lead a life to its end, whatever happens in it."""
        company = company or Company([life])
        try:
            await self._live(life, company)
        finally:
            company.leave(life)

    async def _live(self, life: Life, company: Company) -> None:
        world, name = self._world, life.name
        trap = life.trap
        begins = Situation.CREATING
        if life.situation is Situation.SETTLING:
            begins = Situation.SETTLING
            life.before = Trap(name, begins, ORDER, Fault.CUT)
            self._gate.set_trap(life.before)
        if trap is not None and trap.owner == name:
            self._gate.set_trap(trap)
        try:
            self._enter(life, begins)
            await world.apply(name, life.lane, life.flavour)
            life.uid = self._gate.uids[name]
            await world.until(name, "running", _has_phase("Running"), RUNNING_SECONDS)
            await self._while_it_runs(life, company)
        except Unmet as unmet:
            life.unmet = str(unmet)
        try:
            await self._leave(life)
        except Unmet as unmet:
            life.unmet = life.unmet or f"in the end, {unmet}"
        finally:
            self._gate.situations.pop(name, None)
            if life.before is not None:
                self._gate.remove_trap(life.before)
            if trap is not None and trap.owner == name:
                self._gate.remove_trap(trap)
                trap.let_go.set()

    def _enter(self, life: Life, situation: Situation | None) -> None:
        if situation is None:
            self._gate.situations.pop(life.name, None)
        else:
            self._gate.situations[life.name] = situation

    async def _while_it_runs(self, life: Life, company: Company) -> None:
        """The situations that come after creation, as far as this life has them."""
        recorded = life.situation is None
        if recorded:
            await self._quiet(life.name)
        elif life.situation in (Situation.CREATING, Situation.SETTLING):
            await self._strike(life, LATE_STRIKE_SECONDS)
        else:
            await self._quiet_from_events(life)
        self._enter(life, None)
        await company.reach(life, Stage.RUNS)
        if recorded or life.situation is Situation.READY:
            await self._ready(life)
        if recorded or life.situation is Situation.TTL_CHANGED:
            await self._change_ttl(life)
        if life.situation is Situation.CLASS_CHANGED or (
            recorded and life.flavour is Flavour.SHARED_FIREWALL
        ):
            await self._change_class(life)
        if life.situation not in _AT_THE_END:
            await company.reach(life, Stage.STRUCK)
        if life.situation is Situation.DELETED or (
            recorded and life.flavour is Flavour.SHARED_FIREWALL
        ):
            await self._delete(life)
        else:
            lead = life.situation is Situation.EXPIRING or recorded
            await self._expire(life, _LONG_LEAD_SECONDS if lead else _LEAD_SECONDS)
        if life.situation is Situation.REAPED:
            await self._reap(life)
        if life.situation is Situation.FORGOTTEN or (
            recorded and life.flavour is Flavour.OWN_FIREWALL
        ):
            await self._forget(life)
        await self._rest(life)

    async def _ready(self, life: Life) -> None:
        self._enter(life, Situation.READY)
        if life.trap is not None and life.trap.owner == OPERATOR:
            await self._in_turn(life, life.trap)
        else:
            await self._restart()
            await self._strike(life)
        if life.trap is None:
            await self._world.delete_lease()
        # Its class is looked at before anything else, and that takes its time.
        await self._quiet(life.name, 2 * QUIET_SECONDS)
        self._enter(life, None)

    async def _in_turn(self, life: Life, trap: Trap) -> None:
        """A call of the operator's own: nothing in it tells one plan's from another's."""
        async with self._turn:
            self._gate.set_trap(trap)
            try:
                if trap.call == LEASE_MADE:
                    await self._world.delete_lease()
                await self._strike(life)
            finally:
                self._gate.remove_trap(trap)
                trap.let_go.set()
            await self._world.stack.until_it_leads()

    async def _strike(self, life: Life, seconds: float = STRIKE_SECONDS) -> None:
        """Wait until the trap has struck, and its caller knows of it.

        A call that does not come is not this life's fault.
        """
        trap, deadline = life.trap, time.monotonic() + seconds
        if trap is None or life.edge is None:
            return
        while trap.struck_at is None and time.monotonic() < deadline:
            await asyncio.sleep(_PAUSE_SECONDS)
        while trap.struck_at is not None and trap.over_at is None:
            if time.time() > trap.struck_at + CALLER_SECONDS[life.edge]:
                break
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _change_ttl(self, life: Life) -> None:
        world, name = self._world, life.name
        before = moment_of(world.newest[name]["status"]["expirationTime"])
        self._enter(life, Situation.TTL_CHANGED)
        await world.annotate(name, ttl=_LONGER_TTL)
        await world.until(
            name,
            "told its later end",
            lambda one: (
                moment_of(one["status"]["expirationTime"])
                == (before or 0.0) + _TTL_DIFFERENCE_SECONDS
            ),
            END_SECONDS,
        )
        await self._until_switch_is_moved(life)
        await self._strike(life, LATE_STRIKE_SECONDS)
        await self._quiet(name)
        self._enter(life, None)

    async def _until_switch_is_moved(
        self, life: Life, *, unless_killed_since: float | None = None
    ) -> None:
        """Wait until the droplet's switch was told of the promised end.

        A longer life is promised only once the switch was told of it, so that is always waited for.
        An earlier end is promised first: an operator that dies between the two leaves a switch that
        is too late, which harms nobody while an operator lives, and the next one tells it within
        half an hour (spawnai/lifecycle/keep.py), long after this end. So a kill since that moment
        (epoch seconds) ends the wait: no rule says that such a switch is told before the end.
        """
        stack = self._world.stack
        status = self._world.newest[life.name]["status"]
        promised = moment_of(status["expirationTime"])
        deadline = time.monotonic() + END_SECONDS
        while stack.shells.expiry_of(status["droplet"]["id"]) != promised:
            since = unless_killed_since
            if since is not None and any(killed > since for killed, _ in stack.kills):
                return
            if time.monotonic() > deadline:
                raise Unmet("its droplet's switch was not told of its new end")
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _change_class(self, life: Life) -> None:
        """Open a port in the rules of the class: its firewall has to follow."""
        await self._quiet_from_events(life)
        self._enter(life, Situation.CLASS_CHANGED)
        changed = await self._world.change_class(life.name, {"firewall": {"ssh": True}})
        await self._world.until_class_observed(changed, END_SECONDS)
        await self._strike(life, LATE_STRIKE_SECONDS)
        await self._quiet(life.name)
        self._enter(life, None)

    async def _forget(self, life: Life) -> None:
        """Let the time run out for which the closed record is kept."""
        await self._quiet(life.name)
        life.ledger = await self._world.ledger(life.uid)
        self._enter(life, Situation.FORGOTTEN)
        await self._world.change_class(life.name, {"records": {"retention": "0s"}})
        deadline = time.monotonic() + END_SECONDS
        while await self._world.ledger_if_any(life.uid) is not None:
            if time.monotonic() > deadline:
                raise Unmet("its record was not dropped when its time was over")
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _reap(self, life: Life) -> None:
        """A droplet of its marks turns up; the reaper takes it, and writes the receipt."""
        await self._quiet(life.name)
        self._enter(life, Situation.REAPED)
        cloud = self._world.stack.emulator.cloud
        life.stray = strays.place(cloud, life.uid, session_host_label(life.name, life.uid))
        deadline = time.monotonic() + REAPED_SECONDS
        while not _is_in_the_books(await self._world.ledger(life.uid), life.stray):
            if time.monotonic() > deadline:
                raise Unmet(f"droplet {life.stray}, which nobody ordered, was not reaped")
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _expire(self, life: Life, lead: float) -> None:
        world, name = self._world, life.name
        asked = time.time()
        begun, near = float(int(asked + lead) + 1), 60.0
        await world.expire_at(name, begun)
        await world.until(
            name,
            "told its end",
            lambda one: abs((moment_of(one["status"].get("expirationTime")) or 0) - begun) < near,
            END_SECONDS,
        )
        # One that was too late to be told in time is given a notice.
        life.expiry = moment_of(world.newest[name]["status"]["expirationTime"])
        if life.situation in (Situation.EXPIRING, None):
            # That the switch is told belongs to the change of the time, not to the end.
            await self._until_switch_is_moved(life, unless_killed_since=asked)
            await self._quiet_from_events(life)
            self._enter(life, Situation.EXPIRING)
        await world.until(
            name,
            "destroyed and let go",
            lambda one: _has_phase("Destroyed")(one) and not one["metadata"].get("finalizers"),
            END_SECONDS + lead,
        )
        life.ended = time.time()

    async def _delete(self, life: Life) -> None:
        if life.edge is Edge.AGENT:
            await self._restart()
            await self._quiet(life.name, 2 * QUIET_SECONDS)
        self._enter(life, Situation.DELETED)
        await self._world.delete(life.name)
        await self._world.until_gone(life.name, END_SECONDS)
        life.ended = time.time()
        await self._world.until_class_gone(life.name, END_SECONDS)

    async def _rest(self, life: Life) -> None:
        """When all is over, nothing is written any more. Events come late, and are waited for."""
        await self._strike(life, LATE_STRIKE_SECONDS)
        await self._quiet(life.name)
        self._enter(life, None)
        life.rest_from = time.time()
        await asyncio.sleep(REST_SECONDS)

    async def _leave(self, life: Life) -> None:
        """Take away what is left of a life: its tombstone and its class."""
        self._enter(life, None)
        life.phases = self._world.phases.get(life.name, [])
        try:
            if life.name not in self._world.gone:
                await self._world.delete(life.name)
                await self._world.until_gone(life.name, END_SECONDS)
            await self._world.until_class_gone(life.name, END_SECONDS)
        finally:
            if life.uid:
                life.ledger = await self._world.ledger_if_any(life.uid) or life.ledger

    async def _quiet_from_events(self, life: Life) -> None:
        """Events of what was before are not those that such a plan is about."""
        if life.trap is not None and life.trap.call == EVENTS:
            await self._quiet(life.name, EVENTS_SECONDS)

    async def _quiet(self, name: str, seconds: float = QUIET_SECONDS) -> None:
        """Wait until the operator makes no more calls for it, the inventory's walk apart."""
        began, deadline = time.time(), time.monotonic() + STRIKE_SECONDS
        while time.monotonic() < deadline:
            last = next((one.at for one in reversed(self._gate.log) if _is_about(one, name)), 0.0)
            left = max(last, began) + seconds - time.time()
            if left <= 0:
                return
            await asyncio.sleep(max(left, _PAUSE_SECONDS))


def _is_about(passage: Passage, name: str) -> bool:
    return passage.owner == name and passage.call.name != OF_EACH_START


def _is_in_the_books(ledger: Document, droplet_id: int) -> bool:
    """Whether a droplet has its receipt, and nothing else in the ledger is without."""
    status = ledger.get("status", {})
    lines = status.get("resources", [])
    seen = any(one["kind"] == "Droplet" and one["id"] == str(droplet_id) for one in lines)
    return seen and all(one.get("presence") == "Gone" for one in lines)


def _has_phase(*phases: str) -> Callable[[Document], bool]:
    return lambda document: document.get("status", {}).get("phase") in phases
