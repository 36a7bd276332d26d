"""Switches droplets on, reboots them, and gives them up for another one."""

from datetime import timedelta

from spawnai.api.record import Replacement, ResourceKind
from spawnai.billing import ledger as books
from spawnai.clock import Clock
from spawnai.controller.failures import NotOurs, NotYet
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.droplet_resource import DropletResource
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import DropletView
from spawnai.lifecycle.replacing import given_up_parts
from spawnai.telemetry.metrics import Metrics

from .bundles import Bundles
from .work import Work

PACE = timedelta(minutes=1)
"""Between two replacements of one operator, whatever has happened: when many droplets seem broken
at once, somebody is to see it before the last of them is touched."""

LOOK_SECONDS = 2.0
"""Between two looks whether a droplet is active again."""


class ReplacementPace:
    """At most one replacement a minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = float("-inf")

    def is_open(self) -> bool:
        """Whether another droplet may be replaced now."""
        return self._clock.now() >= self._last + PACE.total_seconds()

    def take(self) -> None:
        """Take the turn.

        Raises:
            NotYet: another droplet was replaced just now.
        """
        if not self.is_open():
            raise NotYet("another droplet was replaced less than a minute ago")
        self._last = self._clock.now()


class Replace:
    """What is done to a droplet that does not answer, or is lost."""

    def __init__(
        self,
        *,
        bundles: Bundles,
        pace: ReplacementPace,
        metrics: Metrics,
        clock: Clock,
        cluster_uid: str,
    ) -> None:
        self._bundles = bundles
        self._pace = pace
        self._metrics = metrics
        self._clock = clock
        self._cluster_uid = cluster_uid

    async def recover_droplet(self, work: Work, action: do.RecoverDroplet) -> None:
        """Switch it on, or reboot it, and wait until DigitalOcean shows it as active.

        Safe to repeat: one that is on is not switched on again, and a second reboot costs a minute.
        """
        line = work.line(ResourceKind.DROPLET, action.id)
        account = work.backing.account
        adapter = DropletResource(
            account.droplets, account.inventory, self._cluster_uid, account.prices
        )
        ours = await adapter.is_ours(line, work.uid, Priority.RUNNING)
        if ours is None:
            raise NotYet(f"droplet {line.id} does not show")
        if not ours:
            raise NotOurs(
                f"droplet {line.id} does not show that it belongs to this session: it was left "
                "alone; look at it"
            )
        self._metrics.droplet_recovery(action.how)
        await account.droplets.act(int(line.id), action.how, priority=Priority.RUNNING)
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            shown = await account.droplets.get(int(line.id), priority=Priority.RUNNING)
            if shown is None:
                raise NotYet(f"droplet {line.id} does not show")
            account.inventory.saw(shown)
            work.memory.saw_droplet(DropletView(shown.id, shown.status, shown.public_ip))
            if shown.status == "active":
                return

    async def replace_droplet(self, work: Work, action: do.ReplaceDroplet) -> None:
        """Write into the ledger what is given up. Its deletion, and all that follows, is planned
        from there.
        """
        memory = work.memory
        if any(action.id in one.replaced for one in memory.book.replacements):
            return
        self._pace.take()
        entry = Replacement(
            reason=action.reason,
            message=action.message,
            started_at=work.utc_now(),
            replaced=given_up_parts(
                memory.book,
                action.id,
                named_certificate=work.backing.spec.exposure.domain is not None,
            ),
        )
        memory.ledger = books.with_replacement(memory.book, entry)
        memory.leave_droplet()
        self._metrics.droplet_replaced(action.reason)

    async def find_app(self, work: Work, action: do.FindApp) -> None:
        """Find the version of the app that ran, or the latest where that is not stored."""
        work.memory.bundle = await self._bundles.stored(work.session, action.number)
