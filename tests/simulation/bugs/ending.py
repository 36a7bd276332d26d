"""Mistakes in ending things."""

from dataclasses import replace
from datetime import timedelta

from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.api.session import Phase
from spawnai.controller import reconciler
from spawnai.controller.actions import deploy
from spawnai.controller.actions import resources as handlers
from spawnai.controller.actions.custody import Custody
from spawnai.controller.actions.resources import Resources
from spawnai.controller.classes.controller import ClassController
from spawnai.digitalocean import inventory
from spawnai.digitalocean.budget import Priority
from spawnai.digitalocean.droplet_resource import DropletResource
from spawnai.lifecycle import plan, resources, teardown
from spawnai.lifecycle.actions import Delete, RemoveFinalizer
from spawnai.lifecycle.kinds import KINDS, LISTED_WITHIN
from spawnai.lifecycle.observation import Observation, Record

from .bug import bug
from .situations import (
    name_is_repointed_before_a_restart,
    name_or_firewall_comes_late,
    new_things_answer_404,
    operator_dies_while_all_is_deleted,
    several_end_while_listings_are_empty,
)

_teardown, _living, _ending = teardown.teardown, Record.living, plan._ending


async def _believes_the_cache(_self, work, _action):
    work.memory.record_confirmed_absent = True


async def _believes_the_answer(_self, work, action):
    work.saw_gone(action.line.kind, action.line.id)


_sweep = inventory.Sweep


def _every_listing_is_a_proof(*seen, **others):
    return _sweep(*seen, **{**others, "is_proof": True})


def _droplet_first(d, ending, now):
    record = d.observation.record
    for entry in record.living(ResourceKind.DROPLET) if record is not None else ():
        if entry.deletion_accepted_at is None:
            d.do(Delete(entry))
    _teardown(d, ending, now)


def _what_the_status_names(d, ending, now):
    named = d.previous.droplet
    if named is not None:
        entry = LedgerEntry(
            kind=ResourceKind.DROPLET, id=str(named.id), name=named.name, created_at=now
        )
        d.do(Delete(entry))
    _teardown(d, ending, now)


_delete = Resources.delete


async def _deletes_whatever_is_called_so(self, work, action):
    if action.line.kind is ResourceKind.DROPLET:
        droplets = work.backing.account.droplets
        for droplet in await droplets.list_by_name(action.line.name, priority=Priority.DESTROY):
            await droplets.delete(droplet.id, priority=Priority.DESTROY)
    await _delete(self, work, action)


async def _takes_for_ours(_self, _line, _owner, _priority):
    return True


def _goes_on_when_called_destroyed(o, session, wish, now):
    if session.status.phase is Phase.DESTROYED and session.status.termination_reason is None:
        return None
    return _ending(o, session, wish, now)


def _lets_go_at_once(d, ending, now):
    session = d.observation.session
    if session is not None and session.deleting:
        d.do(RemoveFinalizer())
    _teardown(d, ending, now)


def _counts_as_gone(_entry, _now):
    return False


def _only_when_deleted(_o, entry):
    return entry.deletion_accepted_at is not None


_unaccounted_since = resources.unaccounted_since


def _only_while_none_is_known(o, name):
    """As if what the ledger lists were all that there can be."""
    lines = o.record.status.resources if o.record is not None else []
    known = any(line.kind is name.kind for line in lines)
    return None if known else _unaccounted_since(o, name)


def _changed(**changes):
    return {kind: replace(row, **changes) for kind, row in KINDS.items()}


_AS_FOR_A_DROPLET = _changed(resend_after=LISTED_WITHIN, close_after=LISTED_WITHIN)
_CLOSED_AT_ONCE = _changed(close_after=timedelta(0))


def _later(moment, now):
    return max((moment - now).total_seconds(), 0.0) + 10.0


ENDING = (
    bug(
        "who is called Destroyed goes on",
        (plan, "_ending", _goes_on_when_called_destroyed),
        seed=39,
    ),
    bug(
        "the finalizer goes when deletions were accepted, not when things were seen gone",
        (
            teardown,
            "residuals",
            lambda entries: [one.name for one in entries if one.deletion_accepted_at is None],
        ),
    ),
    bug("a ledger is closed with residuals", (teardown, "residuals", lambda _entries: [])),
    bug("the finalizer goes as soon as somebody deletes", (plan, "teardown", _lets_go_at_once)),
    bug(
        "a stale list is trusted",
        (Custody, "confirm_no_record", _believes_the_cache),
        seed=125,
    ),
    bug("an accepted deletion counts as gone", (Resources, "verify", _believes_the_answer)),
    bug(
        "a listing in doubt proves a deletion",
        (inventory, "Sweep", _every_listing_is_a_proof),
        among=several_end_while_listings_are_empty,
        seed=20,
    ),
    bug("the droplet goes before its name", (plan, "teardown", _droplet_first)),
    bug(
        "what the status names is deleted without proof",
        (plan, "teardown", _what_the_status_names),
        (DropletResource, "is_ours", _takes_for_ours),
    ),
    bug(
        "what has the name that ours would have is deleted",
        (Resources, "delete", _deletes_whatever_is_called_so),
    ),
    bug(
        "names are left behind",
        (
            Record,
            "living",
            lambda self, kind: () if kind is ResourceKind.DOMAIN_RECORD else _living(self, kind),
        ),
        seed=3,
    ),
    bug(
        "NotFound counts as gone, however young a thing is",
        (handlers, "may_still_appear", _counts_as_gone),
        among=new_things_answer_404,
    ),
    bug(
        "a new droplet that answers 404 counts as lost",
        (deploy, "may_still_appear", _counts_as_gone),
        among=new_things_answer_404,
    ),
    bug(
        "one name that is known is taken for the only one",
        (resources, "unaccounted_since", _only_while_none_is_known),
        (resources, "KINDS", _AS_FOR_A_DROPLET),
        among=name_or_firewall_comes_late,
    ),
    bug(
        "a ledger that an earlier operator closed is doubted",
        (
            Observation,
            "earlier_life_may_have_created",
            property(lambda o: o.record is not None and not o.record_made_here),
        ),
        among=operator_dies_while_all_is_deleted,
        seed=168,
    ),
    bug(
        "a ledger is closed before a lost POST has had its time",
        (resources, "KINDS", _CLOSED_AT_ONCE),
        among=name_or_firewall_comes_late,
    ),
    bug(
        "a name that leads elsewhere holds its droplet",
        (resources, "_makes_way", _only_when_deleted),
        among=name_is_repointed_before_a_restart,
    ),
    bug("an expiry is looked at ten seconds late", (reconciler, "seconds_until", _later)),
    bug(
        "sessions that wait for their class are not woken",
        (ClassController, "_wake_sessions", lambda _self, _name: None),
    ),
)
