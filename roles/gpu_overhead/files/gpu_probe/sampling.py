# SPDX-License-Identifier: GPL-3.0-or-later
"""Sample until steady, then until the median is known well enough: both clocks, and the device's state beside each."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any, Callable

from .driver import Driver
from .management import Management, why_discarded
from .writing import Watch, Writer

#: Steady: the medians of two neighbouring windows of samples differ by less than this.
STEADY_WINDOW, STEADY_RATIO = 5, 0.02
#: Half of a 95 % interval of the median, in standard deviations of its place among the samples.
NORMAL_95 = 1.96


@dataclass
class Limits:
    """When to stop."""

    half_width: float = 0.01  # of the median, as a share of it
    least: int = 20
    most: int = 1000
    seconds: float = 2.0
    warm_up: int = 50

    @classmethod
    def of(cls, plan: dict[str, Any]) -> Limits:
        return cls(**{name: plan[name] for name in cls.__dataclass_fields__ if name in plan})


@dataclass
class Sampler:
    """Everything that a measure needs."""

    driver: Driver
    management: Management
    writer: Writer
    watch: Watch
    limits: Limits
    highest_clock: int | None = None
    counts: dict[str, int] = field(default_factory=lambda: {"samples": 0, "discarded": 0})

    def __post_init__(self) -> None:
        self._first = self.driver.make("cuEventCreate", 0)
        self._last = self.driver.make("cuEventCreate", 0)

    def timed(self, submit: Callable[[], Any], stream: int = 0, *, waits: bool = False) -> dict[str, Any]:
        """Once: host seconds until all is done, host seconds until it is handed over, device seconds by events.

        Where `submit` waits itself until all is done, its own end is the host's, and the events stand around it.
        """
        driver, clock = self.driver, time.perf_counter_ns
        driver.cuEventRecord(self._first, stream)
        if waits:
            driver.cuEventSynchronize(self._first)
        begin = clock()
        submit()
        handed = clock()
        driver.cuEventRecord(self._last, stream)
        driver.cuEventSynchronize(self._last)
        ended = handed if waits else clock()
        return {
            "host_seconds": (ended - begin) / 1e9,
            "submit_seconds": None if waits else (handed - begin) / 1e9,
            "device_seconds": driver.elapsed(self._first, self._last),
        }

    def measure(
        self, metric: str, parameters: dict[str, Any], once: Callable[[], dict[str, Any]], calls: int = 1
    ) -> None:
        """All samples of one metric and what ended them; `calls` are done in each sample."""
        self.watch.step(f"{metric} {parameters}")
        begin = time.monotonic()
        warm = self._warm_up(once, begin)
        kept: list[float] = []
        stop, taken, discarded = "most samples", 0, {}  # type: str, int, Dict[str, int]
        while taken < self.limits.most:
            seen = once()
            state = self.management.look()
            why = why_discarded(state, self.highest_clock)
            taken += 1
            if why is None:
                kept.append(seen["host_seconds"])
            else:
                discarded[why] = discarded.get(why, 0) + 1
            self.writer.line(
                "sample",
                metric=metric,
                parameters=parameters,
                calls=calls,
                discarded=why,
                number=taken,
                **seen,
                **state,
            )
            self.watch.step(f"{metric} {parameters}")
            width = relative_half_width(kept)
            if len(kept) >= self.limits.least and width is not None and width <= self.limits.half_width:
                stop = "known well enough"
                break
            if time.monotonic() - begin > self.limits.seconds and taken >= self.limits.least:
                stop = "time"
                break
        self.counts["samples"] += taken
        self.counts["discarded"] += sum(discarded.values())
        self.writer.line(
            "series",
            metric=metric,
            parameters=parameters,
            samples=taken,
            kept=len(kept),
            discarded=discarded,
            warm_up=warm,
            stop=stop,
            half_width=relative_half_width(kept),
        )

    def _warm_up(self, once: Callable[[], dict[str, Any]], begin: float) -> dict[str, Any]:
        seen: list[float] = []
        while len(seen) < self.limits.warm_up and time.monotonic() - begin < self.limits.seconds:
            seen.append(once()["host_seconds"])
            self.watch.step("warm-up")
            if is_steady(seen):
                return {"samples": len(seen), "steady": True}
        return {"samples": len(seen), "steady": False}


def is_steady(seen: list[float]) -> bool:
    if len(seen) < 2 * STEADY_WINDOW:
        return False
    before, after = median(seen[-2 * STEADY_WINDOW : -STEADY_WINDOW]), median(seen[-STEADY_WINDOW:])
    return abs(after - before) <= STEADY_RATIO * before


def median(values: list[float]) -> float:
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def relative_half_width(values: list[float]) -> float | None:
    """Half of the median's 95 % interval by order statistics, as a share of the median."""
    if len(values) < 8:
        return None
    ordered, half = sorted(values), NORMAL_95 * math.sqrt(len(values)) / 2
    low = ordered[max(0, math.floor(len(values) / 2 - half))]
    high = ordered[min(len(values) - 1, math.ceil(len(values) / 2 + half))]
    middle = median(ordered)
    return (high - low) / 2 / middle if middle > 0 else None
