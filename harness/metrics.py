# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of metrics (harness/schema/metrics.json) and what each of them is in one repeat."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from harness import schemas
from harness.pod_load import PodLoad

#: Stamps of the audit log are written in microseconds (audit.k8s.io/v1, metav1.MicroTime).
AUDIT_RESOLUTION = 1e-6
AUDIT_CLOCK = "API server's audit log, stageTimestamp of ResponseComplete"


@dataclass(frozen=True)
class Metric:
    """A way of computing it (span, rate or distribution) is given where it comes from a pod load."""

    name: str
    title: str
    unit: str
    direction: str
    description: str
    simulated: str = ""
    span: Sequence[str] = ()
    series: Sequence[str] = ()
    reached: str = ""
    search: str = ""
    growth: Sequence[str] = ()
    rate: dict[str, Any] | None = None
    distribution: Sequence[str] = ()
    bounds: Sequence[str] = ()
    component: str = ""
    milestone: str = ""
    includes_creation: str = "never"

    def creates_pods(self, load: PodLoad) -> bool:
        """Whether pods were still being created in the time that the value covers."""
        return self.includes_creation == "always" or (
            self.includes_creation == "when_not_held_back" and not load.held_back
        )


@cache
def table() -> dict[str, Metric]:
    return {item["name"]: Metric(**item) for item in schemas.load("metrics")["metrics"]}


def summary(metric: Metric, load: PodLoad) -> float | None:
    """The one value of this repeat: a time, a rate, or the median of a distribution."""
    if metric.span:
        return load.span(*metric.span)
    if metric.rate:
        seconds, count = load.span(*metric.rate["span"]), load.number(metric.rate["count"])
        return (count - metric.rate["less"]) / seconds if seconds and count else None
    values = distribution(metric, load)
    return statistics.median(values) if values else None


def distribution(metric: Metric, load: PodLoad) -> list[float]:
    """One value of every pod that has both stamps; empty for a metric that is no distribution."""
    if not metric.distribution:
        return []
    begin, end = (f"audit_{name}" if by_audit_log(metric, load) else name for name in metric.distribution)
    pairs = ((getattr(sample, begin), getattr(sample, end)) for sample in load.samples)
    return [last - first for first, last in pairs if first is not None and last is not None]


def resolution(metric: Metric, load: PodLoad, value: float | None) -> float | None:
    """The clock's resolution in the metric's unit; of a rate, what it changes when the time is off by it."""
    clock = AUDIT_RESOLUTION if by_audit_log(metric, load) else load.resolution
    if clock is None or metric.unit == "s":
        return clock
    seconds = load.span(*metric.rate["span"]) if metric.rate else None
    return value * clock / seconds if value is not None and seconds else None


def clock(metric: Metric, load: PodLoad) -> str | None:
    """The clock of both stamps."""
    return AUDIT_CLOCK if by_audit_log(metric, load) else load.value("clock", "name")


def by_audit_log(metric: Metric, load: PodLoad) -> bool:
    """What ends with a binding is published by the audit log's stamps; kwok's part the log does not tell apart."""
    return metric.milestone == "bound" and load.audited
