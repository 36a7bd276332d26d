"""A class is told when a model that it names is about to retire."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from spawnai.generation.key import check_key

MODEL = "claude-sonnet-5-5"


@pytest.mark.parametrize(
    ("lifecycle", "retires_at", "expected"),
    [
        ("active", None, ""),
        ("deprecated", datetime(2027, 3, 1, tzinfo=UTC), "retires the model claude-sonnet-5-5 on"),
        ("deprecated", None, "soon"),
        ("retired", datetime(2026, 3, 1, tzinfo=UTC), "already"),
    ],
)
async def test_what_is_said_of_a_model(lifecycle, retires_at, expected):
    async def retrieve(model, timeout):
        return SimpleNamespace(id=model, lifecycle=lifecycle, retires_at=retires_at)

    said = await check_key(SimpleNamespace(models=SimpleNamespace(retrieve=retrieve)), MODEL)
    assert expected in said
    assert bool(said) == bool(expected)
