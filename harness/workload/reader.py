# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the observations `workload`, as bench_workload gives their values and samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness import units
from harness.metrics import Metric
from harness.model import PlannedRecord, Record
from harness.reader import Conclusion, Described, Material, Section, Table
from harness.repeat import machine_notes, machine_parameters
from harness.sampled import SampledReader
from harness.workload import evidence, scaling
from harness.workload.rows import COLUMNS
from harness.workload.steps import COUNTED, DISTRIBUTIONS, MEASURES, Workload, checkpoints

_ANSWERS = {True: "accepted", False: "refused"}
CLOCK = "one machine's monotonic clock: requests as they were sent, events of the watch as they arrived"


class WorkloadReader(SampledReader):
    kind = "workload"
    load = Workload
    columns = COLUMNS
    consequences = evidence.CONSEQUENCE

    def describe(
        self, metric: Metric, planned: PlannedRecord, loads: Sequence[Workload], material: Material
    ) -> Described:
        known = metric.name in MEASURES
        found = [load.summary(metric.name) for load in loads] if known else []
        many = metric.name in DISTRIBUTIONS
        return Described(
            values=[value for value in found if value is not None],
            pooled=[value for load in loads for value in load.samples(metric.name)] if many else None,
            clock=CLOCK if metric.name not in COUNTED else None,
            evidence=evidence.collect(metric.name, loads, planned.repeats),
            parameters=_parameters(metric, loads),
        )

    def conclude(
        self, metric: Metric, planned: PlannedRecord, loads: Sequence[Workload], material: Material, value: float
    ) -> Conclusion:
        gaps = [gap for load in loads if (gap := load.resolution) is not None]
        timed = metric.unit == "s" and metric.name not in COUNTED
        return Conclusion(
            finding=scaling.bound_by(loads[0], metric.name, value),
            resolution=max(gaps, default=None) if timed else None,
            remarks=machine_notes(loads),
        )

    def section(self, records: Sequence[Record], loads: Sequence[Workload], material: Material) -> Section:
        return Section(tables=[_table(loads), _forms(loads[0])])


def _parameters(metric: Metric, loads: Sequence[Workload]) -> dict[str, Any]:
    """What was asked for, and under the names in judge.TOLD what the run tells of itself."""
    first = loads[0]
    simulated = first.value("pattern", "simulated")
    told = "; ".join(str(one) for one in simulated) if isinstance(simulated, list) else metric.simulated
    found = {**first.parameters, "planted": first.value("planted"), "machine": machine_parameters(loads)}
    if metric.name == "checkpoint_lost_gpu_seconds" and (planted := checkpoints(first)):
        gpus = sum(row["gpus"] for row in first.of("pod", "start"))
        found["planted_loss"] = {
            "checkpoint_seconds": planted.interval,
            "failure_after_seconds": planted.failure,
            "gpu_seconds": planted.lost * gpus,
        }
    return {**found, "simulated": told} if told and metric.name not in COUNTED else found


def _table(loads: Sequence[Workload]) -> Table:
    rows = []
    for load in loads:
        for row in load.of("step"):
            reached = row["reached"]
            took = reached - row["sent"] if reached is not None and row["sent"] is not None else None
            pods = len(load.of("pod", row["step"]))
            rows.append((str(load.repeat), row["step"], row["name"], str(pods), units.show(took, "s")))
    return Table(
        "Steps",
        "From the beginning of a step until as many pods or Jobs are as it waits for; pods that came meanwhile.",
        ("repeat", "step", "what was done", "pods", "took"),
        rows,
    )


def _forms(load: Workload) -> Table:
    """One repeat is enough: the same manifests are asked about in each."""
    forms = load.value("forms") or {}
    rows = [
        (name, str(one.get("object")), _ANSWERS.get(one.get("accepted"), "not asked"), str(one.get("message") or ""))
        for name, form in forms.items()
        for one in form.get("api_server") or ()
    ]
    return Table(
        "Forms",
        "What the API server says of each manifest by a dry run. A field that its kind does not have is refused.",
        ("form", "object", "answer", "in its words"),
        rows,
    )
