"""Mistakes in the books."""

from dataclasses import replace
from datetime import timedelta

from spawnai.billing import ledger
from spawnai.controller import report
from spawnai.controller.actions import custody, generate
from spawnai.controller.actions.generate import Generate
from spawnai.lifecycle import plan, teardown

from .bug import bug

_closed = ledger.closed


def _closed_without_tokens(book, *, reason, log, at):
    done = _closed(book, reason=reason, log=log, at=at)
    return done.model_copy(update={"total_cost": "0"})


def _counted_again(book, entry):
    return book.model_copy(update={"generations": [*book.generations, entry]})


_entry = generate._generation_entry


def _without_what_was_read(model, usage, **others):
    return _entry(model, replace(usage, input_tokens=0), **others)


_document = report.record_document


def _without_finalizer(spec):
    document = _document(spec)
    document["metadata"].pop("finalizers", None)
    return document


BOOKS = (
    bug(
        "an open ledger can be deleted",
        (custody, "record_document", _without_finalizer),
        (plan, "_hold_record", lambda _draft: None),
        seed=10,
    ),
    bug("a stored app is entered at each look", (ledger, "with_generation", _counted_again)),
    bug("what Claude read is not counted", (generate, "_generation_entry", _without_what_was_read)),
    bug(
        "an order that failed is not counted",
        (Generate, "_note_unfinished", lambda *_arguments: None),
        seed=21,
    ),
    bug("a ledger is dropped at once", (plan, "parse_duration", lambda _text: timedelta(0))),
    bug(
        "the sum is not the sum of its lines",
        (teardown, "closed", _closed_without_tokens),
    ),
    bug(
        "identities are written only with the last page",
        (
            report,
            "write_within",
            lambda stored, known, **_: (
                timedelta() if known.completed_at != stored.completed_at else None
            ),
        ),
    ),
    bug("every look writes a status", (report, "merge_patch", lambda _old, new: dict(new))),
)
