"""Mistakes of the reaper, and with what somebody else has made."""

from dataclasses import replace

from spawnai.controller import controller
from spawnai.controller.actions import provision
from spawnai.controller.actions.destroy import Destroy
from spawnai.controller.reaping import reaper, removal
from spawnai.controller.reaping.reaper import Reaper
from spawnai.controller.reaping.receipts import Receipts
from spawnai.digitalocean.inventory import Inventory
from spawnai.lifecycle import reaping

from .bug import bug
from .situations import droplet_shows_after_its_session_is_over, operator_dies_while_it_reaps

_judge = reaping.judge


def _whose_tag(_name, tags, _cluster_uid):
    return next((tag.removeprefix("session:") for tag in tags if tag.startswith("session:")), None)


def _whose_name(name, _tags, _cluster_uid):
    return name.removeprefix("spawn-")


async def _takes_for_ours(_self, _work, _account, _entry):
    return True


async def _reaps_nothing(*_arguments):
    pass


async def _asks_no_ledger(_self, _estate, _droplet):
    return True


def _without_ledgers(cloud, cluster, **others):
    return _judge(cloud, replace(cluster, ledgers={}, living_sessions=frozenset()), **others)


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
    ),
    bug(
        "a droplet is taken in by its name alone",
        (provision, "owner_of", _whose_name),
    ),
    bug(
        "a droplet is taken in by its name alone, and then deleted",
        (provision, "owner_of", _whose_name),
        (Destroy, "_is_ours", _takes_for_ours),
    ),
    bug(
        "another cluster's droplet is taken in by its session's tag",
        (controller, "owner_of", _whose_tag),
        (Inventory, "_is_anothers", lambda _self, _droplet: False),
    ),
)
