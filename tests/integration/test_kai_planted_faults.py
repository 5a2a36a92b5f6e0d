# SPDX-License-Identifier: GPL-3.0-or-later
"""A load of the suite on the stand-in for KAI with a planted fault: the harness finds the fault and names it.

API server, KAI's kinds, the stand-in's processes and the load are real; a run without a fault stays clean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench.kube import MERGE_PATCH, Call, Kube
from ansible.modules import bench_job_load

from harness import judge
from harness.model import Record
from harness.results import RunFolder
from tests.conftest import ROOT, RunModule
from tests.control_plane import ControlPlane
from tests.fakes import run_builder
from tests.fakes.kai_stand_in.install import install, published_crds
from tests.fakes.kai_stand_in.looking import pods_in
from tests.fakes.kai_stand_in.names import pods_of
from tests.fakes.kai_stand_in.running import (
    FAST,
    apply_crds,
    make_queue,
    make_topology,
    pod_template,
    remove_crds,
    stand_in,
)
from tests.fakes.polling import polling

pytestmark = pytest.mark.integration

KAI = yaml.safe_load((ROOT / "roles/scheduler_scale/files/subjects/kai.yml").read_text(encoding="utf-8"))
COMPONENTS = ("podgrouper", "scheduler", "binder")
NODES, GPUS, LIMIT = 4, 8, 12
QUEUES = {"wide": -1, "small": LIMIT, "victims": -1}
#: What the tests' machine does beside is no matter of the scheduler's.
QUIET = {"other_cpu_ratio": 0.0, "steal_ratio": 0.0, "cpu_busy_ratio": 0.5}


def part(name: str, queue: str, count: int, pods: int = 1, **more: Any) -> dict[str, Any]:
    """Jobs as kai.yml writes them; a gang where `min_member` says so, in one rack where `topology` does."""
    gpus, topology = more.pop("gpus", 1), more.get("topology")
    marks = {"kai.scheduler/batch-min-member": str(more["min_member"])} if "min_member" in more else {}
    if topology:
        marks |= {"kai.scheduler/topology": "tree", f"kai.scheduler/topology-{topology['placement']}-placement": "rack"}
    metadata = {"labels": {"kai.scheduler/queue": queue}, "annotations": marks}
    spec = {"backoffLimit": 1000, "template": pod_template(queue, gpus)}
    job = {"metadata": metadata, "spec": spec}
    return {"name": name, "form": "jobs", "count": count, "pods_per_job": pods, "template": job, "queue": queue,
            "until": "bound", "measured": True, "together": False} | more  # fmt: skip


def singles(queue: str, count: int) -> dict[str, Any]:
    return part("singles", queue, count)


GANGS = part("gangs", "wide", 2, 4, min_member=4)
IN_RACKS = part("gangs", "wide", 2, 4, min_member=4, topology={"level": "rack", "placement": "required"})
TOLD = ["gang_atomic", "queues_within_limits", "victims_keep_min_member"]


@dataclass(frozen=True)
class Case:
    """Planted faults, the load that shows them, and what its record says: evidence → the words that name it."""

    faults: str
    parts: Sequence[dict[str, Any]]
    named: dict[str, str] = field(default_factory=dict)
    expectations: Sequence[Any] = tuple(TOLD)
    metric: str = "bind_all_seconds"
    flags: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: What is never bound is waited for until then.
    deadline: float = 60.0


VICTIMS = part("victims", "victims", 8, 4, min_member=4, measured=False)
# Two of four are deleted on each node; a pod of six finds no node until one of the others has moved.
FILLER = part("filler", "victims", 4 * NODES, gpus=2, measured=False, until="running")
TAKERS = part("takers", "wide", 1, 2, gpus=6, min_member=2, delete={"part": "filler", "per_node": 2})
MOVES = {"scheduler": {"max-consolidation-preemptees": -1}}
SLOW = {"binder": {"qps": 4, "burst": 8}}
CASES = [
    Case("", [singles("small", LIMIT), {**IN_RACKS, "together": True}]),
    Case("", [FILLER, TAKERS], expectations=["gang_atomic", "consolidation_ran"], flags=MOVES),
    Case(
        "drop_pod,break_gang",
        [singles("wide", 8), {**GANGS, "together": True}],
        {"every_pod_bound": "14 pods bound", "gangs_atomic": "1 partly bound: load-gangs-",
         "parts_accounted_for": "singles: 0 failed, 1 missing; gangs: 0 failed, 1 missing",
         "all_pods_accounted_for": "2 missing by the observation; e.g. load-"},
        deadline=8.0,
    ),
    Case(
        "overfill_node,exceed_queue",
        [singles("small", LIMIT + 2)],
        {"no_node_over_its_gpus": "9 by the samples, 9 by the watch: node planted-0",
         "queues_within_limits": f"small {LIMIT + 2} by the samples"},
    ),
    Case("late_binder", [singles("wide", 4)], {"binds_follow_decisions": " s (load-singles-"}),
    Case(
        "ignore_limit_flag",
        [singles("wide", 16)],
        {"client_limits_in_effect": "binder sent "},
        flags=SLOW,
    ),
    Case("split_domain", [IN_RACKS], {"one_domain_per_job": "0 of 2 Jobs in one rack, at worst in 2"}),
    Case(
        "evict_below_minimum",
        [VICTIMS, part("takers", "wide", 1)],
        {"victims_keep_min_member": "1 below: load-victims-", "gangs_atomic": "8 gangs; 1 partly bound: load-victims-"},
        metric="reclaim_all_seconds",
    ),
    Case(
        "no_consolidation",
        [FILLER, TAKERS],
        {"consolidation_ran": "Jobs did not get a node again"},
        expectations=["gang_atomic", "consolidation_ran"],
        flags=MOVES,
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def executables(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nodes in two racks, KAI's kinds (the published ones where they lie beside the project) and queues.

    kwok leaves these nodes alone: it would end the pods of a Job at once.
    """
    folder = install(tmp_path_factory.mktemp("kai") / "bin", published_crds())
    capacity = {"cpu": "32", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": str(GPUS)}
    with closing(control_plane.kube()) as kube:
        apply_crds(kube, folder / "crds")
        for index in range(NODES):
            metadata = {"name": f"planted-{index}", "labels": {"rack": f"r{index // 2}"}}
            body = {"metadata": metadata, "status": {"capacity": capacity, "allocatable": capacity}}
            kube.request("POST", "/api/v1/nodes", body=body)
        make_queue(kube, "parent", None)
        make_queue(kube, "wide")
        make_queue(kube, "small", limit=LIMIT)
        make_queue(kube, "victims", quota=0, overQuotaWeight=0)
        make_topology(kube, "tree", "rack")
        yield folder
        kube.map([Call("DELETE", f"/api/v1/nodes/planted-{index}") for index in range(NODES)])
        remove_crds(kube)


@pytest.mark.parametrize("case", CASES, ids=[case.faults or f"clean, {case.parts[-1]['name']}" for case in CASES])
def test_a_planted_fault_is_found_and_named_and_a_clean_run_stays_clean(
    run_module: RunModule,
    control_plane: ControlPlane,
    executables: Path,
    kube: Kube,
    namespace: str,
    tmp_path: Path,
    case: Case,
) -> None:
    run = tmp_path / run_builder.RUN_ID
    run.mkdir()
    common = {"parts": case.parts, "topology_labels": {"rack": "rack"}, "connections": 4, "name": "load"}
    faults = tuple(filter(None, case.faults.split(",")))
    running = stand_in(
        control_plane.kubeconfig, tmp_path, flags=case.flags, faults=faults, components=COMPONENTS, bin_dir=executables
    )
    with running as started, polling(let_run(kube, namespace), 0.1):
        ceiling = run_module(bench_job_load, target="null_server", null_server_seconds=0.2, **common).ok()
        before = consolidated(started.metrics("scheduler"))
        result = run_module(
            bench_job_load,
            kubeconfig=control_plane.kubeconfig,
            namespace=namespace,
            observed=KAI["observed"],
            deadline_seconds=case.deadline,
            audit_log=str(control_plane.audit_log),
            samples_path=str(run / "samples.jsonl"),
            **common,
        ).ok()
        moved = consolidated(started.metrics("scheduler")) - before
    values = result["values"] | {"podgroups_scheduled_by_action": {"consolidation": moved}}
    values["machine"] |= QUIET
    found = judged(run, case, values, ceiling["calibration"])
    seen = {item.name: item.observed for item in found.evidence if not item.holds}
    assert {name: text for name, text in seen.items() if case.named.get(name, "\0") not in text} == {}
    assert set(seen) == set(case.named), found
    if case.faults == "late_binder":
        # It is slow, not wrong: the number stands, as the binder's.
        assert (found.verdict, found.bound_by and found.bound_by.component) == ("measured", "binder")
    else:
        assert found.verdict == ("invalid" if case.faults else "measured"), found.reason
        assert all(name in found.reason for name in case.named)


def let_run(kube: Kube, namespace: str) -> Callable[[], None]:
    """Plays the kubelet: a pod with a node runs."""

    def look() -> None:
        bound = [pod for pod in pods_in(kube, namespace) if pod["spec"].get("nodeName")]
        waiting = [pod["metadata"]["name"] for pod in bound if pod["status"]["phase"] == "Pending"]
        kube.map([Call("PATCH", f"{pods_of(namespace)}/{name}/status", body={"status": {"phase": "Running"}},
                       content_type=MERGE_PATCH) for name in waiting])  # fmt: skip

    return look


def consolidated(figures: dict[str, float]) -> float:
    return figures.get('kai_podgroups_scheduled_by_action{action="consolidation"}', 0.0)


def judged(run: Path, case: Case, values: dict[str, Any], ceiling: dict[str, Any]) -> Record:
    """The record that the harness makes of what was observed, with what the role writes down beside it."""
    base = run_builder.imagine(run_builder.Shape(scenarios=()), run.name)
    assert base.plan is not None
    names = {"suite": "scheduler_scale", "scenario": "planted", "subject": "kai"}
    base.plan["records"] = [{**names, "metric": case.metric, "repeats": 1}]
    limits = {name: FAST | case.flags.get(name, {}) for name in COMPONENTS}
    marks = {name: mark for mark, name in KAI["marks"].items()}
    clients = {
        name: {**KAI["clients"][name], "qps": limits[name]["qps"], "burst": limits[name]["burst"],
               "requests": KAI["requests"][name], "mark": marks.get(name, "")}
        for name in COMPONENTS
    }  # fmt: skip
    rows = (run / "samples.jsonl").read_bytes()
    kept = {"path": "samples.jsonl", "sha256": hashlib.sha256(rows).hexdigest(), "rows": len(rows.splitlines())}
    topologies = any("topology" in part for part in case.parts)
    parameters = {
        "nodes": NODES,
        "parts": [{key: value for key, value in part.items() if key != "template"} for part in case.parts],
        "queues": {name: {"gpu": {"quota": -1, "limit": limit}} for name, limit in QUEUES.items()},
        "expectations": [*case.expectations, *([{"one_domain_per_job": "rack"}] if topologies else [])],
    }
    observations = [
        ("nodes", None, dict.fromkeys(("asked", "existing", "ready", "with_gpus"), NODES) | {"gpus_per_node": GPUS}),
        ("calibration", None, ceiling),
        ("subject", None, {"version": "stand-in", "components": clients}),
        ("fairness", None, {"clients": clients}),
        ("pod_load", 1, values),
    ]
    folder = RunFolder(run)
    folder.write_document("plan", base.plan)
    folder.write_document("run", base.run)
    folder.write_observations(
        {"schema_version": 1, "run_id": run.name, "at": f"2026-11-22T18:31:{number:02d}.000000Z", **names,
         "kind": kind, "repeat": repeat, "parameters": parameters if repeat else {}, "values": told,
         "samples": kept if repeat else None}
        for number, (kind, repeat, told) in enumerate(observations)
    )  # fmt: skip
    (found,) = judge.records(judge.gather(folder), {})
    return found
