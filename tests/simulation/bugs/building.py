"""Mistakes in making things."""

from dataclasses import replace
from datetime import timedelta

from spawnai.api.record import ResourceKind
from spawnai.controller.actions.bundles import Bundles
from spawnai.controller.actions.custody import Custody
from spawnai.controller.actions.droplets import DropletSteps
from spawnai.controller.actions.generate import Generate
from spawnai.controller.actions.work import Work
from spawnai.digitalocean.client import Departure
from spawnai.lifecycle import placing, resources, status, teardown
from spawnai.lifecycle.kinds import KINDS

from .bug import bug
from .situations import (
    another_leads_while_creations_wait,
    answer_of_a_creation_is_lost,
    secrets_are_refused,
)

_unaccounted_since = resources.unaccounted_since


def _only_lost_answers(o, name):
    return None if o.effort(name.create_key).unclear_at is None else _unaccounted_since(o, name)


_note = Work.note


def _forgets_the_droplet(work, line):
    if line.kind is not ResourceKind.DROPLET:
        _note(work, line)


_AT_ONCE = {kind: replace(row, resend_after=timedelta(0)) for kind, row in KINDS.items()}


async def _finds_nothing(_self, _session):
    return None


_store = Generate._store


async def _forgets_what_it_cannot_store(self, work, app):
    try:
        await _store(self, work, app)
    finally:
        work.memory.unstored = None


async def _ledger_in_memory(self, work, action):
    owner = action.spec.owner
    self._store.put_record(
        {
            "metadata": {
                "name": owner.uid,
                "uid": "x",
                "resourceVersion": "1",
                "creationTimestamp": "2026-11-23T12:00:00Z",
            },
            "spec": action.spec.document(),
        }
    )
    work.memory.record_made_here = True


def _leaves_unasked(self):
    self.count += 1


BUILDING = (
    bug(
        "who has lost the lease sends what still waited for its turn",
        (Departure, "leave", _leaves_unasked),
        among=another_leads_while_creations_wait,
        seed=16,
    ),
    bug(
        "a POST without an answer is sent again blindly",
        (resources, "unaccounted_since", lambda _o, _name: None),
        among=answer_of_a_creation_is_lost,
    ),
    bug(
        "the settling time is forgotten",
        (resources, "KINDS", _AT_ONCE),
        (placing, "KINDS", _AT_ONCE),
        among=answer_of_a_creation_is_lost,
    ),
    bug(
        "a restarted operator creates what it does not remember",
        (resources, "unaccounted_since", _only_lost_answers),
        seed=69,
    ),
    bug(
        "a droplet is not entered in the ledger after its POST",
        (Work, "note", _forgets_the_droplet),
        (DropletSteps, "noted", lambda *_arguments: None),
    ),
    bug("a stored app is ordered again", (Bundles, "find", _finds_nothing)),
    bug(
        "an app that cannot be stored is ordered again",
        (Generate, "_store", _forgets_what_it_cannot_store),
        among=secrets_are_refused,
    ),
    bug(
        "things are made before the ledger is written",
        (Custody, "create_record", _ledger_in_memory),
    ),
    bug(
        "a phase jumps to where it wants to be", (status, "step_towards", lambda _, wanted: wanted)
    ),
    bug(
        "a creation is stopped half-way when the session ends",
        (teardown, "ABANDONED", (*teardown.ABANDONED, "Create")),
        (resources, "unaccounted_since", _only_lost_answers),
        among=answer_of_a_creation_is_lost,
    ),
)
