"""What a deliberate bug is: one sentence, and what it replaces."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from tests.simulation.story import Story

from .situations import any_story


@dataclass(frozen=True, slots=True)
class Bug:
    """A mistake somebody could make. `changes` are (object, attribute, replacement); `story_of`
    tells the stories, by their seeds, among which it is looked for.
    """

    sentence: str
    changes: tuple[tuple[Any, str, Any], ...]
    story_of: Callable[[int], Story] = any_story

    @contextmanager
    def made(self) -> Iterator[None]:
        """Make the mistake for a while."""
        with ExitStack() as stack:
            for target, name, replacement in self.changes:
                stack.enter_context(mock.patch.object(target, name, replacement))
            yield


def bug(
    sentence: str,
    *changes: tuple[Any, str, Any],
    among: Callable[[int], Story] = any_story,
) -> Bug:
    return Bug(sentence, changes, among)
