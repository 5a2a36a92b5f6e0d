# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the observations `policy_latency`, as bench_policy_latency gives their values and samples."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from harness import resources, units
from harness.bound_by import Finding
from harness.metrics import Metric
from harness.model import PlannedRecord, Record
from harness.policy import evidence
from harness.policy.changes import COLUMNS, OF_METRIC, PROBE_CPU, Changes
from harness.reader import Conclusion, Described, Material, Section, Table
from harness.repeat import machine_notes, machine_parameters
from harness.sampled import SampledReader

ASKED = ("pairs", "cycles", "creates", "hold_seconds", "interval_seconds")
CPU_WINDOW = "while policies came and went"
CLOCK = "one machine's monotonic clock: the API server's answer, and the moment a packet was sent"


class PolicyReader(SampledReader):
    kind = "policy_latency"
    load = Changes
    columns = COLUMNS
    consequences = evidence.CONSEQUENCE

    def describe(
        self, metric: Metric, planned: PlannedRecord, loads: Sequence[Changes], material: Material
    ) -> Described:
        flows = metric.name in OF_METRIC
        found = [_value(metric.name, load) for load in loads]
        return Described(
            values=[value for value in found if value is not None],
            pooled=[value for load in loads for value in load.latencies(metric.name)] if flows else None,
            clock=CLOCK if flows else None,
            evidence=evidence.collect(metric.name, loads, planned.repeats),
            parameters=_parameters(loads),
            not_runnable=evidence.without_latency(metric.name, loads),
        )

    def conclude(
        self, metric: Metric, planned: PlannedRecord, loads: Sequence[Changes], material: Material, value: float
    ) -> Conclusion:
        gaps = [gap for load in loads if (gap := load.resolution(metric.name)) is not None]
        return Conclusion(
            finding=Finding(None, ""),
            resolution=max(gaps, default=None) if metric.name in OF_METRIC else None,
            remarks=[*_remarks(metric.name, loads), *machine_notes(loads)],
        )

    def section(self, records: Sequence[Record], loads: Sequence[Changes], material: Material) -> Section:
        tables = [_table(loads), _legs(loads), resources.table(loads, CPU_WINDOW)]
        return Section(charts=resources.charts(loads), tables=[table for table in tables if table.rows])


def _value(metric: str, load: Changes) -> float | None:
    if metric == PROBE_CPU:
        return load.number("probes", "cpu_ratio_of_core_per_pair")
    latencies = load.latencies(metric)
    return statistics.median(latencies) if latencies else None


def _parameters(loads: Sequence[Changes]) -> dict[str, Any]:
    """What was asked for, and under the names in judge.TOLD what the run tells of itself."""
    first = loads[0]
    plan = {name: first.value("plan", name) for name in ASKED}
    subject = {"dataplane": first.value("dataplane")}
    return {"plan": plan, **first.parameters, "subject": subject, "machine": machine_parameters(loads)}


def _remarks(metric: str, loads: Sequence[Changes]) -> list[str]:
    if metric not in OF_METRIC:
        return []
    rows = [row for load in loads for row in load.of(metric)]
    below = sum(1 for row in rows if row["below_resolution"])
    mixed = max((float(row["mixed_seconds"]) for row in rows), default=0.0)
    found = [f"{below} of {len(rows)} are not above the probe's resolution."] if below else []
    if mixed > 0:
        found.append(f"Up to {units.show(mixed, 's')} in which some packets obeyed and some did not.")
    return found


def _table(loads: Sequence[Changes]) -> Table:
    rows = []
    for metric, (wanted, flow) in OF_METRIC.items():
        for load in loads:
            latencies, gap = load.latencies(metric), load.resolution(metric)
            seen = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in load.outcomes(metric).most_common())
            median = statistics.median(latencies) if latencies else None
            longest = max(latencies, default=None)
            rows.append(
                (
                    wanted,
                    flow,
                    str(load.repeat),
                    seen,
                    units.show(median, "s", resolution=gap),
                    units.show(longest, "s", resolution=gap),
                    units.show(gap, "s"),
                )
            )
    return Table(
        "Policies on the wire",
        "From the API server's answer to the first packet that obeys. What is below the resolution is not told.",
        ("wanted", "flow", "repeat", "outcomes", "median", "longest", "resolution"),
        rows,
    )


def _legs(loads: Sequence[Changes]) -> Table:
    """Of a change all pairs and flows have the same legs."""
    rows = []
    for load in loads:
        found: dict[tuple[str, str], list[dict[str, float]]] = {}
        changes = {str(row["change"]): row for row in load.rows}
        for row in changes.values():
            for name, leg in row["legs"].items():
                found.setdefault((str(row["wanted"]), name), []).append(leg)
        for (wanted, name), legs in sorted(found.items(), key=lambda item: (item[0][0], _median(item[1]))):
            asked = sum(1 for row in changes.values() if row["wanted"] == wanted)
            longest, gap = (max(leg[what] for leg in legs) for what in ("seconds", "resolution_seconds"))
            seen = f"{len(legs)} of {asked}"
            told = (units.show(value, "s") for value in (_median(legs), longest, gap))
            rows.append((wanted, name, str(load.repeat), seen, *told))
    return Table(
        "Legs of a policy's way",
        "From the API server's answer to the moment at which each was seen to have it; a watcher may read a change "
        "before its writer has the answer. A counter that moves for another reason is taken for the change too.",
        ("wanted", "leg", "repeat", "changes", "median", "longest", "resolution"),
        rows,
    )


def _median(legs: Sequence[dict[str, float]]) -> float:
    return statistics.median(leg["seconds"] for leg in legs)
