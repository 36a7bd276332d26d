"""Usages add up, and no token is lost."""

from spawnai.generation.usage import TokenUsage


def test_each_kind_of_token_is_added_to_its_own():
    assert TokenUsage(1, 2, 3, 4, 5) + TokenUsage(10, 20, 30, 40, 50) == TokenUsage(
        11, 22, 33, 44, 55
    )


def test_nothing_is_the_beginning():
    assert TokenUsage() + TokenUsage(output_tokens=7) == TokenUsage(output_tokens=7)


def test_all_input_counts_cached_tokens_too():
    assert TokenUsage(1, 100, 20, 300).total_input_tokens == 321
