"""Droplets: from the order to the machine, its states, its power, and its end.

A droplet is `new` and locked at first, without any address; its addresses show, then it is
`active` and its machine boots. It is locked while an action is under way, and refuses another.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from spawnai_local.digitalocean import errors
from spawnai_local.digitalocean.clock import timestamp
from spawnai_local.digitalocean.machine_host import MachineHost, MachineQueue
from spawnai_local.digitalocean.settings import Settings
from spawnai_local.digitalocean.state.actions import Action, Actions
from spawnai_local.digitalocean.state.addresses import PRIVATE_NETWORK, Addresses
from spawnai_local.digitalocean.state.bill import Bill, BillLine
from spawnai_local.digitalocean.state.catalogue import MEBIBYTE, REGIONS, Catalogue, Image, Size
from spawnai_local.digitalocean.state.domains import Domains
from spawnai_local.digitalocean.state.firewalls import Firewalls
from spawnai_local.digitalocean.state.images import Images
from spawnai_local.digitalocean.state.ssh_keys import SshKeys
from spawnai_local.digitalocean.state.tags import Tags
from spawnai_local.digitalocean.world import World

FIRST_DROPLET_ID = 500_000_000
NAME = re.compile(r"[a-zA-Z0-9]?[a-z0-9A-Z.\-]*[a-z0-9A-Z]")
LONGEST_NAME = 255
MOST_AT_ONCE = 10
LARGEST_USER_DATA = 64 * 1024
DEFAULT_REGION = "nyc3"
POWER_ACTIONS = ("power_off", "power_on", "shutdown", "reboot", "power_cycle")
SESSION_TAG = "session:"


@dataclass(slots=True)
class Droplet:
    """A droplet, from its order on; `deleted_at` is set once its deletion is accepted."""

    id: int
    name: str
    size: Size
    region: str
    image: Image
    tags: list[str]
    user_data: str
    """What its machine boots from; not kept for a shell."""
    user_data_bytes: int
    features: list[str]
    created_at: float
    vpc_uuid: str
    public_address: str
    private_address: str
    private_first: bool
    shell: bool
    canary: bool
    status: str = "new"
    addressed: bool = False
    """Whether the API shows the droplet's addresses."""
    findable: bool = True
    """Whether the droplet's own address answers."""
    pending: Action | None = None
    deleted_at: float | None = None
    text: bytes | None = None
    """The JSON last shown, until something changes."""

    @property
    def locked(self) -> bool:
        """Whether an action, or the deletion, is under way."""
        return self.pending is not None or self.deleted_at is not None

    @property
    def session(self) -> str | None:
        """The session that the droplet's tags name."""
        return session_of(self.tags)

    def summary(self) -> dict[str, Any]:
        """Return what the control API shows beside DigitalOcean's own view."""
        return {
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "region": self.region,
            "size": self.size.slug,
            "image": self.image.slug,
            "tags": self.tags,
            "public_address": self.public_address,
            "created_at": self.created_at,
            "deleted_at": self.deleted_at,
            "shell": self.shell,
            "canary": self.canary,
            "user_data_bytes": self.user_data_bytes,
        }


def session_of(tags: object) -> str | None:
    """Return the session named by a list of tags, if one is."""
    if isinstance(tags, list | tuple):
        for tag in tags:
            if isinstance(tag, str) and tag.startswith(SESSION_TAG):
                return tag.removeprefix(SESSION_TAG)
    return None


@dataclass(frozen=True, slots=True)
class Anomalies:
    """What goes wrong with what one call makes, in seconds; None: as the delays say."""

    unlisted: float | None = None
    unseen: float | None = None
    vanish: float | None = None
    ghost: float | None = None
    errored: bool = False
    """Whether what the call begins ends in error."""


AS_USUAL = Anomalies()


@dataclass(frozen=True, slots=True)
class Created:
    """A new droplet and the action that creates it."""

    droplet: Droplet
    action: Action


@dataclass(slots=True)
class _Order:
    names: list[str]
    size: Size
    region: str
    image: Image
    tags: list[str]
    user_data: str
    features: list[str] = field(default_factory=list)
    has_keys: bool = False
    """Without an SSH key DigitalOcean switches password login on and mails the password."""


class Droplets:
    """All droplets of the account."""

    def __init__(
        self,
        *,
        world: World,
        settings: Settings,
        catalogue: Catalogue,
        tags: Tags,
        actions: Actions,
        bill: Bill,
        ssh_keys: SshKeys,
        domains: Domains,
        machine_host: MachineHost | None,
    ) -> None:
        self._world = world
        self._settings = settings
        self._catalogue = catalogue
        self._tags = tags
        self._actions = actions
        self._bill = bill
        self._ssh_keys = ssh_keys
        self._domains = domains
        self._machine_host = machine_host
        self._machines = MachineQueue(machine_host) if machine_host is not None else None
        self._public = Addresses(settings.shell_network)
        self._private = Addresses(PRIVATE_NETWORK)
        self._vpcs: dict[str, str] = {}
        self._droplets: dict[int, Droplet] = {}
        self._of_name: dict[str, dict[int, None]] = {}
        self._unlisted: set[int] = set()
        self._hidden: set[int] = set()
        self._going = 0
        self._at: dict[str, int] = {}
        self.sessions: dict[int, str] = {}
        """The session of each droplet there ever was, where its tags named one."""
        self._snapshots: dict[int, str | None] = {}
        """The name of what each snapshot action under way makes; None: it ends in error."""
        self._names: dict[int, str | None] = {}
        """The name that each rename under way gives; None: it ends in error."""
        self.images = Images(world, catalogue, actions, bill)
        if self._machines is not None:
            self.images.on_deleted = self._machines.drop_disk
        self.on_gone: Callable[[int], None] = lambda _droplet_id: None
        """Told of each droplet that is gone."""
        self.firewalls = Firewalls(world, tags, self._droplets.__contains__)

    def all(self) -> list[Droplet]:
        """Return all droplets that are still there, also those that no answer shows yet."""
        return list(self._droplets.values())

    def create(
        self,
        order: dict[str, Any],
        anomalies: Anomalies = AS_USUAL,
        *,
        canary: bool = False,
    ) -> list[Created]:
        """Begin to create one droplet (`name`) or up to ten (`names`).

        Raises:
            ApiError: 422; the order is wrong, the account is full, or there is no capacity.
        """
        wanted = self._read(order)
        if not canary:
            self._check_room(wanted)
        return [self._create(name, wanted, anomalies, canary=canary) for name in wanted.names]

    def session_at(self, address: object) -> str | None:
        """Return the session whose droplet has, or had last, a public address."""
        droplet_id = self._at.get(address) if isinstance(address, str) else None
        return None if droplet_id is None else self.sessions.get(droplet_id)

    def get(self, droplet_id: int) -> Droplet:
        """Return a droplet.

        Raises:
            ApiError: 404, there is no such droplet, or it is not shown yet.
        """
        droplet = self._droplets.get(droplet_id)
        if droplet is None or not droplet.findable:
            raise errors.not_found()
        return droplet

    def delete(self, droplet_id: int, anomalies: Anomalies = AS_USUAL) -> None:
        """Accept the deletion of a droplet: billing ends, its machine goes.

        Raises:
            ApiError: 404 there is no such droplet; 422 something else is under way with it.
        """
        droplet = self.get(droplet_id)
        creating = droplet.pending is not None and droplet.status == "new"
        if droplet.deleted_at is not None or (
            droplet.pending is not None and (self._settings.delete_needs_active or not creating)
        ):
            raise errors.pending_event()
        if droplet.pending is not None:
            self._actions.end(droplet.pending, "errored")
        droplet.deleted_at = self._world.now()
        droplet.text = None
        self._going += 1
        self._bill.end(droplet_id)
        self._world.record(
            "droplet deleted", droplet_id, name=droplet.name, address=droplet.public_address
        )
        for record in self._domains.pointing_at(droplet.public_address):
            self._world.record("record dangling", record.id, name=record.name, address=record.data)
        if not droplet.shell and self._machines is not None:
            self._machines.destroy(droplet_id)
        visible = self._world.draw(self._world.delays.delete_visible)
        self._soon(visible, lambda: self._hide(droplet, anomalies))

    def act(
        self,
        droplet_id: int,
        kind: object,
        order: dict[str, Any],
        anomalies: Anomalies = AS_USUAL,
    ) -> Action:
        """Begin an action.

        Raises:
            ApiError: 404 there is no such droplet; 422 the action is unknown, makes no sense now,
                or another one is under way.
        """
        droplet = self.get(droplet_id)
        if kind not in (*POWER_ACTIONS, "rename", "snapshot"):
            raise errors.unprocessable(f"{kind!r} is not an action that this cloud emulates")
        if droplet.locked:
            raise errors.pending_event()
        delay = self._world.delays.action
        if kind == "snapshot":
            delay = self._world.delays.snapshot
            action = self._actions.begin("snapshot", droplet_id, droplet.region)
            name = order.get("name") or f"{droplet.name}-{int(self._world.now())}"
            self._snapshots[action.id] = None if anomalies.errored else str(name)
        elif kind == "rename":
            name = _checked_name(order.get("name"))
            action = self._actions.begin("rename", droplet_id, droplet.region)
            self._names[action.id] = None if anomalies.errored else name
        else:
            if kind == "power_on" and droplet.status == "active":
                raise errors.unprocessable("Droplet is already powered on.")
            if kind != "power_on" and droplet.status == "off":
                raise errors.unprocessable("Droplet is already powered off.")
            action = self._actions.begin(str(kind), droplet_id, droplet.region)
            self._order_power(droplet, str(kind))
        droplet.pending = action
        droplet.text = None
        self._world.timeline.after(
            self._world.draw(delay), lambda: self._end_action(droplet, action)
        )
        return action

    def machine_powered_off(self, droplet_id: int) -> None:
        """Note that a machine has shut itself down: its droplet is off, and still billed."""
        droplet = self._droplets.get(droplet_id)
        if droplet is not None and droplet.deleted_at is None and droplet.status == "active":
            droplet.status = "off"
            droplet.text = None
            self._world.record("droplet off", droplet_id, name=droplet.name)

    def set_tag(self, name: str, droplet_ids: list[int]) -> None:
        """Begin to put a tag on droplets: it shows a little later.

        Raises:
            ApiError: 404, one of them does not exist.
        """
        droplets = [self.get(droplet_id) for droplet_id in droplet_ids]
        for droplet in droplets:
            if (session := session_of([name])) is not None:
                self.sessions[droplet.id] = session
            self._later(partial(self._show_tags, droplet, [name]))

    def begin_untag(self, name: str, droplet_ids: list[int]) -> None:
        """Begin to take a tag off droplets: it shows for a little longer.

        Raises:
            ApiError: 404, one of them does not exist.
        """
        for droplet_id in [self.get(droplet_id).id for droplet_id in droplet_ids]:
            self._later(partial(self.unset_tag, name, [droplet_id]))

    def _later(self, action: Callable[[], None]) -> None:
        self._soon(self._world.draw(self._world.delays.tags), action)

    def unset_tag(self, name: str, droplet_ids: Collection[int]) -> None:
        """Take a tag off droplets."""
        for droplet_id in list(droplet_ids):
            droplet = self._droplets.get(droplet_id)
            if droplet is not None and name in droplet.tags:
                droplet.tags = [one for one in droplet.tags if one != name]
                droplet.text = None
                self._tags.detach(name, droplet_id)
                self.firewalls.droplet_untagged(droplet_id, name)

    def page_of_tag(self, name: str, start: int, count: int) -> tuple[list[Droplet], int]:
        """Return some of the droplets that carry a tag, and how many do in all."""
        tag = self._tags.find(name)
        return self._page(
            tag.droplets if tag is not None else (), start, count, self._unlisted | self._hidden
        )

    def page_of_name(self, name: str, start: int, count: int) -> tuple[list[Droplet], int]:
        """Return some of the droplets of a name (in any case), and how many there are in all."""
        return self._page(self._of_name.get(name.lower(), {}), start, count, self._hidden)

    def page(self, start: int, count: int) -> tuple[list[Droplet], int]:
        """Return some of all droplets, and how many there are."""
        return self._page(self._droplets, start, count, self._hidden)

    def region_of(self, droplet_id: int) -> str | None:
        """Return the region of a droplet; None: there is none of this id."""
        droplet = self._droplets.get(droplet_id)
        return droplet.region if droplet is not None and droplet.deleted_at is None else None

    def target(self, droplet_id: int) -> Droplet | None:
        """Return a droplet that is up; None: there is none of this id, or it is not."""
        droplet = self._droplets.get(droplet_id)
        up = droplet is not None and droplet.deleted_at is None and droplet.status == "active"
        return droplet if up else None

    def take_address(self) -> str:
        """Return a public address that nothing has, for a load balancer."""
        if self._machine_host is not None and not self._settings.shells:
            return self._machine_host.allocate_address()
        return self._public.take()

    def give_back_address(self, address: str) -> None:
        """Take an address of `take_address` back."""
        if self._machine_host is None or self._settings.shells:
            self._public.give_back(address)

    def vpc(self, region: str) -> str:
        """Return the default VPC of a region."""
        return self._vpc(region)

    def text(self, droplet: Droplet) -> bytes:
        """Return the droplet's JSON as the API shows it."""
        if droplet.text is None:
            droplet.text = self._render(droplet).encode()
        return droplet.text

    async def drain_machines(self) -> None:
        """Wait until the machine host has done all it was told."""
        if self._machines is not None:
            await self._machines.drain()

    def _page(
        self, ids: Collection[int], start: int, count: int, without: set[int]
    ) -> tuple[list[Droplet], int]:
        if without:
            ids = [droplet_id for droplet_id in ids if droplet_id not in without]
        return [self._droplets[one] for one in islice(ids, start, start + count)], len(ids)

    def _check_room(self, wanted: _Order) -> None:
        limit = self._world.limits.droplets
        if len(self._droplets) - self._going + len(wanted.names) > limit:
            raise errors.over_droplet_limit()
        if wanted.region in self._catalogue.closed_regions:
            raise errors.region_not_available()
        if wanted.size.slug in self._catalogue.restricted_sizes:
            raise errors.size_restricted()
        if (wanted.region, wanted.size.slug) in self._catalogue.sold_out:
            raise errors.size_not_available()

    def _create(self, name: str, wanted: _Order, anomalies: Anomalies, *, canary: bool) -> Created:
        world, delays = self._world, self._world.delays
        droplet_id = world.number("droplet", FIRST_DROPLET_ID)
        tags = [self._tags.ensure(tag).name for tag in wanted.tags]
        shell = (
            canary
            or self._machine_host is None
            or self._settings.shells
            or not self._settings.shell_tags.isdisjoint(tags)
        )
        private_first = self._settings.private_address_first
        droplet = Droplet(
            id=droplet_id,
            name=name,
            size=wanted.size,
            region=wanted.region,
            image=wanted.image,
            tags=[],
            user_data="" if shell else wanted.user_data,
            user_data_bytes=len(wanted.user_data),
            features=wanted.features,
            created_at=world.now(),
            vpc_uuid=self._vpc(wanted.region),
            public_address=self._address(name, frozenset(tags), shell=shell),
            private_address=self._private.take(),
            private_first=(
                world.randomness.random() < 0.5 if private_first is None else private_first  # noqa: PLR2004
            ),
            shell=shell,
            canary=canary,
        )
        action = self._actions.begin("create", droplet_id, droplet.region)
        droplet.pending = action
        self._droplets[droplet_id] = droplet
        self._of_name.setdefault(name.lower(), {})[droplet_id] = None
        self._at[droplet.public_address] = droplet_id
        if (session := session_of(tags)) is not None:
            self.sessions[droplet_id] = session
        self._bill.begin(
            BillLine(
                droplet_id,
                name,
                tuple(tags),
                droplet.region,
                droplet.size.slug,
                droplet.size.price_hourly,
                droplet.created_at,
                canary,
            )
        )
        world.record(
            "droplet created",
            droplet_id,
            name=name,
            tags=tags,
            region=droplet.region,
            size=droplet.size.slug,
            address=droplet.public_address,
        )
        if not wanted.has_keys:
            world.record("password mailed", droplet_id, name=name)
        self._soon(
            0.0 if canary else world.draw(delays.tags), lambda: self._show_tags(droplet, tags)
        )
        created = Created(droplet, action)
        if canary:
            droplet.addressed = True
            self._become_active(created)
            return created
        if anomalies.vanish is not None:
            world.timeline.after(anomalies.vanish, lambda: self._vanish(created))
        else:
            boot = world.draw(delays.boot)
            world.timeline.after(
                min(world.draw(delays.network), boot), lambda: self._show_addresses(droplet)
            )
            world.timeline.after(boot, lambda: self._become_active(created))
        self._conceal(self._unlisted, droplet_id, anomalies.unlisted, world.draw(delays.listing))
        unseen = self._conceal(
            self._hidden, droplet_id, anomalies.unseen, world.draw(delays.appear)
        )
        if unseen > 0:
            droplet.findable = False
            world.timeline.after(unseen, lambda: setattr(droplet, "findable", True))
        return created

    def _conceal(
        self, where: set[int], droplet_id: int, override: float | None, usual: float
    ) -> float:
        seconds = usual if override is None else override
        if seconds > 0:
            where.add(droplet_id)
            self._world.timeline.after(seconds, lambda: where.discard(droplet_id))
        return seconds

    def _show_addresses(self, droplet: Droplet) -> None:
        if droplet.deleted_at is None:
            droplet.addressed = True
            droplet.text = None

    def _show_tags(self, droplet: Droplet, tags: list[str]) -> None:
        """Put tags on a droplet, which happens after it was made, or after it was asked for."""
        tags = [name for name in tags if name not in droplet.tags]
        if droplet.deleted_at is not None or not tags:
            return
        tags = [self._tags.attach(name, droplet.id).name for name in tags]
        droplet.tags = list(dict.fromkeys([*droplet.tags, *tags]))
        droplet.text = None
        self.firewalls.droplet_tagged(droplet.id, tags)

    def _become_active(self, created: Created) -> None:
        droplet = created.droplet
        if droplet.deleted_at is not None:
            return
        droplet.addressed = True
        droplet.status = "active"
        droplet.pending = None
        droplet.text = None
        self._actions.end(created.action)
        self._world.record(
            "droplet active", droplet.id, name=droplet.name, address=droplet.public_address
        )
        self._boot(droplet)

    def _boot(self, droplet: Droplet) -> None:
        if not droplet.shell and self._machines is not None:
            self._machines.boot(
                droplet.id,
                droplet.public_address,
                droplet.user_data,
                droplet.size.memory * MEBIBYTE,
                droplet.image.id if droplet.image.type == "snapshot" else None,
            )

    def _order_power(self, droplet: Droplet, kind: str) -> None:
        if kind != "power_on" and not droplet.shell and self._machines is not None:
            self._machines.power_off(droplet.id)

    def _end_action(self, droplet: Droplet, action: Action) -> None:
        if droplet.deleted_at is not None or droplet.pending is not action:
            return
        droplet.pending = None
        droplet.text = None
        if action.type == "snapshot":
            self._end_snapshot(droplet, action)
            return
        if action.type == "rename":
            self._end_rename(droplet, action)
            return
        self._actions.end(action)
        if action.type in ("power_off", "shutdown"):
            droplet.status = "off"
            self._world.record("droplet off", droplet.id, name=droplet.name)
        else:
            droplet.status = "active"
            self._boot(droplet)

    def _end_rename(self, droplet: Droplet, action: Action) -> None:
        name = self._names.pop(action.id)
        self._actions.end(action, "errored" if name is None else "completed")
        if name is not None:
            self._unname(droplet)
            droplet.name = name
            self._of_name.setdefault(name.lower(), {})[droplet.id] = None
            self._world.record("droplet renamed", droplet.id, name=name)

    def _unname(self, droplet: Droplet) -> None:
        named = self._of_name[droplet.name.lower()]
        named.pop(droplet.id, None)
        if not named:
            del self._of_name[droplet.name.lower()]

    def _end_snapshot(self, droplet: Droplet, action: Action) -> None:
        name = self._snapshots.pop(action.id)
        self._actions.end(action, "errored" if name is None else "completed")
        if name is not None:
            made = self.images.snapshot(
                droplet.id, name, droplet.image, droplet.region, droplet.size.disk
            )
            if not droplet.shell and self._machines is not None:
                self._machines.keep_disk(droplet.id, made.id)

    def _vanish(self, created: Created) -> None:
        """End a droplet that could not be placed after all: it is gone, and costs nothing."""
        droplet = created.droplet
        if droplet.deleted_at is None:
            droplet.deleted_at = self._world.now()
            self._going += 1
            self._actions.end(created.action, "errored")
            self._bill.cancel(droplet.id)
            self._world.record("droplet vanished", droplet.id, name=droplet.name)
            self._forget(droplet)

    def _soon(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something in so many seconds, or at once where there is nothing to wait for."""
        if seconds > 0:
            self._world.timeline.after(seconds, action)
        else:
            action()

    def _hide(self, droplet: Droplet, anomalies: Anomalies) -> None:
        """Answer 404 for a deleted droplet, and take it out of listings now or a little later."""
        droplet.findable = False
        usual = self._world.draw(self._world.delays.delisting)
        ghost = usual if anomalies.ghost is None else anomalies.ghost
        self._soon(ghost, lambda: self._forget(droplet))

    def _forget(self, droplet: Droplet) -> None:
        self._going -= 1
        del self._droplets[droplet.id]
        self._unname(droplet)
        for tag in droplet.tags:
            self._tags.detach(tag, droplet.id)
        self.firewalls.droplet_gone(droplet.id)
        self.on_gone(droplet.id)
        self._private.give_back(droplet.private_address)
        if droplet.shell and self._settings.shell_address is None:
            self._public.give_back(droplet.public_address)
        self._world.record(
            "droplet gone", droplet.id, name=droplet.name, address=droplet.public_address
        )

    def _address(self, name: str, tags: frozenset[str], *, shell: bool) -> str:
        if not shell and self._machine_host is not None:
            return self._machine_host.allocate_address()
        if self._settings.shell_address is not None:
            return self._settings.shell_address(name, tags)
        return self._public.take()

    def _vpc(self, region: str) -> str:
        if region not in self._vpcs:
            self._vpcs[region] = self._world.uuid()
        return self._vpcs[region]

    def _read(self, order: dict[str, Any]) -> _Order:
        names = order.get("names")
        if names is None:
            names = [order.get("name")]
        elif not isinstance(names, list) or not 1 <= len(names) <= MOST_AT_ONCE:
            raise errors.unprocessable(f"names must be a list of 1 to {MOST_AT_ONCE} names")
        checked = [_checked_name(name) for name in names]
        size = self._catalogue.sizes.get(str(order.get("size")))
        if size is None:
            raise errors.invalid_option("size")
        region = order.get("region") or DEFAULT_REGION
        if region not in REGIONS:
            raise errors.invalid_option("region")
        if region not in size.regions:
            raise errors.size_not_available()
        image = self._catalogue.image(order.get("image"))
        if image is None:
            raise errors.invalid_option("image")
        self._check_image(image, size, str(region), order)
        self._ssh_keys.check(order.get("ssh_keys") or [])
        user_data = order.get("user_data") or ""
        if not isinstance(user_data, str) or len(user_data.encode()) > LARGEST_USER_DATA:
            raise errors.unprocessable("user_data must be text of at most 64 KiB")
        if not user_data.isascii():
            raise errors.unprocessable("user_data must be ASCII")
        features = ["droplet_agent"] if order.get("with_droplet_agent") else []
        features += [
            name for key, name in (("monitoring", "monitoring"), ("ipv6", "ipv6")) if order.get(key)
        ]
        return _Order(
            checked,
            size,
            str(region),
            image,
            self._tags.validate(order.get("tags")),
            user_data,
            [*features, "private_networking"],
            has_keys=bool(order.get("ssh_keys")),
        )

    @staticmethod
    def _check_image(image: Image, size: Size, region: str, order: dict[str, Any]) -> None:
        if image.type == "base":
            return
        if image.status != "available":
            raise errors.unprocessable("The image you specified is not available yet.")
        if region not in image.regions:
            raise errors.image_not_in_region()
        if image.min_disk_size > size.disk:
            raise errors.unprocessable("The image you specified needs a larger disk.")
        if image.type == "custom":
            if not order.get("ssh_keys"):
                raise errors.unprocessable("A custom image needs an SSH key.")
            if order.get("monitoring"):
                raise errors.unprocessable("Monitoring is not available for custom images.")

    def _render(self, droplet: Droplet) -> str:
        texts, size = self._catalogue.texts, droplet.size
        snapshots = [image.id for image in self.images.of_droplet(droplet.id)]
        return (
            f'{{"id":{droplet.id},"name":{json.dumps(droplet.name)},"memory":{size.memory},'
            f'"vcpus":{size.vcpus},"disk":{size.disk},'
            f'"disk_info":[{{"type":"local","size":{{"amount":{size.disk},"unit":"gib"}}}}],'
            f'"locked":{"true" if droplet.locked else "false"},"status":"{droplet.status}",'
            f'"kernel":null,"created_at":"{timestamp(droplet.created_at)}",'
            f'"features":{json.dumps(droplet.features)},"backup_ids":[],'
            f'"next_backup_window":null,"snapshot_ids":{snapshots},'
            f'"image":{texts[f"image {droplet.image.id}"]},"volume_ids":[],'
            f'"size":{texts["size " + size.slug]},"size_slug":"{size.slug}",'
            f'"networks":{json.dumps(_networks(droplet))},'
            f'"region":{texts["region " + droplet.region]},"tags":{json.dumps(droplet.tags)},'
            f'"vpc_uuid":"{droplet.vpc_uuid}"}}'
        )


def _networks(droplet: Droplet) -> dict[str, Any]:
    if not droplet.addressed:
        return {"v4": [], "v6": []}
    public = _network(droplet.public_address, 20, "public")
    private = _network(droplet.private_address, 20, "private")
    return {
        "v4": [private, public] if droplet.private_first else [public, private],
        "v6": [],
    }


def _network(address: str, prefix: int, kind: str) -> dict[str, Any]:
    network = ipaddress.ip_interface(f"{address}/{prefix}").network
    return {
        "ip_address": address,
        "netmask": str(network.netmask),
        "gateway": str(network[1]),
        "type": kind,
    }


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or len(name) > LONGEST_NAME or NAME.fullmatch(name) is None:
        raise errors.unprocessable("Only valid hostnames are allowed. (a-z, A-Z, 0-9, . and -)")
    return name
