"""The part of a class that lies in DigitalOcean: its account, prices, domain and firewall."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from spawnai.api.spawnclass import ClassSpec, ExposureMode, FirewallMode
from spawnai.controller.accounts import Accounts, CloudAccount
from spawnai.controller.store import StoredClass
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.errors import DigitalOceanError, Forbidden, Unauthorized
from spawnai.digitalocean.scopes import BASE, IMAGES, LOAD_BALANCERS, POOLS, of_domain

from .firewalls import ClassFirewalls
from .hosted import HostedCertificates
from .memory import ClassMemory, OpenAccount
from .state import ClassProblem, Hosted

LISTED_FROM = 20
"""From how many open ledgers on all that exists is listed before the first of it is deleted. A
listing shows 200 things with a call, and without it every deletion asks first whose a thing is."""


class ClassCloud:
    """Opens the accounts of classes, and finds out whether new sessions can be made in them.

    `users_of(class_name)` names those whose ledgers are open; `users_known(class_name)` too, as
    far as the watches have shown them; `has_pool(class_name)` tells whether spares are kept for it.
    """

    def __init__(
        self,
        accounts: Accounts,
        firewalls: ClassFirewalls,
        hosted: HostedCertificates,
        *,
        users_of: Callable[[str], Awaitable[list[str]]],
        users_known: Callable[[str], list[str]],
        has_pool: Callable[[str], bool],
    ) -> None:
        self._accounts = accounts
        self._firewalls = firewalls
        self._hosted = hosted
        self._users_of = users_of
        self._users_known = users_known
        self._has_pool = has_pool

    async def open(self, known: StoredClass, memory: ClassMemory, token: str) -> OpenAccount:
        """Open the account behind the class's token.

        Without it nothing can be destroyed, so this comes before all else, and goes before all
        calls that are not for destroying.

        Raises:
            ClassProblem: it may not be the account that the class's sessions live in.
            Unauthorized: the token does not work.
            DigitalOceanError: a call failed.
        """
        try:
            account = self._accounts.open(token)
        except ValueError as error:
            raise ClassProblem(
                "DigitalOceanTokenInvalid", f"SpawnClass {known.name!r}: {error}"
            ) from error
        memory.tried = account
        try:
            opened = await self._opened(known, memory, account)
            if memory.opened is None and len(self._users_known(known.name)) >= LISTED_FROM:
                await self._list_what_exists(known, account)
        except (ClassProblem, Unauthorized):
            memory.tried = None
            raise
        memory.opened, memory.tried = opened, None
        return opened

    @staticmethod
    async def _list_what_exists(known: StoredClass, account: CloudAccount) -> None:
        """Have droplets and names show whose they are. What cannot be listed is asked one by one.

        After a restart in a crowd of deletions twice as many calls would be needed, and each of
        them goes before the listings that would save it.
        """
        with suppress(DigitalOceanError):
            await account.inventory.verify_droplets(priority=Priority.DESTROY)
            domain = known.spec.exposure.domain if known.spec is not None else None
            if domain:
                await account.record_listings.domain_exists(domain, priority=Priority.DESTROY)

    async def _opened(
        self, known: StoredClass, memory: ClassMemory, account: CloudAccount
    ) -> OpenAccount:
        """The account behind the token, which may not be allowed to read whose it is.

        In another account every droplet of the class is a 404, which would be taken for its proof
        of being gone while it goes on in the first one, unseen and paid for. So while anything of
        the class lives, and its account is known, a token has to show that it is of that account.

        Raises:
            ClassProblem: it has not shown that.
        """
        opened = memory.opened
        before = opened.uuid if opened is not None else None
        before = before or known.status.account_uuid
        found: str | None = None
        locked = ""
        try:
            owner = await account.catalog.account(priority=Priority.DESTROY)
            found = owner.uuid
            if owner.status == "locked":
                locked = owner.message or "no reason given"
        except Forbidden:
            # A token of custom scopes may not read its account. Does it work at all?
            await self._read_prices(account, Priority.DESTROY)
            if opened is not None and opened.account is account:
                return opened  # A token stays in its account, and this one has shown it.
        result = OpenAccount(account, found, locked)
        if before is None or found == before:
            return result
        users = await self._users_of(known.name)
        if not users:
            return result
        made = f"what {', '.join(users[:5])} made lives in account {before}"
        if found is None:
            raise ClassProblem(
                "AccountUnknown",
                f"The DigitalOcean token of SpawnClass {known.name!r} may not read which account "
                f"it belongs to, but {made}: give the token the scope account:read, or put back "
                "the former one until those sessions have ended",
            )
        raise ClassProblem(
            "AccountChanged",
            f"The DigitalOcean token of SpawnClass {known.name!r} belongs to account {found}, "
            f"but {made}: put back a token of that account until those sessions have ended, or "
            "make another class",
        )

    @staticmethod
    async def _read_prices(account: CloudAccount, priority: Priority) -> None:
        sizes = await account.catalog.sizes(priority=priority)
        account.prices.update({slug: size.price_hourly for slug, size in sizes.items()})

    async def _check_scopes(
        self, known: StoredClass, spec: ClassSpec, account: CloudAccount
    ) -> None:
        """Find out once for each token and spec whether it may do what sessions need.

        A token without `tag:read`, for example, makes droplets that show no tags: none of them
        would be known as ours again.
        """
        domain = spec.exposure.domain
        needed = (
            *BASE,
            *(of_domain(domain) if domain else ()),
            *(IMAGES if spec.image.baked else ()),
            *(LOAD_BALANCERS if spec.exposure.mode is ExposureMode.LOAD_BALANCER else ()),
            *(POOLS if self._has_pool(known.name) else ()),
        )
        wanted = [
            scope for scope in needed if (scope.name, scope.probe.url_path) not in account.scopes
        ]
        missing = await account.catalog.missing_scopes(wanted, priority=Priority.NEW)
        account.scopes |= {
            (scope.name, scope.probe.url_path) for scope in wanted if scope not in missing
        }
        if missing:
            lacks = "; ".join(f"{scope.name} ({scope.without})" for scope in missing)
            raise ClassProblem(
                "ScopesMissing",
                f"The DigitalOcean token of SpawnClass {known.name!r} lacks scopes: {lacks}. Give "
                "it the scopes that the guide lists, or a token with full access",
            )

    @staticmethod
    async def _check_image(known: StoredClass, image_name: str, account: CloudAccount) -> None:
        """An image of the account's own, named by its number, has to be one that sessions can use.

        An uploaded ("custom") image demands an SSH key and gets its address by DHCP, which the
        firewall does not let out.
        """
        if not image_name.isdigit():
            return
        image = await account.catalog.image(int(image_name), priority=Priority.NEW)
        if image is None or image.status != "available":
            raise ClassProblem(
                "ImageMissing",
                f"The DigitalOcean account has no image {image_name} that can be used, which "
                f"SpawnClass {known.name!r} names: write the number of a snapshot of this account "
                "or a slug such as ubuntu-24-04-x64 in spec.image.name",
            )
        if image.type == "custom":
            raise ClassProblem(
                "ImageUnsupported",
                f"Image {image_name} of SpawnClass {known.name!r} was uploaded. Uploaded images "
                "need an SSH key and DHCP, which sessions do not have: start a droplet from it, "
                "take a snapshot, and write the snapshot's number in "
                "spec.image.name",
            )

    async def prepare(
        self, known: StoredClass, spec: ClassSpec, account: CloudAccount
    ) -> tuple[str | None, Hosted | None]:
        """Get all that new sessions need. Returns the id of the Shared firewall and the certificate
        for load balancers, if the class has them.

        Raises:
            ClassProblem: something is missing; it says what.
            DigitalOceanError, ClusterError: a call failed.
        """
        await self._read_prices(account, Priority.NEW)
        domain = spec.exposure.domain
        await self._check_scopes(known, spec, account)
        await self._check_image(known, spec.image.name, account)
        if domain and not await account.record_listings.domain_exists(
            domain, priority=Priority.NEW
        ):
            raise ClassProblem(
                "DomainMissing",
                f"DigitalOcean DNS does not manage {domain!r}, the domain of SpawnClass "
                f"{known.name!r}: add the domain to the account, or remove spec.exposure.domain",
            )
        if known.deleting:
            # A class that ends keeps its firewall to the last session, and gets no other one.
            return known.status.firewall_id, None
        firewall_id = None
        # A spare needs one in each mode: before a session takes it, it has no own.
        if spec.firewall.mode is FirewallMode.SHARED or self._has_pool(known.name):
            firewall_id = await self._firewalls.ensure(known, spec, account)
        return firewall_id, await self._hosted.ensure(known, spec, account)
