"""What must be true of every life, whatever went wrong in it (the numbers are the invariants')."""

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus

from spawnai.api.names import (
    class_firewall_name,
    session_firewall_name,
    session_host_suffix,
    session_tag,
)
from spawnai.billing.token_prices import token_cost
from spawnai_local.chaos.calls import EVENTS
from spawnai_local.chaos.faults import CALLER_SECONDS, WITHOUT_EFFECT, Fault
from spawnai_local.chaos.gate import Passage
from spawnai_local.chaos.lives import REST_SECONDS, Life
from spawnai_local.chaos.names import astray
from spawnai_local.chaos.plans import Situation
from spawnai_local.chaos.stack import ChaosStack
from spawnai_local.classes import LOCAL_DOMAIN
from spawnai_local.claude.ledger import Call as Order
from spawnai_local.digitalocean.state.bill import BillLine

PROMPT_SECONDS = 1.0
"""How soon after its expiry a droplet's deletion is accepted when nothing is in its way."""

CALM_SECONDS = 5.0
"""How long before an expiry a fault must be over to be no excuse."""

RECOVERY_SECONDS = 8.0
"""How soon a deletion is accepted once cloud and API server answer again."""

NOTED_SECONDS = 2.0
"""How long an order that failed may take to be in the ledger."""

CUT_OUTPUT = (Decimal("0.5"), Decimal("1.5"))
"""The share of the billed output that the ledger may hold where an answer was cut: an estimate."""

_TOKENS = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "cache_read_input_tokens": "cacheReadTokens",
    "cache_creation_input_tokens": "cacheWriteTokens",
}


class Judge:
    """Looks at one life after the other, when each is over.

    `lost` tells how many seconds between two moments the machine had no processor for the stack.
    """

    def __init__(self, stack: ChaosStack) -> None:
        self._stack = stack
        self.overruns: list[float] = []
        """How late each deletion with nothing in its way was accepted, in seconds."""

    def violations(
        self, life: Life, lost: Callable[[float, float], float] = lambda _since, _until: 0.0
    ) -> list[str]:
        """Everything that is wrong with a life."""
        found = list(self._bounded(life))
        if life.uid:
            found += self._once(life)
            found += self._names(life)
            found += self._books(life)
            found += self._tokens(life)
            found += self._certificates(life)
        found += self._rest(life)
        found += self._prompt(life, lost)
        return found

    # 1: at most one of each, none at the end.

    def _once(self, life: Life) -> Iterator[str]:
        cloud = self._stack.emulator.cloud
        lines = [line for line in self._lines(life) if line.droplet_id != life.stray]
        if len(lines) > 1:
            yield f"1: {len(lines)} droplets were made for it ({_ids(lines)})"
        names = (session_firewall_name(life.uid),)
        suffix = session_host_suffix(life.uid)
        made = {"firewall": 0, "record": 0}
        for change in list(cloud.world.history):
            name = str(change.details.get("name", ""))
            made["firewall"] += change.what == "firewall created" and name in names
            made["record"] += change.what == "record created" and name.endswith(suffix)
        most = 1 if life.stray is None else 2
        for kind, count in made.items():
            if count > most:
                yield f"1: {count} of one {kind} were made for it"
        left = [f"droplet {one.droplet_id}" for one in self._lines(life) if one.ended_at is None]
        left += [f"firewall {one.name}" for one in cloud.firewalls.all() if life.uid in one.name]
        left += [
            f"firewall {one.name} of its class"
            for one in cloud.firewalls.all()
            if one.name in self._class_firewalls(life)
        ]
        left += [
            f"record {one.name}"
            for domain in cloud.domains.all()
            if domain.name == LOCAL_DOMAIN
            for one in domain.records.values()
            if one.name.endswith(suffix)
        ]
        if left:
            yield f"1: it is over, and there is still {', '.join(left)}"
        destroyed = next((at for at, phase in life.phases if phase == "Destroyed"), life.ended)
        late = [line for line in lines if line.ended_at and destroyed and line.ended_at > destroyed]
        if late:
            yield f"1: it was called Destroyed before droplet {_ids(late)} was deleted"

    def _class_firewalls(self, life: Life) -> set[str]:
        uid = self._stack.gate.classes.get(life.name)
        return set() if uid is None else {class_firewall_name(uid)}

    def _lines(self, life: Life) -> list[BillLine]:
        tag = session_tag(life.uid)
        return [
            line
            for line in self._stack.emulator.cloud.bill.lines()
            if tag in line.tags and not line.canary
        ]

    def _certificates(self, life: Life) -> Iterator[str]:
        orders = self._stack.orders
        issued, revoked = orders.issued[life.uid], orders.revoked[life.uid]
        if issued > 1:
            yield f"1: {issued} certificates were issued for it"
        if revoked < issued:
            yield f"1: it is over, and {revoked} of {issued} certificates were revoked"

    # 2: the ledger.

    def _books(self, life: Life) -> Iterator[str]:
        status = life.ledger.get("status", {})
        if not status.get("completedAt"):
            yield "2: its ledger was never closed"
        resources = status.get("resources", [])
        for entry in resources:
            if entry.get("presence") != "Gone" or not entry.get("goneAt"):
                yield f"2: {entry['kind']} {entry['id']} has no receipt"
        if status.get("residuals"):
            yield f"2: residuals are left in its ledger: {status['residuals']}"
        billed = {
            str(line.droplet_id): line.amount(line.ended_at or 0) for line in self._lines(life)
        }
        written = {
            one["id"]: Decimal(one.get("cost") or 0)
            for one in resources
            if one["kind"] == "Droplet"
        }
        if written != billed:
            yield f"2: the cloud billed {_dollars(billed)}, the ledger has {_dollars(written)}"
        made = self._made(life)
        known = {(one["kind"], one["id"]) for one in resources}
        for kind, id_ in sorted(made - known):
            yield f"2: {kind} {id_} was made and has no line in the ledger"
        tokens = sum((Decimal(one["cost"]) for one in status.get("generations", [])), Decimal(0))
        total = Decimal(status.get("totalCost") or 0)
        if total != tokens + sum(written.values(), Decimal(0)):
            yield f"2: the ledger's sum is {total}, its lines come to another"

    def _made(self, life: Life) -> set[tuple[str, str]]:
        suffix, firewall = session_host_suffix(life.uid), session_firewall_name(life.uid)
        found = {("Droplet", str(line.droplet_id)) for line in self._lines(life)}
        for change in list(self._stack.emulator.cloud.world.history):
            name = str(change.details.get("name", ""))
            if change.what == "firewall created" and name == firewall:
                found.add(("Firewall", change.id))
            if change.what == "record created" and name.endswith(suffix):
                found.add(("DomainRecord", change.id))
        return found

    # 3: names.

    def _names(self, life: Life) -> Iterator[str]:
        history = list(self._stack.emulator.cloud.world.history)
        for words in astray((change.document() for change in history), life.uid):
            yield f"3: {words}"

    # 5: Claude.

    def _tokens(self, life: Life) -> Iterator[str]:
        calls = [
            call
            for call in self._stack.claude.calls(life.uid)
            if call.bill().input_tokens + call.output_tokens
        ]
        entries = life.ledger.get("status", {}).get("generations", [])
        killed = [call for call in calls if self._was_lost(life, call)]
        sure = [call for call in calls if call not in killed]
        complete = [call for call in sure if call.outcome == "complete"]
        if len(complete) > 1:
            yield f"5: its app was written and paid for {len(complete)} times"
        for theirs, ours in _TOKENS.items():
            written = Decimal(sum(entry.get(ours, 0) for entry in entries))
            exact = Decimal(sum(getattr(call, theirs) for call in sure))
            unsure = Decimal(sum(getattr(call, theirs) for call in killed))
            least, most = exact, exact + unsure
            if theirs == "output_tokens":
                cut = Decimal(
                    sum(getattr(call, theirs) for call in sure if call.outcome != "complete")
                )
                least -= cut * (1 - CUT_OUTPUT[0])
                most += cut * (CUT_OUTPUT[1] - 1) + unsure
            if not least <= written <= most:
                billed = f"{least}" if least == most else f"{least} to {most}"
                yield f"5: Claude billed {billed} {theirs}, the ledger has {written}"
        for entry in entries:
            exact_cost = token_cost(
                entry["model"],
                input_tokens=entry.get("inputTokens", 0),
                output_tokens=entry.get("outputTokens", 0),
                cache_read_tokens=entry.get("cacheReadTokens", 0),
                cache_write_tokens=entry.get("cacheWriteTokens", 0),
            )
            if abs(Decimal(entry["cost"]) - exact_cost) > Decimal("0.000001"):
                yield f"5: an order's cost is {entry['cost']} where its tokens come to {exact_cost}"

    def _was_lost(self, life: Life, call: Order) -> bool:
        """Whether the operator was killed between an order and the storing of its app.

        What Claude has written lives in the operator alone until then, and cannot be asked for
        again: it has to be ordered, and paid for, once more.
        """
        began, ended = call.at.timestamp(), call.at.timestamp() + call.seconds
        kept = ended + NOTED_SECONDS
        if call.outcome == "complete":
            stored = (one.at for one in self.passages(life) if one.at >= began and _stores(one))
            kept = min(stored, default=math.inf)
        return any(began - 1 <= led and killed <= kept for killed, led in self._stack.kills)

    # 6: at rest.

    def _rest(self, life: Life) -> Iterator[str]:
        if life.rest_from is None:
            return
        until = life.rest_from + REST_SECONDS
        for one in self.passages(life):
            # Events are told from a queue, some of them late.
            written = one.call.writes and one.call.name != EVENTS
            if written and life.rest_from <= one.at < until:
                yield f"6: at rest, {one}"

    # 7: bounded.

    def _bounded(self, life: Life) -> Iterator[str]:
        if life.unmet is not None:
            yield f"7: {life.unmet}"

    # 8: in time.

    def _prompt(self, life: Life, lost: Callable[[float, float], float]) -> Iterator[str]:
        if not life.uid:
            return
        lines = [line for line in self._lines(life) if line.droplet_id != life.stray]
        if life.expiry is None or not lines or lines[-1].ended_at is None:
            return
        late = lines[-1].ended_at - life.expiry
        lateness = lost(life.expiry, lines[-1].ended_at)
        if late < 0:
            yield f"8: its droplet was deleted {-late:.1f} s before its time"
        accepted = lines[-1].ended_at
        # Each as (when it began, when the last call that suffered it was given up).
        disturbances = [
            (killed, led)
            for killed, led in self._stack.kills
            if led > life.expiry - CALM_SECONDS and killed < accepted
        ]
        trap = life.trap
        if trap is not None and trap.struck_at is not None and trap.struck_at < accepted:
            limit = CALLER_SECONDS[life.edge] if life.edge is not None else 0.0
            over = trap.struck_at + limit
            if trap.over_at is not None:
                over = min(over, trap.over_at)
            if life.situation is Situation.EXPIRING or over > life.expiry - CALM_SECONDS:
                disturbances.append((trap.struck_at, over))
        if not disturbances:
            self.overruns.append(late)
            if late > PROMPT_SECONDS + lateness:
                yield f"8: its droplet's deletion was accepted {late:.2f} s after its expiry"
            return
        after = accepted - max(life.expiry, *(over for _, over in disturbances))
        if after > RECOVERY_SECONDS + lateness:
            yield f"8: its droplet's deletion was accepted {after:.2f} s after all answered again"

    def passages(self, life: Life) -> list[Passage]:
        """Every call that was made for a life."""
        return [
            one for one in self._stack.gate.log if one.owner == life.name and one.at >= life.began
        ]


def _stores(one: Passage) -> bool:
    """Whether an app was stored by this call."""
    if one.call.name != "POST secrets":
        return False
    untouched = one.trap is None or one.trap.fault is Fault.SLOW
    if untouched:
        return one.status == HTTPStatus.CREATED
    return one.trap is not None and one.trap.fault not in WITHOUT_EFFECT


def _ids(lines: Sequence[BillLine]) -> str:
    return ", ".join(str(line.droplet_id) for line in lines)


def _dollars(amounts: dict[str, Decimal]) -> str:
    return ", ".join(f"{id_}: {amount}" for id_, amount in sorted(amounts.items())) or "nothing"


def clock(at: float) -> str:
    """A moment as people read it."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]
