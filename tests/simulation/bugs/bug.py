"""What a deliberate bug is: one sentence, and what it replaces."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from tests.simulation.story import Story

from .situations import any_story

Change = tuple[Any, str, Any]
"""What is replaced: (object, attribute, replacement)."""


@dataclass(frozen=True, slots=True)
class Bug:
    """A mistake somebody could make.

    Attributes:
        sentence: the mistake in words.
        changes: what makes it.
        story_of: tells the stories, by their seeds, among which it is looked for.
        behind: takes away a defence that stands behind the one the mistake opens, and would hide
            it. Without the mistake itself all goes well although this is gone.
        seed: where the search begins. It saves time when a story from there on finds the mistake,
            and costs nothing but time when none does any more.
    """

    sentence: str
    changes: tuple[Change, ...]
    story_of: Callable[[int], Story] = any_story
    behind: tuple[Change, ...] = ()
    seed: int = 0

    @contextmanager
    def made(self) -> Iterator[None]:
        """Make the mistake for a while."""
        with _changed(self.behind + self.changes):
            yield

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """The same world without the mistake."""
        with _changed(self.behind):
            yield


@contextmanager
def _changed(changes: tuple[Change, ...]) -> Iterator[None]:
    with ExitStack() as stack:
        for target, name, replacement in changes:
            stack.enter_context(mock.patch.object(target, name, replacement))
        yield


def bug(
    sentence: str,
    *changes: Change,
    among: Callable[[int], Story] = any_story,
    behind: tuple[Change, ...] = (),
    seed: int = 0,
) -> Bug:
    return Bug(sentence, changes, among, behind, seed)
