# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of metrics (harness/schema/metrics.json) and what each of them is in one repeat."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from harness import schemas
from harness.pod_load import PodLoad

#: Stamps of the audit log are written in microseconds (audit.k8s.io/v1, metav1.MicroTime), and so are the load's own.
STAMP_RESOLUTION = 1e-6
#: The load stamps these with its own clock.
CLIENT_MOMENTS = frozenset({"create_started", "create_ended"})
CLIENT_CLOCK = "client monotonic, first request and last answer"
#: A load that was sent slower than this share of its rate was another load.
SENT_LEAST = 0.9
#: What runs beside any scheduler.
CONTROL_PLANE = frozenset(
    {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "kwok-controller", "prometheus"}
)
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

    @property
    def moments(self) -> tuple[str, ...]:
        """The two moments of the load between which it lies; none for what is not of the load as a whole."""
        return tuple(self.span or (self.rate or {}).get("span") or ())

    @property
    def begins_with_the_load(self) -> bool:
        """Whether the first stamp is one that only the load's own clock can give."""
        return self.moments[:1] in (("start",), ("released",), ("create_started",))

    @property
    def is_the_clients_own(self) -> bool:
        """Whether both stamps are of what the load itself did: no watch can make them late."""
        return bool(self.moments) and CLIENT_MOMENTS.issuperset(self.moments)

    @property
    def is_distribution(self) -> bool:
        """Whether one repeat gives many values."""
        return bool(self.distribution or self.series)

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
    if metric.reached:
        return float(reached(load, metric.reached))
    if metric.search:
        return highest_rate(load)
    if metric.growth:
        found = fastest_growing(load, metric.growth)
        return found[1] if found else None
    values = distribution(metric, load)
    return statistics.median(values) if values else None


def distribution(metric: Metric, load: PodLoad) -> list[float]:
    """One value of every pod that has both stamps, or of every Job; empty for a metric that is no distribution."""
    if metric.series:
        return load.series(*metric.series)
    if not metric.distribution:
        return []
    audited, (begin, end) = by_audit_log(metric, load), metric.distribution
    pairs = (
        (load.stamp(sample, begin, audited=audited), sample.stamp(end, audited=audited)) for sample in load.samples
    )
    return [last - first for first, last in pairs if first is not None and last is not None]


def resolution(metric: Metric, load: PodLoad, value: float | None) -> float | None:
    """The clock's resolution in the metric's unit; of a rate, what it changes when the time is off by it."""
    if metric.reached or metric.growth:
        return None
    if metric.search:
        return search_resolution(load)
    clock = clock_resolution(metric, load)
    if clock is None or metric.unit == "s":
        return clock
    seconds = load.span(*metric.rate["span"]) if metric.rate else None
    return value * clock / seconds if value is not None and seconds else None


def clock_resolution(metric: Metric, load: PodLoad) -> float | None:
    """Seconds; what is not seen through the watch is written in microseconds."""
    return STAMP_RESOLUTION if metric.is_the_clients_own or by_audit_log(metric, load) else load.resolution


def clock(metric: Metric, load: PodLoad) -> str | None:
    """The clock of both stamps."""
    if metric.is_the_clients_own:
        return CLIENT_CLOCK
    return AUDIT_CLOCK if by_audit_log(metric, load) else load.value("clock", "name")


def by_audit_log(metric: Metric, load: PodLoad) -> bool:
    """Whether the audit log has all the stamps that the metric is made of: then those are published."""
    if metric.series or metric.search or metric.milestone not in ("grouped", "decided", "bound", "running"):
        return False
    return load.stamped_by_audit_log(*(metric.distribution or (metric.milestone,)))


def reached(load: PodLoad, milestone: str) -> int:
    """Pods that were asked for and got so far, they or those that were made in their place."""
    return sum(
        1 for sample in load.every_sample if sample.measured is not False and getattr(sample, milestone) is not None
    )


def search_steps(load: PodLoad) -> list[dict[str, Any]]:
    """The loads of a search for the highest rate."""
    found = load.value("search", "steps")
    return [step for step in found if isinstance(step, dict)] if isinstance(found, list) else []


@dataclass(frozen=True)
class SlowStep:
    """A load of a search that came about more slowly than it was asked for."""

    rate: float
    sent: float


def sent_too_slowly(load: PodLoad) -> SlowStep | None:
    """The lowest rate that would not do, if that was for no other reason: then nobody knows whether it would have."""
    objective = load.number("search", "objective_seconds")
    if objective is None:
        return None
    rate, step = min(_failed(load, objective), key=lambda item: item[0], default=(0.0, None))
    sent = step.get("sent_per_second") if step else None
    if step is None or not isinstance(sent, (int, float)) or not met({**step, "sent_per_second": rate}, objective):
        return None
    return SlowStep(rate, float(sent))


def met(step: Mapping[str, Any], objective: float) -> bool:
    """Whether all pods of this load were bound soon enough, and the load was what it was meant to be."""
    p99: Any = step.get("p99_seconds")
    rate: Any = step.get("rate_per_second")
    sent: Any = step.get("sent_per_second")
    if not all(isinstance(value, (int, float)) for value in (p99, rate, sent)):
        return False
    return bool(p99 <= objective and step.get("missing") == 0 and sent >= SENT_LEAST * rate)


def highest_rate(load: PodLoad) -> float | None:
    """None where no rate would do."""
    objective = load.number("search", "objective_seconds")
    if objective is None:
        return None
    return max((float(step["rate_per_second"]) for step in search_steps(load) if met(step, objective)), default=None)


def search_resolution(load: PodLoad) -> float | None:
    """How far the next rate that was tried, and would not do, lies above the highest one that would."""
    best, objective = highest_rate(load), load.number("search", "objective_seconds")
    if best is None or objective is None:
        return None
    above = [rate for rate, _ in _failed(load, objective) if rate > best]
    return min(above) - best if above else None


def _failed(load: PodLoad, objective: float) -> list[tuple[float, dict[str, Any]]]:
    """The steps that would not do, with their rates."""
    return [
        (float(rate), step)
        for step in search_steps(load)
        if not met(step, objective) and isinstance(rate := step.get("rate_per_second"), (int, float))
    ]


def fastest_growing(load: PodLoad, path: Sequence[str]) -> tuple[str, float, float] | None:
    """(process, bytes an hour, seconds it was looked at) of the subject's process whose memory grows fastest."""
    memory = load.value(*path)
    if not isinstance(memory, dict):
        return None
    own = {name for name in memory if name == load.observation.subject} or set(memory) - CONTROL_PLANE
    known = [
        (growth, load.number(*path, name, "seconds") or 0.0, name)
        for name in own
        if (growth := load.number(*path, name, "growth_bytes_per_hour")) is not None
    ]
    if not known:
        return None
    growth, seconds, name = max(known)
    return name, growth, seconds
