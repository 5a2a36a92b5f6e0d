# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the results folder of a run that never was: from a few numbers, with faults planted where a test wants them."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.results import RunFolder

RUN_ID = "20261122T183000Z-1a2b"
SUITE = "scheduler_scale"
SUBJECT = "kube-scheduler"
OFF, ON = "fill_scheduler_off", "fill_scheduler_on"
METRICS = {
    OFF: (
        "bind_all_seconds",
        "run_all_seconds",
        "first_bind_to_last_bind_seconds",
        "scheduler_start_to_first_bind_seconds",
        "pods_bound_per_second",
        "pods_created_per_second",
        "pod_created_to_bound_seconds",
        "pod_bound_to_running_seconds",
    ),
    ON: (
        "bind_all_seconds",
        "run_all_seconds",
        "first_bind_to_last_bind_seconds",
        "pods_bound_per_second",
        "pods_created_per_second",
        "pod_created_to_bound_seconds",
        "pod_bound_to_running_seconds",
    ),
}


@dataclass(frozen=True)
class Shape:
    """What the imaginary cluster is like. Binding goes at bind_rate or as the token bucket lets it."""

    pods: int = 800
    nodes: int = 100
    gpus_per_node: int = 8
    repeats: int = 3
    scenarios: Sequence[str] = (OFF, ON)
    creation_rate: float = 700.0
    rate_asked: float | None = None
    ceiling: float | None = 2800.0
    bind_rate: float = 260.0
    qps: float = 5000.0
    burst: float = 10000.0
    parallelism: int = 16
    requests_per_pod: float = 1.0
    confirmed: bool = True
    moved_by_doubling: bool = True
    busy: float = 0.62
    processes: Sequence[tuple[str, float]] = (("kube-apiserver", 0.3), ("kube-scheduler", 0.2), ("kwok", 0.1))
    audit: bool = True
    objectives: Sequence[tuple[str, dict[str, float]]] = ()
    spread: float = 0.01
    version: str = "1.36.3"


Edit = Callable[["Run"], None]


@dataclass
class Run:
    """Everything as it will be written; an edit may change any of it."""

    shape: Shape
    plan: dict[str, Any] | None
    run: dict[str, Any]
    observations: list[dict[str, Any]]
    rows: dict[str, list[dict[str, Any]]]
    failures: dict[str, dict[str, Any]]

    def loads(self, scenario: str = OFF, kind: str = "pod_load") -> list[dict[str, Any]]:
        return [item for item in self.observations if item["kind"] == kind and item["scenario"] == scenario]

    def rows_of(self, observation: dict[str, Any]) -> list[dict[str, Any]]:
        return self.rows[observation["samples"]["path"]]


def build(
    root: Path,
    shape: Shape | None = None,
    *,
    edits: Sequence[Edit] = (),
    tampering: Sequence[Callable[[Path], None]] = (),
    run_id: str = RUN_ID,
) -> RunFolder:
    """Write a run; `edits` change what is written, `tampering` changes the files afterwards."""
    run = imagine(shape or Shape(), run_id)
    for edit in edits:
        edit(run)
    folder = root / run_id
    folder.mkdir(parents=True)
    if run.plan is not None:
        (folder / "plan.json").write_text(json.dumps(run.plan))
    (folder / "run.json").write_text(json.dumps(run.run))
    for path, rows in run.rows.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for item in run.observations:
        if item.get("samples"):
            data = (folder / item["samples"]["path"]).read_bytes()
            item["samples"] |= {"sha256": hashlib.sha256(data).hexdigest(), "rows": len(data.splitlines())}
    (folder / "observations.jsonl").write_text("".join(json.dumps(item) + "\n" for item in run.observations))
    for stage in (run.plan or {"stages": [{"folder": "01__start"}]})["stages"]:
        (folder / "stages" / stage["folder"]).mkdir(parents=True)
    for stage_folder, failure in run.failures.items():
        (folder / "stages" / stage_folder).mkdir(parents=True, exist_ok=True)
        (folder / "stages" / stage_folder / "FAILURE").write_text(json.dumps(failure))
    for tamper in tampering:
        tamper(folder)
    return RunFolder(folder)


def imagine(shape: Shape, run_id: str) -> Run:
    run = Run(shape, _plan(shape, run_id), _run(run_id), [], {}, {})
    add = _adder(run, run_id)
    add(
        "nodes",
        values=dict.fromkeys(("asked", "existing", "ready", "with_gpus"), shape.nodes)
        | {"gpus_per_node": shape.gpus_per_node},
    )
    if shape.ceiling is not None:
        add("calibration", subject="calibration", values={"ceiling_per_second": shape.ceiling})
    for scenario in shape.scenarios:
        add("subject", scenario=scenario, values=_subject(shape))
        for repeat in range(1, shape.repeats + 1):
            values, rows = pod_load(shape, scenario, repeat)
            add("pod_load", scenario=scenario, repeat=repeat, values=values, rows=rows, parameters={"connections": 16})
        if shape.confirmed:
            second = replace(shape, pods=max(shape.pods // 2, 1))
            add(
                "confirmation",
                scenario=scenario,
                repeat=1,
                parameters={"role": "second_size"},
                rows=None,
                values=pod_load(second, scenario, 1)[0],
            )
            doubled = replace(shape, qps=2 * shape.qps, burst=2 * shape.burst) if shape.moved_by_doubling else shape
            add(
                "confirmation",
                scenario=scenario,
                repeat=1,
                parameters={"role": "doubled_limit", "qps": 2 * shape.qps, "burst": 2 * shape.burst},
                values=pod_load(doubled, scenario, 1)[0],
            )
    return run


def pod_load(shape: Shape, scenario: str, repeat: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One repeat: its values and its samples."""
    chance = random.Random(f"{scenario}{repeat}")
    pace = 1 + shape.spread * (repeat - 2)
    off = scenario == OFF
    rate = shape.rate_asked or shape.creation_rate
    created = [0.05 + index / rate for index in range(shape.pods)]
    create_ended = created[-1] + 0.01
    released = round(create_ended + 0.5, 6) if off else None
    first = (released + 1.4 + 0.05 * repeat) if released is not None else created[0] + 0.01
    bound, previous = [], 0.0
    for index in range(shape.pods):
        at = first + index * pace / shape.bind_rate
        if shape.qps > 0:
            # The first bind takes its token out of a full bucket.
            at = max(at, first + (shape.requests_per_pod * (index + 1) - shape.burst) / shape.qps)
        at = max(at, created[index] + 0.004, previous)
        bound.append(at)
        previous = at
    running = [at + 0.02 + 0.03 * chance.random() for at in bound]
    delete_started = max(running) + 0.5
    rows = [
        {
            "name": f"fill-{index:05d}",
            "uid": f"00000000-0000-4000-8000-{index:012d}",
            "posted": round(created[index] - 0.004, 6),
            "answered": round(created[index], 6),
            "seen": round(created[index] + 0.001, 6),
            "created": round(created[index], 6),
            "bound": round(bound[index], 6),
            "running": round(running[index], 6),
            "deleted": round(delete_started + index / 1000, 6),
            "node": f"node-{index % shape.nodes:04d}",
            "gpus": 1,
            "audit_created": round(created[index] - 0.001, 6) if shape.audit else None,
            "audit_bound": round(bound[index] - 0.002, 6) if shape.audit else None,
            "audit_running": round(running[index] - 0.002, 6) if shape.audit else None,
            "started": float(math.floor(running[index] - 0.003)),
            "scheduled": float(math.floor(bound[index] - 0.003)),
            "failure": None,
        }
        for index in range(shape.pods)
    ]
    values = {
        "asked": shape.pods,
        "created": shape.pods,
        "failed": 0,
        "missing": 0,
        "bound": shape.pods,
        "running": shape.pods,
        "deleted": shape.pods,
        "unaccounted": [],
        "create_started": 0.046,
        "create_ended": round(create_ended, 6),
        "released": released,
        "release_ready": round(released + 0.9, 6) if released is not None else None,
        "first_bind": min(row["bound"] for row in rows),
        "last_bind": max(row["bound"] for row in rows),
        "first_running": min(row["running"] for row in rows),
        "last_running": max(row["running"] for row in rows),
        "delete_started": round(delete_started, 6),
        "delete_ended": rows[-1]["deleted"],
        "bound_before_release": 0,
        "max_gpus_on_a_node": -(-shape.pods // shape.nodes),
        "max_gpus_at_node": "node-0000",
        "creation_rate": rate,
        "connections": 16,
        "rate_asked": shape.rate_asked,
        "clock": {
            "name": "client monotonic, watch event arrival",
            "resolution_seconds": 0.004,
            "method": "p99 of |watch ADDED arrival - POST response arrival|",
            "wall_offset_start": 1795285800.0,
            "wall_offset_end": 1795285800.0004,
        },
        "audit": _audit(shape, rows),
        "retries": {"429": 0, "5xx": 0, "dropped": 0},
        "relists": 0,
        "watch_events": 4 * shape.pods,
        "watch_bytes": 9000 * shape.pods,
        "machine": {
            "window": "released..last_bind" if off else "create_started..last_bind",
            "seconds": 4.0,
            "cpus": 2,
            "cpu_busy_ratio": shape.busy,
            "steal_ratio": 0.0,
            "pressure": {"cpu": 0.4, "io": 0.0, "memory": 0.0},
            "throttled_seconds": 0.0,
            "processes": {
                name: {"cpu_seconds": 8 * share, "cpu_ratio_of_machine": share} for name, share in shape.processes
            },
            "other_cpu_ratio": 0.01,
        },
        "generator": {"cpu_seconds": 1.2, "max_rss_bytes": 90_000_000},
    }
    return values, rows


def _audit(shape: Shape, rows: list[dict[str, Any]]) -> dict[str, Any]:
    if not shape.audit:
        return {"available": False, "reason": "this cluster gives no audit log"}
    binds, ran = [row["audit_bound"] for row in rows], [row["audit_running"] for row in rows]
    requests = {"create pods/binding": len(rows), "create events": len(rows), "update leases": 3}
    extra = round((shape.requests_per_pod - 1) * len(rows))
    if extra:
        requests["patch pods/status"] = extra
    return {
        "available": True,
        "first_bind": min(binds),
        "last_bind": max(binds),
        "bound": len(rows),
        "first_running": min(ran),
        "last_running": max(ran),
        "running": len(ran),
        "requests_per_pod": {SUBJECT: shape.requests_per_pod + 1},
        "requests": {SUBJECT: requests},
    }


def _subject(shape: Shape) -> dict[str, Any]:
    return {
        "version": f"v{shape.version}",
        "asked_version": shape.version,
        "qps": shape.qps,
        "burst": shape.burst,
        "parallelism": shape.parallelism,
        "source": "/configz",
    }


def _plan(shape: Shape, run_id: str) -> dict[str, Any]:
    names = ("start", "environment", SUITE, "report", "teardown", "verdict")
    objectives = dict(shape.objectives)
    return {
        "schema_version": 1,
        "run_id": run_id,
        "created_at": "2026-11-22T18:30:00Z",
        "stages": [
            {"name": name, "folder": f"{number:02d}__{name}", "playbook": f"{name}.yml"}
            for number, name in enumerate(names, start=1)
        ],
        "records": [
            {
                "suite": SUITE,
                "scenario": scenario,
                "subject": SUBJECT,
                "metric": metric,
                "repeats": shape.repeats,
                "objective": objectives.get(metric),
            }
            for scenario in shape.scenarios
            for metric in METRICS[scenario]
        ],
        "parameters": {"kwok_nodes_count": shape.nodes},
    }


def _run(run_id: str) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "run_id": run_id,
        "started_at": "2026-11-22T18:30:00Z",
        "ended_at": "2026-11-22T18:36:12Z",
        "exit_code": None,
        "host": {
            "hostname": "bench-1",
            "kernel": "6.1.0-26-amd64",
            "os": "Debian GNU/Linux 12 (bookworm)",
            "cpus": 2,
            "cpu_model": "Imaginary 9000",
            "memory_bytes": 25_769_803_776,
        },
        "git": {"revision": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
        "inventory": "inventories/local",
        "command": "ansible-playbook playbooks/nightly.yml",
        "variables": {"kwok_nodes_count": "100"},
        "tools": {
            "kube-scheduler": {
                "version": "1.36.3",
                "source": "go_module",
                "sha256": "ab" * 32,
                "path": "/cache/kube-scheduler",
            },
            "etcd": {"version": "3.6.10", "source": "go_module", "sha256": "cd" * 32, "path": "/cache/etcd"},
        },
        "effective_configuration": {"kube-scheduler": {"qps": 5000, "burst": 10000, "parallelism": 16}},
        "environment_roles": ["toolchain", "control_plane", "kwok_nodes", "prometheus"],
    }


def _adder(run: Run, run_id: str) -> Callable[..., None]:
    def add(
        kind: str,
        *,
        values: dict[str, Any],
        scenario: str | None = None,
        subject: str = SUBJECT,
        repeat: int | None = None,
        parameters: dict[str, Any] | None = None,
        rows: list[dict[str, Any]] | None = None,
    ) -> None:
        path = f"samples/{SUITE}/{scenario}.{subject}.{repeat}.jsonl"
        if rows is not None:
            run.rows[path] = rows
        run.observations.append(
            {
                "schema_version": 1,
                "run_id": run_id,
                "at": f"2026-11-22T18:31:{len(run.observations):02d}.000000Z",
                "suite": SUITE,
                "scenario": scenario,
                "subject": subject,
                "kind": kind,
                "repeat": repeat,
                "parameters": parameters or {},
                "values": values,
                "samples": {"path": path} if rows is not None else None,
            }
        )

    return add
