import pytest

from spawnai.controller.door.log import new_lines


@pytest.mark.parametrize(
    ("told", "lines", "fresh"),
    [
        ([], ["a", "b"], ["a", "b"]),
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], ["a", "b", "c"], ["c"]),
        (["a", "b", "c"], ["b", "c", "d"], ["d"]),  # the window has moved on
        (["a", "b"], ["x", "y"], ["x", "y"]),  # it was full of new lines meanwhile
        (["a", "a"], ["a", "a", "a"], ["a"]),
        (["a"], [], []),
    ],
)
def test_only_what_was_not_told_yet_is_new(told, lines, fresh):
    assert new_lines(told, lines) == fresh
