# SPDX-License-Identifier: GPL-3.0-or-later
"""From what was planned and what was observed to judged records. Reads a results folder, writes nothing."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from harness import common_checks, exit_codes, imported, metrics, readers, stats
from harness.metrics import Metric
from harness.model import Failure, PlannedRecord, Record, SamplesFile
from harness.reader import Key, Material
from harness.repeat import Repeat
from harness.results import RunFolder

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


def gather(run: RunFolder) -> Material:
    observations = run.observations()
    found = readers.gather(run.path, observations)
    published = imported.gather(run.path, run.run(), observations)
    return Material(run.run_id, run.plan(), observations, run.failures(), found.loads, found.confirmations, published)


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


def _absent(planned: PlannedRecord, material: Material, loads: Sequence[Repeat]) -> tuple[str, str] | None:
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
    loads: Sequence[Repeat],
    material: Material,
    file: SamplesFile | None,
) -> Record:
    reader = readers.of(loads)
    found = reader.describe(metric, planned, loads, material)
    described = replace(
        empty,
        n=len(found.values) if found.pooled is None else len(found.pooled),
        clock=found.clock,
        evidence=found.evidence,
        samples=file,
        parameters=found.parameters,
    )
    broken = common_checks.broken(found.evidence, reader.consequences)
    wrong = [f"{item.name}: {item.observed} (expected {item.expected})" for item in broken]
    if not wrong and found.not_runnable:
        return replace(described, verdict="not_runnable", reason=found.not_runnable)
    if not wrong and len(found.values) < len(loads):
        wrong = [f"{len(loads) - len(found.values)} of {len(loads)} repeats give no {metric.name}"]
    if wrong:
        return replace(described, verdict="invalid", reason="evidence does not hold: " + "; ".join(wrong))
    value = statistics.fmean(found.values)
    told = reader.conclude(metric, planned, loads, material, value)
    quantiles = stats.quantiles(found.pooled) if found.pooled is not None else None
    decision = told.decision or (
        stats.decide(found.values, planned.objective) if planned.objective else stats.Decision("measured", "")
    )
    remarks = [
        _sentence(decision.reason),
        told.finding.reason,
        _sentence(quantiles.reason if quantiles else ""),
        *told.remarks,
    ]
    proven = told.finding.evidence
    return replace(
        described,
        value=value if told.value is None else told.value,
        quantiles=quantiles.values if quantiles else None,
        repeats=tuple(found.values),
        ci=told.ci or stats.interval(found.values),
        objective=told.objective or described.objective,
        resolution=told.resolution,
        bound_by=told.finding.bound_by,
        evidence=(*found.evidence, proven) if proven else found.evidence,
        verdict=decision.verdict,
        reason=" ".join(remark for remark in remarks if remark),
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""
