# SPDX-License-Identifier: GPL-3.0-or-later
"""When things arrive: seeded processes, each the same clock of chance seen through an intensity of its own. Pure.

A process runs in operational time, in which one arrival is expected a unit and gaps are drawn from one law of mean 1
(exponential, gamma, or always 1). An intensity maps that to seconds: constant, a day's sine, or states that switch.
So what was drawn can be mapped back and held against its law, however the intensity moves. The first comes at 0.
"""

from __future__ import annotations

import itertools
import math
import random
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .errors import ConfigurationError

KINDS = ("constant", "poisson", "gamma", "markov_modulated", "diurnal")
#: Steps of the bisection that inverts a day's sine: 2⁻⁶⁰ of the interval is below what a float tells apart.
BISECTIONS = 60
#: Below and above, a gamma law is drawn wrong or not at all; the burstiest trace we know has 21 (Alibaba GPU 2023).
CV_BOUNDS = (0.01, 100.0)
#: A state that is shorter is seen by no service, and a path of such states takes for ever to draw.
STATE_SECONDS_LEAST = 0.001


class Intensity(Protocol):
    """Expected arrivals until a moment, and the moment until which so many are expected."""

    def expected(self, at: float) -> float: ...

    def moment(self, expected: float) -> float: ...


@dataclass(frozen=True)
class Steady:
    rate: float

    def expected(self, at: float) -> float:
        return at * self.rate

    def moment(self, expected: float) -> float:
        return expected / self.rate


@dataclass(frozen=True)
class Daily:
    """A day with its peak: rate · (1 + (peak_to_mean − 1) · sin); begins at the mean and rises."""

    rate: float
    period: float
    peak_to_mean: float

    def expected(self, at: float) -> float:
        swing = (self.peak_to_mean - 1.0) * self.period / (2 * math.pi)
        return self.rate * (at + swing * (1.0 - math.cos(2 * math.pi * at / self.period)))

    def moment(self, expected: float) -> float:
        if expected <= 0:
            return 0.0
        low = max(0.0, expected / self.rate - self.period)
        high = expected / self.rate + self.period
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.expected(middle) < expected else (low, middle)
        return (low + high) / 2


@dataclass
class Switching:
    """States in turn, each for an exponential time: a Markov-modulated intensity whose path the seed fixes."""

    states: Sequence[tuple[float, float]]  # rate, mean seconds
    seed: int
    _ends: list[float] = field(default_factory=lambda: [0.0])
    _sums: list[float] = field(default_factory=lambda: [0.0])
    _rates: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._source = random.Random(f"{self.seed}/states")

    def expected(self, at: float) -> float:
        while self._ends[-1] <= at:
            self._extend()
        index = bisect_right(self._ends, at) - 1
        return self._sums[index] + (at - self._ends[index]) * self._rates[index]

    def moment(self, expected: float) -> float:
        while self._sums[-1] <= expected:
            self._extend()
        index = bisect_right(self._sums, expected) - 1
        return self._ends[index] + (expected - self._sums[index]) / self._rates[index]

    def _extend(self) -> None:
        rate, seconds = self.states[len(self._rates) % len(self.states)]
        length = self._source.expovariate(1.0 / seconds)
        self._rates.append(rate)
        self._ends.append(self._ends[-1] + length)
        self._sums.append(self._sums[-1] + length * rate)


@dataclass(frozen=True)
class Process:
    """cv: of the gaps in operational time: 0 for constant ones, 1 for those of chance alone."""

    kind: str
    rate: float
    seed: int
    cv: float
    intensity: Intensity

    def gaps(self) -> Iterator[float]:
        """Of mean 1, without end."""
        if self.cv == 0:
            return itertools.repeat(1.0)
        source = random.Random(self.seed)
        if self.cv == 1:
            return (source.expovariate(1.0) for _ in itertools.count())
        shape = self.cv**-2
        return (source.gammavariate(shape, 1.0 / shape) for _ in itertools.count())

    def moments(self) -> Iterator[float]:
        """Seconds, the first 0, without end."""
        return map(self.intensity.moment, itertools.accumulate(self.gaps(), initial=0.0))

    def operational(self, moments: Sequence[float]) -> list[float]:
        """The same arrivals where one is expected a unit."""
        return [self.intensity.expected(at) for at in moments]


def process(item: Mapping[str, Any]) -> Process:
    """From its options, as bench_request_load documents them; raises ConfigurationError."""
    kind, rate, seed = str(item.get("kind") or "constant"), number(item, "rate"), int(number(item, "seed"))
    if kind not in KINDS:
        raise ConfigurationError(f"arrivals: kind {kind} is none of {', '.join(KINDS)} and trace.")
    if not rate > 0:
        raise ConfigurationError(f"arrivals: {kind} needs a rate above 0, not {item.get('rate')}.")
    cv = 0.0 if kind == "constant" else 1.0
    intensity: Intensity = Steady(rate)
    if kind == "gamma":
        cv = number(item, "cv")
        if not CV_BOUNDS[0] <= cv <= CV_BOUNDS[1]:
            bounds = " to ".join(f"{bound:g}" for bound in CV_BOUNDS)
            raise ConfigurationError(
                f"arrivals: gamma needs cv, the coefficient of variation of its gaps, above 0: {bounds}, not {cv:g}."
            )
    if kind == "markov_modulated":
        intensity = Switching(_states(item.get("states") or (), rate), seed)
    if kind == "diurnal":
        period, peak = number(item, "period_seconds"), number(item, "peak_to_mean")
        if not (period > 0 and 1 < peak <= 2):
            raise ConfigurationError("arrivals: diurnal needs period_seconds above 0, peak_to_mean above 1, at most 2.")
        intensity = Daily(rate, period, peak)
    return Process(kind, rate, seed, cv, intensity)


def number(item: Mapping[str, Any], name: str, default: float = 0.0) -> float:
    """What stands there, the default where nothing does; raises ConfigurationError for what is no finite number."""
    value = item.get(name)
    try:
        found = default if value in (None, "") else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise ConfigurationError(f"arrivals: {name} is a number, not {value!r}.")
    return found


def _states(items: Sequence[Mapping[str, Any]], rate: float) -> list[tuple[float, float]]:
    """(rate, mean seconds) of each, so scaled that the rate over all of them is the one asked for."""
    if not all(isinstance(item, Mapping) for item in items):
        raise ConfigurationError(f"arrivals: states are mappings of weight and seconds, not {items!r}.")
    found = [(number(item, "weight"), number(item, "seconds")) for item in items]
    if len(found) < 2 or not all(weight > 0 and seconds > 0 for weight, seconds in found):
        raise ConfigurationError("arrivals: markov_modulated needs two or more states with weight and seconds above 0.")
    if min(seconds for _, seconds in found) < STATE_SECONDS_LEAST:
        raise ConfigurationError(f"arrivals: a state of markov_modulated lasts {STATE_SECONDS_LEAST:g} s or more.")
    mean = sum(weight * seconds for weight, seconds in found) / sum(seconds for _, seconds in found)
    return [(weight / mean * rate, seconds) for weight, seconds in found]
