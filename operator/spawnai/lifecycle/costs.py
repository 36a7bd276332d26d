"""What is said of a session's cost: the estimate, what was spent by now, and the bill."""

from datetime import datetime, timedelta
from decimal import Decimal

from spawnai.api.record import PriceTerms, ResourceKind
from spawnai.api.session import CostStatus, PriceStatus
from spawnai.billing.estimates import USUAL_START, estimated_cost, usual_token_cost
from spawnai.billing.ledger import cost_by, money, tokens_cost
from spawnai.billing.prices import is_measured, price_of, price_range, terms_of
from spawnai.billing.usage import factors_of

from .balancing import price_of_entry
from .expiry import read_wish
from .limits import limits_of
from .observation import Offer, Record, Session
from .status import Draft

_NEWS = ("phase", "revision", "expiration_time", "generation")
"""What makes it worth saying what was spent by now: a status has no ticking fields."""


def expected_tokens(session: Session, offer: Offer) -> Decimal | None:
    """Dollars that Claude is expected to take for the app; None where its price is not known."""
    return usual_token_cost(offer.spec.model.name, session.order.app_type)


def say_cost(d: Draft, session: Session, offer: Offer, now: datetime) -> None:
    """Say what the session is expected to cost, and what it has cost at its last step.

    Before anything is made the estimate is that of the tier's first size and of the time that
    a start usually takes.
    """
    record = d.observation.record
    hourly = _hourly(d, session, offer, record)
    if hourly is None:
        return
    known = d.previous.cost or CostStatus()
    estimated = estimated_cost(hourly, _life(d, session, offer), _tokens(d, session, offer, record))
    terms = record.spec.price_terms if record is not None else _terms(session, offer)
    cost = known.model_copy(
        update={
            "estimated": money(estimated),
            "hourly": money(hourly),
            "price": _price_status(terms, estimated),
        }
    )
    d.put(cost=cost)
    say_running(d, now)


def say_running(d: Draft, now: datetime) -> None:
    """Say what has been spent by now, when the session has come a step further."""
    record = d.observation.record
    cost: CostStatus | None = d.get("cost")
    if record is None or cost is None or not record.made_anything:
        return
    if any(d.get(name) != getattr(d.previous, name) for name in _NEWS):
        spent = {
            "running": money(cost_by(record.status, now)),
            "claude": money(tokens_cost(record.status)),
        }
        d.put(cost=cost.model_copy(update=spent))


def say_bill(d: Draft, total: str | None) -> None:
    """Say what the session has cost, once that is known; the estimate stays beside it. What never
    ran is charged nothing.
    """
    known, record = d.previous.cost or CostStatus(), d.observation.record
    price = known.price or PriceStatus()
    terms = record.spec.price_terms if record is not None else None
    if record is not None and terms is not None and d.previous.ready_at is not None:
        factors = factors_of(record.status.usage, _ran(record, d.previous.ready_at))
        final = price_of(terms, Decimal(total or 0), factors)
        said = {"model": terms.model, "final": money(final)}
        if is_measured(terms):
            said |= {"cpu": money(factors.cpu), "memory": money(factors.memory)}
        price = price.model_copy(update=said)
    elif terms is not None or price.estimated is not None:
        price = price.model_copy(update={"final": money(Decimal(0))})
    d.put(cost=known.model_copy(update={"actual": total, "running": None, "price": price}))


def _terms(session: Session, offer: Offer) -> PriceTerms | None:
    return terms_of(offer.spec.pricing, session.tier)


def _price_status(terms: PriceTerms | None, cost: Decimal) -> PriceStatus:
    if terms is None:
        return PriceStatus()
    price = PriceStatus(model=terms.model, estimated=money(price_of(terms, cost)))
    if not is_measured(terms):
        return price
    lowest, highest = price_range(terms, cost)
    return price.model_copy(update={"lowest": money(lowest), "highest": money(highest)})


def _ran(record: Record, ready_at: datetime) -> timedelta:
    """How long the app ran: until its last droplet was deleted."""
    ends = (
        line.deletion_accepted_at
        for line in record.status.resources
        if line.kind is ResourceKind.DROPLET and line.deletion_accepted_at is not None
    )
    return max(ends, default=ready_at) - ready_at


def _hourly(d: Draft, session: Session, offer: Offer, record: Record | None) -> Decimal | None:
    """Dollars an hour for the droplet, the one there is or the one that is ordered first, and for
    its load balancer.
    """
    if record is not None and record.droplet is not None and record.droplet.price_hourly:
        droplet = Decimal(record.droplet.price_hourly)
    else:
        known = offer.prices.get(d.get("size") or offer.tier(session.tier).sizes[0])
        if known is None:
            return None
        droplet = known
    return droplet + price_of_entry(offer.spec)


def _life(d: Draft, session: Session, offer: Offer) -> timedelta:
    """How long the droplet is expected to live."""
    ends: datetime | None = d.get("expiration_time")
    begun: datetime | None = d.get("started_at")
    if ends is not None and begun is not None:
        return ends - begun
    limits = limits_of(offer, session)
    wish = read_wish(session.ttl, session.expires_at)
    if wish.expires_at is not None:
        return min(wish.expires_at - session.created_at, USUAL_START + limits.maximum)
    lifetime = limits.default_ttl if wish.ttl is None else wish.ttl
    return USUAL_START + min(lifetime, limits.maximum)


def _tokens(d: Draft, session: Session, offer: Offer, record: Record | None) -> Decimal:
    """What Claude is expected to take: once for each prompt."""
    if record is not None and record.spec.expected_tokens is not None:
        once = Decimal(record.spec.expected_tokens)
    else:
        once = expected_tokens(session, offer) or Decimal(0)
    prompts = {one.prompt_digest for one in d.get("revisions")}
    return once * max(1, len(prompts))
