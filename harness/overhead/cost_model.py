# SPDX-License-Identifier: GPL-3.0-or-later
"""What a call costs, as a + b · bytes, and with it what a program's list of calls would cost in each variant."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import UsageError
from harness.overhead import measures
from harness.overhead import statistics as block_statistics
from harness.overhead.experiment import Experiment
from harness.overhead.runs import Run
from harness.overhead.statistics import FEWEST_BLOCKS, RATIO, native_of

#: Calls that a trace may name: copies as DIRECTION_MEMORY, the others as the probe calls them.
COPIES = {
    f"copy_{direction}_{memory}": (direction, memory)
    for direction in ("to_device", "from_device")
    for memory in ("pinned", "pageable")
}
CALLS = (*COPIES, "allocate_free", "launch", "graph_kernel", "synchronise", "wait")
HEADER = ["call", "bytes", "count", "seconds"]


@dataclass(frozen=True)
class Line:
    """Seconds of one call."""

    a: float
    b: float  # a byte

    def seconds(self, size: float) -> float:
        return self.a + self.b * size


@dataclass(frozen=True)
class Call:
    """One line of a trace. `wait` is time that no layer touches: kernels and the program's own work."""

    name: str
    size: float
    count: float
    seconds: float


@dataclass(frozen=True)
class Prediction:
    variant: str
    native_seconds: float
    seconds: float
    overhead: float
    low: float | None
    high: float | None


def fit(points: Mapping[float, float]) -> Line:
    """Through sizes that span many powers of ten every relative error counts the same; neither part is below zero."""
    sizes, seconds = np.array(list(points)), np.array(list(points.values()))
    if len(points) == 1:
        return Line(float(seconds[0]), 0.0)
    design = np.stack([np.ones_like(sizes), sizes], axis=1) / seconds[:, None]
    (a, b), *_ = np.linalg.lstsq(design, np.ones_like(seconds), rcond=None)
    if b < 0:
        return Line(float(statistics.fmean(seconds)), 0.0)
    if a < 0:
        return Line(0.0, float(1 / statistics.fmean(sizes / seconds)))
    return Line(float(a), float(b))


def lines(run: Run) -> dict[str, Line]:
    """Every call of which this run has measured enough."""
    found = {}
    for name, (direction, memory) in COPIES.items():
        points = {p["bytes"]: s.median for p, s in run.all_of("copy", direction=direction, memory=memory) if s.median}
        if points:
            found[name] = fit(points)
    sizes = {p["bytes"] for p, _ in run.all_of("allocate_free")}
    pairs = {size: measures.per_call("allocate_free", run, bytes=size) for size in sizes}
    points = {size: seconds for size, seconds in pairs.items() if seconds is not None and seconds > 0}
    if points:
        found["allocate_free"] = fit(points)
    alone = {
        "launch": measures.per_call("launch", run, form="plain"),
        "graph_kernel": measures.per_call("launch", run, form="graph"),
        "synchronise": measures.per_call("synchronise", run),
    }
    return found | {name: Line(seconds, 0.0) for name, seconds in alone.items() if seconds is not None}


def middle(experiment: Experiment, variant: str) -> dict[str, Line]:
    """Over all whole blocks: the median of each part."""
    each = [lines(run) for run in experiment.of(variant)]
    names = dict.fromkeys(name for one in each for name in one)
    return {
        name: Line(
            statistics.median(one[name].a for one in each if name in one),
            statistics.median(one[name].b for one in each if name in one),
        )
        for name in names
    }


def read_trace(path: Path) -> list[Call]:
    """CSV: call, bytes, count, seconds (only of `wait`)."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"read the trace {path}: {error}") from error
    rows = list(csv.reader(text.splitlines()))
    if not rows or [name.strip() for name in rows[0]] != HEADER:
        raise UsageError(f"{path}: the first line has to be {','.join(HEADER)}")
    found = []
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(HEADER) or row[0].strip() not in CALLS:
            raise UsageError(
                f"{path}:{number}: not a call, its bytes, count and seconds", hint=f"Calls: {', '.join(CALLS)}"
            )
        try:
            size, count, seconds = (float(cell) if cell.strip() else 0.0 for cell in row[1:])
        except ValueError as error:
            raise UsageError(f"{path}:{number}: {error}") from error
        if min(size, count, seconds) < 0 or not all(math.isfinite(value) for value in (size, count, seconds)):
            raise UsageError(f"{path}:{number}: bytes, count and seconds are numbers, 0 or above")
        found.append(Call(row[0].strip(), size, count, seconds))
    if not found:
        raise UsageError(f"{path}: there is no call in it")
    return found


def seconds_of(trace: Sequence[Call], known: Mapping[str, Line]) -> float:
    """What all calls of the trace take together; each by itself, for a model of single calls knows no overlap."""
    lacking = sorted({call.name for call in trace if call.name != "wait"} - known.keys())
    if lacking:
        raise UsageError(f"no run has measured {', '.join(lacking)}", hint="Measure it, or take it out of the trace.")
    return sum(
        call.count * (call.seconds if call.name == "wait" else known[call.name].seconds(call.size)) for call in trace
    )


def application_of(experiment: Experiment) -> list[Call]:
    """The calls of the step that the probe has measured as a whole; none where it has not.

    What its kernels take is time that no layer touches: as the device has measured it natively.
    """
    found = []
    for run in experiment.of(experiment.native)[:1]:
        for parameters, _ in run.all_of("application"):
            size, count = 4 * parameters["size"] ** 2, parameters["layers"]
            kernels = [s.device_median for _, s in run.all_of("layer", size=parameters["size"]) if s.device_median]
            found += [Call("copy_to_device_pinned", size, 1, 0), Call("launch", 0, count, 0)]
            found += [Call("copy_from_device_pinned", size, 1, 0), *(Call("wait", 0, count, one) for one in kernels)]
    return found


def predict(experiment: Experiment, variant: str, trace: Sequence[Call]) -> Prediction:
    """Block by block, so that the interval has the blocks' own spread."""
    native, other = [], []
    for block in experiment.blocks.values():
        if variant not in block:
            continue
        base = [seconds_of(trace, lines(block[name])) for name in (experiment.native, experiment.again)]
        native.append(base)
        other.append(seconds_of(trace, lines(block[variant])))
    if not other:
        raise UsageError(f"no whole block has a run of {variant}", hint=f"Variants: {', '.join(experiment.variants)}")
    pairs = np.array(native)
    base_seconds = native_of(pairs[:, 0], pairs[:, 1], RATIO)
    compared = RATIO.compare(np.array(other), base_seconds)
    low = high = None
    if len(compared) >= FEWEST_BLOCKS:
        ends = block_statistics.interval(compared)
        low, high = (float(RATIO.told(end)) for end in ends)
    return Prediction(
        variant,
        float(np.median(base_seconds)),
        float(np.median(other)),
        float(RATIO.told(float(compared.mean()))),
        low,
        high,
    )
