"""What a deliberate bug is: one sentence, and what it replaces."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock


@dataclass(frozen=True, slots=True)
class Bug:
    """A mistake somebody could make. `changes` are (object, attribute, replacement)."""

    sentence: str
    changes: tuple[tuple[Any, str, Any], ...]

    @contextmanager
    def made(self) -> Iterator[None]:
        """Make the mistake for a while."""
        with ExitStack() as stack:
            for target, name, replacement in self.changes:
                stack.enter_context(mock.patch.object(target, name, replacement))
            yield


def bug(sentence: str, *changes: tuple[Any, str, Any]) -> Bug:
    return Bug(sentence, changes)
