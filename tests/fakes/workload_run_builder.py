# SPDX-License-Identifier: GPL-3.0-or-later
"""The results folder of workloads that never ran: rows as bench_workload writes them, with times that a test plants."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.results import RunFolder
from harness.workload.rows import MOMENTS

RUN_ID = "20261122T183000Z-1a2b"
SUITE, SUBJECT = "workload_patterns", "fake_nodes"
Rows = list[dict[str, Any]]


def row(kind: str, step: str, name: str, gpus: int = 0, copy: int | None = None, **moments: float) -> dict[str, Any]:
    stamps = {moment: moments.get(moment) for moment in MOMENTS}
    node = "fake-0" if "bound" in moments else None
    return {
        "row": kind,
        "step": step,
        "name": name,
        "copy": copy,
        "replicas": None,
        "gpus": gpus,
        "cpus": 4.0 if kind == "pod" else 0.0,
        "memory_bytes": 8 << 30 if kind == "pod" else 0,
        "node": node,
        "failure": None,
        **stamps,
    }


def step(name: str, begin: float, end: float, action: str = "patch") -> dict[str, Any]:
    return row("step", name, action, sent=begin, reached=end)


def pod(step_name: str, name: str, created: float, seconds: float = 0.1, **more: Any) -> dict[str, Any]:
    """Bound at once, Ready after so long."""
    ready = created + seconds
    return row(
        "pod", step_name, name, **{"created": created, "bound": created, "running": ready, "ready": ready, **more}
    )


def values(found: Rows, **changes: Any) -> dict[str, Any]:
    steps, requests, pods = (sum(1 for one in found if one["row"] == kind) for kind in ("step", "request", "pod"))
    form = {
        "objects": 2,
        "kinds": ["Job"],
        "fields": 40,
        "findings": [],
        "api_server": [{"object": "Job a", "accepted": True}],
    }
    machine = {"cpus": 2, "cpu_busy_ratio": 0.3, "steal_ratio": 0.0, "other_cpu_ratio": 0.01, "processes": {}}
    return {
        "asked": steps,
        "done": steps,
        "missing": 0,
        "waited_for": [],
        "requests": {"sent": requests, "failed": 0, "failures": []},
        "pods": pods,
        "jobs_failed": [],
        "planted": {},
        "forms": {"plain": form},
        "pattern": {"title": "Training", "simulated": ["the work"], "seed": {}},
        "machine": machine,
        **changes,
    }


Repeats = Sequence[tuple[Mapping[str, Any], Rows]]


#: What the runs were asked for.
PARAMETERS: Mapping[str, Any] = {
    "prices": {"gpu_hour": 2.0, "cpu_hour": 0.25, "memory_gib_hour": 0.125, "source": "a price list"},
    "checkpoint_seconds": 0.75,
    "steps": [{"name": "start"}, {"name": "restart", "after_seconds": 2.0}],
}


def build(
    root: Path, scenarios: Mapping[str, tuple[Sequence[str], Repeats]], parameters: Mapping[str, Any] = PARAMETERS
) -> RunFolder:
    """Scenario → its metrics, and (values, rows) of each repeat."""
    folder = RunFolder(root / RUN_ID)
    folder.path.mkdir(parents=True)
    base = {"schema_version": 1, "run_id": RUN_ID}
    observations, planned = [], []
    for scenario, (metrics, repeats) in scenarios.items():
        for number, (told, found) in enumerate(repeats, start=1):
            path = f"samples/{scenario}.{number}.jsonl"
            (folder.path / "samples").mkdir(exist_ok=True)
            data = "".join(json.dumps(one) + "\n" for one in found).encode()
            (folder.path / path).write_bytes(data)
            reference = {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "rows": len(found)}
            observations.append(
                {**base, "at": f"2026-11-22T18:3{number}:00.000000Z", "suite": SUITE, "scenario": scenario,
                 "subject": SUBJECT, "kind": "workload", "repeat": number, "parameters": dict(parameters),
                 "values": dict(told), "samples": reference}
            )  # fmt: skip
        named = {"suite": SUITE, "scenario": scenario, "subject": SUBJECT, "repeats": len(repeats)}
        planned += [{**named, "metric": metric} for metric in metrics]
    plan = {**base, "created_at": "2026-11-22T18:30:00Z", "stages": [], "records": planned, "parameters": {}}
    (folder.path / "plan.json").write_text(json.dumps(plan))
    (folder.path / "run.json").write_text(json.dumps({**base, "started_at": "2026-11-22T18:30:00Z"}))
    (folder.path / "observations.jsonl").write_text("".join(json.dumps(one) + "\n" for one in observations))
    return folder
