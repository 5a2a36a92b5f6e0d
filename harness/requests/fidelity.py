# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether requests were sent when they were due: both series by the same measures. Pure.

Spans are over as many arrivals as the observation says (bench_request_load: a span lasts 20 ms or more on average).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]
WINDOWS = 20
#: Spans that differ less among themselves are the same but for the clock's noise, and have no distribution to compare.
EVEN = 0.05
#: How far the series that was sent may be from the one that was planned; where it is short, so many spans may be off,
#: and so many arrivals of the fullest window in another.
DISTANCE_MOST = 0.10
OFF_MOST = 3
CV_MOST = 0.10  # of the planned one's, or of 1 where that is below
PEAK_MOST = 0.10
AUTOCORRELATION_MOST = 0.10


@dataclass(frozen=True)
class Spread:
    cv: float
    peak_to_mean: float
    autocorrelation: float


@dataclass(frozen=True)
class Fidelity:
    planned: Spread
    sent: Spread
    distance: float | None
    spans: int
    arrivals: int

    def faults(self) -> list[str]:
        """Every measure that is off, with both values."""
        found = []
        if self.distance is not None and self.distance > max(DISTANCE_MOST, OFF_MOST / self.spans):
            found.append(f"distance {self.distance:.3f}")
        peak = PEAK_MOST * self.planned.peak_to_mean + OFF_MOST * WINDOWS / self.arrivals
        pairs = (
            ("CV", self.planned.cv, self.sent.cv, CV_MOST * max(1.0, self.planned.cv)),
            ("peak to mean", self.planned.peak_to_mean, self.sent.peak_to_mean, peak),
            ("autocorrelation", self.planned.autocorrelation, self.sent.autocorrelation, AUTOCORRELATION_MOST),
        )
        even = self.planned.cv < EVEN
        found += [
            f"{name} {sent:.3f}, planned {planned:.3f}"
            for name, planned, sent, most in pairs
            if abs(sent - planned) > most and not (even and name == "autocorrelation")
        ]
        return found


def compared(due: Sequence[float], sent: Sequence[float], step: int) -> Fidelity | None:
    """None where too little was sent to have spans at all."""
    planned, achieved = (np.sort(np.asarray(one, dtype=np.float64)) for one in (due, sent))
    spans = [_spans(one, step) for one in (planned, achieved)]
    if min(len(one) for one in spans) < 2:
        return None
    before, after = (_spread(series, own) for series, own in zip((planned, achieved), spans, strict=True))
    return Fidelity(before, after, None if before.cv < EVEN else _distance(*spans), len(spans[0]), len(planned))


def _spans(moments: Series, step: int) -> Series:
    found = np.diff(moments[::step])
    mean = float(found.mean()) if len(found) else 0.0
    return found / mean if mean > 0 else found[:0]


def _spread(moments: Series, spans: Series) -> Spread:
    counts, _ = np.histogram(moments, bins=WINDOWS)
    off = spans - spans.mean()
    total = float((off**2).sum())
    nearby = float((off[:-1] * off[1:]).sum()) / total if total > 1e-12 * len(off) else 0.0
    return Spread(float(spans.std()), float(counts.max() * WINDOWS / len(moments)), nearby)


def _distance(first: Series, second: Series) -> float:
    """Kolmogorov and Smirnov's."""
    every = np.concatenate((first, second))
    shares = [np.searchsorted(np.sort(one), every, side="right") / len(one) for one in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())
