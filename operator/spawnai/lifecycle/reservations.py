"""What a session may cost at most, and how long a life its reservation pays for. Pure.

A reservation holds the longest life that was promised, from the order to the accepted deletion, and
all repair rounds of one order to Claude. More is reserved before more is promised or ordered.
"""

from datetime import datetime, timedelta
from decimal import ROUND_UP, Decimal

from spawnai.api.durations import parse_duration
from spawnai.api.session import Tier
from spawnai.api.spawnclass import OnDropletFailure
from spawnai.billing.droplet_prices import MINIMUM_COST
from spawnai.billing.estimates import most_order_cost
from spawnai.billing.ledger import CENT_FRACTION, known_cost, tokens_cost
from spawnai.billing.token_prices import UnknownModelPrice

from .balancing import price_of_entry
from .expiry import Wish
from .limits import limits_of
from .observation import Offer, Record, Session

_HOUR = Decimal(3600)
_LONGEST_HOURS = Decimal(10 * 365 * 24)
"""As far as an end is reckoned: what a droplet without a price could be paid for has none."""


class Unpriced(Exception):
    """Something that a session may use has no known price, so what it may cost cannot be said."""


def worst_case(offer: Offer, session: Session, wish: Wish, now: datetime) -> Decimal:
    """Dollars that a session which begins now may cost at most.

    Raises:
        Unpriced: a size of its tier, or a model of its class, has no known price.
    """
    return _of_a_new_one(offer, session.tier, _longest_life(offer, session, wish, now))


def usual_worst_case(offer: Offer, tier: Tier) -> Decimal:
    """Dollars that a session of that tier with its default lifetime may cost at most.

    Raises:
        Unpriced: as `worst_case`.
    """
    lifetime = offer.spec.lifetime
    asked = min(parse_duration(offer.tier(tier).ttl), parse_duration(lifetime.max))
    life = parse_duration(lifetime.provisioning_deadline) + asked
    return _of_a_new_one(offer, tier, life)


def needed(offer: Offer, session: Session, record: Record, ends: datetime) -> Decimal:
    """Dollars that a living session may cost at most if it ends then and orders nothing more.

    Raises:
        Unpriced: as `worst_case`.
    """
    hourly, begun = _droplet_of(offer, session, record)
    droplets = _droplet(hourly, ends - begun, offer) + _further_droplets(offer, record)
    return _rounded_up(droplets + known_cost(record.status))


def affordable_end(offer: Offer, session: Session, record: Record) -> datetime | None:
    """Until when the stored reservation pays for the droplet; None: nothing was reserved.

    Raises:
        Unpriced: as `worst_case`.
    """
    if record.reserved is None:
        return None
    hourly, begun = _droplet_of(offer, session, record)
    left = record.reserved - known_cost(record.status) - _further_droplets(offer, record)
    hours = min(max(left, Decimal(0)) / hourly, _LONGEST_HOURS) if hourly else _LONGEST_HOURS
    grace = parse_duration(offer.spec.lifetime.dead_man_grace)
    return begun + timedelta(hours=float(hours)) - grace


def token_allowance(
    offer: Offer, session: Session, record: Record, wish: Wish, ends: datetime | None
) -> Decimal | None:
    """Dollars that Claude may be paid in all for the session; None: nothing was reserved.

    The droplet's part comes first: until `ends`, or for the longest life where that is not known.

    Raises:
        Unpriced: as `worst_case`.
    """
    if record.reserved is None:
        return None
    hourly, begun = _droplet_of(offer, session, record)
    if ends is not None:
        life = ends - begun
    else:
        life = _longest_life(offer, session, wish, record.created_at)
    gone = known_cost(record.status) - tokens_cost(record.status)
    droplets = _droplet(hourly, life, offer) + _further_droplets(offer, record)
    return max(record.reserved - gone - droplets, Decimal(0))


def order_cost(offer: Offer, *, is_first: bool = True) -> Decimal:
    """Dollars that an order to Claude may cost at most, with all its repairs.

    Raises:
        Unpriced: a model of the class has no known price.
    """
    model = offer.spec.model
    try:
        return max(
            most_order_cost(name, model.max_output_tokens, is_first=is_first)
            for name in (model.name, model.fallback)
            if name is not None
        )
    except UnknownModelPrice as error:
        raise Unpriced(str(error)) from error


def _of_a_new_one(offer: Offer, tier: Tier, life: timedelta) -> Decimal:
    droplets = _droplet(_dearest(offer, tier), life, offer) + _further_droplets(offer)
    return _rounded_up(droplets + order_cost(offer))


def _longest_life(offer: Offer, session: Session, wish: Wish, begins: datetime) -> timedelta:
    """From the order to the end that was asked for, when all takes as long as it may."""
    limits = limits_of(offer, session)
    deadline = parse_duration(offer.spec.lifetime.provisioning_deadline)
    if wish.expires_at is not None:
        return min(max(wish.expires_at - begins, timedelta()), deadline + limits.maximum)
    lifetime = limits.default_ttl if wish.ttl is None else wish.ttl
    return deadline + min(lifetime, limits.maximum)


def _dearest(offer: Offer, tier: Tier) -> Decimal:
    """Dollars an hour for the dearest size of a tier, and for its load balancer."""
    sizes = offer.tier(tier).sizes
    unknown = [size for size in sizes if size not in offer.prices]
    if unknown:
        raise Unpriced(
            f"DigitalOcean names no price for size {unknown[0]!r} of the tier {tier} in "
            f"SpawnClass {offer.name!r}"
        )
    return max(offer.prices[size] for size in sizes) + price_of_entry(offer.spec)


def _droplet_of(offer: Offer, session: Session, record: Record) -> tuple[Decimal, datetime]:
    """Dollars an hour for droplet and load balancer, and since when they are paid at most."""
    line = record.droplet
    if line is None or line.price_hourly is None:
        return _dearest(offer, session.tier), record.created_at
    return Decimal(line.price_hourly) + price_of_entry(offer.spec), max(
        record.created_at, record.begun_at(line)
    )


def _droplet(hourly: Decimal, life: timedelta, offer: Offer) -> Decimal:
    """A droplet for that long and until it is destroyed, however slowly; without the cap of
    a month, which depends on the calendar.
    """
    grace = parse_duration(offer.spec.lifetime.dead_man_grace)
    hours = Decimal(str(max((life + grace).total_seconds(), 0.0))) / _HOUR
    return max(hourly * hours, MINIMUM_COST)


def _further_droplets(offer: Offer, record: Record | None = None) -> Decimal:
    """What droplets cost that do not add to the life: each is billed at least its minimum.

    One may have been made by an answer that was lost, and is destroyed when it shows up. One that
    replaces another begins when the other has gone, so only its minimum is new; and it may be made
    twice as well.
    """
    replaced = record is not None and bool(record.status.replacements)
    replaces = offer.spec.health.on_droplet_failure is OnDropletFailure.REPLACE and not replaced
    return MINIMUM_COST * (3 if replaces else 1)


def _rounded_up(amount: Decimal) -> Decimal:
    return amount.quantize(CENT_FRACTION, rounding=ROUND_UP)
