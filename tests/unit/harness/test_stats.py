# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantiles, intervals over repeats, decisions by objective."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import stats

REPEATS = st.lists(st.floats(0.1, 1e4), min_size=3, max_size=8)


@pytest.mark.parametrize(("name", "needed"), stats.FEWEST_SAMPLES.items())
def test_a_quantile_is_given_from_its_number_of_samples_on(name: str, needed: int) -> None:
    enough, too_few = (stats.quantiles([float(i) for i in range(n)], [name]) for n in (needed, needed - 1))
    assert enough.values[name] is not None
    assert enough.reason == ""
    assert too_few.values == {name: None, "max": float(needed - 2)}
    assert too_few.reason == f"too few samples: {name} needs {needed}, there are {needed - 1}"


@pytest.mark.parametrize(("name", "needed"), stats.FEWEST_SAMPLES.items())
def test_the_number_of_samples_leaves_two_above_the_quantile_in_99_of_100_cases(name: str, needed: int) -> None:
    q = stats.QUANTILES[name]
    fewer_than_two = [q**n + n * (1 - q) * q ** (n - 1) for n in (needed - 1, needed)]
    assert fewer_than_two[0] > 0.01 >= fewer_than_two[1]


def test_no_samples_give_no_quantile_and_no_maximum() -> None:
    assert stats.quantiles([]).values == dict.fromkeys(("p50", "p90", "p95", "p99", "max"))


def test_the_interval_of_three_repeats_is_students() -> None:
    # t(0.975, 2) = 4.302653
    found = stats.interval([9.0, 10.0, 11.0])
    assert found is not None
    assert (found.low, found.high) == pytest.approx(
        (10 - 4.302653 / math.sqrt(3), 10 + 4.302653 / math.sqrt(3)), abs=1e-5
    )
    assert (found.level, found.method) == (0.95, "Student t over repeats")


@pytest.mark.parametrize("repeats", [[], [1.0], [1.0, 2.0]])
def test_fewer_than_three_repeats_give_no_interval(repeats: list[float]) -> None:
    assert stats.interval(repeats) is None
    assert stats.ratio(repeats, [1.0, 2.0, 3.0]) is None


@settings(deadline=None)
@given(REPEATS)
def test_the_interval_holds_the_mean(repeats: list[float]) -> None:
    found = stats.interval(repeats)
    mean = sum(repeats) / len(repeats)
    assert found is not None
    assert found.low <= mean + 1e-9 * mean
    assert mean - 1e-9 * mean <= found.high


@pytest.mark.parametrize(
    ("objective", "verdict", "reason"),
    [
        ({"max": 12.0}, "pass", "objective ≤ 12: the interval 9.75159 to 10.2484 is inside"),
        ({"min": 9.0}, "pass", "objective ≥ 9: the interval 9.75159 to 10.2484 is inside"),
        ({"min": 9.0, "max": 11.0}, "pass", "objective ≤ 11 and ≥ 9: the interval 9.75159 to 10.2484 is inside"),
        ({"max": 9.5}, "fail", "objective ≤ 9.5: the interval 9.75159 to 10.2484 is outside"),
        ({"min": 11.0}, "fail", "objective ≥ 11: the interval 9.75159 to 10.2484 is outside"),
        (
            {"max": 10.1},
            "inconclusive",
            "objective ≤ 10.1: the interval 9.75159 to 10.2484 crosses it; about 7 repeats would decide",
        ),
        (
            {"max": 10.0},
            "inconclusive",
            "objective ≤ 10: the interval 9.75159 to 10.2484 crosses it; not even 1000 repeats would decide",
        ),
    ],
)
def test_an_objective_is_decided_by_the_whole_interval(objective: dict[str, float], verdict: str, reason: str) -> None:
    assert stats.decide([9.9, 10.0, 10.1], objective) == stats.Decision(verdict, reason)


def test_with_too_few_repeats_an_objective_is_not_decided() -> None:
    expected = "objective ≤ 99: 2 of at least 3 repeats that an interval needs"
    assert stats.decide([1.0, 1.1], {"max": 99.0}) == stats.Decision("inconclusive", expected)


@pytest.mark.parametrize(("bound", "verdict"), [(5.0, "pass"), (4.9, "fail")])
def test_equal_repeats_have_an_interval_without_width(bound: float, verdict: str) -> None:
    assert stats.decide([5.0, 5.0, 5.0], {"max": bound}).verdict == verdict


@settings(deadline=None)
@given(REPEATS, st.floats(0.01, 1e4))
def test_so_many_repeats_would_indeed_decide(repeats: list[float], bound: float) -> None:
    if stats.decide(repeats, {"max": bound}).verdict != "inconclusive":
        return
    needed = stats.repeats_needed(repeats, {"max": bound})
    assert needed is None or needed > len(repeats)


def test_a_ratio_has_the_interval_of_the_logarithms() -> None:
    found = stats.ratio([1.0, 1.01, 0.99], [2.0, 2.02, 1.98])
    assert found is not None
    assert found.low < 2 < found.high
    assert (found.low, found.high) == pytest.approx((2.0, 2.0), rel=0.05)


def test_a_difference_has_the_interval_of_the_values_and_nothing_may_be_among_them() -> None:
    found = stats.difference([0.0, 0.0, 0.0], [2.0, 2.02, 1.98])
    assert found is not None
    assert (found.low, found.high) == pytest.approx((1.95, 2.05), abs=0.01)
    assert stats.difference([0.0] * 3, [0.0] * 3) == replace(found, low=0.0, high=0.0)
    assert stats.difference([0.0] * 3, [1.0, 2.0]) is None


def test_a_slope_needs_three_different_sizes_and_tells_how_sure_it_is() -> None:
    found = stats.slope([1.0, 2.0, 3.0, 4.0], [10.0, 12.1, 13.9, 16.0])
    assert found is not None
    assert found[0] == pytest.approx(1.98)
    assert found[1].low < 1.98 < found[1].high
    assert stats.slope([1.0, 1.0, 2.0, 2.0], [1.0, 2.0, 3.0, 4.0]) is None


@pytest.mark.parametrize("sides", [([0.0, 1.0, 1.0], [1.0, 1.0, 1.0]), ([1.0, 1.0, 1.0], [1.0, -1.0, 1.0])])
def test_what_is_not_positive_has_no_ratio(sides: tuple[list[float], list[float]]) -> None:
    assert stats.ratio(*sides) is None
