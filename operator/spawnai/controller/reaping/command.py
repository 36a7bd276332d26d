"""`spawnai reap`: the reaper by hand, with the cluster's ledgers or, when it is lost, without.

With a cluster it deletes what the operator's own reaper would delete, without the hourly limit: a
person looks on. It enters it in the SpawnRecords as the operator does. With --cluster-lost there is
nobody left to explain anything: everything that wears that cluster's marks goes.

What a lost cluster probably left and nothing proves is listed, and never deleted.

Exit codes: 0 nothing is left; 1 something was found and is still there (always so with --dry-run);
2 wrong arguments or settings; 3 nothing was deleted because a listing could not be had or trusted;
4 nothing was deleted because the token may not list domains.
"""

import argparse
import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kubernetes.aio import client

from spawnai.api.durations import format_duration, parse_duration
from spawnai.api.names import cluster_tag, image_prefix, owner_of
from spawnai.clock import Clock, SystemClock
from spawnai.cluster_access import NoClusterAccess, cluster_access
from spawnai.controller.cluster import CLASSES, Cluster, ClusterError
from spawnai.controller.store import Store
from spawnai.digitalocean.budget import Priority, RateBudget
from spawnai.digitalocean.client import ApiClient
from spawnai.digitalocean.dns import DomainRecords
from spawnai.digitalocean.droplets import Droplets
from spawnai.digitalocean.errors import DigitalOceanError, Refused, Unauthorized
from spawnai.digitalocean.firewalls import Firewalls
from spawnai.digitalocean.image_resource import SNAPSHOT
from spawnai.digitalocean.images import Images
from spawnai.digitalocean.load_balancers import LoadBalancers
from spawnai.digitalocean.models import Droplet, Firewall, Image
from spawnai.lifecycle.reaping import (
    CloudListing,
    ClusterListing,
    Judgement,
    Orphan,
    ReapingRules,
    Recollection,
    SeenDroplet,
    Verdict,
    judge,
    verdict_on,
)
from spawnai.settings import CloudSettings, SettingsError, read_settings

from .census import take_census
from .leftovers import Leftover, Leftovers
from .receipts import Receipts
from .removal import Estate, Outcome, Removal, Result, remove_image, seen
from .table import (
    Row,
    droplet_row,
    estate_rows,
    firewall_row,
    image_row,
    leftover_row,
    outcome_row,
    table,
)

NOTHING_LEFT, SOMETHING_LEFT, WRONG_USE, IN_DOUBT, NAMES_UNKNOWN = 0, 1, 2, 3, 4

Write = Callable[[str], object]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Find and delete what this cluster left in DigitalOcean. Needs DIGITALOCEAN_TOKEN in the "
        "environment, and a kubeconfig unless --cluster-lost is given."
    )
    parser.epilog = (
        "Exit codes: 0 nothing is left, 1 something was found and is still there, 2 wrong "
        "arguments or settings, 3 nothing was deleted because a listing could not be trusted, "
        "4 nothing was deleted because the token may not list domains."
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be deleted, and delete nothing"
    )
    parser.add_argument("--yes", action="store_true", help="delete what is found")
    parser.add_argument(
        "--cluster-lost",
        action="store_true",
        help="ask no API server: delete all that wears the marks of the cluster --cluster-id",
    )
    parser.add_argument(
        "--cluster-id",
        metavar="UID",
        help="the cluster: the UID of its namespace kube-system (default: ask the API server)",
    )
    parser.add_argument(
        "--minimum-age",
        metavar="DURATION",
        default="10m",
        help="leave alone what is younger (default: %(default)s)",
    )
    parser.add_argument(
        "--without-names",
        action="store_true",
        help="go on with a token that may not list domains: DNS records that are left then lead to "
        "whoever gets the droplets' addresses",
    )


@dataclass(frozen=True, slots=True)
class _Findings:
    """What one look at the cluster's droplets showed. `waiting`: what only a later run may take."""

    orphans: tuple[Orphan, ...]
    others: tuple[Row, ...]
    waiting: int = 0


class _Doubt(Exception):
    """A listing cannot be trusted, and why."""


class _WrongUse(Exception):
    """The command was called in a way that cannot be meant."""


async def reap(arguments: argparse.Namespace, environment: Mapping[str, str], write: Write) -> int:
    """Carry out the command; returns its exit code. `write` takes the text for people."""
    try:
        minimum_age = parse_duration(arguments.minimum_age)
    except ValueError as error:
        write(f"spawnai reap: --minimum-age: {error}\n")
        return WRONG_USE
    token = environment.get("DIGITALOCEAN_TOKEN", "").strip()
    if not token:
        write("spawnai reap: set DIGITALOCEAN_TOKEN to a token of the account to look at\n")
        return WRONG_USE
    if arguments.cluster_lost and not arguments.cluster_id:
        write(
            "spawnai reap: --cluster-lost needs --cluster-id UID: every droplet carries it as its "
            "tag cluster:UID\n"
        )
        return WRONG_USE
    clock = SystemClock()
    try:
        settings = read_settings(CloudSettings, environment)
    except SettingsError as error:
        write(f"spawnai reap: {error}\n")
        return WRONG_USE
    cloud = ApiClient(
        token,
        settings.digitalocean_api_url,
        RateBudget(clock),
        droplet_networks=settings.droplet_networks,
    )
    command = ReapCommand(
        cloud,
        clock,
        write,
        rules=ReapingRules(minimum_age=minimum_age, most_per_hour=None),
        delete=arguments.yes and not arguments.dry_run,
        without_names=arguments.without_names,
    )
    try:
        if arguments.cluster_lost:
            return await command.without_cluster(arguments.cluster_id)
        async with client.ApiClient(await cluster_access(environment)) as api:
            return await command.with_cluster(api, arguments.cluster_id)
    except _WrongUse as error:
        write(f"spawnai reap: {error}\n")
        return WRONG_USE
    except (_Doubt, DigitalOceanError) as error:
        write(f"spawnai reap: stopped, and nothing more is deleted: {error}\n")
        return IN_DOUBT
    except (ClusterError, NoClusterAccess) as error:
        write(
            f"spawnai reap: stopped, and nothing is deleted: {error}\n"
            "Without the cluster's ledgers nobody can tell what is left over. If the cluster is "
            "lost for good: spawnai reap --cluster-lost --cluster-id UID --dry-run\n"
        )
        return IN_DOUBT
    finally:
        await cloud.close()


class ReapCommand:
    """One run of the command. `delete`: False only shows what is there. `without_names`: droplets
    go also when nobody can say which DNS records point at them.
    """

    def __init__(
        self,
        cloud: ApiClient,
        clock: Clock,
        write: Write,
        *,
        rules: ReapingRules,
        delete: bool,
        without_names: bool = False,
    ) -> None:
        self._droplets = Droplets(cloud)
        self._records = DomainRecords(cloud)
        self._firewalls = Firewalls(cloud)
        self._load_balancers = LoadBalancers(cloud)
        self._images = Images(cloud)
        self._clock = clock
        self._write = write
        self._rules = rules
        self._delete = delete
        self._without_names = without_names
        self._listed: dict[int, Droplet] = {}

    async def with_cluster(self, api: client.ApiClient, expected_uid: str | None) -> int:
        """Delete what the ledgers of a cluster that answers do not explain."""
        cluster = Cluster(api, before_write=_no_writes)
        cluster_uid = await cluster.namespace_uid("kube-system")
        if expected_uid is not None and expected_uid != cluster_uid:
            raise _WrongUse(
                f"the kubeconfig leads to cluster {cluster_uid}, not to {expected_uid}: its "
                "ledgers explain nothing of the other one"
            )
        judged, findings = await self._look(cluster, cluster_uid, Recollection())
        if self._delete and judged.orphans:
            pause = self._rules.between_sightings.total_seconds() + 1
            self._write(
                f"{len(judged.orphans)} found; looking a second time in {pause:.0f} s, because "
                "one sighting proves nothing\n"
            )
            await self._clock.sleep(pause)
            judged, findings = await self._look(cluster, cluster_uid, judged.recollection)
        self._write(f"Cluster {cluster_uid}, by its SpawnRecords and SpawnSessions\n")
        receipts = await self._receipts(cluster, cluster_uid) if self._delete else None
        return await self._act(cluster_uid, findings, receipts, is_lost=False)

    async def without_cluster(self, cluster_uid: str) -> int:
        """Delete all that wears the marks of a cluster that is lost."""
        listing = await self._list(cluster_uid)
        now = self._clock.utc_now()
        orphans, others, waiting = [], [], 0
        for droplet in listing.droplets:
            owner = owner_of(droplet.name, droplet.tags, cluster_uid)
            if owner is None:
                others.append(droplet_row(droplet, _FOREIGN, now))
            elif now - droplet.created_at < self._rules.minimum_age:
                words = f"left alone: younger than {format_duration(self._rules.minimum_age)}"
                others.append(droplet_row(droplet, f"{words}; is the cluster really lost?", now))
                waiting += 1
            else:
                orphans.append(Orphan(droplet, owner))
        self._write(
            f"Cluster {cluster_uid}, taken as lost: nothing explains what it made, and no receipt "
            "can be written of what is deleted\n"
        )
        findings = _Findings(tuple(orphans), tuple(others), waiting)
        return await self._act(cluster_uid, findings, None, is_lost=True)

    async def _receipts(self, cluster: Cluster, cluster_uid: str) -> Receipts:
        """The books of the cluster. A class that is gone is stood in for by the default one."""
        store = Store()
        async for body in cluster.list_all(CLASSES):
            store.put_class(body)
        default = store.default_class()

        def class_for(class_uid: str | None) -> str | None:
            named = (known.name for known in store.classes() if known.uid == class_uid)
            return next(named, default.name if default is not None else None)

        return Receipts(
            cluster, store, self._clock, cluster_uid=cluster_uid, prices={}, class_for=class_for
        )

    async def _list(self, cluster_uid: str) -> CloudListing:
        started_at = self._clock.utc_now()
        droplets = await self._droplets.list_by_tag(
            cluster_tag(cluster_uid), priority=Priority.HOUSEKEEPING
        )
        self._listed = {droplet.id: droplet for droplet in droplets}
        return CloudListing(tuple(map(seen, droplets)), started_at, self._clock.utc_now())

    async def _look(
        self, cluster: Cluster, cluster_uid: str, before: Recollection
    ) -> tuple[Judgement, _Findings]:
        cloud = await self._list(cluster_uid)
        ledgers = await take_census(cluster, self._clock)
        now = self._clock.utc_now()
        judged = judge(
            cloud, ledgers, cluster_uid=cluster_uid, before=before, rules=self._rules, now=now
        )
        if judged.doubt:
            raise _Doubt(judged.doubt)
        orphans = judged.due if before.sightings else judged.orphans
        rows = []
        for droplet in cloud.droplets:
            words = self._words(droplet, cluster_uid, ledgers, now)
            if words:
                rows.append(droplet_row(droplet, words, now))
        return judged, _Findings(orphans, tuple(rows), len(judged.orphans) - len(orphans))

    def _words(
        self, droplet: SeenDroplet, cluster_uid: str, ledgers: ClusterListing, now: datetime
    ) -> str:
        """Why a droplet is left alone; "" where that needs no word."""
        owner = owner_of(droplet.name, droplet.tags, cluster_uid)
        verdict = verdict_on(
            droplet,
            cluster_uid,
            ledgers.ledgers.get(owner) if owner is not None else None,
            session_lives=owner in ledgers.living_sessions,
            minimum_age=self._rules.minimum_age,
            now=now,
        )
        return {
            Verdict.FOREIGN: _FOREIGN,
            Verdict.YOUNG: (f"left alone: younger than {format_duration(self._rules.minimum_age)}"),
            Verdict.UNLISTED: "left to the operator: the ledger of its session is open",
        }.get(verdict, "")

    async def _act(
        self, cluster_uid: str, findings: _Findings, receipts: Receipts | None, *, is_lost: bool
    ) -> int:
        removal = Removal(
            self._droplets,
            self._records,
            self._firewalls,
            self._load_balancers,
            self._clock,
            cluster_uid,
        )
        domains = await self._domains() if findings.orphans or is_lost else ()
        estates = await removal.survey(findings.orphans, domains or ())
        shared: dict[str, Firewall] = {}
        images = await self._baked_images(cluster_uid) if is_lost else ()
        leftovers: list[Leftover] = []
        if is_lost:
            shared = await removal.class_firewalls(findings.orphans)
            looking = Leftovers(
                self._droplets,
                self._records,
                self._firewalls,
                self._load_balancers,
                cluster_uid,
            )
            leftovers = await looking.find(domains or (), estates, shared.values())
        refused = domains is None and not self._without_names
        rows: list[Row]
        failed = 0
        if self._delete and not refused:
            rows, failed = await self._delete_all(estates, shared, images, removal, receipts)
        else:
            rows = self._would_delete(estates, shared, images)
        found = len(rows)
        self._write(table([*rows, *findings.others, *map(leftover_row, leftovers)]))
        if leftovers:
            self._write(_HOW_TO_TELL)
        if refused:
            self._write(_NAMES_UNKNOWN_WORDS)
            return NAMES_UNKNOWN
        if found and not self._delete:
            self._write("Nothing was deleted. To delete these: the same command with --yes\n")
            return SOMETHING_LEFT
        return SOMETHING_LEFT if failed or findings.waiting else NOTHING_LEFT

    def _would_delete(
        self,
        estates: Sequence[Estate],
        shared: Mapping[str, Firewall],
        images: Sequence[Image],
    ) -> list[Row]:
        now = self._clock.utc_now()
        rows = [row for estate in estates for row in estate_rows(estate, now)]
        rows += [firewall_row(one) for one in shared.values()]
        return rows + [image_row(one, now) for one in images]

    async def _delete_all(
        self,
        estates: Sequence[Estate],
        shared: Mapping[str, Firewall],
        images: Sequence[Image],
        removal: Removal,
        receipts: Receipts | None,
    ) -> tuple[list[Row], int]:
        """Delete it; returns what became of each thing, and how many of them are still there."""
        now = self._clock.utc_now()
        outcomes: list[tuple[Estate | None, Outcome]] = [
            (estate, outcome)
            for estate in estates
            for outcome in await self._remove(estate, removal, receipts)
        ]
        outcomes += [
            (None, await removal.remove_class_firewall(uid, firewall))
            for uid, firewall in shared.items()
        ]
        outcomes += [(None, await remove_image(self._images, image)) for image in images]
        failed = sum(one.result not in (Result.DELETED, Result.GONE) for _, one in outcomes)
        return [outcome_row(outcome, estate, now) for estate, outcome in outcomes], failed

    async def _remove(
        self, estate: Estate, removal: Removal, receipts: Receipts | None
    ) -> list[Outcome]:
        """Remove one orphan, entered in its ledger before and after where there are ledgers."""
        if receipts is None:
            return await removal.remove(estate)
        droplet = estate.orphan.droplet
        try:
            if not await receipts.begin(estate, self._listed[droplet.id]):
                words = "its ledger was opened meanwhile: left to the operator"
                return [Outcome("Droplet", str(droplet.id), droplet.name, Result.LEFT, words)]
        except ClusterError as error:
            words = f"it has to be in a SpawnRecord first: {error}"
            return [Outcome("Droplet", str(droplet.id), droplet.name, Result.FAILED, words)]
        outcomes = await removal.remove(estate)
        try:
            await receipts.finish(estate, self._listed[droplet.id], outcomes, removal.accepted_at)
        except ClusterError as error:
            self._write(
                f"The receipt in SpawnRecord {estate.orphan.session_uid} is left to the operator: "
                f"{error}\n"
            )
        return outcomes

    async def _baked_images(self, cluster_uid: str) -> tuple[Image, ...]:
        """The lost cluster's images, which its name in them tells; none where the token may not
        list them.
        """
        prefix = image_prefix(cluster_uid)
        try:
            own = await self._images.list_own(priority=Priority.HOUSEKEEPING)
        except (Unauthorized, Refused) as error:
            self._write(f"Images were not looked for, the token may not list them: {error}\n")
            return ()
        return tuple(one for one in own if one.type == SNAPSHOT and one.name.startswith(prefix))

    async def _domains(self) -> tuple[str, ...] | None:
        """All domains of the account; None where the token may not list them."""
        try:
            return await self._records.domains(priority=Priority.HOUSEKEEPING)
        except (Unauthorized, Refused) as error:
            self._write(
                f"DNS records were not looked for, the token may not list domains: {error}\n"
            )
            return None


_FOREIGN = "left alone: it does not wear all of our marks"

_HOW_TO_TELL = (
    "What is LISTED ONLY has the form of what SpawnAI makes, and no droplet: no mark tells which "
    "cluster it was of. If no other cluster with SpawnAI uses this account, delete it by hand: "
    "doctl compute domain records delete DOMAIN ID, doctl compute firewall delete ID\n"
)
_NAMES_UNKNOWN_WORDS = (
    "Nothing was deleted: a droplet's address is given to a stranger, and nobody can say which DNS "
    "records still lead there. Use a token that may list domains and delete their records. If "
    "this account serves no names of ours: the same command with --without-names\n"
)


def _no_writes() -> None:
    """A person asked for it: there is no lease to hold."""


def run(arguments: argparse.Namespace, environment: Mapping[str, str], write: Write) -> int:
    """`reap` from a program that has no event loop yet."""
    return asyncio.run(reap(arguments, environment, write))
