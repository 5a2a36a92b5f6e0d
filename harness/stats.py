# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantiles that enough samples stand behind, and intervals over repeats. Pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit
from scipy.stats import linregress

from harness.model import Interval

LEVEL = 0.95
METHOD = "Student t over repeats"
FEWEST_REPEATS = 3
MOST_REPEATS = 1000

# The least n of which at least two samples lie above the quantile with a probability of 99 %:
# q^n + n·(1 − q)·q^(n−1) ≤ 0.01. With fewer, a quantile is only another name for the maximum.
FEWEST_SAMPLES = {"p50": 11, "p90": 64, "p95": 130, "p99": 662, "p99.9": 6636}
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
RECORDED = ("p50", "p90", "p95", "p99")


@dataclass(frozen=True)
class Quantiles:
    values: dict[str, float | None]
    reason: str  # why some are null; empty when none is


def quantiles(samples: Sequence[float], names: Sequence[str] = RECORDED) -> Quantiles:
    """The named quantiles and max; null where there are too few samples."""
    values: dict[str, float | None] = {}
    lacking = []
    for name in names:
        if len(samples) >= FEWEST_SAMPLES[name]:
            values[name] = float(np.quantile(samples, QUANTILES[name]))
        else:
            values[name] = None
            lacking.append(f"{name} needs {FEWEST_SAMPLES[name]}")
    values["max"] = float(max(samples)) if samples else None
    return Quantiles(values, f"too few samples: {', '.join(lacking)}, there are {len(samples)}" if lacking else "")


def interval(repeats: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Where the mean lies, judged by how much the repeats differ; none with fewer than three of them."""
    if len(repeats) < FEWEST_REPEATS:
        return None
    mean = statistics.fmean(repeats)
    half = _half_width(statistics.stdev(repeats), len(repeats), level)
    return Interval(mean - half, mean + half, level, METHOD)


def ratio(before: Sequence[float], after: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Where after/before lies: Welch's t on the logarithms; none with fewer than three repeats on a side."""
    if min(len(before), len(after)) < FEWEST_REPEATS or min(*before, *after) <= 0:
        return None
    low, high = _between([math.log(value) for value in before], [math.log(value) for value in after], level)
    return Interval(math.exp(low), math.exp(high), level, "Welch t over the repeats' logarithms")


def difference(before: Sequence[float], after: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Where after − before lies, for what may be nothing and so has no ratio; none with fewer than three repeats."""
    if min(len(before), len(after)) < FEWEST_REPEATS:
        return None
    return Interval(*_between(before, after, level), level, "Welch t over the repeats")


def p_value(before: Sequence[float], after: Sequence[float]) -> float | None:
    """How likely so much between them is by chance, by the test of which ratio and difference are the intervals."""
    if min(len(before), len(after)) < FEWEST_REPEATS:
        return None
    if min(*before, *after) > 0:
        before, after = [math.log(value) for value in before], [math.log(value) for value in after]
    middle, error, freedom = _welch(before, after)
    if error == 0:
        return 1.0 if middle == 0 else 0.0
    return float(2 * stdtr(freedom, -abs(middle) / error))


def slope(x: Sequence[float], y: Sequence[float], level: float = LEVEL) -> tuple[float, Interval] | None:
    """How much y grows with x: a line by least squares and its interval; none with fewer than three different x."""
    if len(set(x)) < FEWEST_REPEATS:
        return None
    line = linregress(x, y)
    half = float(stdtrit(len(x) - 2, (1 + level) / 2)) * float(line.stderr)
    found = float(line.slope)
    return found, Interval(found - half, found + half, level, "Student t of a line by least squares")


def _between(before: Sequence[float], after: Sequence[float], level: float) -> tuple[float, float]:
    middle, error, freedom = _welch(before, after)
    half = float(stdtrit(freedom, (1 + level) / 2)) * error if error > 0 else 0.0
    return middle - half, middle + half


def _welch(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float]:
    """The difference of the means, its standard error and the degrees of freedom."""
    sides = (before, after)
    parts = [statistics.variance(side) / len(side) for side in sides]
    middle = statistics.fmean(after) - statistics.fmean(before)
    if sum(parts) == 0:
        return middle, 0.0, 1.0
    freedom = sum(parts) ** 2 / sum(p * p / (len(s) - 1) for p, s in zip(parts, sides, strict=True))
    return middle, math.sqrt(sum(parts)), freedom


@dataclass(frozen=True)
class Decision:
    verdict: str  # pass, fail or inconclusive
    reason: str


def decide(repeats: Sequence[float], objective: Mapping[str, float], level: float = LEVEL) -> Decision:
    """Pass when the whole interval meets the objective, fail when none of it does, else inconclusive."""
    ci = interval(repeats, level)
    wanted = " and ".join(f"{'≤' if name == 'max' else '≥'} {bound:g}" for name, bound in sorted(objective.items()))
    if ci is None:
        return Decision(
            "inconclusive",
            f"objective {wanted}: {len(repeats)} of at least {FEWEST_REPEATS} repeats that an interval needs",
        )
    low, high = objective.get("min", -math.inf), objective.get("max", math.inf)
    seen = f"the interval {ci.low:.6g} to {ci.high:.6g}"
    if low <= ci.low and ci.high <= high:
        return Decision("pass", f"objective {wanted}: {seen} is inside")
    if ci.high < low or ci.low > high:
        return Decision("fail", f"objective {wanted}: {seen} is outside")
    needed = repeats_needed(repeats, objective, level)
    advice = f"about {needed} repeats would decide" if needed else f"not even {MOST_REPEATS} repeats would decide"
    return Decision("inconclusive", f"objective {wanted}: {seen} crosses it; {advice}")


def repeats_needed(repeats: Sequence[float], objective: Mapping[str, float], level: float = LEVEL) -> int | None:
    """How many repeats, spread as these are, would bring the interval off the bound; none when no count would."""
    if len(repeats) < 2:
        return None
    mean, spread = statistics.fmean(repeats), statistics.stdev(repeats)
    distance = min(abs(mean - bound) for bound in objective.values())
    counts = np.arange(max(FEWEST_REPEATS, len(repeats)), MOST_REPEATS + 1)
    widths = stdtrit(counts - 1, (1 + level) / 2) * spread / np.sqrt(counts)
    enough = counts[widths < distance]
    return int(enough[0]) if enough.size else None


def _half_width(spread: float, count: int, level: float) -> float:
    if spread == 0:
        return 0.0
    return float(stdtrit(count - 1, (1 + level) / 2)) * spread / math.sqrt(count)
