"""Holds a session to its budgets: more is reserved before more is promised or ordered.

Budgets shorten no life that was promised, and end nothing: they only bound what comes next.
"""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from spawnai.api.conditions import ConditionType
from spawnai.billing.ledger import with_reserved

from .actions import Reserve, ReviseApp, key_of
from .expiry import Expiry, Wish
from .observation import Observation, Offer, Record, Session
from .reservations import Unpriced, affordable_end, needed, order_cost, token_allowance
from .status import Draft

WAITING_FOR_BUDGET = "WaitingForBudget"

WORTH_GIVING_BACK = Decimal("0.05")
"""Dollars: a write of the ledger for less would help nobody."""


def paid_for(o: Observation, session: Session, wanted: Expiry) -> Expiry:
    """The expiry that is paid for: what was promised, or what the stored reservation bears."""
    record, offer = o.record, o.offer
    if not o.budgets or record is None or offer is None or wanted.time is None:
        return wanted
    promised = session.status.expiration_time
    try:
        affordable = affordable_end(offer, session, record)
    except Unpriced:
        affordable = None
    bounds = [time for time in (affordable, promised) if time is not None]
    if not bounds or wanted.time <= max(bounds):
        return wanted
    return replace(wanted, time=max(bounds), unpaid=wanted.time)


def reserve_life(d: Draft, session: Session, offer: Offer, record: Record, expiry: Expiry) -> str:
    """Have the rest of the life reserved that was asked for. Returns what is to be said of it, once
    it is known that the budgets have no room.
    """
    if expiry.unpaid is None:
        return ""
    try:
        reserve = Reserve(needed(offer, session, record, expiry.unpaid))
    except Unpriced as error:
        return f"; the life cannot be longer: {error}"
    d.do(reserve)
    if d.observation.effort(reserve.key).done_at is None or _grows(record):
        return ""
    budgets = " and ".join(d.observation.budgets)
    return f"; budget {budgets} has no room for all of the life that was asked for"


def may_order(d: Draft, session: Session, offer: Offer, record: Record, what: str) -> bool:
    """Whether the reservation bears a change of the app; has the rest reserved where it does not,
    and says what is waited for. `what`: what the app is changed for.
    """
    if not d.observation.budgets:
        return True
    ends = d.previous.expiration_time
    try:
        until = needed(offer, session, record, ends or d.now)
        reserve = Reserve(until + order_cost(offer, is_first=False))
    except Unpriced as error:
        d.set_true(ConditionType.UPDATE_FAILED, "Unpriced", str(error))
        return False
    if record.reserved is not None and record.reserved >= reserve.amount:
        return True
    d.do(reserve)
    if d.observation.effort(reserve.key).done_at is not None and not _grows(record):
        budgets = " and ".join(d.observation.budgets)
        message = f"The {what} waits: budget {budgets} has no room for what Claude may take"
        if d.set_true(ConditionType.UPDATE_FAILED, WAITING_FOR_BUDGET, message):
            d.notice("Warning", WAITING_FOR_BUDGET, "Revise", message)
    return False


def give_back(d: Draft, session: Session, offer: Offer, record: Record, expiry: Expiry) -> None:
    """Give back what a running session does not need any more, whose app is as its prompt asks:
    what was reserved for repairs that were not needed, and for a start that was quicker than its
    deadline.
    """
    stored, ends = record.reserved, d.previous.expiration_time
    settled = d.previous.ready_at is not None and expiry.unpaid is None and ends is not None
    busy = d.observation.effort(key_of(ReviseApp)).running
    if busy or not d.observation.budgets or not settled or stored is None or ends is None:
        return
    if record.status.reserved is not None and Decimal(record.status.reserved) != stored:
        return  # Another amount is about to be stored.
    try:
        keeps = needed(offer, session, record, max(ends, expiry.time or ends))
    except Unpriced:
        return
    if stored - keeps >= WORTH_GIVING_BACK:
        d.ledger = with_reserved(d.ledger or record.status, keeps)


def allowance(
    d: Draft, session: Session, offer: Offer, record: Record, wish: Wish
) -> Decimal | None:
    """Dollars that Claude may be paid for the session in all; None where no budget bounds it."""
    if not d.observation.budgets:
        return None
    ends: datetime | None = d.previous.expiration_time if d.previous.ready_at else None
    try:
        return token_allowance(offer, session, record, wish, ends)
    except Unpriced:
        return Decimal(0)


def _grows(record: Record) -> bool:
    """Whether more was reserved and is not stored yet."""
    known = record.status.reserved
    return known is not None and Decimal(known) > (record.reserved or Decimal(0))
