"""What an emulator is made with; delays and limits may change as it runs."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

DEFAULT_TOKEN = "local-token"  # noqa: S105 - it opens nothing but the emulator


@dataclass(frozen=True, slots=True)
class Delay:
    """A time in seconds, drawn evenly between two bounds each time it is needed."""

    low: float
    high: float

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Read `3`, `[1, 3]` or another Delay.

        Raises:
            ValueError: it is none of these, or negative, or the wrong way round.
        """
        if isinstance(value, cls):
            return value
        bounds = value if isinstance(value, list | tuple) else [value, value]
        if (
            len(bounds) != 2  # noqa: PLR2004 - a pair
            or any(
                isinstance(bound, bool) or not isinstance(bound, int | float) for bound in bounds
            )
            or not 0 <= bounds[0] <= bounds[1]
        ):
            raise ValueError(
                f"a delay is a number of seconds or a pair [least, most] of them, not {value!r}"
            )
        return cls(float(bounds[0]), float(bounds[1]))

    def draw(self, randomness: random.Random) -> float:
        """Return the seconds for this time."""
        return self.low if self.low == self.high else randomness.uniform(self.low, self.high)

    def document(self) -> float | list[float]:
        """Return what `parse` reads."""
        return self.low if self.low == self.high else [self.low, self.high]


def _delay(seconds: float) -> Delay:
    return Delay(seconds, seconds)


@dataclass(frozen=True, slots=True)
class Delays:
    """How long things take, in seconds. All of them may be changed while the emulator runs."""

    network: Delay = field(default=_delay(0.3))
    """From a droplet's creation to its addresses showing."""
    boot: Delay = field(default=_delay(1.0))
    """From a droplet's creation to `active`; its machine starts then."""
    action: Delay = field(default=_delay(0.5))
    """A power action, from in-progress to completed."""
    tags: Delay = field(default=_delay(0.5))
    """From a droplet's creation to its tags, and from tagging or untagging it to what it shows:
    until then it shows the tags of before, and the firewalls of these cover it."""
    firewall: Delay = field(default=_delay(3.0))
    """From a change to a firewall, or a droplet it newly covers, to `succeeded`."""
    delete_visible: Delay = field(default=_delay(0.0))
    """How long a deleted droplet is still shown."""
    delisting: Delay = field(default=_delay(0.0))
    """How long a droplet that is already a 404 stays in listings."""
    listing: Delay = field(default=_delay(0.0))
    """How long a new droplet is missing from listings by tag."""
    appear: Delay = field(default=_delay(0.0))
    """How long a new droplet's own address answers 404."""
    dns: Delay = field(default=_delay(0.0))
    """From a change to a domain's records to the DNS server answering so."""
    load_balancer: Delay = field(default=_delay(10.0))
    """From a load balancer's order to `active`, or `errored`: minutes in earnest."""
    load_balancer_change: Delay = field(default=_delay(2.0))
    """How long a load balancer is busy after a change, and refuses another."""
    certificate: Delay = field(default=_delay(3.0))
    """From the order of a Let's Encrypt certificate to `verified`, or `error`."""
    certificate_release: Delay = field(default=_delay(2.0))
    """How long a certificate counts as in use after its load balancer went."""
    snapshot: Delay = field(default=_delay(5.0))
    """The action that makes a snapshot; the droplet is locked meanwhile."""
    transfer: Delay = field(default=_delay(5.0))
    """The transfer of an image to another region, or its import: up to half an hour in earnest."""
    answer: Delay = field(default=_delay(0.0))
    """Added to every answer, as a network far away would."""

    def changed(self, document: dict[str, Any]) -> "Delays":
        """Return these delays with those named in `document` replaced.

        Raises:
            ValueError: there is no delay of such a name, or it is no delay.
        """
        known = {one.name for one in fields(self)}
        if unknown := sorted(set(document) - known):
            raise ValueError(
                f"no delay is called {', '.join(unknown)}; there are {', '.join(sorted(known))}"
            )
        return replace(self, **{name: Delay.parse(value) for name, value in document.items()})

    def document(self) -> dict[str, float | list[float]]:
        """Return all delays by name, in seconds."""
        return {one.name: getattr(self, one.name).document() for one in fields(self)}


NO_DELAYS = Delays(**{one.name: _delay(0.0) for one in fields(Delays)})
"""Everything has moved on by the next request."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the account and its token may do. All of it may be changed while the emulator runs.

    The numbers are DigitalOcean's own for a token (5,000 requests an hour, of them 250 in a
    minute); the droplet limit is what an established account may have.
    """

    droplets: int = 100
    load_balancers: int = 10
    requests_per_hour: int = 5000
    requests_per_minute: int = 250
    rate_limited: bool = True

    def changed(self, document: dict[str, Any]) -> "Limits":
        """Return these limits with those named in `document` replaced.

        Raises:
            ValueError: there is no limit of such a name, or its value makes no sense.
        """
        known = {one.name for one in fields(self)}
        for name, value in document.items():
            if name not in known:
                raise ValueError(f"no limit is called {name}; there are {', '.join(sorted(known))}")
            if name == "rate_limited":
                if not isinstance(value, bool):
                    raise ValueError(f"rate_limited is true or false, not {value!r}")
            elif isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"{name} is a whole number from 0 up, not {value!r}")
        return replace(self, **document)

    def document(self) -> dict[str, int | bool]:
        """Return all limits by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


AddressSource = Callable[[str, frozenset[str]], str]
"""Gives a new droplet (its name, its tags) a public IPv4 address."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an emulator is made with.

    Without a machine host every droplet is a shell: it has its states, addresses and price, and no
    process behind it. With one, `shells` makes all of them shells all the same, and `shell_tags`
    those that carry one of these tags.
    """

    tokens: frozenset[str] = field(default=frozenset({DEFAULT_TOKEN}), repr=False)
    scopes: Mapping[str, frozenset[str] | None] = field(default_factory=dict, repr=False)
    """The scopes of tokens that have not full access."""
    delays: Delays = field(default_factory=Delays)
    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    shells: bool = False
    shell_tags: frozenset[str] = frozenset()
    shell_network: str = "127.64.0.0/10"
    """Where the addresses of shells come from; given back addresses are given out again first, as
    DigitalOcean may."""
    shell_address: AddressSource | None = None
    """Gives the addresses of shells instead, for example that of one agent shared by all."""
    ports: Mapping[int, int] = field(default_factory=dict)
    """Which port of this machine stands for one of DigitalOcean's, where it is another."""
    delete_needs_active: bool = True
    """Whether deleting a droplet that is still being created is refused (422, pending event)."""
    private_address_first: bool | None = None
    """Whether a droplet's private address is listed before its public one; None: by chance."""
