"""Mistakes of the reaper, and with what somebody else has made."""

from dataclasses import replace

from spawnai.controller import controller
from spawnai.controller.reaping import reaper, removal
from spawnai.controller.reaping.reaper import Reaper
from spawnai.controller.reaping.receipts import Receipts
from spawnai.digitalocean import droplet_resource
from spawnai.digitalocean.droplet_resource import DropletResource
from spawnai.digitalocean.inventory import Inventory
from spawnai.lifecycle import reaping
from spawnai.lifecycle.reaping import Recollection

from .bug import bug
from .situations import (
    cluster_is_listed_empty_for_minutes,
    cluster_is_listed_empty_once,
    droplet_shows_after_its_session_is_over,
    one_listing_of_droplets_is_empty,
    operator_dies_while_it_reaps,
)

_judge = reaping.judge


def _whose_tag(_name, tags, _cluster_uid):
    return next((tag.removeprefix("session:") for tag in tags if tag.startswith("session:")), None)


def _whose_name(name, _tags, _cluster_uid):
    return name.removeprefix("spawn-")


async def _takes_for_ours(_self, _line, _owner, _priority):
    return True


async def _reaps_nothing(*_arguments):
    pass


async def _asks_no_ledger(_self, _estate, _droplet):
    return True


def _without_ledgers(cloud, cluster, **others):
    return _judge(cloud, replace(cluster, ledgers={}, living_sessions=frozenset()), **others)


_begin = Receipts.begin


async def _goes_on_when_the_ledger_is_open(self, estate, droplet):
    await _begin(self, estate, droplet)
    return True


_ASKS_NO_LEDGER_AGAIN = (Receipts, "begin", _goes_on_when_the_ledger_is_open)


def _at_first_sight(*arguments, **others):
    judged = _judge(*arguments, **others)
    return replace(judged, due=judged.orphans if not judged.doubt else ())


def _forgets_plenty(cluster, _before, _now):
    return Recollection({}, len(cluster.ledgers)), ""


async def _missing_is_gone(self, walk):
    for droplet in self._expected(walk.started_at):
        if droplet.id not in walk.droplets:
            self.forget(droplet.id)
            self._on_gone(droplet)


async def _begins_without_a_line(*_arguments):
    return True


async def _writes_no_receipt(*_arguments):
    pass


REAPING = (
    bug(
        "the reaper reaps nothing",
        (Reaper, "_reap", _reaps_nothing),
        among=droplet_shows_after_its_session_is_over,
    ),
    bug(
        "what the reaper deletes stands in no ledger",
        (Receipts, "begin", _begins_without_a_line),
        among=droplet_shows_after_its_session_is_over,
    ),
    bug(
        "the reaper writes no receipts",
        (Receipts, "finish", _writes_no_receipt),
        among=droplet_shows_after_its_session_is_over,
    ),
    bug(
        "what a dead reaper began is never ended",
        (reaper, "unfinished", lambda _record: None),
        among=operator_dies_while_it_reaps,
        seed=19,
    ),
    bug(
        "the reaper takes a session's tag alone for proof",
        (reaping, "owner_of", _whose_tag),
        (reaper, "owner_of", _whose_tag),
        (removal, "owner_of", _whose_tag),
    ),
    bug(
        "the reaper does not look at what the cluster says",
        (Reaper, "_is_unexplained", lambda _self, _droplet: True),
        (reaper, "judge", _without_ledgers),
        (reaping, "_nothing_where_plenty", lambda _cluster, _orphans: ""),
        (Receipts, "begin", _asks_no_ledger),
        seed=6,
    ),
    bug(
        "the reaper sweeps after one sighting",
        (reaper, "judge", _at_first_sight),
        among=cluster_is_listed_empty_once,
        behind=(_ASKS_NO_LEDGER_AGAIN,),
    ),
    bug(
        "an empty listing of ledgers is read as nothing there",
        (reaping, "_remember_plenty", _forgets_plenty),
        (reaping, "_nothing_where_plenty", lambda _cluster, _orphans: ""),
        among=cluster_is_listed_empty_for_minutes,
        behind=(_ASKS_NO_LEDGER_AGAIN,),
    ),
    bug(
        "an empty listing of droplets is read as nothing there",
        (Inventory, "_look_for_missing", _missing_is_gone),
        among=one_listing_of_droplets_is_empty,
    ),
    bug(
        "a droplet is taken in by its name alone",
        (droplet_resource, "owner_of", _whose_name),
    ),
    bug(
        "a droplet is taken in by its name alone, and then deleted",
        (droplet_resource, "owner_of", _whose_name),
        (DropletResource, "is_ours", _takes_for_ours),
    ),
    bug(
        "another cluster's droplet is taken in by its session's tag",
        (controller, "owner_of", _whose_tag),
        (Inventory, "_is_anothers", lambda _self, _droplet: False),
    ),
)
