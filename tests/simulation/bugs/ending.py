"""Mistakes in ending things."""

from spawnai.api.record import LedgerEntry, ResourceKind
from spawnai.api.session import Phase
from spawnai.controller import reconciler
from spawnai.controller.actions import deploy, destroy
from spawnai.controller.actions.custody import Custody
from spawnai.controller.actions.destroy import Destroy
from spawnai.controller.classes.controller import ClassController
from spawnai.digitalocean.budget import Priority
from spawnai.lifecycle import lost_posts, plan, teardown
from spawnai.lifecycle.actions import DeleteResource, RemoveFinalizer
from spawnai.lifecycle.observation import Observation, Record

from .bug import bug
from .situations import (
    name_is_repointed_before_a_restart,
    name_or_firewall_comes_late,
    new_things_answer_404,
    operator_dies_while_all_is_deleted,
)

_teardown, _living, _ending = teardown.teardown, Record.living, plan._ending


async def _believes_the_cache(_self, work, _action):
    work.memory.record_confirmed_absent = True


async def _believes_the_answer(_self, work, action):
    work.saw_gone(action.kind, action.id)


def _droplet_first(d, ending, now):
    record = d.observation.record
    for entry in record.living(ResourceKind.DROPLET) if record is not None else ():
        if entry.deletion_accepted_at is None:
            d.do(DeleteResource(entry))
    _teardown(d, ending, now)


def _what_the_status_names(d, ending, now):
    named = d.previous.droplet
    if named is not None:
        entry = LedgerEntry(
            kind=ResourceKind.DROPLET, id=str(named.id), name=named.name, created_at=now
        )
        d.do(DeleteResource(entry))
    _teardown(d, ending, now)


_delete_resource = Destroy.delete_resource


async def _deletes_whatever_is_called_so(self, work, action):
    if action.entry.kind is ResourceKind.DROPLET:
        droplets = work.backing.account.droplets
        for droplet in await droplets.list_by_name(action.entry.name, priority=Priority.DESTROY):
            await droplets.delete(droplet.id, priority=Priority.DESTROY)
    await _delete_resource(self, work, action)


async def _takes_for_ours(_self, _work, _account, _entry):
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


def _later(moment, now):
    return max((moment - now).total_seconds(), 0.0) + 10.0


ENDING = (
    bug("who is called Destroyed goes on", (plan, "_ending", _goes_on_when_called_destroyed)),
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
    bug("a stale list is trusted", (Custody, "confirm_no_record", _believes_the_cache)),
    bug("an accepted deletion counts as gone", (Destroy, "verify_gone", _believes_the_answer)),
    bug("the droplet goes before its name", (plan, "teardown", _droplet_first)),
    bug(
        "what the status names is deleted without proof",
        (plan, "teardown", _what_the_status_names),
        (Destroy, "_is_ours", _takes_for_ours),
    ),
    bug(
        "what has the name that ours would have is deleted",
        (Destroy, "delete_resource", _deletes_whatever_is_called_so),
    ),
    bug(
        "names are left behind",
        (
            Record,
            "living",
            lambda self, kind: () if kind is ResourceKind.DOMAIN_RECORD else _living(self, kind),
        ),
    ),
    bug(
        "NotFound counts as gone, however young a thing is",
        (destroy, "may_still_appear", _counts_as_gone),
        among=new_things_answer_404,
    ),
    bug(
        "a new droplet that answers 404 counts as lost",
        (deploy, "may_still_appear", _counts_as_gone),
        among=new_things_answer_404,
    ),
    bug(
        "one name that is known is taken for the only one",
        (lost_posts, "_was_looked_for_again", lambda _o, _search: True),
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
    ),
    bug(
        "a ledger is closed before a lost POST has had its time",
        (teardown, "look_for_late_ones", lambda _d, _searches, _now: False),
        among=name_or_firewall_comes_late,
    ),
    bug(
        "a name that leads elsewhere holds its droplet",
        (teardown, "_leads_nowhere", _only_when_deleted),
        among=name_is_repointed_before_a_restart,
    ),
    bug("an expiry is looked at ten seconds late", (reconciler, "seconds_until", _later)),
    bug(
        "sessions that wait for their class are not woken",
        (ClassController, "_wake_sessions", lambda _self, _name: None),
    ),
)
