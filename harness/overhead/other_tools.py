# SPDX-License-Identifier: GPL-3.0-or-later
"""What nvbandwidth, cuda-bench and MLPerf's LoadGen say of the same device, beside what the probe says."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import units
from harness.errors import UsageError
from harness.overhead.runs import Run

#: Two instruments that differ by more than this do not measure the same thing.
AGREE = 0.10
#: nvbandwidth's test → the probe's copy. Of two directions at once nvbandwidth tells one, which is as fast as the size
#: of one in the time of both (NVIDIA/nvbandwidth, README: "only the host to device copy bandwidth is reported").
NVBANDWIDTH = {
    "host_to_device_memcpy_ce": {"direction": "to_device", "memory": "pinned"},
    "device_to_host_memcpy_ce": {"direction": "from_device", "memory": "pinned"},
    "host_to_device_bidirectional_memcpy_ce": {"direction": "both", "memory": "pinned"},
    "device_to_host_bidirectional_memcpy_ce": {"direction": "both", "memory": "pinned"},
}
LOADGEN_PREFIX = ":::MLLOG "
#: LoadGen's latencies are in nanoseconds.
LOADGEN_KEYS = {
    "result_samples_per_second": ("samples a second", "1/s", 1.0),
    "result_completed_samples_per_sec": ("completed samples a second", "1/s", 1.0),
    "result_99.00_percentile_latency_ns": ("p99 latency", "s", 1e-9),
    "result_90.00_percentile_latency_ns": ("p90 latency", "s", 1e-9),
}


@dataclass(frozen=True)
class Value:
    """One number of another tool; `same` is the probe's own metric and parameters, where it has one."""

    tool: str
    name: str
    value: float
    unit: str
    same: Mapping[str, Any] | None = None
    problem: str = ""  # why the tool itself says that it is none


@dataclass(frozen=True)
class Compared:
    value: Value
    ours: float | None
    agrees: bool | None


def read(path: Path) -> list[Value]:
    """The tool is known by what its file looks like."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"read {path}: {error}") from error
    found: list[Value] = []
    if LOADGEN_PREFIX in text:
        found = _loadgen(text)
    else:
        try:
            document = json.loads(text)
        except ValueError as error:
            raise UsageError(f"{path}: neither JSON nor LoadGen's log: {error}") from error
        for looks, reads in READERS:
            if isinstance(document, Mapping) and looks(document):
                found = reads(document)
    if not found:
        raise UsageError(
            f"{path}: no result of nvbandwidth -j, cuda-bench --json or mlperf_log_detail.txt",
            hint="Those three are read.",
        )
    return found


def _nvbandwidth(document: Mapping[str, Any]) -> list[Value]:
    """GB/s of 10^9 bytes; the matrix has strings, and N/A where there is no pair."""
    found = []
    for case in document["nvbandwidth"].get("testcases", []):
        name, status = str(case.get("name")), str(case.get("status"))
        cells = [cell for row in case.get("bandwidth_matrix", []) for cell in row if cell != "N/A"]
        problem = "" if status == "Passed" else f"status {status}"
        if not cells and not problem:
            problem = "no pair of devices"
        value = statistics.fmean(float(cell) for cell in cells) * 1e9 if cells else 0.0
        found.append(Value("nvbandwidth", name, value, "bytes/s", NVBANDWIDTH.get(name), problem))
    return found


def _cuda_bench(document: Mapping[str, Any]) -> list[Value]:
    """Means of cold runs by the device's clock; numbers are written as strings."""
    found = []
    for bench in document["benchmarks"]:
        for state in bench.get("states", []):
            tags = {one.get("tag"): one for one in state.get("summaries", [])}
            cold = tags.get("nv/cold/time/gpu/mean")
            if state.get("is_skipped") or cold is None:
                continue
            data = {item.get("name"): item.get("value") for item in cold.get("data", [])}
            name = f"{bench.get('name')} {state.get('name', '')}".strip()
            found.append(Value("cuda-bench", name, float(data["value"]), "s"))
    return found


def _loadgen(text: str) -> list[Value]:
    keys: dict[str, Any] = {}
    for line in text.splitlines():
        _, prefix, rest = line.partition(LOADGEN_PREFIX)
        if prefix:
            try:
                document = json.loads(rest)
            except ValueError:
                continue  # a line that was cut off when the disk was full or the process killed
            keys[str(document.get("key"))] = document.get("value")
    invalid = keys.get("result_validity") not in (None, "VALID")
    problem = f"LoadGen says {keys.get('result_validity')}: {keys.get('result_invalid_reason')}" if invalid else ""
    return [
        Value("LoadGen", title, float(keys[key]) * factor, unit, None, problem)
        for key, (title, unit, factor) in LOADGEN_KEYS.items()
        if isinstance(keys.get(key), (int, float))
    ]


READERS: tuple[tuple[Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any]], list[Value]]], ...] = (
    (lambda document: "nvbandwidth" in document, _nvbandwidth),
    (lambda document: "benchmarks" in document and "meta" in document, _cuda_bench),
)


def compare(values: Sequence[Value], runs: Sequence[Run]) -> list[Compared]:
    """Against the probe's largest copy of the same kind, by the device's clock as nvbandwidth has it."""
    return [_compare(value, runs) for value in values]


def _compare(value: Value, runs: Sequence[Run]) -> Compared:
    ours = _ours(value.same, runs) if value.same is not None and not value.problem else None
    agrees = None if ours is None else value.value > 0 and abs(ours / value.value - 1) <= AGREE
    return Compared(value, ours, agrees)


def _ours(same: Mapping[str, Any], runs: Sequence[Run]) -> float | None:
    """Bytes a second of the largest size, the median over runs."""
    rates = []
    for run in runs:
        points = {p["bytes"]: series for p, series in run.all_of("copy", **same) if series.device_median}
        if points:
            size = max(points)
            rates.append(size / (points[size].device_median or 1))
    return statistics.median(rates) if rates else None


def rows(found: Sequence[Compared]) -> list[tuple[str, str, str, str, str]]:
    result = []
    for one in found:
        verdict = (
            one.value.problem
            or {True: "agree", False: "**disagree**", None: "the probe has no such measure"}[one.agrees]
        )
        shown = units.show(one.value.value, one.value.unit)
        ours = units.show(one.ours, one.value.unit) if one.ours is not None else units.MISSING
        result.append((one.value.tool, one.value.name, shown, ours, verdict))
    return result
