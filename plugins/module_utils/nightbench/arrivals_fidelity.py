# SPDX-License-Identifier: GPL-3.0-or-later
"""How a series of arrivals is spread, and how far one is from another or from its law. Pure.

Gaps are taken over so many arrivals that a span lasts at least GRAIN_SECONDS on average: what is finer than that is the
clock's and the kernel's, and no service of milliseconds sees it. A sum of m gaps of a gamma law is gamma again, its
coefficient of variation smaller by the root of m, so the law of a span is known as well.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

GRAIN_SECONDS = 0.020
#: Over how many equal windows the peak is looked for.
WINDOWS = 20
#: Kolmogorov's distribution at 1 %: a sample of n of the right law is farther than this over √n once in 100.
KOLMOGOROV = 1.63
#: What is farther is another load.
KS_MOST = 0.10
SERIES_TERMS = 500
ENOUGH = 1e-12


def stride(moments: Sequence[float]) -> int:
    """Over how many arrivals a span is taken."""
    if len(moments) < 2 or moments[-1] <= moments[0]:
        return 1
    return max(1, math.ceil(GRAIN_SECONDS * (len(moments) - 1) / (moments[-1] - moments[0])))


def spans(moments: Sequence[float], step: int) -> list[float]:
    """Seconds over `step` arrivals each, one after the other, divided by their mean."""
    chosen = moments[::step]
    found = [after - before for before, after in pairwise(chosen)]
    mean = statistics.fmean(found) if found else 0.0
    # Rounded, for what was scaled differs from its source in the last digits, and so would be no tie.
    return [float(f"{one / mean:.9g}") for one in found] if mean > 0 else []


def described(moments: Sequence[float], step: int | None = None) -> dict[str, Any]:
    """Of a series: its rate, and how it is spread."""
    found = spans(moments, step or stride(moments))
    seconds = moments[-1] - moments[0] if len(moments) > 1 else 0.0
    return {
        "arrivals": len(moments),
        "seconds": round(seconds, 6),
        "rate": round((len(moments) - 1) / seconds, 6) if seconds > 0 else None,
        "stride": step or stride(moments),
        "cv": _rounded(statistics.pstdev(found)) if len(found) > 1 else None,
        "peak_to_mean": _rounded(peak_to_mean(moments)),
        "autocorrelation": _rounded(autocorrelation(found)),
    }


def peak_to_mean(moments: Sequence[float]) -> float | None:
    """The fullest of WINDOWS equal windows, over their mean."""
    if len(moments) < WINDOWS or moments[-1] <= moments[0]:
        return None
    width = (moments[-1] - moments[0]) / WINDOWS
    counts = [0] * WINDOWS
    for at in moments:
        counts[min(WINDOWS - 1, int((at - moments[0]) / width))] += 1
    return max(counts) * WINDOWS / len(moments)


def autocorrelation(values: Sequence[float]) -> float | None:
    """Of one with the next; None where nothing differs or too little is there."""
    if len(values) < 3:
        return None
    mean = statistics.fmean(values)
    total = sum((one - mean) ** 2 for one in values)
    if total <= ENOUGH * len(values):
        return None
    return sum((a - mean) * (b - mean) for a, b in pairwise(values)) / total


def distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Kolmogorov and Smirnov's, between two samples."""
    one, other = sorted(first), sorted(second)
    i = j = 0
    most = 0.0
    while i < len(one) and j < len(other):
        at = min(one[i], other[j])
        while i < len(one) and one[i] <= at:
            i += 1
        while j < len(other) and other[j] <= at:
            j += 1
        most = max(most, abs(i / len(one) - j / len(other)))
    return most


def distance_from(values: Sequence[float], law: Callable[[float], float]) -> float:
    """Kolmogorov's, between a sample and a law."""
    found = sorted(values)
    count = len(found)
    return max(
        (max((index + 1) / count - law(value), law(value) - index / count) for index, value in enumerate(found)),
        default=1.0,
    )


def gamma_law(cv: float) -> Callable[[float], float]:
    """The distribution function of a gamma law of mean 1; cv 1 is the exponential."""
    shape = cv**-2
    return lambda value: regularised_gamma(shape, value * shape)


def regularised_gamma(shape: float, value: float) -> float:
    """P(a, x): its series below a + 1, Lentz's continued fraction above (Numerical Recipes, 6.2)."""
    if value <= 0:
        return 0.0
    front = math.exp(shape * math.log(value) - value - math.lgamma(shape))
    if value < shape + 1:
        term = total = 1.0 / shape
        for number in range(1, SERIES_TERMS):
            term *= value / (shape + number)
            total += term
            if term < total * ENOUGH:
                break
        return min(1.0, front * total)
    tiny = 1e-300
    b = value + 1 - shape
    c, d = 1 / tiny, 1 / b
    found = d
    for number in range(1, SERIES_TERMS):
        a = -number * (number - shape)
        b += 2
        d = 1 / (a * d + b or tiny)
        c = b + a / c or tiny
        found *= c * d
        if abs(c * d - 1) < ENOUGH:
            break
    return max(0.0, 1.0 - front * found)


def farthest(count: int) -> float:
    """How far so many spans may be from their law: a bar, and what chance does to so few."""
    return max(KS_MOST, KOLMOGOROV / math.sqrt(count)) if count else KS_MOST


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
