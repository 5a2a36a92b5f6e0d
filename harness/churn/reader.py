# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the observations `churn`, as bench_churn gives their values and samples."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from harness import resource_metrics, resources, units
from harness.bound_by import Finding
from harness.churn import evidence
from harness.churn.gangs import CHURN, COLUMNS, OF_POLICIES, QUIET, Gangs
from harness.common_checks import plain
from harness.metrics import Metric
from harness.model import BoundBy, PlannedRecord, Record
from harness.reader import Conclusion, Described, Material, Section, Table, Words
from harness.repeat import machine_notes, machine_parameters
from harness.sampled import SampledReader

CPU_WINDOW = "from the first create until the last pod is gone"
CLOCK = "one machine's monotonic clock: the API server's answers, watch events and packets"
#: Nearer to what was asked for than this, a rate says nothing of who was asked.
AS_ASKED = 0.9
RATES = ("churn_pods_created_per_second", "churn_pods_running_per_second", "churn_pods_gone_per_second")
GOODPUT, OFFERED = "request_goodput_bytes_per_second", "bytes_per_second_offered"
BY_PACKETS = (*OF_POLICIES, "gang_created_to_reachable_seconds", "pod_running_to_reachable_seconds")


class ChurnReader(SampledReader):
    kind = "churn"
    load = Gangs
    columns = COLUMNS
    consequences = evidence.CONSEQUENCE
    words: ClassVar[Mapping[tuple[str, str], Words]] = {
        ("load_generator", OFFERED): Words(
            lambda bound: "load generator",
            lambda bound: (
                f"The load: {units.show(bound.predicted, 'bytes/s')} were offered, "
                f"{units.show(bound.observed, 'bytes/s')} were answered."
            ),
        )
    }

    def describe(self, metric: Metric, planned: PlannedRecord, loads: Sequence[Gangs], material: Material) -> Described:
        found = [load.value_of(metric.name) for load in loads]
        pooled = [load.distribution(metric.name) for load in loads]
        has_samples = None not in pooled
        return Described(
            values=[value for value in found if value is not None],
            pooled=[value for values in pooled for value in values or ()] if has_samples else None,
            clock=CLOCK if has_samples else None,
            evidence=evidence.collect(metric.name, loads, planned.repeats),
            parameters=_parameters(loads),
            not_runnable=evidence.without_engine(loads)
            if metric.name in OF_POLICIES
            else resource_metrics.not_runnable(metric.name, loads),
        )

    def conclude(
        self, metric: Metric, planned: PlannedRecord, loads: Sequence[Gangs], material: Material, value: float
    ) -> Conclusion:
        gaps = [gap for load in loads if (gap := load.number("probe", "largest_gap_seconds")) is not None]
        return Conclusion(
            finding=_bound(metric.name, loads, value),
            resolution=max(gaps, default=None) if metric.name in BY_PACKETS else None,
            remarks=machine_notes(loads, other=False),
        )

    def section(self, records: Sequence[Record], loads: Sequence[Gangs], material: Material) -> Section:
        return Section(
            charts=resources.charts(loads),
            tables=[_gangs(loads), _requests(loads), _policies(loads), resources.table(loads, CPU_WINDOW)],
        )


def _bound(metric: str, loads: Sequence[Gangs], value: float) -> Finding:
    """Pods that come and go as fast as they were asked for say nothing of how fast they could, and bytes likewise."""
    if metric == GOODPUT:
        offered = loads[0].number("requests", CHURN, "offered_bytes_per_second")
        if offered is None or value < AS_ASKED * offered:
            return Finding(None, "")
        return Finding(BoundBy("load_generator", "load generator", {OFFERED: offered}, offered, value), "")
    asked = loads[0].number("plan", "gangs_per_second")
    pods = loads[0].number("plan", "pods_per_gang")
    if metric not in RATES or asked is None or pods is None or value < AS_ASKED * asked * pods:
        return Finding(None, "")
    return Finding(BoundBy("load_generator", "load generator", {"rate_asked": asked * pods}, asked * pods, value), "")


def _parameters(loads: Sequence[Gangs]) -> dict[str, Any]:
    """What was asked for, and under the names in judge.TOLD what the run tells of itself."""
    first = loads[0]
    told = ("dataplane", "active_policies", "active_endpoints", "nodes")
    subject = {name: first.value(name) for name in told}
    return {
        "plan": first.value("plan"),
        **first.parameters,
        "subject": subject,
        "machine": machine_parameters(loads),
    }


def _gangs(loads: Sequence[Gangs]) -> Table:
    rows = []
    for load in loads:
        for gang, pods in sorted(load.gangs.items()):
            allowed, denied = ([row[column] for row in pods] for column in ("false_allow", "false_deny"))
            rows.append(
                (
                    str(load.repeat),
                    str(gang),
                    f"{sum(1 for row in pods if row['running'] is not None)} of {len(pods)}",
                    _longest([row["running"] for row in pods], [row["posted"] for row in pods]),
                    _longest([row["job_first"] for row in pods], [row["posted"] for row in pods]),
                    "never closed" if None in allowed else units.show(max(allowed), "s"),
                    "never reached" if None in denied else units.show(max(denied), "s"),
                )
            )
    return Table(
        "Gangs",
        "From a gang's first create. A stranger's packets that arrived are false allows, those within the job that did "
        "not are false denies: the longest time of a pod of the gang.",
        ("repeat", "gang", "ran", "all run", "all reachable", "false allow", "false deny"),
        rows,
    )


def _longest(ends: Sequence[float | None], begins: Sequence[float | None]) -> str:
    if None in ends or None in begins:
        return "never"
    return units.show(max(end for end in ends if end is not None) - min(at for at in begins if at is not None), "s")


def _requests(loads: Sequence[Gangs]) -> Table:
    rows = []
    for load in loads:
        for phase, words in ((QUIET, "before"), (CHURN, "during")):
            took, failed = load.seconds(phase), load.failure_ratio(phase)
            rows.append(
                (
                    str(load.repeat),
                    words,
                    str(len(took)),
                    units.show(failed, "ratio"),
                    units.show(statistics.median(took) if took else None, "s"),
                    units.show(max(took, default=None), "s"),
                    units.show(load.number("requests", phase, "goodput_bytes_per_second"), "bytes/s"),
                )
            )
    return Table(
        "Requests beside the churn",
        "Between two pods that stay, a TCP connection each; those that failed are among them.",
        ("repeat", "churn", "requests", "failed", "median", "longest", "goodput"),
        rows,
    )


def _policies(loads: Sequence[Gangs]) -> Table:
    rows = []
    for load in loads:
        background = plain(load.number("background_policies"))
        for name in load.value("active_policies") or ():
            policies, endpoints = (
                f"{plain(load.number(key, name, 'first'))} before, at most {plain(load.number(key, name, 'most'))}"
                for key in ("active_policies", "active_endpoints")
            )
            rows.append((str(load.repeat), name, policies, endpoints, background))
    return Table(
        "Policies at work",
        "What Felix says is active on its node. Policies in the background select no pod: they are in the cluster, and "
        "no node has anything to do for them.",
        ("repeat", "node", "active policies", "endpoints", "in the background"),
        rows,
    )
