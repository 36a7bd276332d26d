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

from spawnai import background
from spawnai.clock import Clock
from spawnai.digitalocean.account import Catalog
from spawnai.digitalocean.budget import RateBudget
from spawnai.digitalocean.certificates import Certificates
from spawnai.digitalocean.client import ApiClient, CallOutcome
from spawnai.digitalocean.dns import DomainRecords
from spawnai.digitalocean.droplets import Droplets
from spawnai.digitalocean.firewall_watch import FirewallWatch
from spawnai.digitalocean.firewalls import Firewalls
from spawnai.digitalocean.images import Images
from spawnai.digitalocean.inventory import Inventory, Sweep
from spawnai.digitalocean.load_balancers import LoadBalancers
from spawnai.digitalocean.models import Droplet
from spawnai.digitalocean.record_listings import RecordListings
from spawnai.digitalocean.tags import Tags

_LOGGER = logging.getLogger(__name__)


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

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

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
    load_balancers: LoadBalancers
    certificates: Certificates
    task: asyncio.Task[None]
    prices: dict[str, Decimal] = field(default_factory=dict)
    certificate_ids: dict[str, str] = field(default_factory=dict)
    """The ids that hosted certificates had when they were looked for last, by name."""
    scopes: set[tuple[str, str]] = field(default_factory=set)
    """What the token has shown that it may do: scopes, and the paths they were shown at."""

    @property
    def images(self) -> Images:
        """The images of the account."""
        return Images(self.client)

    @property
    def tags(self) -> Tags:
        """The tags of the account."""
        return Tags(self.client)

    async def close(self) -> None:
        """End its listings and connections."""
        self.record_listings.cancel()
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
        load_balancers=LoadBalancers(client),
        certificates=Certificates(client),
        task=background.forever(inventory.run(), name="listings of a DigitalOcean account"),
    )


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
