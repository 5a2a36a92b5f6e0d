# SPDX-License-Identifier: GPL-3.0-or-later
"""What is compared: one table, one metric a row, with its class and how one run gives its value."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from harness.overhead.runs import Run, Series
from harness.overhead.statistics import RATIO, SECONDS, Scale

#: From here on a copy is bandwidth; below, it is a call (a block of 64 KiB is what small copies are staged in).
LARGE_COPY = 1 << 20
SMALL_COPY = 64 << 10


@dataclass(frozen=True)
class Measure:
    metric: str  # as harness/schema/metrics.json calls the overhead
    kind: str  # its class: each has an objective of its own
    title: str
    scale: Scale
    value: Callable[[Run], float | None]
    once: bool = False  # happens once in a process: the driver's being loaded is part of it


def once(name: str, run: Run) -> float | None:
    found = run.all_of(name)
    return found[0][1].median if found else None


def per_call(metric: str, run: Run, **wanted: object) -> float | None:
    """Seconds that one more call costs: the slope over batches has nothing of the interpreter's own start in it."""
    points = [
        (series.calls, series.median * series.calls) for _, series in run.all_of(metric, **wanted) if series.median
    ]
    counts = sorted({calls for calls, _ in points})
    if len(counts) < 2:
        return points[0][1] / points[0][0] if points else None
    first, last = (statistics.fmean(seconds for calls, seconds in points if calls == count) for count in ends(counts))
    return (last - first) / (counts[-1] - counts[0])


def ends(counts: Sequence[int]) -> tuple[int, int]:
    return counts[0], counts[-1]


def middle(metric: str, run: Run, **wanted: object) -> float | None:
    """Geometric mean over sizes and directions, so that none of them counts for more."""
    return _geometric([series for _, series in run.all_of(metric, **wanted)])


def copies(run: Run, memory: str, least: int, most: float = math.inf) -> float | None:
    return _geometric([s for p, s in run.all_of("copy", memory=memory) if least <= p["bytes"] <= most])


def _geometric(found: Sequence[Series]) -> float | None:
    medians = [series.median for series in found]
    if not medians or any(not value for value in medians):
        return None
    return math.exp(statistics.fmean(math.log(value) for value in medians if value))


def start_per_tenant(run: Run) -> float | None:
    """The slowest of the most tenants at once."""
    found = {p["tenants"]: series for p, series in run.all_of("start")}
    return max(found[max(found)].host, default=None) if found else None


TABLE: tuple[Measure, ...] = (
    Measure("gpu_application_overhead_ratio", "application", "application", RATIO, partial(middle, "application")),
    Measure("gpu_gemm_overhead_ratio", "compute", "matrix product", RATIO, partial(middle, "gemm")),
    Measure("gpu_device_copy_overhead_ratio", "compute", "copy on the device", RATIO, partial(middle, "device_copy")),
    Measure(
        "gpu_copy_pinned_overhead_ratio",
        "transfer",
        "large copies, pinned",
        RATIO,
        partial(copies, memory="pinned", least=LARGE_COPY),
    ),
    Measure(
        "gpu_copy_pageable_overhead_ratio",
        "transfer",
        "large copies, pageable",
        RATIO,
        partial(copies, memory="pageable", least=LARGE_COPY),
    ),
    Measure(
        "gpu_small_copy_overhead_seconds",
        "control",
        "small copies, pinned",
        SECONDS,
        partial(copies, memory="pinned", least=0, most=SMALL_COPY),
    ),
    Measure(
        "gpu_allocate_free_overhead_seconds",
        "control",
        "allocate and free",
        SECONDS,
        partial(per_call, "allocate_free"),
    ),
    Measure("gpu_synchronise_overhead_seconds", "control", "synchronise", SECONDS, partial(per_call, "synchronise")),
    Measure("gpu_launch_overhead_seconds", "control", "launch", SECONDS, partial(per_call, "launch", form="plain")),
    Measure(
        "gpu_graph_kernel_overhead_seconds",
        "control",
        "kernel of a graph",
        SECONDS,
        partial(per_call, "launch", form="graph"),
    ),
    Measure("gpu_context_overhead_seconds", "start", "context", SECONDS, partial(once, "context"), once=True),
    Measure(
        "gpu_first_kernel_overhead_seconds", "start", "first kernel", SECONDS, partial(once, "first_kernel"), once=True
    ),
    Measure("gpu_start_overhead_seconds", "start", "start of tenants at once", SECONDS, start_per_tenant, once=True),
)
BY_METRIC = {measure.metric: measure for measure in TABLE}
