# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the observations `node_load`, as bench_node_load gives their values and samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness import resource_metrics, resources, units
from harness.bound_by import SATURATED, Finding
from harness.common_checks import plain
from harness.metrics import Metric
from harness.model import BoundBy, PlannedRecord, Record
from harness.nodes import evidence
from harness.nodes.load import COLUMNS, CREATED_TO_READY, Nodes
from harness.reader import Conclusion, Described, Material, Section, Table
from harness.repeat import machine_notes, machine_parameters
from harness.sampled import SampledReader

CPU_WINDOW = "from the first create until all nodes are Ready"
CLOCK = "client monotonic: answers and watch events"


class NodesReader(SampledReader):
    kind = "node_load"
    load = Nodes
    columns = COLUMNS
    consequences = evidence.CONSEQUENCE

    def describe(self, metric: Metric, planned: PlannedRecord, loads: Sequence[Nodes], material: Material) -> Described:
        found = [load.value_of(metric.name) for load in loads]
        each = metric.name == CREATED_TO_READY
        return Described(
            values=[value for value in found if value is not None],
            pooled=[value for load in loads for value in load.created_to_ready()] if each else None,
            clock=CLOCK,
            evidence=evidence.collect(metric.name, loads, planned.repeats),
            parameters=_parameters(metric, loads),
            not_runnable=resource_metrics.not_runnable(metric.name, loads),
        )

    def conclude(
        self, metric: Metric, planned: PlannedRecord, loads: Sequence[Nodes], material: Material, value: float
    ) -> Conclusion:
        return Conclusion(
            finding=Finding(_bound(metric, loads), ""), resolution=None, remarks=machine_notes(loads, other=False)
        )

    def section(self, records: Sequence[Record], loads: Sequence[Nodes], material: Material) -> Section:
        return Section(charts=resources.charts(loads), tables=[_columns(loads), resources.table(loads, CPU_WINDOW)])


def _bound(metric: Metric, loads: Sequence[Nodes]) -> BoundBy | None:
    """Everything that makes a node Ready shares the processors of one machine, where it is one machine."""
    busy = [load.number("machine", "cpu_busy_ratio") or 0.0 for load in loads]
    if "machine" not in metric.bounds or min(busy) < SATURATED:
        return None
    process = loads[0].busiest
    return BoundBy("machine", process[0] if process else "unknown", {"cpu_busy_ratio": SATURATED}, None, busy[0])


def _parameters(metric: Metric, loads: Sequence[Nodes]) -> dict[str, Any]:
    """What was asked for, and under the names in judge.TOLD what the run tells of itself."""
    first = loads[0]
    subject = {name: first.value(name) for name in ("dataplane", "columns", "streaming", "typhas")}
    found = {"plan": first.value("plan"), "before": first.value("before"), **first.parameters, "subject": subject}
    simulated = {"simulated": metric.simulated} if metric.simulated else {}
    return {**found, **simulated, "machine": machine_parameters(loads)}


def _columns(loads: Sequence[Nodes]) -> Table:
    rows = []
    for load in loads:
        streaming = load.value("streaming")
        typhas = [plain(load.number("typhas", name)) for name in ("there", "expected")]
        for kind in ("real", "fake", "all"):
            whole = kind == "all"
            rows.append(
                (
                    str(load.repeat),
                    kind,
                    *(plain(load.number("columns", name, kind)) for name in ("asked", "existing", "ready")),
                    ", ".join(f"{count} {name}" for name, count in streaming.items()) if whole and streaming else "–",
                    f"{typhas[0]}, the operator wants {typhas[1]}" if whole else "–",
                    units.show(load.value_of("nodes_ready_all_seconds"), "s") if whole else "–",
                )
            )
        if load.value("mock"):
            counts = [plain(load.number("mock", name)) for name in ("asked", "running")]
            after = f"all after {units.show(load.number('mock', 'streaming_seconds'), 's')}"
            rows.append((str(load.repeat), "mock-nodes", counts[0], units.MISSING, counts[1], after, "–", "–"))
    return Table(
        "Nodes",
        "Those that were added and those that were there. A fake node without a client of Typha weighs on the API "
        "server alone; mock-nodes are such clients, and what streams has to be what streamed before and all of them.",
        ("repeat", "nodes", "asked", "existing", "Ready", "streaming from Typha", "Typhas", "all added ones Ready"),
        rows,
    )
