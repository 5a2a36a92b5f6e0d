# SPDX-License-Identifier: GPL-3.0-or-later
"""The results folder of churn that never was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.churn.gangs import COLUMNS, METRICS
from harness.results import RunFolder

RUN_ID = "20261122T183000Z-1a2b"
SUITE, SCENARIO, SUBJECT = "calico_scale", "churn", "calico_nftables"
GANGS, PODS, REQUESTS = 2, 2, 100
Rows = list[dict[str, Any]]
ENGINE = {"asked": "nftables", "observed": "nftables", "holds": True, "reason": "nftables on all 2 nodes"}
NO_ENGINE = {"asked": "none", "observed": "none", "holds": True, "reason": "none on all 2 nodes"}


def rows(shift: float = 0.0) -> Rows:
    empty = dict.fromkeys(COLUMNS)
    pods = [
        empty | {
            "row": "pod", "gang": gang, "pod": f"job-{gang}-{pod}", "node": f"real-{pod}",
            "posted": gang * 2.0, "answered": gang * 2.0 + 0.01, "running": gang * 2.0 + 1.0 + pod / 2 + shift,
            "opened": gang * 2.0 + 1.6, "job_first": gang * 2.0 + 1.7 + shift, "deleted": 6.0, "gone": 6.8,
            "job_sent": 100, "job_arrived": 95, "stranger_sent": 100, "stranger_arrived": 3, "stranger_settled": True,
            "false_deny": 0.10 + shift, "false_allow": 0.04, "gap": 0.021,
        }
        for gang in range(GANGS) for pod in range(PODS)
    ]  # fmt: skip
    requests = [
        empty | {"row": "request", "phase": phase, "due": number / 25, "seconds": seconds}
        for phase, seconds in (("quiet", 0.002), ("churn", 0.003 + shift))
        for number in range(REQUESTS)
    ]
    return [*pods, *requests]


def values(found: Rows, dataplane: Mapping[str, Any] = ENGINE) -> dict[str, Any]:
    pods = [row for row in found if row["row"] == "pod"]
    gangs = [[row for row in pods if row["gang"] == gang] for gang in range(GANGS)]
    told = {
        phase: {
            "asked": len(mine := [row for row in found if row["phase"] == phase]),
            "answered": sum(1 for row in mine if not row["failure"]),
            "goodput_bytes_per_second": 409600.0,
            "offered_bytes_per_second": 409600.0,
        }
        for phase in ("quiet", "churn")
    }
    return {
        "plan": {
            "gangs": GANGS,
            "pods_per_gang": PODS,
            "gangs_per_second": 0.5,
            "policies_per_gang": 1,
            "background_policies": 0,
            "nodes": 2,
        },
        "asked": GANGS * PODS,
        "running": sum(1 for row in pods if row["running"] is not None),
        "gone": sum(1 for row in pods if row["gone"] is not None),
        "gangs": {
            "reached": sum(all(row["job_arrived"] for row in rows) for rows in gangs),
            "kept_apart": sum(all(row["stranger_settled"] for row in rows) for rows in gangs),
        },
        "rates": {"created_per_second": 1.9, "running_per_second": 0.95, "gone_per_second": 2.0},
        "requests": told,
        "active_policies": {}
        if dataplane["observed"] == "none"
        else {f"real-{n}": {"first": 1.0, "most": 3.0} for n in (0, 1)},
        "background_policies": 0,
        "nodes": {key: {"existing": 2, "ready": 2} for key in ("before", "after")},
        "probe": {"largest_gap_seconds": 0.021, "cpu_ratio_of_core": 0.03},
        "cpu_seconds_per_pod": 0.4,
        "dataplane": dict(dataplane),
        "machine": {
            "cpus": 2,
            "cpu_busy_ratio": 0.3,
            "steal_ratio": 0.0,
            "other_cpu_ratio": 0.2,
            "processes": {name: {"cpu_seconds": 4.0} for name in ("kube-apiserver", "etcd")},
        },
        **resources(dataplane["observed"] != "none"),
    }


def resources(felix: bool) -> dict[str, Any]:
    """20 s long: API server and etcd use a fifth of a core each, every Felix a tenth."""
    size = {"first_bytes": 1.0e6, "max_bytes": 3.0e6, "last_bytes": 2.0e6}
    return {
        "window": {"seconds": 20.0, "end": 1795372260.0},
        "memory": dict.fromkeys(("kube-apiserver", "etcd"), size),
        "programs": {f"real-{n}": {"cpu_seconds": 2.0, **size} for n in (0, 1)} if felix else {},
        "storage": {
            "first_bytes": 8.0e6, "last_bytes": 8.0e6, "in_use_first_bytes": 4.0e6, "in_use_last_bytes": 6.0e6,
        },
    }  # fmt: skip


def build(root: Path, repeats: Sequence[tuple[Mapping[str, Any], Rows]]) -> RunFolder:
    """(values, rows) of each repeat."""
    folder = RunFolder(root / RUN_ID)
    (folder.path / "samples").mkdir(parents=True)
    base = {"schema_version": 1, "run_id": RUN_ID}
    named = {"suite": SUITE, "scenario": SCENARIO, "subject": SUBJECT}
    observations = []
    for number, (told, found) in enumerate(repeats, start=1):
        path = f"samples/{number}.jsonl"
        data = "".join(json.dumps(row) + "\n" for row in found).encode()
        (folder.path / path).write_bytes(data)
        samples = {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "rows": len(found)}
        observations.append(
            {**base, **named, "at": f"2026-11-22T18:3{number}:00.000000Z", "kind": "churn", "repeat": number,
             "parameters": {}, "values": told, "samples": samples}
        )  # fmt: skip
    records = [{**named, "metric": metric, "repeats": len(repeats)} for metric in METRICS]
    plan = {**base, "created_at": "2026-11-22T18:30:00Z", "stages": [], "records": records, "parameters": {}}
    (folder.path / "plan.json").write_text(json.dumps(plan))
    (folder.path / "run.json").write_text(json.dumps({**base, "started_at": "2026-11-22T18:30:00Z"}))
    (folder.path / "observations.jsonl").write_text("".join(json.dumps(one) + "\n" for one in observations))
    return folder
