# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the statistics, each against values worked out elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from harness.overhead import sequential, statistics
from harness.overhead.statistics import RATIO, SECONDS


def test_an_overhead_below_one_percent_is_not_rounded_to_nothing() -> None:
    """6,910 against 6,977 operations a second: truncating the quotient first made that 0."""
    compared = RATIO.compare(np.array([1 / 6910]), np.array([1 / 6977]))
    assert RATIO.told(compared).tolist() == pytest.approx([67 / 6910])


def test_both_native_runs_of_a_block_are_the_middle() -> None:
    first, again = np.array([1.0, 4.0]), np.array([4.0, 4.0])
    assert statistics.native_of(first, again, RATIO).tolist() == [2.0, 4.0]
    assert statistics.native_of(first, again, SECONDS).tolist() == [2.5, 4.0]


def test_an_interval_is_on_no_side_narrower_than_students_t() -> None:
    values = np.random.default_rng(1).normal(0.02, 0.01, 12)
    low, high = statistics.interval(values, resamples=999)
    student = scipy_stats.t.interval(0.95, 11, values.mean(), values.std(ddof=1) / math.sqrt(12))
    assert low <= student[0] + 1e-12
    assert high >= student[1] - 1e-12
    assert high - low < 1.3 * (student[1] - student[0])


def test_an_interval_follows_a_skew() -> None:
    values = np.random.default_rng(3).lognormal(0, 1.2, 30)
    low, high = statistics.interval(values, resamples=999)
    assert high - values.mean() > 1.2 * (values.mean() - low)


def test_intervals_of_many_experiments_are_those_of_each() -> None:
    values = np.random.default_rng(2).normal(0, 0.01, (3, 10))
    together = statistics.interval(values, resamples=499)
    alone = [statistics.interval(row, resamples=499) for row in values]
    assert np.allclose(together[0], [low for low, _ in alone], atol=5e-4)
    assert np.allclose(together[1], [high for _, high in alone], atol=5e-4)


def test_blocks_that_are_all_the_same_give_a_point() -> None:
    low, high = statistics.interval(np.full(8, 0.01), resamples=99)
    assert (float(low), float(high)) == (pytest.approx(0.01), pytest.approx(0.01))
    mixed = statistics.interval(np.array([[0.01] * 8, list(range(8))]), resamples=99)
    assert mixed[0][0] == pytest.approx(0.01)
    assert mixed[1][1] > 3.5


def test_two_one_sided_tests_are_students() -> None:
    values = np.array([0.01, 0.02, 0.015, 0.022, 0.011])
    better, worse = statistics.one_sided(values, 0.02)
    expected = scipy_stats.ttest_1samp(values, 0.02, alternative="less").pvalue
    assert float(better) == pytest.approx(float(expected))
    assert float(worse) == pytest.approx(1 - float(expected))


@pytest.mark.parametrize(("value", "expected"), [(0.01, (0.0, 1.0)), (0.03, (1.0, 0.0)), (0.02, (0.5, 0.5))])
def test_a_test_of_blocks_without_spread(value: float, expected: tuple[float, float]) -> None:
    better, worse = statistics.one_sided(np.full(6, value), 0.02)
    assert (float(better), float(worse)) == pytest.approx(expected, abs=1e-6)


def test_holm_adjusts_over_the_gates() -> None:
    # Worked by hand: 0.01·4, then 0.02·3 = 0.06, 0.03·2 = 0.06, 0.2·1, never falling.
    assert statistics.holm(np.array([0.03, 0.01, 0.2, 0.02])).tolist() == pytest.approx([0.06, 0.04, 0.2, 0.06])
    assert statistics.holm(np.array([[0.9, 0.01], [0.8, 0.04]])).tolist() == [[1.0, 0.02], [1.0, 0.04]]


def test_a_quantile_of_harrell_and_davis_weighs_every_sample() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 100.0]
    assert statistics.harrell_davis([5.0] * 20, 0.9) == pytest.approx(5.0)
    assert statistics.harrell_davis(values, 0.5) == pytest.approx(
        float(scipy_stats.mstats.hdquantiles(values, prob=[0.5])[0])
    )


@pytest.mark.parametrize(
    ("count", "expected"),
    # 661 samples have no conservative p99: their largest lies below it with a probability above 0.1 %.
    [(662, 661), (500, 500), (100, None), (0, None)],
)
def test_a_conservative_quantile_lies_above_the_true_one(count: int, expected: int | None) -> None:
    found = statistics.order_statistic([float(value) for value in range(1, count + 1)], 0.99)
    assert found == expected


def test_a_conservative_quantile_holds_its_confidence() -> None:
    rng, true = np.random.default_rng(5), -math.log(0.05)
    draws = rng.exponential(1, (2000, 200))
    above = sum(found is not None and found >= true for found in (statistics.order_statistic(d, 0.95) for d in draws))
    assert above / 2000 >= 0.985


@pytest.mark.parametrize(("spread", "by_normal"), [(0.005, 7), (0.01, 26), (0.015, 57), (0.02, 101)])
def test_blocks_that_certify_one_percent_when_the_truth_is_a_third(spread: float, by_normal: int) -> None:
    """The normal approximation's counts; Student's t asks for one to three blocks more."""
    needed = sequential.blocks_needed(0.003, spread * math.sqrt(2), 0.01)
    assert needed is not None
    assert by_normal <= needed <= by_normal + 3


@pytest.mark.parametrize(("middle", "spread", "expected"), [(0.01, 0.01, None), (0.0, 1e9, None), (0.0, 0.0, 2)])
def test_blocks_where_none_would_decide(middle: float, spread: float, expected: int | None) -> None:
    assert sequential.blocks_needed(middle, spread, 0.01) == expected


@pytest.mark.parametrize(
    ("complete", "expected"),
    [
        (32, [(8, 0.0125), (16, 0.0125), (24, 0.0125), (32, 0.0125)]),
        (40, [(8, 0.0125), (16, 0.0125), (24, 0.0125), (32, 0.0125)]),
        (16, [(8, 0.0125), (16, 0.0125)]),
        (20, [(8, 0.0125), (16, 0.0125), (20, 0.00625)]),
        (3, [(3, 0.0046875)]),
    ],
)
def test_the_error_is_spent_over_the_looks(complete: int, expected: list[tuple[int, float]]) -> None:
    found = [(look.blocks, look.alpha) for look in sequential.looks((8, 16, 24, 32), complete)]
    assert found == [(blocks, pytest.approx(alpha)) for blocks, alpha in expected]
    assert sum(alpha for _, alpha in found) <= 0.05 + 1e-12
