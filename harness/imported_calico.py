# SPDX-License-Identifier: GPL-3.0-or-later
"""Published logs of the Calico start-up test: a results folder of them, and the records it gives."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import assumed_probe, calico_checks, calico_log, stats
from harness.assumed_probe import ProbeAssumption
from harness.bound_by import Finding
from harness.calico_checks import Expected
from harness.calico_log import CalicoLog
from harness.errors import UsageError
from harness.metrics import Metric
from harness.model import Evidence, Observation, PlannedRecord, Record
from harness.results import RunFolder, dumps, write_atomic

SUITE, KIND, FOLDER = "calico_scale", "calico_log", "imported"
START_UP = "calico_node_created_to_ready_seconds"
#: Both stamps of the start-up are whole seconds, of two clocks; the load's table has whole milliseconds.
SECOND, MILLISECOND = 1.0, 0.001
CLOCKS = {
    START_UP: "as published: the API server's creationTimestamp at the start, the test's own clock at the end",
    "": "as published: the load generator's own clock",
}
#: What the operator calls a dataplane and what it is called here.
DATAPLANES = {"Iptables": "iptables", "Nftables": "nftables", "BPF": "ebpf", "VPP": "vpp"}

Key = tuple[str, str, str]


@dataclass(frozen=True)
class ImportedCalico:
    tests: Mapping[Key, Sequence[Observation]]
    logs: Mapping[str, CalicoLog]  # by their place in the folder
    problems: Mapping[str, str]  # of those that are not what was imported
    assumption: ProbeAssumption
    expected: Expected

    def record(self, empty: Record, metric: Metric, planned: PlannedRecord) -> Record:
        """One published number; invalid where the log itself shows that it does not mean what its name says."""
        tests = sorted(self.tests[planned.suite, planned.scenario, planned.subject], key=lambda item: item.repeat or 0)
        proof = self._evidence(planned.metric, tests)
        described = replace(
            empty,
            n=len(tests),
            clock=CLOCKS.get(metric.name, CLOCKS[""]) if metric.unit == "s" else None,
            evidence=proof,
            parameters=self._parameters(metric, tests),
        )
        wrong = [f"{item.name}: {item.observed} (expected {item.expected})" for item in proof if not item.holds]
        if wrong:
            return replace(described, verdict="invalid", reason="evidence does not hold: " + "; ".join(wrong))
        logs = [self.logs[place(item)] for item in tests]
        values = [value for log in logs if (value := calico_checks.value(metric.name, log)) is not None]
        if len(values) < len(tests):
            reason = f"{len(tests) - len(values)} of {len(tests)} logs give no {metric.name}"
            return replace(described, verdict="invalid", reason=reason)
        value = statistics.fmean(values)
        finding = self._bound_by(metric, value)
        return replace(
            described,
            value=value,
            repeats=tuple(values),
            ci=stats.interval(values),
            resolution=self._resolution(metric, finding),
            bound_by=finding.bound_by,
            evidence=(*proof, finding.evidence) if finding.evidence else proof,
            verdict="measured",
            reason=" ".join(text for text in (finding.reason, _remark(logs)) if text),
        )

    def _evidence(self, metric: str, tests: Sequence[Observation]) -> tuple[Evidence, ...]:
        problems = [problem for item in tests if (problem := self.problems.get(place(item)))]
        intact = Evidence(
            "published_file_intact",
            "every log as it was imported, and every number as it stands there",
            "; ".join(problems) or "sha256 and numbers agree",
            not problems,
        )
        if problems:
            return (intact,)
        logs = [self.logs[place(item)] for item in tests]
        checks = calico_checks.OF_METRIC[metric]
        return (intact, *(_worst([check(log, self.expected) for log in logs]) for check in checks))

    def _bound_by(self, metric: Metric, value: float) -> Finding:
        if metric.name != START_UP:
            return Finding(None, "")
        every = [float(log.start_up) for log in self.logs.values() if log.start_up is not None]
        return assumed_probe.derive(self.assumption, value, every)

    def _resolution(self, metric: Metric, finding: Finding) -> float | None:
        if metric.name == START_UP:
            return self.assumption.period if finding.bound_by else SECOND
        return MILLISECOND if metric.unit == "s" else None

    def _parameters(self, metric: Metric, tests: Sequence[Observation]) -> dict[str, Any]:
        found: dict[str, Any] = {**tests[0].parameters}
        files = ", ".join(str(item.values["name"]) for item in tests)
        found["imported"] = {"file": files, "sha256": ", ".join(str(item.values["sha256"]) for item in tests)}
        if metric.name == START_UP:
            found["assumed"] = {"component": self.assumption.component, **self.assumption.document}
        return found


def write(run: RunFolder, logs: Sequence[CalicoLog], assumption: ProbeAssumption, expected: Expected) -> None:
    """The folder, as one of a run of our own: run.json, plan.json, the logs themselves and observations.jsonl."""
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    base = {"schema_version": 1, "run_id": run.run_id}
    seen = Counter[tuple[str, str]]()
    observations: list[dict[str, Any]] = [
        {**base, "at": now, "suite": SUITE, "kind": "assumption", "values": _assumed(assumption, expected)}
    ]
    (run.path / FOLDER).mkdir(parents=True, exist_ok=True)
    for number, log in enumerate(logs, start=1):
        key = (log.label.scenario, subject(log))
        seen[key] += 1
        observations.append(
            {
                **base,
                "at": now,
                "suite": SUITE,
                "scenario": key[0],
                "subject": key[1],
                "kind": KIND,
                "repeat": seen[key],
                "parameters": sizes(log),
                "values": {"place": f"{FOLDER}/{number:02d}.log", **log.document},
            }
        )
        write_atomic(run.path / f"{FOLDER}/{number:02d}.log", log.data)
    published = {"format": "Calico start-up test", "files": [{"file": log.name, "sha256": log.sha256} for log in logs]}
    names = " ".join(log.name for log in logs)
    document = {**base, "started_at": now, "ended_at": None, "imported_at": now, "imported": published}
    run.write_document("run", document | {"command": f"python -m harness import calico-log {names}"})
    records = [
        {"suite": SUITE, "scenario": scenario, "subject": name, "metric": metric, "repeats": repeats}
        for (scenario, name), repeats in seen.items()
        for metric in calico_checks.OF_METRIC
    ]
    run.write_document("plan", {**base, "created_at": now, "stages": [], "records": records, "parameters": {}})
    run.write_observations(observations)


def gather(path: Path, run: Mapping[str, Any], observations: Sequence[Observation]) -> ImportedCalico | None:
    """None for a run that holds no such log."""
    tests: dict[Key, list[Observation]] = {}
    for item in observations:
        if item.kind == KIND:
            tests.setdefault((item.suite, item.scenario or "", item.subject or ""), []).append(item)
    if not tests:
        return None
    logs: dict[str, CalicoLog] = {}
    problems: dict[str, str] = {}
    for item in (item for items in tests.values() for item in items):
        where = place(item)
        try:
            logs[where] = log = calico_log.read(path / where, str(item.values.get("name")))
        except UsageError as error:
            problems[where] = error.message
            continue
        told = {name: value for name, value in item.values.items() if name != "place"}
        if log.sha256 != told.get("sha256"):
            problems[where] = f"{log.name}: sha256 {log.sha256[:12]}…, it was {str(told.get('sha256'))[:12]}…"
        elif json.loads(dumps(log.document)) != told or (item.scenario, item.subject) != (
            log.label.scenario,
            subject(log),
        ):
            problems[where] = f"{log.name}: the observation is not what the log says"
    assumed = next((item.values for item in observations if item.kind == "assumption"), {})
    return ImportedCalico(tests, logs, problems, *_assumption(assumed))


def place(item: Observation) -> str:
    return str(item.values.get("place"))


def subject(log: CalicoLog) -> str:
    """As asked of the operator; no log shows what the nodes ran."""
    return f"calico_{DATAPLANES.get(log.dataplane, log.dataplane.lower())}" if log.dataplane else "calico"


def sizes(log: CalicoLog) -> dict[str, Any]:
    """What was asked for by the label, and what was counted: never one number."""
    counted = {
        "nodes_counted": log.nodes,
        "nodes_counted_are_ready": log.nodes_are_ready,
        "policies_counted": log.policies,
        "services_counted": log.services,
        "encapsulation": log.encapsulation,
        "bgp": log.bgp,
        "kubernetes": log.kubernetes,
        "dataplane_asked": log.dataplane,
    }
    asked = {f"{name}_asked": value for name, value in log.label.claims.items()}
    return {
        **asked,
        **{name: value for name, value in counted.items() if value is not None},
        "dataplane_observed": None,
    }


def _worst(found: Sequence[Evidence]) -> Evidence:
    """Of several logs those for which it does not hold; of all that hold the first speaks."""
    broken = [item for item in found if not item.holds]
    return (
        replace(broken[0], observed="; ".join(dict.fromkeys(item.observed for item in broken))) if broken else found[0]
    )


def _remark(logs: Iterable[CalicoLog]) -> str:
    stale = any(log.nodes_are_ready is False for log in logs)
    return "The nodes were counted whether they were Ready or not." if stale else ""


def _assumed(assumption: ProbeAssumption, expected: Expected) -> dict[str, Any]:
    return {
        "component": assumption.component,
        **assumption.document,
        "other_nodes": expected.other_nodes,
        "fewest_requests": expected.fewest_requests,
        "most_failed": expected.most_failed,
    }


def _assumption(told: Mapping[str, Any]) -> tuple[ProbeAssumption, Expected]:
    probe, expected = ProbeAssumption(), Expected()
    return (
        ProbeAssumption(
            str(told.get("component") or probe.component),
            float(told.get("period_seconds") or probe.period),
            float(told.get("first_probe_seconds", probe.first_probe)),
        ),
        Expected(
            int(told.get("other_nodes", expected.other_nodes)),
            int(told.get("fewest_requests", expected.fewest_requests)),
            float(told.get("most_failed", expected.most_failed)),
        ),
    )
