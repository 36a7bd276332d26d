"""What tokens cost: the price list, to the last fraction of a cent."""

from decimal import Decimal

import pytest

from spawnai.billing.token_prices import TOKEN_PRICES, UnknownModelPrice, has_price, token_cost


def test_a_usual_app_by_sonnet_costs_what_the_price_list_says():
    # 3,000 tokens in at $2 and 8,000 out at $10 per million.
    cost = token_cost("claude-sonnet-5-5", input_tokens=3000, output_tokens=8000)
    assert cost == Decimal("0.086")


@pytest.mark.parametrize(
    ("kind", "price"),
    [
        ("input_tokens", "2"),
        ("output_tokens", "10"),
        ("cache_read_tokens", "0.20"),
        ("cache_write_tokens", "2.50"),
    ],
)
def test_each_kind_of_token_has_its_own_price(kind, price):
    counts = {"input_tokens": 0, "output_tokens": 0} | {kind: 1_000_000}
    assert token_cost("claude-sonnet-5-5", **counts) == Decimal(price)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("claude-haiku-5-5", "0.0043"),
        ("claude-opus-5-5", "0.172"),
        ("claude-fable-5-2", "0.344"),
    ],
)
def test_every_model_has_its_price(model, expected):
    assert token_cost(model, input_tokens=3000, output_tokens=8000) == Decimal(expected)


def test_one_token_is_not_rounded_away():
    cost = token_cost("claude-haiku-5-5", input_tokens=1, output_tokens=0)
    assert cost == Decimal("0.0000001")


def test_cost_is_the_same_for_a_sum_and_for_its_parts():
    whole = token_cost("claude-sonnet-5-5", input_tokens=777, output_tokens=333)
    parts = token_cost("claude-sonnet-5-5", input_tokens=700, output_tokens=300)
    parts += token_cost("claude-sonnet-5-5", input_tokens=77, output_tokens=33)
    assert whole == parts


def test_a_dated_snapshot_costs_what_its_model_costs():
    dated = token_cost("claude-opus-5-5-20260901", input_tokens=10, output_tokens=10)
    assert dated == token_cost("claude-opus-5-5", input_tokens=10, output_tokens=10)


def test_an_unknown_model_is_an_error_that_names_the_known_ones():
    assert not has_price("claude-sonnet-4")
    with pytest.raises(UnknownModelPrice) as caught:
        token_cost("claude-sonnet-4", input_tokens=1, output_tokens=1)
    for known in TOKEN_PRICES:
        assert known in str(caught.value)


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="negative"):
        token_cost("claude-sonnet-5-5", input_tokens=-1, output_tokens=1)
