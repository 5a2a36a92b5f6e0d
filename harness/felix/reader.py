# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the observations `felix_start`, as bench_felix_start gives their values and samples."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from harness import presentation, units
from harness.bound_by import Finding
from harness.common_checks import is_number
from harness.felix import evidence
from harness.felix.starts import COLUMNS, LEGS, Starts, by_probe
from harness.metrics import Metric
from harness.model import PlannedRecord, Record
from harness.reader import Conclusion, Described, Material, Section, Table
from harness.repeat import machine_notes, machine_parameters
from harness.sampled import SampledReader

CLOCK = "one machine's wall clock: the kernel's start time, Felix's log, looks at its readiness"
WHOLE = "felix_started_to_ready_seconds"


class FelixReader(SampledReader):
    kind = "felix_start"
    load = Starts
    columns = COLUMNS
    consequences = evidence.CONSEQUENCE

    def describe(
        self, metric: Metric, planned: PlannedRecord, loads: Sequence[Starts], material: Material
    ) -> Described:
        found = [load.value_of(metric.name) for load in loads]
        first = loads[0]
        told = {"dataplane": first.value("dataplane")}
        return Described(
            values=[value for value in found if value is not None],
            pooled=[value for load in loads for value in load.seconds(metric.name)],
            clock=CLOCK,
            evidence=evidence.collect(metric.name, loads, planned.repeats),
            parameters={
                "plan": first.value("plan"),
                **first.parameters,
                "subject": told,
                "machine": machine_parameters(loads),
            },
        )

    def conclude(
        self, metric: Metric, planned: PlannedRecord, loads: Sequence[Starts], material: Material, value: float
    ) -> Conclusion:
        resolution = max(load.resolution(metric.name) for load in loads)
        return Conclusion(finding=Finding(None, ""), resolution=resolution, remarks=machine_notes(loads))

    def section(self, records: Sequence[Record], loads: Sequence[Starts], material: Material) -> Section:
        return Section(tables=[_parts(loads), *_probes(loads)])


def _parts(loads: Sequence[Starts]) -> Table:
    """By node: one that starts otherwise than the others is to be seen."""
    rows = []
    for node in dict.fromkeys(str(row["node"]) for load in loads for row in load.rows):
        own = [Starts(load.observation, [row for row in load.rows if row["node"] == node]) for load in loads]
        cells = [[value for one in own for value in one.seconds(metric)] for metric in LEGS]
        middle = [units.show(statistics.median(cell) if cell else None, "s") for cell in cells]
        rows.append((node, str(len(cells[0])), *middle))
    return Table(
        "Starts of Felix",
        "Of each part the median over a node's starts. Ready is what Felix itself answers, without a probe's period.",
        ("node", "starts", *(presentation.title(metric) for metric in LEGS)),
        rows,
    )


def _probes(loads: Sequence[Starts]) -> list[Table]:
    """What a kubelet would call Ready: arithmetic, so it stands here and is no record."""
    answered = [value for load in loads for value in load.seconds(WHOLE)]
    asked = loads[0].parameters.get("load") or {}
    periods = [period for period in asked.get("probe_periods") or () if is_number(period) and period > 0]
    if not answered or not periods:
        return []
    rows = []
    for period in periods:
        ready = [by_probe(value, period) for value in answered]
        shares = [1 - value / seen for value, seen in zip(answered, ready, strict=True)]
        rows.append(
            (
                units.show(period, "s"),
                units.show(statistics.median(ready), "s"),
                units.show(statistics.median(shares), "ratio"),
                units.show(max(shares), "ratio"),
            )
        )
    return [
        Table(
            "What a readiness probe makes of it",
            "Calculated, not measured: when a probe that looks at the process's start and once a period after it "
            "would first see Felix ready, and the share of it that is only the probe's wait.",
            ("period of the probe", "Ready (median)", "the probe's share (median)", "most"),
            rows,
        )
    ]
