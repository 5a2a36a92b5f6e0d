# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the observations `pod_load` and `confirmation`: pods that were created, bound and ran."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import bound_by, component_limits, evidence, figures, metrics, samples, stats, units
from harness.common_checks import samples_intact
from harness.evidence_checks import Context, all_pods_accounted_for, observation_matches_samples
from harness.metrics import Metric
from harness.model import Observation, PlannedRecord, Record, SamplesFile
from harness.pod_load import PodLoad
from harness.reader import Chart, Conclusion, Described, Gathered, Key, Material, Reader, Section
from harness.repeat import machine_parameters

# What a load is called elsewhere, and what has to hold of it: no part of what was asked for.
LABELS = ("upstream", "expectations")
SOAK = 1800.0  # seconds; what memory does in less says nothing of an hour


class PodLoadReader(Reader):
    kind = "pod_load"
    consequences = evidence.CONSEQUENCE

    def gather(self, run: Path, observations: Sequence[Observation]) -> Gathered:
        loads: dict[Key, list[PodLoad]] = {}
        confirmations = []
        for item in observations:
            if item.kind not in (self.kind, "confirmation"):
                continue
            load = PodLoad(item, *samples.read(run, item.samples))
            if item.kind == "confirmation":
                confirmations.append(load)
            else:
                loads.setdefault((item.suite, item.scenario or "", item.subject or ""), []).append(load)
        for repeats in loads.values():
            repeats.sort(key=lambda load: load.repeat)
        return Gathered(loads, confirmations)

    def describe(
        self, metric: Metric, planned: PlannedRecord, loads: Sequence[PodLoad], material: Material
    ) -> Described:
        context = evidence.context_of(material.observations, loads, planned.repeats)
        # A mean of the repeats is only one of all of them.
        found = [metrics.summary(metric, load) for load in loads]
        pooled = [value for load in loads for value in metrics.distribution(metric, load)]
        return Described(
            values=[value for value in found if value is not None],
            pooled=pooled if metric.is_distribution else None,
            clock=next((name for load in loads if (name := metrics.clock(metric, load))), None),
            evidence=evidence.collect(metric, loads, context),
            parameters=_parameters(metric, loads, context),
        )

    def conclude(
        self, metric: Metric, planned: PlannedRecord, loads: Sequence[PodLoad], material: Material, value: float
    ) -> Conclusion:
        context = evidence.context_of(material.observations, loads, planned.repeats)
        return Conclusion(
            finding=_bound_by(metric, planned, loads, context, material),
            resolution=max(
                (r for load in loads if (r := metrics.resolution(metric, load, value)) is not None), default=None
            ),
            decision=_too_short(metric, loads),
            remarks=(_waited(metric, loads), *evidence.notes(loads, context)),
        )

    def write_parquet(self, run: Path, path: str, loads: Sequence[PodLoad]) -> SamplesFile | None:
        sources = [(load.repeat, load.observation.samples.path) for load in loads if load.observation.samples]
        if len(sources) == len(loads) and not any(load.samples_problem for load in loads):
            parts = any(sample.part is not None for load in loads for sample in load.every_sample)
            return samples.write_parquet(run, path, sources, parts=parts)
        return None

    def section(self, records: Sequence[Record], loads: Sequence[PodLoad], material: Material) -> Section:
        drawn = [load for load in loads if load.samples]
        return Section(charts=_charts(records, drawn) if drawn else ())


def _charts(records: Sequence[Record], loads: Sequence[PodLoad]) -> list[Chart]:
    lines = "Solid: repeat 1, dashed: repeat 2, dotted: repeat 3." if len(loads) > 1 else ""
    caption = f"Pods that had reached each milestone. {lines}"
    title = ", ".join(figures.shown(loads)).capitalize()
    found = [Chart("milestones", title, caption, figures.milestones(loads), wide=True)]
    for record in records:
        metric = metrics.table().get(record.metric)
        if metric is not None and metric.is_distribution:
            simulated = f" Simulated: {metric.simulated}." if metric.simulated else ""
            text = f"Share of {'Jobs' if metric.series else 'pods'} that took at most so long.{simulated}"
            found.append(Chart(metric.name, metric.title, text, figures.cumulative(metric, loads)))
    return found


def _bound_by(
    metric: Metric, planned: PlannedRecord, loads: Sequence[PodLoad], context: Context, material: Material
) -> bound_by.Finding:
    second_size = _confirmations(material, planned, "second_size")
    doubled = _confirmations(material, planned, "doubled_limit")
    if not metric.bounds:
        return bound_by.Finding(None, "")
    if context.components:
        return component_limits.derive(
            metric, loads, context.components, ceiling=context.ceiling, second_size=second_size, doubled=doubled
        )
    limit = _client_limit(context, planned.subject)
    return bound_by.derive(
        metric, loads, limit=limit, ceiling=context.ceiling, second_size=second_size, doubled=next(iter(doubled), None)
    )


def _too_short(metric: Metric, loads: Sequence[PodLoad]) -> stats.Decision | None:
    """Growth over a time in which caches still fill is no growth."""
    if not metric.growth:
        return None
    grown = [found for load in loads if (found := metrics.fastest_growing(load, metric.growth)) is not None]
    shortest = min((seconds for _, _, seconds in grown), default=0.0)
    names = ", ".join(dict.fromkeys(name for name, _, _ in grown))
    if shortest >= SOAK:
        return None
    return stats.Decision(
        "inconclusive",
        f"{names} was looked at for {units.show(shortest, 's')}; growth is told of {units.show(SOAK, 's')} or more",
    )


def _parameters(metric: Metric, loads: Sequence[PodLoad], context: Context) -> dict[str, Any]:
    """What was asked for, and under the names in judge.TOLD what the run tells of itself."""
    found: dict[str, Any] = {"pods": loads[0].pods, **loads[0].parameters}
    found = {name: value for name, value in found.items() if name not in LABELS}
    if context.nodes:
        found |= {
            "nodes": context.nodes[0].values.get("asked"),
            "gpus_per_node": context.nodes[0].values.get("gpus_per_node"),
        }
    if metric.simulated:
        found["simulated"] = metric.simulated
    if context.subjects:
        found["subject"] = dict(context.subjects[-1].values)
    found["machine"] = machine_parameters(loads)
    return found


def _client_limit(context: Context, subject: str) -> bound_by.ClientLimit | None:
    if not context.subjects:
        return None
    values = context.subjects[-1].values
    qps, burst = values.get("qps"), values.get("burst")
    if not isinstance(qps, (int, float)) or not isinstance(burst, (int, float)):
        return None
    return bound_by.ClientLimit(str(values.get("component") or subject), float(qps), float(burst))


def _confirmations(material: Material, planned: PlannedRecord, role: str) -> Sequence[PodLoad]:
    """The runs that test a bound: of the same scenario, else of the same subject; only those that are in order."""
    fitting = [
        load
        for load in material.confirmations
        if isinstance(load, PodLoad)
        and load.observation.role == role
        and (load.observation.suite, load.observation.subject) == (planned.suite, planned.subject)
        and _in_order(load)
    ]
    own = [load for load in fitting if load.observation.scenario == planned.scenario]
    return own or fitting


def _in_order(load: PodLoad) -> bool:
    if load.observation.samples is None:
        return load.pods > 0 and load.number("bound") == load.pods and not load.number("failed")
    context = Context(repeats=1, loads=(load,))
    whole = (samples_intact, all_pods_accounted_for, observation_matches_samples)
    return all(check(load, context).holds for check in whole) and load.number("bound") == load.pods


def _waited(metric: Metric, loads: Sequence[PodLoad]) -> str:
    if (
        metric.distribution
        and metric.distribution[0] in ("posted", "created")
        and any(load.held_back for load in loads)
    ):
        waits = [wait for load in loads if (wait := load.span("create_started", "released")) is not None]
        longest = units.show(max(waits, default=None), "s")
        return f"Contains the time in which the scheduler was stopped (up to {longest})."
    return ""
