# SPDX-License-Identifier: GPL-3.0-or-later
"""The results folder of a run of several parts on a subject of several components, which never was.

Victims fill the nodes, gangs want their place: group, decision and bind of every pod, evictions between. Faults are
planted by edits, as in run_builder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.results import RunFolder
from tests.fakes import run_builder
from tests.fakes.run_builder import RUN_ID, SUITE, Edit, Run

SUBJECT = "kai"
METRICS = (
    *("bind_all_seconds", "reclaim_all_seconds", "first_bind_to_last_bind_seconds", "pods_bound_per_second"),
    *("pod_created_to_bound_seconds", "pod_created_to_grouped_seconds", "pod_grouped_to_decided_seconds"),
    "pod_decided_to_bound_seconds",
)


@dataclass(frozen=True)
class JobShape:
    """Gangs of `gang` pods with a GPU each on nodes of eight; where there are victims they hold all nodes before."""

    scenario: str = "reclaim_all"
    nodes: int = 10
    gangs: int = 10
    gang: int = 8
    victims: bool = True
    completes: bool = False
    consolidates: bool = False
    level: str = ""
    repeats: int = 3
    metrics: Sequence[str] = METRICS
    expectations: Sequence[Any] = ("gang_atomic", "queues_within_limits", "victims_keep_min_member")
    upstream: tuple[str, str] | None = ("Reclaim 4000 single GPU Jobs", "time")
    limit: int = -1  # of the measured queue, in GPUs
    group_after: float = 0.02
    decide_after: float = 0.05
    bind_after: float = 0.005
    decide_rate: float = 200.0
    qps: float = 1000.0  # of the binder's client, as it is set
    burst: float = 2000.0
    real_qps: float | None = None  # of the binder's client, as it is; by default as it is set
    real_burst: float | None = None
    scheduler_qps: float = 1000.0
    scheduler_burst: float = 2000.0
    audit: bool = True
    busy: float = 0.5

    @property
    def pods(self) -> int:
        return self.gangs * self.gang


def build(root: Path, shape: JobShape | None = None, *, edits: Sequence[Edit] = (), run_id: str = RUN_ID) -> RunFolder:
    wanted = shape or JobShape()

    def replace_all(run: Run) -> None:
        _imagine(run, wanted)
        for edit in edits:
            edit(run)

    return run_builder.build(root, run_builder.Shape(scenarios=()), edits=[replace_all], run_id=run_id)


def loads(run: Run) -> list[dict[str, Any]]:
    return [item for item in run.observations if item["kind"] == "pod_load"]


def rows(run: Run, repeat: int = 2) -> list[dict[str, Any]]:
    return run.rows_of(loads(run)[repeat - 1])


def say(**values: Any) -> Edit:
    """The second repeat's observation says something else (a__b for values.a.b)."""

    def edit(run: Run) -> None:
        for path, value in values.items():
            *way, last = path.split("__")
            target = loads(run)[1]["values"]
            for key in way:
                target = target[key]
            target[last] = value

    return edit


def row(name: str, **values: Any) -> Edit:
    def edit(run: Run) -> None:
        next(item for item in rows(run) if item["name"] == name).update(values)

    return edit


def together(*edits: Edit) -> Edit:
    def edit(run: Run) -> None:
        for one in edits:
            one(run)

    return edit


def _imagine(run: Run, shape: JobShape) -> None:
    assert run.plan is not None
    run.plan["records"] = [
        {"suite": SUITE, "scenario": shape.scenario, "subject": SUBJECT, "metric": name, "repeats": shape.repeats}
        for name in shape.metrics
    ]
    add = run_builder._adder(run, run.plan["run_id"])
    run.observations[0]["values"] |= dict.fromkeys(("asked", "existing", "ready", "with_gpus"), shape.nodes)
    add("subject", scenario=shape.scenario, subject=SUBJECT, values=_subject(shape))
    add("fairness", scenario=shape.scenario, subject=SUBJECT, values=fairness(shape))
    for repeat in range(1, shape.repeats + 1):
        made = _rows(shape, repeat)
        values = _values(shape, made)
        parameters = _parameters(shape)
        add(
            "pod_load",
            scenario=shape.scenario,
            subject=SUBJECT,
            repeat=repeat,
            values=values,
            rows=made,
            parameters=parameters,
        )


def _rows(shape: JobShape, repeat: int) -> list[dict[str, Any]]:
    made = []
    start = 0.0
    if shape.victims:
        for index in range(shape.nodes * 8):
            made.append(_row(f"victims-{index}", "victims", "victims", False, 0.1 + index / 500, index % shape.nodes))
        start = max(row["running"] for row in made) + 0.5
    begin = start + 0.01
    qps = shape.real_qps if shape.real_qps is not None else shape.qps
    burst = shape.real_burst if shape.real_burst is not None else shape.burst
    first = None
    for index in range(shape.pods):
        job, created = index // shape.gang, begin + 0.004 + index / 800
        row = _row(f"measured-{job}-{index % shape.gang}", "measured", "measured", True, created, index % shape.nodes)
        row["job"] = f"measured-{job}"
        row["posted"] = round(begin, 6)
        grouped = created + shape.group_after
        decided = max(grouped + shape.decide_after, begin + shape.decide_after + index / shape.decide_rate)
        bound = decided + shape.bind_after + 0.0005 * repeat
        first = bound if first is None else first
        if qps > 0:
            bound = max(bound, first + (2 * (index + 1) - burst) / qps)
        row |= {"grouped": round(grouped, 6), "decided": round(decided, 6)}
        row |= {"bound": round(bound, 6), "running": round(bound + 0.03, 6)}
        if shape.completes:
            row["completed"] = round(bound + 1.0, 6)
        if shape.level:
            row["domains"] = {shape.level: f"{shape.level}-0"}
        made.append(row)
    if shape.victims:
        _evict(shape, made)
    end = max(row["bound"] for row in made) + 3.0
    for row in made:
        row["deleted"] = row["deleted"] if row["deleted"] is not None else round(end, 6)
        if shape.audit and row["part"] == "measured":
            row |= {f"audit_{name}": round(row[name] - 0.001, 6) for name in ("created", "grouped", "decided", "bound")}
    return made


def _evict(shape: JobShape, made: list[dict[str, Any]]) -> None:
    """As many victims of a node as pods come to it, each gone before the one that comes."""
    victims = {node: [] for node in {row["node"] for row in made}}  # type: ignore[var-annotated]
    for row in made:
        if row["part"] == "victims":
            victims[row["node"]].append(row)
    for row in [row for row in made if row["part"] == "measured"]:
        victim = victims[row["node"]].pop()
        victim["evicted"] = round(row["decided"] - 0.002, 6)
        victim["deleted"] = round(row["bound"] - 0.0005, 6)
        if shape.consolidates:
            again = {**victim, "name": f"{victim['name']}-again", "uid": f"{victim['uid']}-again", "replacement": True}
            again |= {"node": f"spare-{row['node']}", "evicted": None, "deleted": None, "posted": None}
            again |= {"created": row["bound"], "bound": round(row["bound"] + 0.1, 6)}
            again |= {"running": round(row["bound"] + 0.2, 6), "grouped": row["bound"], "decided": row["bound"]}
            made.append(again)


def _row(name: str, part: str, queue: str, measured: bool, created: float, node: int) -> dict[str, Any]:
    return {
        "name": name,
        "uid": f"uid-{name}",
        "part": part,
        "measured": measured,
        "job": name,
        "queue": queue,
        "replacement": False,
        "posted": round(created - 0.004, 6),
        "created": round(created, 6),
        "grouped": round(created + 0.02, 6),
        "decided": round(created + 0.03, 6),
        "bound": round(created + 0.05, 6),
        "running": round(created + 0.08, 6),
        "completed": None,
        "evicted": None,
        "deleted": None,
        "node": f"node-{node:04d}",
        "gpus": 1,
        "failure": None,
        "domains": None,
        **dict.fromkeys(("audit_created", "audit_grouped", "audit_decided", "audit_bound")),
    }


def _values(shape: JobShape, made: list[dict[str, Any]]) -> dict[str, Any]:
    own = [row for row in made if row["part"] == "measured"]
    victims = [row for row in made if row["part"] == "victims" and not row["replacement"]]
    evicted = [row for row in made if row["evicted"] is not None]
    count = len(own)
    audited = [row["audit_bound"] for row in own if row["audit_bound"] is not None]
    completed = sum(1 for row in own if row["completed"] is not None)
    values: dict[str, Any] = {
        "measured_part": "measured",
        "asked": count,
        "created": count,
        "failed": 0,
        "missing": 0,
        "bound": count,
        "running": count,
        "completed": completed,
        "deleted": count,
        "unaccounted": [],
        "foreign": 0,
        "replaced": 0,
        "create_started": round(min(row["posted"] for row in own), 6),
        "create_ended": round(max(row["created"] for row in own), 6),
        "released": None,
        "release_ready": None,
        "bound_before_release": 0,
        "first_bind": min(row["bound"] for row in own),
        "last_bind": max(row["bound"] for row in own),
        "first_running": min(row["running"] for row in own),
        "last_running": max(row["running"] for row in own),
        "last_completed": max((row["completed"] for row in own if row["completed"] is not None), default=None),
        "max_gpus_on_a_node": 8,
        "max_gpus_at_node": "node-0000",
        "creation_rate": 400.0,
        "objects_created": shape.gangs,
        "connections": 16,
        "rate_asked": None,
        "clock": {
            "name": "client monotonic, watch event arrival",
            "resolution_seconds": 0.004,
            "wall_offset_start": 1795285800.0,
            "wall_offset_end": 1795285800.0,
        },
        "audit": {"available": False, "reason": "none kept"},
        "relists": 0,
        "machine": {
            "cpus": 2,
            "cpu_busy_ratio": shape.busy,
            "steal_ratio": 0.0,
            "other_cpu_ratio": 0.01,
            "pressure": {"cpu": 0.1, "io": 0.0, "memory": 0.0},
            "throttled_seconds": 0.0,
            "processes": {
                name: {"cpu_seconds": 1.0, "cpu_ratio_of_machine": share}
                for name, share in (("kube-apiserver", 0.2), ("scheduler", 0.1), ("binder", 0.05), ("podgrouper", 0.02))
            },
        },
        "parts": {"measured": _part(own, shape.gangs, "completed" if shape.completes else "bound", True)},
        "jobs": {
            "asked": shape.gangs,
            "gangs": shape.gangs,
            "gang_min_member": shape.gang,
            "broken": [],
            "broken_count": 0,
            "completed_by_status": shape.gangs if shape.completes else 0,
            "completed_by_watch": shape.gangs if shape.completes else 0,
        },
        "domains": _domains(shape),
        "queues_used_most": {"measured": count} | ({"victims": len(victims)} if victims else {}),
        "evicted": len(evicted),
        "victims_below_min_member": [],
        "unschedulable": {"samples": []},
        "sequential": {"samples": []},
    }
    if shape.audit:
        counted = {
            "scheduler": {"create bindrequests": count},
            "binder": {"patch pods": count, "create pods/binding": count, "patch bindrequests/status": count},
            "podgrouper": {"create podgroups": shape.gangs, "patch pods": count},
        }
        values["audit"] = {
            "available": True,
            "first_bind": min(audited),
            "last_bind": max(audited),
            "bound": count,
            "requests": counted,
            "requests_in_window": counted,
            "binds_in_window": count,
            "requests_per_pod": {},
        }
    if victims:
        values["parts"] = {"victims": _part(victims, len(victims), "running", False), **values["parts"]}
    return values


def _part(made: list[dict[str, Any]], jobs: int, until: str, measured: bool) -> dict[str, Any]:
    return {
        "until": until,
        "measured": measured,
        "jobs": jobs,
        "asked": len(made),
        "created": len(made),
        "failed": 0,
        "missing": 0,
        "bound": len(made),
        "running": len(made),
        "evicted": sum(1 for row in made if row["evicted"] is not None),
    }


def _domains(shape: JobShape) -> dict[str, Any]:
    if not shape.level:
        return {}
    hits = {"required": shape.gangs, "required_hits": shape.gangs, "preferred": 0, "preferred_hits": 0}
    return {shape.level: {"jobs": shape.gangs, "jobs_in_one": shape.gangs, "worst": 1, **hits}}


def _parameters(shape: JobShape) -> dict[str, Any]:
    measured: dict[str, Any] = {"name": "measured", "form": "jobs", "count": shape.gangs, "pods_per_job": shape.gang}
    measured |= {"min_member": shape.gang, "queue": "measured", "measured": True}
    measured["until"] = "completed" if shape.completes else "bound"
    if shape.level:
        measured["topology"] = {"level": shape.level, "placement": "required"}
    victims = {"name": "victims", "form": "jobs", "count": shape.nodes * 8, "pods_per_job": 1, "queue": "victims"}
    victims |= {"measured": False, "until": "running"}
    found: dict[str, Any] = {
        "nodes": shape.nodes,
        "gpus_per_node": 8,
        "pods": shape.pods,
        "connections": 16,
        "scheduler": "running",
        "parts": [victims, measured] if shape.victims else [measured],
        "queues": {
            "victims": {"gpu": {"quota": 0, "limit": -1, "weight": 0}},
            "measured": {"gpu": {"quota": -1, "limit": shape.limit, "weight": 1}},
        },
        "expectations": list(shape.expectations),
    }
    if shape.upstream:
        found["upstream"] = {"test_name": shape.upstream[0], "timing_field": shape.upstream[1]}
    return found


def _subject(shape: JobShape) -> dict[str, Any]:
    default = {"default": {"qps": 50, "burst": 300}}
    return {
        "version": "v0.17.0",
        "asked_version": None,
        "components": {
            "scheduler": {
                "qps": shape.scheduler_qps,
                "burst": shape.scheduler_burst,
                "source": "command line",
                "requests": ["create bindrequests"],
                "mark": "decided",
                **default,
            },
            "binder": {
                "qps": shape.qps,
                "burst": shape.burst,
                "source": "command line",
                "requests": ["patch pods", "create pods/binding"],
                "mark": "bound",
                **default,
            },
            "podgrouper": {
                "qps": 1000,
                "burst": 2000,
                "source": "command line",
                "requests": [],
                "mark": "grouped",
                **default,
            },
        },
    }


def fairness(shape: JobShape) -> dict[str, Any]:
    names = ("scheduler", "binder", "podgrouper")
    client = {"qps": shape.qps, "burst": shape.burst, "requests": []}
    return {
        "clients": {name: {"component": name, **client} for name in names},
        "replicas": dict.fromkeys(names, 1),
        "cpu": dict.fromkeys(names, "no limit"),
        "memory": dict.fromkeys(names, "no limit"),
        "webhooks": 0,
        "period": "1s",
        "capabilities": ["queues", "gangs"],
    }
