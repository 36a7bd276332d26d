"""How long the simulated Claude takes for the lives that are measured."""

import json

import pytest

from spawnai_local.bench.lives import (
    LONGEST_GENERATION_SECONDS,
    ORDERS,
    answer_length,
    ideal_seconds,
    tokens_per_second,
)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order[0])
def test_an_answer_is_as_long_as_an_app(order):
    assert answer_length(*order) > len(json.dumps({"files": []})) * 10


def test_the_longest_answer_takes_as_long_as_the_page_says():
    slowest = max(ideal_seconds(*order, tokens_per_second()) for order in ORDERS)
    assert slowest == pytest.approx(LONGEST_GENERATION_SECONDS + 3.0)
