"""Takes a spare for a session, and makes its droplet the session's own.

1. The spare's ledger says who has it, written against the version that was read: of two who want
   it, one gets it, also when one of them is a leader that has lost its lease.
2. The session's ledger lists the droplet. From here on the session pays, and its end deletes it.
3. The agent answers to the session's keys, and no longer to the spare's.
4. The droplet wears the session's tags, then its name, and no longer the spare's tags.

Each step is found out again: by both ledgers, by the keys the agent answers to, by the tags. A
spare whose agent cannot be handed over is given back before step 4: its own ledger deletes it.
"""

from dataclasses import replace

from spawnai.api.names import session_droplet_name, session_tag, ttl_tag
from spawnai.api.record import LedgerEntry, RecordStatus, ResourceKind
from spawnai.clock import Clock
from spawnai.controller.cluster import Cluster, Conflict
from spawnai.controller.failures import NotYet
from spawnai.controller.pools.pools import Pools
from spawnai.controller.report import write_ledger
from spawnai.controller.store import Store, StoredRecord
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.models import Droplet
from spawnai.droplet.client import AgentError
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import DropletView
from spawnai.telemetry.metrics import Metrics

from .agents import Agents
from .droplets import bootstrap_of
from .work import Work

HANDED_BACK = "HandedBack"

_TTL = "ttl:"


class Claim:
    """Takes spares, and makes them the session's own."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: Store,
        agents: Agents,
        pools: Pools,
        metrics: Metrics,
        clock: Clock,
        agent_source: str,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._agents = agents
        self._pools = pools
        self._metrics = metrics
        self._clock = clock
        self._agent_source = agent_source

    async def claim_spare(self, work: Work, action: do.ClaimSpare) -> None:
        """Write into both ledgers whose it is. Nothing of the droplet is changed yet.

        Raises:
            NotYet: another session has it.
            ClusterError: it is not known whether it was written; the next try finds out.
        """
        stored = self._pools.begin_claim(action.spare, work.uid)
        try:
            if stored.status.taken_over_by is None:
                stored = await self._write_taker(stored, work.uid)
        except Conflict as error:
            self._pools.end_claim(action.spare)
            if self._is_takers(self._store.record(action.spare), work.uid):
                raise NotYet(
                    "the spare's ledger shows that it is taken; it is read anew"
                ) from error
            self._metrics.pool_claim(work.backing.class_name, "lost")
            raise NotYet("another session was quicker, or the spare is given up") from error
        line = _line_of(stored)
        work.note(line)
        work.memory.saw_droplet(DropletView(int(line.id), "active", line.ip))
        self._pools.end_claim(action.spare)

    async def _write_taker(self, stored: StoredRecord, session_uid: str) -> StoredRecord:
        changes = {
            "taken_over_by": session_uid,
            "taken_over_at": self._clock.utc_now().replace(microsecond=0),
        }
        book = stored.status.model_copy(update=changes)
        await write_ledger(self._cluster, self._store, stored, book)
        return self._store.record(stored.spec.owner.uid) or stored

    @staticmethod
    def _is_takers(stored: StoredRecord | None, session_uid: str) -> bool:
        return stored is not None and stored.status.taken_over_by == session_uid

    async def take_over(self, work: Work, action: do.TakeOver) -> None:
        """Have the agent answer to the session, then the droplet wear its marks.

        Raises:
            NotYet: the agent does not answer; the second time in a row the spare is given back.
            DigitalOceanError: a call failed, and is sent again: each can be sent twice.
        """
        line = work.line(ResourceKind.DROPLET, action.droplet)
        if line.spare is None:
            raise NotYet(f"droplet {line.id} was no spare")
        spare, account = line.spare, work.backing.account
        number, mark = int(line.id), session_tag(work.uid)
        stored = self._store.record(spare)
        is_held = (
            self._is_takers(stored, work.uid)
            and stored is not None
            and stored.status.abandoned_at is None
        )
        shown = await account.droplets.get(number, priority=Priority.NEW)
        if shown is None or shown.public_ip is None or (mark not in shown.tags and not is_held):
            # It is not there, or another's by now: nothing of it was the session's.
            await self._give_back(work, line, stored)
            return
        if mark not in shown.tags and stored is not None:
            ip = shown.public_ip
            if not await self._hand_over_agent(work, action, line, stored, ip):
                return
        await self._mark(work, action, shown, spare)
        own = replace_line(work.memory.book, line, work.uid, shown.public_ip)
        work.memory.ledger = own
        work.memory.saw_droplet(DropletView(number, shown.status, shown.public_ip))
        self._metrics.pool_claim(work.backing.class_name, "taken")
        self._pools.changed(spare)

    async def _hand_over_agent(
        self,
        work: Work,
        action: do.TakeOver,
        line: LedgerEntry,
        stored: StoredRecord,
        ip: str,
    ) -> bool:
        """Returns whether the agent answers to the session now; else the spare was given back."""
        session = work.session
        expires_at = self._clock.utc_now() + action.lifetime
        bootstrap = replace(
            bootstrap_of(
                work.uid,
                session.order.app_type,
                self._agents.credentials(session),
                work.backing.spec,
                agent_source=self._agent_source,
                expires_at=expires_at,
                lifetime=action.lifetime,
            ),
            gateway=self._agents.gateway_certificate(session),
        )
        try:
            await self._agents.take_over(stored.spec.owner.uid, stored.created_at, ip, bootstrap)
        except AgentError as error:
            before = work.memory.efforts[action.key].failure
            if before is None or before.reason != NotYet.__name__:
                raise NotYet(f"the spare cannot be handed over yet: {error.message}") from error
            await self._give_back(work, line, stored)
            return False
        return True

    async def _mark(self, work: Work, action: do.TakeOver, shown: Droplet, spare: str) -> None:
        """Give the droplet the session's tags and name, and take the spare's away."""
        account, number = work.backing.account, shown.id
        expires_at = self._clock.utc_now() + action.lifetime
        old = {tag for tag in shown.tags if tag == session_tag(spare) or tag.startswith(_TTL)}
        if session_tag(work.uid) not in shown.tags:
            for tag in (ttl_tag(int(expires_at.timestamp())), session_tag(work.uid)):
                await account.tags.tag(tag, number, priority=Priority.NEW)
        elif session_tag(spare) not in old:
            old = set()
        if shown.name != session_droplet_name(work.uid):
            await account.droplets.rename(
                number, session_droplet_name(work.uid), priority=Priority.NEW
            )
        for tag in sorted(old, reverse=True):
            await account.tags.untag(tag, number, priority=Priority.NEW)

    async def _give_back(self, work: Work, line: LedgerEntry, stored: StoredRecord | None) -> None:
        """The spare's own ledger deletes it; the session goes on as if it had never had it."""
        if stored is not None and stored.status.completed_at is None:
            if stored.status.abandoned_at is None and self._is_takers(stored, work.uid):
                now = self._clock.utc_now().replace(microsecond=0)
                changes = {"abandoned_at": now, "termination_reason": HANDED_BACK}
                book = stored.status.model_copy(update=changes)
                await write_ledger(self._cluster, self._store, stored, book)
            self._pools.changed(line.spare or "")
        self._metrics.pool_claim(work.backing.class_name, "given_back")
        kept = [one for one in work.memory.book.resources if one != line]
        work.memory.ledger = work.memory.book.model_copy(update={"resources": kept})
        work.memory.proven.discard((line.kind, line.id))
        work.memory.droplet = None


def _line_of(stored: StoredRecord) -> LedgerEntry:
    """The droplet of a spare as a line of the ledger of the session that took it."""
    line = next(one for one in stored.status.resources if one.kind is ResourceKind.DROPLET)
    taken_at = stored.status.taken_over_at or line.created_at
    return line.model_copy(update={"spare": stored.spec.owner.uid, "created_at": taken_at})


def replace_line(book: RecordStatus, line: LedgerEntry, session_uid: str, ip: str) -> RecordStatus:
    """The ledger with a droplet that was a spare under the session's name: it is its own now."""
    own = line.model_copy(update={"name": session_droplet_name(session_uid), "ip": ip})
    return book.model_copy(
        update={"resources": [own if one == line else one for one in book.resources]}
    )
