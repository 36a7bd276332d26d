"""The DigitalOcean accounts that the classes use, each opened once.

Two classes with the same token share one client, one rate budget and one listing.
"""

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from ipaddress import IPv4Network
from random import Random

from spawnai.clock import Clock
from spawnai.digitalocean.account import Catalog
from spawnai.digitalocean.budget import Priority, RateBudget
from spawnai.digitalocean.client import ApiClient, CallOutcome
from spawnai.digitalocean.dns import DomainRecords
from spawnai.digitalocean.droplets import Droplets
from spawnai.digitalocean.errors import NotFound
from spawnai.digitalocean.firewalls import Firewalls
from spawnai.digitalocean.inventory import Inventory, Sweep
from spawnai.digitalocean.listing import PER_PAGE
from spawnai.digitalocean.models import DomainRecord, Droplet, Firewall
from spawnai.digitalocean.shared import SharedLook, affordable_pause

_LOGGER = logging.getLogger(__name__)

FIREWALL_POLL_SECONDS = 0.5
SLOWEST_FIREWALL_POLL_SECONDS = 10.0
"""Between two looks at one firewall, for all who wait for it: with plenty of calls, with few."""

RECORD_LISTING_SECONDS = 3.0
"""Between two listings of a domain's records, for each page that they take."""


class NotCovered(Exception):
    """A firewall does not cover a droplet, and no change of it is pending. Its text says why."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    since: datetime
    namespace: str


class WaitingForQuota:
    """Sessions that wait for the account's droplet limit: fair over namespaces.

    Round robin: the namespace that was served least recently is next, and within a namespace the
    oldest session. So a namespace with twenty waiting sessions keeps nobody else's first one
    waiting for more than one turn.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}
        self._turns = 0
        self._served_at: dict[str, int] = {}
        """The turn at which a namespace was served last."""
        self._order: list[str] | None = None

    def join(self, uid: str, created_at: datetime, namespace: str) -> None:
        """Queue up."""
        self._waiting[uid] = _Waiting(created_at, namespace)
        self._order = None

    def leave(self, uid: str) -> None:
        """Not wanted any more."""
        if self._waiting.pop(uid, None) is not None:
            self._order = None
        if not self._waiting:
            self._served_at.clear()

    def served(self, uid: str, namespace: str) -> None:
        """Its droplet was made: the next turn is another namespace's, if one waits."""
        self._turns += 1
        self._served_at[namespace] = self._turns
        self._order = None
        self.leave(uid)

    def position(self, uid: str) -> int | None:
        """1 for the next one; None when not waiting."""
        if uid not in self._waiting:
            return None
        return 1 + self._in_order().index(uid)

    def must_wait(self, uid: str, created_at: datetime, namespace: str) -> bool:
        """Whether another session's turn comes first."""
        if not self._waiting:
            return False
        if uid in self._waiting:
            return self._in_order()[0] != uid
        return self._sorted({**self._waiting, uid: _Waiting(created_at, namespace)})[0] != uid

    def first(self) -> str | None:
        """The next one."""
        return next(iter(self._in_order()), None)

    def _in_order(self) -> list[str]:
        if self._order is None:
            self._order = self._sorted(self._waiting)
        return self._order

    def _sorted(self, waiting: dict[str, _Waiting]) -> list[str]:
        """The order in which they are served if nobody joins: first the oldest of each namespace,
        then the second oldest of each, and so on.
        """
        ranks: Counter[str] = Counter()
        keys: list[tuple[int, int, datetime, str]] = []
        for uid, one in sorted(waiting.items(), key=lambda item: (item[1].since, item[0])):
            served_at = self._served_at.get(one.namespace, 0)
            keys.append((ranks[one.namespace], served_at, one.since, uid))
            ranks[one.namespace] += 1
        return [uid for *_, uid in sorted(keys)]


class FirewallWatch:
    """Looks at a firewall once for all sessions that wait for it."""

    def __init__(
        self, firewalls: Firewalls, droplets: Droplets, inventory: Inventory, budget: RateBudget
    ) -> None:
        self._firewalls = firewalls
        self._droplets = droplets
        self._inventory = inventory
        self._budget = budget
        self._clock = budget.clock
        self._looks: dict[str, SharedLook[Firewall | None]] = {}
        self._waiting: Counter[str] = Counter()

    async def in_force(self, firewall_id: str, droplet_id: int) -> bool:
        """Return True once the firewall covers the droplet, False when it does not exist.

        Each look begins after the call, so it knows of the droplet. The caller sets the limit.

        Raises:
            NotCovered: no change is on its way that would make the firewall cover the droplet.
            DigitalOceanError: a look failed.
        """
        if firewall_id not in self._looks:
            self._looks[firewall_id] = SharedLook(
                lambda: self._firewalls.get(firewall_id, priority=Priority.NEW),
                self._clock,
                lambda: affordable_pause(
                    self._budget, FIREWALL_POLL_SECONDS, SLOWEST_FIREWALL_POLL_SECONDS
                ),
            )
        self._waiting[firewall_id] += 1
        try:
            while True:
                # Known before the look begins: a tag that comes later may bring a change that the
                # look does not show.
                tags = self._tags_of(droplet_id)
                firewall = await self._looks[firewall_id].get()
                if firewall is None:
                    return False
                if droplet_id in firewall.pending_droplet_ids:
                    continue
                if droplet_id in firewall.droplet_ids or tags & firewall.tags:
                    return True
                await self._look_for_tags(firewall, droplet_id)
        finally:
            self._waiting[firewall_id] -= 1
            if not self._waiting[firewall_id]:
                del self._waiting[firewall_id], self._looks[firewall_id]

    def _tags_of(self, droplet_id: int) -> frozenset[str]:
        """The tags that the droplet has shown: they may be applied later than it is made, or
        never, so what was ordered is no proof.
        """
        droplet = self._inventory.known(droplet_id)
        return droplet.tags if droplet is not None else frozenset()

    async def _look_for_tags(self, firewall: Firewall, droplet_id: int) -> None:
        droplet = await self._droplets.get(droplet_id, priority=Priority.NEW)
        if droplet is not None:
            self._inventory.saw(droplet)
        if droplet is None or not droplet.tags & firewall.tags:
            raise NotCovered(
                f"firewall {firewall.id} does not cover droplet {droplet_id}, which has none of "
                f"its tags ({', '.join(sorted(firewall.tags))})"
            )


class RecordListings:
    """DNS records as whole listings of their domain show them, one listing for all who ask."""

    def __init__(self, inventory: Inventory, records: DomainRecords, clock: Clock) -> None:
        self._inventory = inventory
        self._records = records
        self._clock = clock
        self._asking: Counter[str] = Counter()
        self._next: dict[str, float] = {}
        self._pages: dict[str, int] = {}
        self._seen: dict[str, dict[int, DomainRecord]] = {}

    async def look(self, domain: str, *, priority: Priority) -> set[int]:
        """The ids of all records, from a listing that begins after this call.

        A domain of a thousand names costs five calls, so it is listed every few seconds at most,
        and whoever asks meanwhile shares the next listing.
        """
        wait = self._next.get(domain, 0.0) - self._clock.now()
        if wait > 0:
            await self._clock.sleep(wait)
        pause = RECORD_LISTING_SECONDS * self._pages.get(domain, 1)
        self._next[domain] = max(self._next.get(domain, 0.0), self._clock.now() + pause)
        records = await self._inventory.verify_records(domain, priority=priority)
        self._pages[domain] = max(1, -(-len(records) // PER_PAGE))
        self._seen[domain] = {record.id: record for record in records}
        return set(self._seen[domain])

    async def is_gone(self, domain: str, record_id: int, *, priority: Priority) -> bool:
        """Whether DigitalOcean does not show the record any more.

        Found out in the way that costs fewer calls: by its id, or, once as many ask as a listing
        has pages, by one listing for all of them.
        """
        self._asking[domain] += 1
        try:
            if self._asking[domain] < self._pages.get(domain, 1):
                return await self._records.get(domain, record_id, priority=priority) is None
            return record_id not in await self.look(domain, priority=priority)
        except NotFound:  # the domain itself has gone
            return True
        finally:
            self._asking[domain] -= 1

    async def domain_exists(self, domain: str, *, priority: Priority) -> bool:
        """Whether the account's DNS serves the domain.

        The first time all of its records are looked at: after a restart they have then shown whose
        they are, and an expiry need not ask first.
        """
        if domain in self._pages:
            return await self._records.domain_exists(domain, priority=priority)
        try:
            await self.look(domain, priority=priority)
        except NotFound:
            return False
        return True

    def seen(self, domain: str, record_id: int) -> DomainRecord | None:
        """The record as the domain's last listing showed it; None: it was not in it."""
        return self._seen.get(domain, {}).get(record_id)

    def forget(self, domain: str, record_id: int) -> None:
        """The record was seen gone."""
        self._seen.get(domain, {}).pop(record_id, None)


@dataclass(slots=True)
class CloudAccount:
    """One DigitalOcean account as one token sees it."""

    client: ApiClient
    budget: RateBudget
    droplets: Droplets
    records: DomainRecords
    firewalls: Firewalls
    catalog: Catalog
    inventory: Inventory
    firewall_watch: FirewallWatch
    quota: WaitingForQuota
    record_listings: RecordListings
    task: asyncio.Task[None]
    prices: dict[str, Decimal] = field(default_factory=dict)
    scopes: set[tuple[str, str]] = field(default_factory=set)
    """What the token has shown that it may do: scopes, and the paths they were shown at."""

    async def close(self) -> None:
        """End its listings and connections."""
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.client.close()


@dataclass(frozen=True, slots=True)
class AccountNews:
    """Who is told what an account's listings show, and who tells what it will be asked for."""

    on_droplet: Callable[[Droplet], None]
    on_gone: Callable[[Droplet], None]
    on_sweep: Callable[[Sweep], None] = lambda _sweep: None
    deletions_due: Callable[[], int] = lambda: 0


Connect = Callable[[str, AccountNews], CloudAccount]
"""Opens the account behind a token."""


class Accounts:
    """Opens accounts by token, and hands out the one that is open already."""

    def __init__(
        self,
        connect: Connect,
        news: AccountNews,
        on_sweep: Callable[[CloudAccount, Sweep], None] = lambda _account, _sweep: None,
        deletions_due: Callable[[CloudAccount], int] = lambda _account: 0,
    ) -> None:
        self._connect = connect
        self._news = news
        self._on_sweep = on_sweep
        self._deletions_due = deletions_due
        self._open: dict[str, CloudAccount] = {}

    def open(self, token: str) -> CloudAccount:
        """The account behind a token."""
        key = hashlib.sha256(token.encode()).hexdigest()
        if key not in self._open:
            news = replace(
                self._news,
                on_sweep=lambda sweep: self._swept(key, sweep),
                deletions_due=lambda: self._due(key),
            )
            self._open[key] = self._connect(token, news)
        return self._open[key]

    def _swept(self, key: str, sweep: Sweep) -> None:
        if (account := self._open.get(key)) is not None:
            self._on_sweep(account, sweep)

    def _due(self, key: str) -> int:
        account = self._open.get(key)
        return self._deletions_due(account) if account is not None else 0

    async def close_unused(self, used: Iterable[CloudAccount]) -> None:
        """Close whatever is not used any more, so that no dead token is asked for ever."""
        kept = {id(account) for account in used}
        unused = [key for key, account in self._open.items() if id(account) not in kept]
        for account in [self._open.pop(key) for key in unused]:
            await account.close()

    def all(self) -> list[CloudAccount]:
        """Every open account."""
        return list(self._open.values())

    def failure(self) -> str | None:
        """Which account's listings have ended although the account is open; None: none have.

        Nothing else starts them again, and without them the operator sees nothing.
        """
        if all(not account.task.done() for account in self._open.values()):
            return None
        return "the listings of a DigitalOcean account have ended; see the log"

    async def close(self) -> None:
        """End everything."""
        for account in self._open.values():
            await account.close()


def account_behind(
    client: ApiClient,
    budget: RateBudget,
    news: AccountNews,
    *,
    cluster_tag: str,
    clock: Clock,
    random: Random,
) -> CloudAccount:
    """Everything of one account, on one client; its listings run from now on."""
    droplets, records, firewalls = Droplets(client), DomainRecords(client), Firewalls(client)
    inventory = Inventory(
        droplets,
        records,
        clock,
        random,
        budget=budget,
        cluster_tag=cluster_tag,
        on_droplet=news.on_droplet,
        on_sweep=news.on_sweep,
        on_gone=news.on_gone,
    )
    return CloudAccount(
        client=client,
        budget=budget,
        droplets=droplets,
        records=records,
        firewalls=firewalls,
        catalog=Catalog(client),
        inventory=inventory,
        firewall_watch=FirewallWatch(firewalls, droplets, inventory, budget),
        record_listings=RecordListings(inventory, records, clock),
        quota=WaitingForQuota(),
        task=_watched(asyncio.create_task(inventory.run(), name="inventory")),
    )


def _watched(task: asyncio.Task[None]) -> asyncio.Task[None]:
    """The task, whose end by an error is told when it happens."""

    def tell(ended: asyncio.Task[None]) -> None:
        if not ended.cancelled() and (error := ended.exception()) is not None:
            _LOGGER.critical("The %s ended by an error", ended.get_name(), exc_info=error)

    task.add_done_callback(tell)
    return task


def connector(
    *,
    base_url: str,
    cluster_tag: str,
    clock: Clock,
    random: Random,
    on_call: Callable[[CallOutcome], None],
    before_change: Callable[[], None],
    droplet_networks: tuple[IPv4Network, ...] = (),
) -> Connect:
    """Connects to DigitalOcean's API at an address.

    `before_change` is asked before each call that changes something leaves; it may raise when this
    process must not change anything any more (lost leadership).
    """

    def connect(token: str, news: AccountNews) -> CloudAccount:
        budget = RateBudget(clock, deletions_due=news.deletions_due)
        client = ApiClient(
            token,
            base_url,
            budget,
            on_call=on_call,
            before_change=before_change,
            droplet_networks=droplet_networks,
        )
        return account_behind(
            client, budget, news, cluster_tag=cluster_tag, clock=clock, random=random
        )

    return connect
