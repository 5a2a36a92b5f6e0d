# SPDX-License-Identifier: GPL-3.0-or-later
"""From what was planned and what was observed to judged records. Reads a results folder, writes nothing."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness import bound_by, component_limits, evidence, exit_codes, imported, metrics, samples, stats, units
from harness.evidence_checks import Context, all_pods_accounted_for, observation_matches_samples
from harness.imported import Imported
from harness.metrics import Metric
from harness.model import Failure, Observation, Plan, PlannedRecord, Record, SamplesFile
from harness.pod_load import PodLoad
from harness.results import RunFolder

Key = tuple[str, str, str]  # suite, scenario, subject

EXIT_CODE = {
    "fail": exit_codes.REGRESSION,
    "regression": exit_codes.REGRESSION,
    "error": exit_codes.INFRASTRUCTURE,
    "invalid": exit_codes.INVALID,
}
# What nothing can be measured without; a suite's own stage has the suite's name.
FOUNDATIONS = ("start", "environment")
# Parameters that a run reports of itself: they are no part of what was asked for.
TOLD = ("machine", "subject", "simulated", "imported", "assumed")
# What a load is called elsewhere, and what has to hold of it: no part of what was asked for.
LABELS = ("upstream", "expectations")
SOAK = 1800.0  # seconds; what memory does in less says nothing of an hour


@dataclass(frozen=True)
class Material:
    """All that a run's records are judged by."""

    run_id: str
    plan: Plan | None
    observations: Sequence[Observation]
    failures: Mapping[str, Failure]
    loads: Mapping[Key, Sequence[PodLoad]]
    confirmations: Sequence[PodLoad]
    imported: Imported | None = None


def gather(run: RunFolder) -> Material:
    observations = run.observations()
    loads: dict[Key, list[PodLoad]] = {}
    confirmations = []
    for item in observations:
        if item.kind not in ("pod_load", "confirmation"):
            continue
        load = PodLoad(item, *samples.read(run.path, item.samples))
        if item.kind == "confirmation":
            confirmations.append(load)
        else:
            loads.setdefault((item.suite, item.scenario or "", item.subject or ""), []).append(load)
    for repeats in loads.values():
        repeats.sort(key=lambda load: load.repeat)
    found = imported.gather(run.path, run.run(), observations)
    return Material(run.run_id, run.plan(), observations, run.failures(), loads, confirmations, found)


def records(material: Material, files: Mapping[Key, SamplesFile]) -> list[Record]:
    """One record for everything planned; `files` has the Parquet file of each scenario and subject."""
    if material.plan is None:
        return []
    return [_record(planned, material, files) for planned in material.plan.records]


def exit_code(found: Iterable[Record], failures: Mapping[str, Failure], planned: bool) -> int:
    """The code of a run; a run that got no plan and does not say why is broken."""
    codes = [EXIT_CODE.get(record.verdict, exit_codes.GOOD) for record in found]
    # The stage verdict fails to say what the records say already.
    failed = [failure for stage, failure in failures.items() if stage != "verdict"]
    codes += [failure.exit_code or exit_codes.INFRASTRUCTURE for failure in failed]
    if not planned and not failed:
        codes.append(exit_codes.INFRASTRUCTURE)
    return exit_codes.worst(codes)


def _record(planned: PlannedRecord, material: Material, files: Mapping[Key, SamplesFile]) -> Record:
    key = (planned.suite, planned.scenario, planned.subject)
    metric = metrics.table().get(planned.metric)
    empty = Record(
        run_id=material.run_id,
        suite=planned.suite,
        scenario=planned.scenario,
        subject=planned.subject,
        metric=planned.metric,
        unit=metric.unit if metric else "count",
        direction=metric.direction if metric else "none",
        verdict="error",
        reason=f"the metric {planned.metric} is not in harness/schema/metrics.json",
        objective=planned.objective,
    )
    if metric is None:
        return empty
    if material.imported is not None and key in material.imported.tests:
        return material.imported.record(empty, metric, planned)
    loads = material.loads.get(key, ())
    absent = _absent(planned, material, loads)
    if absent is not None:
        return replace(empty, verdict=absent[0], reason=absent[1])
    return _judged(empty, metric, planned, loads, material, files.get(key))


def _absent(planned: PlannedRecord, material: Material, loads: Sequence[PodLoad]) -> tuple[str, str] | None:
    """Verdict and reason of what could not be measured; None when there is enough to judge."""
    complete = len(loads) >= planned.repeats
    told = [
        item
        for item in material.observations
        if item.kind in ("not_runnable", "error")
        and item.suite == planned.suite
        and item.scenario in (planned.scenario, None)
        and item.subject in (planned.subject, None)
    ]
    # What was written down before the last repeat is of an attempt that a resumed run has made good since.
    last = max((load.observation.at for load in loads), default="") if complete else ""
    for kind in ("error", "not_runnable"):
        for item in told:
            if item.kind == kind and (not complete or (kind == "error" and item.at > last)):
                return kind, str(item.values["reason"])
    if complete:
        return None
    after = f" (after {len(loads)} of {planned.repeats} repeats)" if loads else ""
    for stage in FOUNDATIONS:
        if stage in material.failures and not loads:
            return "not_runnable", f"{stage} failed: {material.failures[stage].reason}"
    if planned.suite in material.failures:
        return "error", f"the suite broke{after}: {material.failures[planned.suite].reason}"
    return None if loads else ("invalid", "never finished: it was planned and nothing was observed")


def _judged(
    empty: Record,
    metric: Metric,
    planned: PlannedRecord,
    loads: Sequence[PodLoad],
    material: Material,
    file: SamplesFile | None,
) -> Record:
    context = evidence.context_of(material.observations, loads, planned.repeats)
    proof = evidence.collect(metric, loads, context)
    # A mean of the repeats is only one of all of them.
    found = [metrics.summary(metric, load) for load in loads]
    values = [value for value in found if value is not None]
    pooled = [value for load in loads for value in metrics.distribution(metric, load)]
    described = replace(
        empty,
        n=len(pooled) if metric.is_distribution else len(values),
        clock=next((name for load in loads if (name := metrics.clock(metric, load))), None),
        evidence=proof,
        samples=file,
        parameters=_parameters(metric, loads, context),
    )
    wrong = [f"{item.name}: {item.observed} (expected {item.expected})" for item in evidence.broken(proof)]
    if not wrong and len(values) < len(loads):
        wrong = [f"{len(loads) - len(values)} of {len(loads)} repeats give no {metric.name}"]
    if wrong:
        return replace(described, verdict="invalid", reason="evidence does not hold: " + "; ".join(wrong))
    finding = _bound_by(metric, planned, loads, context, material)
    value = statistics.fmean(values)
    quantiles = stats.quantiles(pooled) if metric.is_distribution else None
    decision = _too_short(metric, loads) or (
        stats.decide(values, planned.objective) if planned.objective else stats.Decision("measured", "")
    )
    remarks = [
        _sentence(decision.reason),
        finding.reason,
        _sentence(quantiles.reason if quantiles else ""),
        _waited(metric, loads),
        *evidence.notes(loads, context),
    ]
    return replace(
        described,
        value=value,
        quantiles=quantiles.values if quantiles else None,
        repeats=tuple(values),
        ci=stats.interval(values),
        resolution=max(
            (r for load in loads if (r := metrics.resolution(metric, load, value)) is not None), default=None
        ),
        bound_by=finding.bound_by,
        evidence=(*proof, finding.evidence) if finding.evidence else proof,
        verdict=decision.verdict,
        reason=" ".join(remark for remark in remarks if remark),
    )


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
    """What was asked for, and under the names in TOLD what the run tells of itself."""
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
    # Of each the worst repeat: what disturbs one of them disturbs the mean.
    worst = {
        name: _worst(loads, name) for name in ("cpu_busy_ratio", "steal_ratio", "other_cpu_ratio", "throttled_seconds")
    }
    pressure = {name: _worst(loads, "pressure", name) for name in ("cpu", "io", "memory")}
    found["machine"] = {"cpus": _worst(loads, "cpus"), **worst, "pressure": pressure}
    return found


def _worst(loads: Sequence[PodLoad], *path: str) -> float | None:
    return max((value for load in loads if (value := load.number("machine", *path)) is not None), default=None)


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
        if load.observation.role == role
        and (load.observation.suite, load.observation.subject) == (planned.suite, planned.subject)
        and _in_order(load)
    ]
    own = [load for load in fitting if load.observation.scenario == planned.scenario]
    return own or fitting


def _in_order(load: PodLoad) -> bool:
    if load.observation.samples is None:
        return load.pods > 0 and load.number("bound") == load.pods and not load.number("failed")
    context = Context(repeats=1, loads=(load,))
    whole = all_pods_accounted_for(load, context).holds and observation_matches_samples(load, context).holds
    return whole and not load.samples_problem and load.number("bound") == load.pods


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


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""
