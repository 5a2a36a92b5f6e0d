# SPDX-License-Identifier: GPL-3.0-or-later
"""A published result of the KAI project's scale suite: a results folder of it, and the records it gives."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import assumed_limit, kai_result, stats
from harness.assumed_limit import Assumption
from harness.bound_by import ClientLimit, Finding, Size
from harness.errors import UsageError
from harness.kai_result import KaiResult, Measured
from harness.metrics import Metric
from harness.model import Evidence, Observation, PlannedRecord, Record
from harness.results import RunFolder, write_atomic

SUITE, SUBJECT, KIND = "scheduler_scale", "kai", "imported"
FILE = "imported.json"
CLOCK = "as published: client's wall clock at the start, the API server's lastTransitionTime at the end"
#: Upstream publishes the mean of several Jobs under these names.
MEANS = {"job_unschedulable_seconds", "job_reclaim_seconds"}

Key = tuple[str, str, str]


@dataclass(frozen=True)
class ImportedKai:
    """What the file says, beside what is assumed of it."""

    tests: Mapping[Key, Sequence[Observation]]
    assumption: Assumption
    published: Mapping[str, Any]
    file_problem: str = ""

    def record(self, empty: Record, metric: Metric, planned: PlannedRecord) -> Record:
        return _record(empty, metric, planned, self)


def write(run: RunFolder, result: KaiResult, name: str, assumption: Assumption) -> None:
    """The folder, as one of a run of our own: run.json, plan.json, the file itself and observations.jsonl."""
    now = _stamp(datetime.now(UTC))
    published = {
        "file": name,
        "sha256": result.sha256,
        "format": "KAI scale suite" + (", dashboard wrapper" if result.wrapped else ""),
        "published_at": result.metadata.get("timestamp"),
        "ref": result.metadata.get("kai_scheduler_ref"),
        "commit": result.metadata.get("kai_commit_hash"),
    }
    write_atomic(run.path / FILE, result.data)
    run.write_document("run", _run(run.run_id, published, result, now))
    planned = dict.fromkeys(
        (SUITE, item.test.scenario, SUBJECT, metric) for item in result.measured for metric in metrics_of(item)
    )
    repeats = {item.test.scenario: item.repeat for item in result.measured}
    records = [
        dict(zip(("suite", "scenario", "subject", "metric"), names, strict=True)) | {"repeats": repeats[names[1]]}
        for names in planned
    ]
    base = {"schema_version": 1, "run_id": run.run_id}
    run.write_document(
        "plan", {**base, "created_at": now, "stages": [], "records": records, "parameters": {KIND: published}}
    )
    limit = assumption.limit
    assumed = {"component": limit.component, **limit.document, "requests": assumption.requests}
    base |= {"at": now, "suite": SUITE}
    observations: list[dict[str, Any]] = [
        {**base, "kind": "assumption", "values": {**assumed, "start_up_seconds": assumption.start_up}}
    ]
    observations += [
        {
            **base,
            "scenario": item.test.scenario,
            "subject": SUBJECT,
            "kind": KIND,
            "repeat": item.repeat,
            "parameters": sizes(item),
            "values": _values(item),
        }
        for item in result.measured
    ]
    run.write_observations(observations)


def gather(path: Path, run: Mapping[str, Any], observations: Sequence[Observation]) -> ImportedKai | None:
    """None for a run of our own. The file is read again: what was written down has to be what it says."""
    tests: dict[Key, list[Observation]] = {}
    for item in observations:
        if item.kind == KIND:
            tests.setdefault((item.suite, item.scenario or "", item.subject or ""), []).append(item)
    if not tests:
        return None
    assumed = next((item.values for item in observations if item.kind == "assumption"), {})
    published = run.get(KIND) if isinstance(run.get(KIND), Mapping) else {}
    return ImportedKai(tests, _assumption(assumed), published or {}, _file_problem(path / FILE, published or {}, tests))


def _record(empty: Record, metric: Metric, planned: PlannedRecord, imported: ImportedKai) -> Record:
    """One published number; invalid where the file itself says that it does not mean what its name says."""
    tests = sorted(imported.tests[planned.suite, planned.scenario, planned.subject], key=lambda item: item.repeat or 0)
    found = [_value(metric, item) for item in tests]
    values = [value for value in found if value is not None]
    proof = _evidence(metric, tests, imported)
    described = replace(
        empty,
        n=len(values),
        clock=CLOCK if metric.unit == "s" else None,
        evidence=proof,
        parameters=_parameters(metric, tests, imported),
    )
    wrong = [f"{item.name}: {item.observed} (expected {item.expected})" for item in proof if not item.holds]
    if not wrong and len(values) < len(tests):
        wrong = [f"{len(tests) - len(values)} of {len(tests)} results give no {metric.name}"]
    if wrong:
        return replace(described, verdict="invalid", reason="evidence does not hold: " + "; ".join(wrong))
    value = statistics.fmean(values)
    finding = _bound_by(metric, tests, value, imported)
    return replace(
        described,
        value=value,
        repeats=tuple(values),
        ci=stats.interval(values),
        resolution=float(tests[0].values["resolution_seconds"]) if metric.unit == "s" else None,
        bound_by=finding.bound_by,
        evidence=(*proof, finding.evidence) if finding.evidence else proof,
        verdict="measured",
        reason=finding.reason,
    )


def metrics_of(item: Measured) -> list[str]:
    counted = item.test.detail("completed") is not None and item.count("completed") is not None
    return [item.test.metric, "pods_completed"] if counted else [item.test.metric]


def sizes(item: Measured) -> dict[str, Any]:
    """What was asked for, under our names."""
    found = {
        what: item.details[name]
        for name, what in item.test.details.items()
        if what not in ("completed", "pending") and item.details.get(name) is not None
    }
    return ({"pods": int(item.pods)} if item.pods is not None else {}) | found


def _values(item: Measured) -> dict[str, Any]:
    return {
        "test_name": item.name,
        "status": "success" if item.succeeded else "failure",
        "seconds": item.seconds,
        "pods": item.pods,
        "completed": item.count("completed"),
        "pending": item.count("pending"),
        "binds_all": item.test.binds_all,
        "resolution_seconds": item.test.resolution,
        "details": dict(item.details),
    }


def _value(metric: Metric, item: Observation) -> float | None:
    value = item.values.get("completed" if metric.name == "pods_completed" else "seconds")
    return float(value) if isinstance(value, (int, float)) else None


def _evidence(metric: Metric, tests: Sequence[Observation], imported: ImportedKai) -> tuple[Evidence, ...]:
    problem = imported.file_problem
    states = sorted({str(item.values["status"]) for item in tests})
    first = tests[0].parameters
    others = [f"{item.parameters}" for item in tests if item.parameters != first]
    found = [
        Evidence(
            "published_file_intact",
            "the file as it was imported, and every number as it stands there",
            problem or "sha256 and numbers agree",
            not problem,
        ),
        Evidence("published_as_success", "status success", f"status {', '.join(states)}", states == ["success"]),
        Evidence(
            "same_parameters_in_every_repeat",
            "the sizes of the first result of that name",
            "; ".join(others) or "the same",
            not others,
        ),
    ]
    if metric.milestone == "completed" and metric.unit == "s":
        found.append(_completed(tests))
    return tuple(found)


def _completed(tests: Sequence[Observation]) -> Evidence:
    texts, holds = [], True
    for item in tests:
        done, asked = item.values.get("completed"), item.values.get("pods")
        holds = holds and done is not None and done == asked
        texts.append(f"{_count(done)} of {_count(asked)} completed, {_count(item.values.get('pending'))} pending")
    return Evidence("every_pod_completed", "every pod completed", "; ".join(dict.fromkeys(texts)), holds)


def _parameters(metric: Metric, tests: Sequence[Observation], imported: ImportedKai) -> dict[str, Any]:
    found: dict[str, Any] = {**tests[0].parameters}
    if metric.name in MEANS:
        found["statistic"] = "mean, as published"
    found[KIND] = {"test_name": tests[0].values["test_name"], **imported.published}
    if _binds_all(metric, tests):
        limit = imported.assumption.limit
        found["assumed"] = {"component": limit.component, **limit.document, "requests": imported.assumption.requests}
    return found


def _bound_by(metric: Metric, tests: Sequence[Observation], value: float, imported: ImportedKai) -> Finding:
    size = _size(tests)
    if size is None or not _binds_all(metric, tests):
        return Finding(None, "The file says nothing of what this number is the limit of.")
    others = [
        other
        for key, items in imported.tests.items()
        if key != (tests[0].suite, tests[0].scenario, tests[0].subject)
        and items[0].values.get("binds_all")
        and (other := _size(items)) is not None
    ]
    return assumed_limit.derive(imported.assumption, Size(size.pods, value), others)


def _binds_all(metric: Metric, tests: Sequence[Observation]) -> bool:
    return metric.unit == "s" and bool(tests[0].values.get("binds_all"))


def _size(tests: Sequence[Observation]) -> Size | None:
    pods, seconds = tests[0].values.get("pods"), [item.values.get("seconds") for item in tests]
    known = [float(value) for value in seconds if value is not None]
    return Size(float(pods), statistics.fmean(known)) if pods and known else None


def _assumption(values: Mapping[str, Any]) -> Assumption:
    limit = ClientLimit(
        str(values.get("component") or "binder"),
        float(values.get("qps") or 0.0),
        float(values.get("burst") or 0.0),
        float(values.get("requests_per_pod") or 1.0),
    )
    start_up = values.get("start_up_seconds")
    return Assumption(
        limit,
        str(values.get("requests") or ""),
        assumed_limit.START_UP if start_up is None else float(start_up),
    )


def _file_problem(path: Path, published: Mapping[str, Any], tests: Mapping[Key, Sequence[Observation]]) -> str:
    try:
        result = kai_result.read(path)
    except UsageError as error:
        return error.message
    if result.sha256 != published.get("sha256"):
        return f"sha256 {result.sha256[:12]}…, it was {str(published.get('sha256'))[:12]}…"
    there = {(item.test.scenario, item.repeat): _values(item) for item in result.measured}
    for items in tests.values():
        for item in items:
            if there.get((item.scenario or "", item.repeat or 0)) != dict(item.values):
                return f"{item.scenario}, result {item.repeat}: the observation is not what the file says"
    return ""


def _run(run_id: str, published: Mapping[str, Any], result: KaiResult, now: str) -> dict[str, Any]:
    ref = published["commit"] or published["ref"]
    return {
        "schema_version": 1,
        "run_id": run_id,
        "started_at": published["published_at"] or now,
        "ended_at": None,
        "imported_at": now,
        KIND: published,
        "command": f"python -m harness import kai-result {published['file']}",
        "tools": {"kai": {"version": str(ref), "source": "as published"}} if ref else {},
        "effective_configuration": {"kai": result.metadata["service_resources"]}
        if isinstance(result.metadata.get("service_resources"), Mapping)
        else None,
    }


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _count(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, (int, float)) else "unknown"
