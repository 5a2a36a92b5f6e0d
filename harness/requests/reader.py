# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the observations `request_load`, as bench_request_load gives their values and samples."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from harness import stats, units
from harness.bound_by import SATURATED, Finding
from harness.metrics import STAMP_RESOLUTION, Metric
from harness.model import BoundBy, PlannedRecord, Record
from harness.reader import Conclusion, Described, Material, Section, Table, Words
from harness.repeat import machine_notes, machine_parameters
from harness.requests import evidence
from harness.requests.load import ADDED, COLUMNS, DISTRIBUTIONS, WITH_SERVICE_TIME, Requests, value_of
from harness.sampled import SampledReader

LATE, CORE = "schedule_delay_p99_seconds", "load_generator_cores"


WORDS: Mapping[tuple[str, str], Words] = {
    ("load_generator", LATE): Words(
        lambda bound: f"load generator: p99 {units.show(bound.observed, 's')} late",
        lambda bound: (
            f"The load: 1 % of the requests were sent {units.show(bound.observed, 's')} or more after they were due; "
            f"up to {units.show(bound.predicted, 's')} would be noise."
        ),
    ),
    ("load_generator", CORE): Words(
        lambda bound: "load generator: its core is busy",
        lambda bound: f"The load: its generator used {units.show(bound.observed, 'ratio')} of the one core it can use.",
    ),
}


class RequestReader(SampledReader):
    kind = "request_load"
    load = Requests
    columns = COLUMNS
    unnamed_work = "Pods and other work"
    consequences = evidence.CONSEQUENCE
    words = WORDS

    def describe(
        self, metric: Metric, planned: PlannedRecord, loads: Sequence[Requests], material: Material
    ) -> Described:
        each = metric.name in DISTRIBUTIONS
        found = [load.one(metric.name) for load in loads]
        return Described(
            values=[value for value in found if value is not None],
            pooled=[value for load in loads for value in load.values_of(metric.name)] if each else None,
            clock=next((name for load in loads if (name := load.value("clock", "name"))), None) if each else None,
            evidence=evidence.collect(metric.name, loads, planned.repeats),
            parameters=_parameters(metric.name, loads),
        )

    def conclude(
        self, metric: Metric, planned: PlannedRecord, loads: Sequence[Requests], material: Material, value: float
    ) -> Conclusion:
        return Conclusion(
            finding=Finding(bound_by(loads) if metric.bounds else None, ""),
            resolution=STAMP_RESOLUTION if metric.name in DISTRIBUTIONS else None,
            remarks=machine_notes(loads, other=False),
        )

    def section(self, records: Sequence[Record], loads: Sequence[Requests], material: Material) -> Section:
        return Section(tables=[_table(loads), *_models(loads)])


def bound_by(loads: Sequence[Requests]) -> BoundBy | None:
    """The load generator, where it was late or had no more of its core; else nobody here can tell."""
    late = max((delay for load in loads if (delay := evidence.schedule_delay(load)) is not None), default=0.0)
    if late > evidence.DELAY_MOST:
        return BoundBy("load_generator", "load generator", {LATE: evidence.DELAY_MOST}, evidence.DELAY_MOST, late)
    busy = max((ratio for load in loads for ratio in _cores(load)), default=0.0)
    if busy > SATURATED:
        return BoundBy("load_generator", "load generator", {CORE: 1.0}, SATURATED, busy)
    return None


def _cores(load: Requests) -> list[float]:
    generators = load.value("generators")
    names = list(generators) if isinstance(generators, dict) else []
    return [ratio for name in names if (ratio := load.number("generators", name, "cpu_ratio_of_core")) is not None]


def _parameters(metric: str, loads: Sequence[Requests]) -> dict[str, Any]:
    """What was asked for, and under the names in judge.TOLD what the run tells of itself."""
    first = loads[0]
    told: dict[str, Any] = {}
    if metric in WITH_SERVICE_TIME and (planted := [value for load in loads for value in load.planted]):
        median = units.show(statistics.median(planted), "s")
        told["simulated"] = f"the service sleeps, for {median} of a request alone; that it waits its turn is real"
    plan = first.value("plan")
    return {"plan": plan, **first.parameters, **told, "machine": machine_parameters(loads)}


def _table(loads: Sequence[Requests]) -> Table:
    rows = []
    for load in loads:
        for name in load.services:
            arrivals = load.value("plan", "services", name, "arrivals") or {}
            own = [row for row in load.of(name) if row["latency_seconds"] is not None]
            latencies = [float(row["latency_seconds"]) for row in own]
            quantiles = stats.quantiles(latencies).values
            counts = load.outcomes(name)
            rows.append(
                (
                    name,
                    str(load.repeat),
                    f"{arrivals.get('kind')} at {units.show((arrivals.get('planned') or {}).get('rate'), '1/s')}",
                    str(counts.total()),
                    str(counts.total() - counts["answered"]),
                    str(load.good(name)),
                    units.show(quantiles["p50"], "s"),
                    units.show(quantiles["p99"], "s"),
                    units.show(evidence.schedule_delay(load), "s"),
                )
            )
    return Table(
        "Requests by service",
        "Latency counts from the moment a request was due; schedule delay is how late the load generator was (p99).",
        ("service", "repeat", "arrivals", "due", "failed", "kept objectives", "p50", "p99", "schedule delay"),
        rows,
    )


def _models(loads: Sequence[Requests]) -> list[Table]:
    """What it costs to be asked for seldom; no table where no service says which models it has."""
    rows = []
    for load in loads:
        for name in load.services:
            own = [row for row in load.of(name) if row["model_loaded"] is not None]
            found = {
                loaded: [
                    value
                    for row in own
                    if row["model_loaded"] is loaded and (value := value_of(ADDED, row)) is not None
                ]
                for loaded in (True, False)
            }
            if own:
                waits = (stats.quantiles(found[loaded]).values if found[loaded] else {} for loaded in (True, False))
                shown = [units.show(quantiles.get(at), "s") for quantiles in waits for at in ("p50", "p99")]
                rows.append((name, str(load.repeat), str(len(own)), str(len(found[False])), *shown))
    heads = ("model", "repeat", "answers", "not in memory", "in memory p50", "p99", "not in memory p50", "p99")
    text = "What a request waited beside what was planted for it, its model's load included, by where its model was."
    return [Table("Models that share a place", text, heads, rows)] if rows else []
