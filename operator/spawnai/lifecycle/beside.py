"""Droplets that belong to no session's plan: builders of images, and spares of pools. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OwnDroplet:
    """One as DigitalOcean showed it last. `shows_marks`: it wears all the marks of its ledger."""

    id: int
    status: str
    locked: bool
    shows_marks: bool = True

    @property
    def may_go(self) -> bool:
        """Whether it can be deleted now: it shows that it is ours, and nothing is done to it."""
        return self.shows_marks and not self.locked
