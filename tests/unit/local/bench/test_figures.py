"""A figure beside its goal: which sample is judged, and how it is told."""

import pytest

from spawnai_local.bench.figures import Figure, Judge, quantile, shown


def test_a_quantile_is_a_sample_that_was_really_measured():
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert quantile([float(number) for number in range(1, 101)], 0.99) == 99.0


def test_the_p99_of_few_samples_is_the_largest():
    assert quantile([1.0, 2.0, 50.0], 0.99) == 50.0


@pytest.mark.parametrize(
    ("judge", "met"), [(Judge.MEDIAN, True), (Judge.P99, False), (Judge.MOST, False)]
)
def test_the_goal_is_held_against_the_judged_sample(judge, met):
    figure = Figure("time", "ms", (1.0, 2.0, 99.0), goal=10, judge=judge)

    assert figure.is_met is met


def test_the_goal_itself_is_allowed():
    assert Figure("writes", "", (0.0,), goal=0).is_met is True


def test_a_figure_that_could_not_be_measured_does_not_meet_its_goal():
    assert Figure("time", "ms", (), goal=10).is_met is False


def test_a_figure_without_a_goal_is_neither_met_nor_missed():
    assert Figure("time", "ms", (1.0,)).is_met is None


def test_numbers_are_as_exact_as_anyone_wants_to_read_them():
    assert shown(0.0, "") == "0"
    assert shown(1.0449, "") == "1.045"
    assert shown(16.628, "ms") == "16.6 ms"
    assert shown(176.6, "MB") == "177 MB"
    assert shown(float("nan"), "s") == "–"
