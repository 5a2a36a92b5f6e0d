# SPDX-License-Identifier: GPL-3.0-or-later
"""A run in the form of the KAI project's scale suite, so that its dashboard can read it.

kwok_scale_test.json                          what the suite itself writes
dashboard/Public/manifest.json                the list of runs that the dashboard begins with
dashboard/Public/<run-id>/results.json        the same tests with the metadata that the dashboard shows
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import kai_tests, metrics
from harness.kai_tests import KaiTest, go_duration
from harness.model import Observation, Record
from harness.pod_load import PodLoad
from harness.reader import Key, Material
from harness.results import dumps, write_atomic

SUITE, KAI = "scheduler_scale", "kai"
FILE, DASHBOARD = "kwok_scale_test.json", "dashboard"
#: Upstream publishes the mean over the Jobs where we publish the median.
MEANS = ("average ",)
SERVICES = {
    "podgroupcontroller": "podGroupController",
    "queuecontroller": "queueController",
    "podgrouper": "podGrouper",
}


def write(path: Path, material: Material, run: Mapping[str, Any], records: Sequence[Record]) -> None:
    """Nothing for a run without a scenario that has a name there; what an earlier report wrote goes then."""
    subject = _subject(material)
    tests = [test for key in _keys(material, subject) if (test := _test(key, material, records)) is not None]
    if not tests:
        (path / FILE).unlink(missing_ok=True)
        shutil.rmtree(path / DASHBOARD, ignore_errors=True)
        return
    good = all(test["status"] == "success" for test in tests)
    results = {"status": "success" if good else "failure", "tests": tests}
    metadata = _metadata(material, run, subject)
    place = f"Public/{material.run_id}/results.json"
    listed = {"timestamp": metadata["timestamp"], "path": place, "commit": metadata["kai_commit_hash"]}
    _write(path / FILE, results)
    _write(path / DASHBOARD / place, {"metadata": metadata, "results": results})
    _write(path / DASHBOARD / "Public/manifest.json", {"runs": [listed]})


def _subject(material: Material) -> str:
    """KAI where it was measured; its dashboard has a place for one scheduler only."""
    found = [key[2] for key in material.loads if key[0] == SUITE and _upstream(_loads(material, key))]
    return KAI if KAI in found or not found else found[0]


def _keys(material: Material, subject: str) -> list[Key]:
    planned = [(r.suite, r.scenario, r.subject) for r in material.plan.records] if material.plan else []
    return [key for key in dict.fromkeys(planned) if key[0] == SUITE and key[2] == subject and key in material.loads]


def _loads(material: Material, key: Key) -> list[PodLoad]:
    return [load for load in material.loads[key] if isinstance(load, PodLoad)]


def _upstream(loads: Sequence[PodLoad]) -> Mapping[str, Any]:
    """What the scenario is called there, as its load was told; a load of one part is told nothing."""
    if not loads:
        return {}
    found = loads[0].parameters.get("upstream")
    if isinstance(found, Mapping) and found.get("test_name"):
        return found
    known = kai_tests.of_scenario(loads[0].observation.scenario or "")
    plain = known is not None and re.escape(known.name).replace(r"\ ", " ").replace(r"\-", "-") == known.name
    return {"test_name": known.name, "timing_field": known.timing_field} if known is not None and plain else {}


def _test(key: Key, material: Material, records: Sequence[Record]) -> dict[str, Any] | None:
    loads = _loads(material, key)
    upstream = _upstream(loads)
    if not upstream:
        return None
    known = kai_tests.of_scenario(key[1])
    timing_field = str(upstream.get("timing_field") or (known.timing_field if known else "time"))
    own = [record for record in records if (record.suite, record.scenario, record.subject) == key]
    record = next((r for r in own if known is not None and r.metric == known.metric), None)
    record = record or next((r for r in own if r.unit == "s" and r.direction == "lower"), None)
    details = _details(known, loads)
    name = str(upstream["test_name"])
    # Where upstream counts in the name, the count is that of this run.
    if name.startswith("Reclaim ") and "jobs" in details:
        name = re.sub(r"\d+", str(details["jobs"]), name, count=1)
    if record is None or record.value is None:
        reason = record.reason if record is not None else "no time was measured"
        return {"test_name": name, "status": "failure", "details": {**details, "reason": reason}}
    seconds = record.value
    if timing_field.startswith(MEANS):
        metric = metrics.table()[record.metric]
        seconds = statistics.fmean(value for load in loads for value in metrics.distribution(metric, load))
    time: Any = go_duration(seconds) if timing_field == "time" else seconds
    details = dict(sorted({**details, timing_field: time}.items()))
    return {"test_name": name, "status": "success", "details": details}


def _details(known: KaiTest | None, loads: Sequence[PodLoad]) -> dict[str, Any]:
    """What upstream writes beside the time: counts of the first repeat, for all have the same."""
    load = loads[0]
    measured = [part for part in load.parts if part.get("measured")]
    gpus = sum(sample.gpus or 0 for sample in load.samples)
    jobs = int(load.number("jobs", "asked") or load.pods)
    each = int(measured[0].get("pods_per_job") or 1) if measured else 1
    completed = min(metrics.reached(item, "completed") for item in loads)
    counts: dict[str, Any] = {
        "jobs": jobs,
        "pods": load.pods,
        "nodes": load.parameters.get("nodes"),
        # Of a pod that never got a node the samples do not hold what it asked for.
        "gpus": gpus or None,
        "pods_per_job": each,
        "gpus_per_job": round(gpus / jobs) if jobs and gpus else None,
        "victims": sum(1 for sample in load.every_sample if sample.measured is False and not sample.replacement),
        "completed": completed,
        "pending": sum(1 for sample in load.samples if sample.bound is None),
    }
    wanted = known.details if known is not None else {"nodes": "nodes", "pods": "pods"}
    found = {name: counts[what] for name, what in wanted.items() if counts[what] is not None}
    return {name: int(value) if isinstance(value, float) else value for name, value in found.items()}


def _metadata(material: Material, run: Mapping[str, Any], subject: str) -> dict[str, Any]:
    tools = run.get("tools") or {}
    tool = tools.get(subject) or tools.get(f"{subject}-scheduler") or {}
    told = _last(material, "subject", subject)
    version = str((told.values.get("version") if told else None) or tool.get("version") or "")
    nodes = _last(material, "nodes", subject)
    return {
        "kai_scheduler_ref": version if subject == KAI else f"{subject} {version}".strip(),
        "kai_commit_hash": str(tool.get("commit") or ""),
        "kwok_node_count": nodes.values.get("asked") if nodes else None,
        # Real nodes take no part in a load: its pods are kept to those that kwok plays.
        "cluster_node_count": 0,
        "test_focus": "",
        "timestamp": _timestamp(run.get("started_at")),
        "service_resources": _resources(_last(material, "fairness", subject)),
    }


def _resources(fairness: Observation | None) -> dict[str, Any]:
    """Limits of each component; one that has none is listed without."""
    found: dict[str, Any] = {}
    for resource in ("cpu", "memory"):
        limits = fairness.values.get(resource) if fairness else None
        for name, value in (limits if isinstance(limits, Mapping) else {}).items():
            service = found.setdefault(SERVICES.get(str(name), str(name)), {"limits": {}, "requests": {}})
            told = value if isinstance(value, Mapping) else {"limit": value}
            for kind, key in (("limits", "limit"), ("requests", "request")):
                amount = told.get(key)
                if amount is not None and re.match(r"^[\d.]+[A-Za-z]*$", str(amount)):
                    service[kind][resource] = str(amount)
    return found


def _last(material: Material, kind: str, subject: str) -> Observation | None:
    there = [item for item in material.observations if item.kind == kind and item.suite == SUITE]
    own = [item for item in there if item.subject == subject]
    fitting = own or [item for item in there if item.subject is None or kind == "nodes"]
    return fitting[-1] if fitting else None


def _timestamp(value: Any) -> str:
    """As the dashboard has them: UTC, whole seconds."""
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return ""
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _write(path: Path, document: Any) -> None:
    write_atomic(path, json.dumps(json.loads(dumps(document)), indent=2, ensure_ascii=False) + "\n")
