"""Droplets: their turn when the account is full, their first boot, the listing that shows it."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from spawnai.api.durations import parse_duration
from spawnai.api.names import (
    TAG_EPHEMERAL,
    TAG_PRODUCT,
    class_tag,
    cluster_tag,
    session_tag,
    ttl_tag,
)
from spawnai.api.record import LedgerEntry
from spawnai.api.session import AppType
from spawnai.api.spawnclass import ClassSpec, ExposureMode, HealthSpec, RuntimeSpec
from spawnai.app_runtime.archives import CADDY, NODE
from spawnai.billing import ledger as books
from spawnai.clock import Clock
from spawnai.controller.accounts import CloudAccount
from spawnai.controller.failures import NotYet, failure_of
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.droplet_resource import DropletResource
from spawnai.digitalocean.errors import (
    DigitalOceanError,
    NoCapacity,
    OverQuota,
    Refused,
    UnknownOption,
)
from spawnai.digitalocean.models import Droplet, DropletOrder
from spawnai.digitalocean.resource import Found
from spawnai.droplet.cloud_config import (
    AppHealth,
    DropletBootstrap,
    RuntimeArchive,
    render_user_data,
)
from spawnai.droplet.credentials import SessionCredentials
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.kinds import ANY, Placement, WantedDroplet
from spawnai.lifecycle.observation import DropletView, Failure, Offer, Session
from spawnai.lifecycle.pooling import contents_of
from spawnai.lifecycle.resources import may_still_appear

from .agents import AGENT_PORT, Agents
from .resources import Steps
from .work import Backing, Work

LISTED_WITHIN_SECONDS = 20.0
"""After how long a droplet that its wave's listing does not show is asked for by id."""

_WAVE_PREFIX = "wave:"


class BakedImages(Protocol):
    """The images that droplets start from instead of the stock image."""

    def image_for(self, class_name: str, region: str, size: str) -> int | None:
        """The number of the image; None: there is none."""
        ...

    def refuse(self, class_name: str, region: str, size: str) -> None:
        """DigitalOcean did not take it."""
        ...


class DropletSteps(Steps):
    """What a droplet needs beside what is done for every kind."""

    def __init__(
        self,
        *,
        agents: Agents,
        clock: Clock,
        cluster_uid: str,
        agent_source: str,
        wake: Callable[[str], None],
        no_capacity: Callable[[str, tuple[str, str], Failure], None] = lambda *_: None,
        images: BakedImages | None = None,
        missed: Callable[[Session, Offer], None] = lambda *_: None,
    ) -> None:
        self._agents = agents
        self._clock = clock
        self._cluster_uid = cluster_uid
        self._agent_source = agent_source
        self._wake = wake
        self._no_capacity = no_capacity
        self._images = images
        self._missed = missed

    def adapter(self, account: CloudAccount) -> DropletResource:
        """Droplets of this cluster."""
        return DropletResource(
            account.droplets, account.inventory, self._cluster_uid, account.prices
        )

    def order(self, work: Work, wanted: WantedDroplet) -> DropletOrder:
        """Its times count from now."""
        backing = work.backing
        now = self._clock.utc_now()
        expires_at = now + wanted.lifetime
        is_balanced = backing.spec.exposure.mode is ExposureMode.LOAD_BALANCER
        return DropletOrder(
            name=wanted.name,
            region=wanted.placement.region,
            size=wanted.placement.size,
            image=self._image(backing, wanted.placement),
            user_data=self._user_data(work.session, backing, expires_at, wanted.lifetime),
            tags=droplet_tags(
                work.uid,
                cluster_uid=self._cluster_uid,
                # The class's firewall lets everyone in; what is behind a load balancer has its own.
                class_uid=None if is_balanced else backing.class_uid,
                now=now,
                expires_at=expires_at,
            ),
        )

    def _image(self, backing: Backing, place: Placement) -> str:
        """The baked image where there is one, or else the stock image of the class."""
        baked = self._baked(backing, place)
        return str(baked) if baked is not None else backing.spec.image.name

    def _baked(self, backing: Backing, place: Placement) -> int | None:
        if self._images is None:
            return None
        return self._images.image_for(backing.class_name, place.region, place.size)

    def _user_data(
        self, session: Session, backing: Backing, expires_at: datetime, lifetime: timedelta
    ) -> str:
        bootstrap = bootstrap_of(
            session.uid,
            session.order.app_type,
            self._agents.credentials(session),
            backing.spec,
            agent_source=self._agent_source,
            expires_at=expires_at,
            lifetime=lifetime,
        )
        return render_user_data(
            replace(bootstrap, gateway=self._agents.gateway_certificate(session))
        )

    def before_creation(self, work: Work) -> None:
        """Wait in turn when the account's limit is reached."""
        session, quota = work.session, work.backing.account.quota
        if quota.must_wait(work.uid, session.created_at, session.namespace):
            quota.join(work.uid, session.created_at, session.namespace)
            raise OverQuota("other sessions wait for the account's droplet limit")

    def refused(self, work: Work, wanted: WantedDroplet, error: DigitalOceanError) -> None:
        """The limit is waited for, another region or size is tried.

        What DigitalOcean does not take with a baked image, which may have vanished meanwhile, is
        tried with the stock image before anything follows from it.
        """
        place, class_name = wanted.placement, work.backing.class_name
        if isinstance(error, UnknownOption | Refused) and self._baked(work.backing, place):
            if self._images is not None:
                self._images.refuse(class_name, place.region, place.size)
            raise NotYet(f"the baked image cannot be used: {error.message}") from error
        if isinstance(error, OverQuota):
            session = work.session
            quota = work.backing.account.quota
            quota.join(work.uid, session.created_at, session.namespace)
        elif isinstance(error, NoCapacity | UnknownOption):
            refused = _refused_part(wanted.placement, error)
            failure = failure_of(error, self._clock.utc_now())
            work.memory.rejected[refused] = failure
            if isinstance(error, NoCapacity):
                self._no_capacity(work.backing.class_name, refused, failure)

    def made(self, work: Work) -> None:
        """The next one in the queue may try."""
        backing = work.backing
        backing.account.quota.served(work.uid, work.session.namespace)
        self._missed(work.session, Offer(backing.class_name, backing.class_uid, backing.spec))
        self._wake_next(work)

    def noted(self, work: Work, found: Found) -> None:
        """The inventory and the session's plan see it before a listing shows it."""
        droplet: Droplet = found.shown
        work.memory.saw_droplet(DropletView(droplet.id, droplet.status, droplet.public_ip))
        work.backing.account.inventory.saw(droplet)

    def deleted(self, work: Work) -> None:
        """There is room for another one."""
        work.backing.account.quota.leave(work.uid)
        self._wake_next(work)

    def _wake_next(self, work: Work) -> None:
        if (waiting := work.backing.account.quota.first()) is not None:
            self._wake(waiting)

    async def wait(self, work: Work, action: do.Await) -> None:
        """Follow the wave's listing until the droplet is active and has an address."""
        backing, memory = work.backing, work.memory
        inventory, number = backing.account.inventory, int(action.id)
        line = next(line for line in memory.book.resources if line.id == action.id)
        wave = self._wave_of(work, line)
        memory.droplet_news = news = asyncio.Event()
        inventory.watch(wave)
        try:
            async with asyncio.timeout(LISTED_WITHIN_SECONDS):
                while True:
                    view = memory.droplet
                    if view is not None and view.status == "active" and view.ip is not None:
                        memory.ledger = books.with_address(
                            memory.book, action.kind, str(view.id), view.ip
                        )
                        return
                    news.clear()
                    await news.wait()
        except TimeoutError:
            pass
        finally:
            inventory.unwatch(wave)
        # Not in its wave's listing: its tag came late, or it is gone.
        droplet = await backing.account.droplets.get(number, priority=Priority.NEW)
        if droplet is not None:
            inventory.saw(droplet)
            memory.saw_droplet(DropletView(droplet.id, droplet.status, droplet.public_ip))
        elif not may_still_appear(work.known_since(line), self._clock.utc_now()):
            work.saw_gone(action.kind, action.id)

    def _wave_of(self, work: Work, line: LedgerEntry) -> str:
        """The wave that the droplet wears; by its date while its tags do not show."""
        droplet = work.backing.account.inventory.known(int(line.id))
        tags = droplet.tags if droplet is not None else frozenset()
        return next(
            (tag for tag in tags if tag.startswith(_WAVE_PREFIX)), wave_tag(line.created_at)
        )


def _refused_part(placement: Placement, error: NoCapacity | UnknownOption) -> tuple[str, str]:
    """The region and size that need not be asked for again: no region has a size that is none."""
    option = error.option if isinstance(error, UnknownOption) else None
    region = ANY if option in ("size", "image") else placement.region
    size = ANY if option in ("region", "image") else placement.size
    return region, size


def droplet_tags(
    uid: str, *, cluster_uid: str, class_uid: str | None, now: datetime, expires_at: datetime
) -> tuple[str, ...]:
    """The tags of a droplet that is ordered now: whose it is, and until when. `class_uid`: of the
    class whose Shared firewall is to cover it.
    """
    return (
        TAG_PRODUCT,
        TAG_EPHEMERAL,
        session_tag(uid),
        cluster_tag(cluster_uid),
        *((class_tag(class_uid),) if class_uid is not None else ()),
        wave_tag(now),
        ttl_tag(int(expires_at.timestamp())),
    )


def wave_tag(at: datetime) -> str:
    """The creation window of ten minutes that a droplet belongs to."""
    window = at.astimezone(UTC)
    return f"{_WAVE_PREFIX}{window:%Y%m%d%H}{window.minute // 10}0"


def bootstrap_of(
    uid: str,
    app_type: AppType | None,
    credentials: SessionCredentials,
    spec: ClassSpec,
    *,
    agent_source: str,
    expires_at: datetime,
    lifetime: timedelta,
) -> DropletBootstrap:
    """What a droplet of a class boots with. Without an app type it is a spare."""
    return DropletBootstrap(
        session_uid=uid,
        app_type=app_type,
        credentials=credentials,
        agent_source=agent_source,
        expires_at=expires_at,
        grace_seconds=int(parse_duration(spec.lifetime.dead_man_grace).total_seconds()),
        agent_port=AGENT_PORT,
        http_port=spec.exposure.http_port,
        https_port=spec.exposure.https_port,
        lifetime=lifetime,
        health=_app_health(spec.health),
        archives=runtime_archives(spec.runtime),
    )


def spare_contents(spec: ClassSpec, agent_source: str) -> str:
    """The digest of what a spare of a class boots with: another one does not fit its sessions."""
    return contents_of(
        {
            "agent": hashlib.sha256(agent_source.encode()).hexdigest(),
            "image": spec.image.name,
            "archives": [one.document() for one in runtime_archives(spec.runtime)],
            "health": _app_health(spec.health).document(),
            "ports": [AGENT_PORT, spec.exposure.http_port, spec.exposure.https_port],
            "grace": spec.lifetime.dead_man_grace,
        }
    )


def _app_health(spec: HealthSpec) -> AppHealth:
    return AppHealth(
        interval=parse_duration(spec.interval).total_seconds(),
        timeout=parse_duration(spec.timeout).total_seconds(),
        failures=spec.failures,
        grace=parse_duration(spec.grace).total_seconds(),
    )


def runtime_archives(spec: RuntimeSpec) -> tuple[RuntimeArchive, ...]:
    """What a class's droplets install: the archives that the class gives a hash of."""
    hashes = ((NODE, spec.node_sha256), (CADDY, spec.caddy_sha256))
    return tuple(
        RuntimeArchive(release.name, release.url(spec.mirror), sha256, release.strip)
        for release, sha256 in hashes
        if sha256 is not None
    )
