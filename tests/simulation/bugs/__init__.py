"""Deliberate bugs: each a small change to the product that the simulation must find."""

from .books import BOOKS
from .bug import Bug
from .building import BUILDING
from .clocks import CLOCKS
from .ending import ENDING
from .keeping import KEEPING
from .offering import OFFERING
from .paying import PAYING
from .pooling import POOLING
from .reaping import REAPING
from .replacing import REPLACING

BUGS: tuple[Bug, ...] = (
    *BUILDING,
    *ENDING,
    *BOOKS,
    *KEEPING,
    *OFFERING,
    *REAPING,
    *REPLACING,
    *CLOCKS,
    *PAYING,
    *POOLING,
)
