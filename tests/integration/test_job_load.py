# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_job_load against a real control plane with kwok: parts, Jobs, groups, decisions, and what goes wrong."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench import job_load, job_remove, process
from ansible.module_utils.nightbench.errors import KubeError
from ansible.module_utils.nightbench.kube import Call, Kube
from ansible.module_utils.nightbench.process import Records
from ansible.module_utils.nightbench.target import load_target
from ansible.modules import bench_job_load

from tests.conftest import ROOT, RunModule, eventually
from tests.control_plane import ControlPlane
from tests.fakes.fault_proxy import Fault, fault_proxy
from tests.fakes.gang_scheduler import API, NAME, Behaviour, gang_scheduler

pytestmark = pytest.mark.integration

NODES = 4
RACK = "test.nightbench.io/rack"
CRDS = ROOT / "tests" / "fixtures" / "crds" / "groups_and_decisions.yml"
GROUP = {"api_version": API, "kind": "PodGroup", "unschedulable": {"type": "Unschedulable"}}
DECISION = {"api_version": API, "kind": "BindRequest", "pod": "spec.podName", "node": "spec.selectedNode"}
OBSERVED = {"group": GROUP, "decision": DECISION}


def pod(gpus: int = 1, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "pause", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    fixed = {"terminationGracePeriodSeconds": 0, "tolerations": [{"operator": "Exists"}], "containers": [container]}
    return {"spec": {**fixed, **spec}}


def job(gpus: int = 1, **spec: Any) -> dict[str, Any]:
    return {"spec": {"template": pod(gpus, **spec)}}


@pytest.fixture(scope="module")
def nodes(control_plane: ControlPlane) -> Iterator[list[str]]:
    """Fake nodes of 8 GPUs, two to a rack; the kinds of groups and decisions are there too."""
    kube = control_plane.kube()
    names = [f"job-load-{index}" for index in range(NODES)]
    capacity = {"cpu": "32", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": "8"}
    for index, name in enumerate(names):
        labels = {RACK: f"rack-{index // 2}", "job-load": "yes"}
        metadata = {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}}
        node = {"metadata": metadata, "status": {"capacity": capacity, "allocatable": capacity}}
        kube.request("POST", "/api/v1/nodes", body=node)
    for document in yaml.safe_load_all(CRDS.read_text()):
        kube.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body=document)
    for plural in ("podgroups", "bindrequests"):
        eventually(lambda plural=plural: served(kube, plural))
    yield names
    kube.map([Call("DELETE", f"/api/v1/nodes/{name}") for name in names])
    kube.close()


@pytest.fixture
def silent_nodes(kube: Kube) -> Iterator[list[str]]:
    """Nodes where nobody runs a pod: kwok would end those of a Job at once, and what has ended is no victim."""
    names = ["silent-0", "silent-1"]
    for name in names:
        kube.request("POST", "/api/v1/nodes", body={"metadata": {"name": name}})
    yield names
    kube.map([Call("DELETE", f"/api/v1/nodes/{name}") for name in names])


def served(kube: Kube, plural: str) -> bool:
    kube.forget_discovery()
    try:
        return bool(kube.request("GET", f"/apis/{API}/{plural}"))
    except KubeError:
        return False


@pytest.fixture
def load(control_plane: ControlPlane, namespace: str, run_module: RunModule, nodes: list[str]) -> Any:
    """Call bench_job_load with what all tests share; a part needs a name and a count."""

    def call(*parts: dict[str, Any], **changes: Any) -> Any:
        parameters = {
            "kubeconfig": control_plane.kubeconfig,
            "name": "load",
            "namespace": namespace,
            "parts": [{"template": job() if part.get("form") == "jobs" else pod(), **part} for part in parts],
            "deadline_seconds": 60,
        }
        return run_module(bench_job_load, **{**parameters, **changes})

    return call


def names(kube: Kube, namespace: str) -> list[str]:
    paths = (f"/api/v1/namespaces/{namespace}/pods", f"/apis/batch/v1/namespaces/{namespace}/jobs")
    return [item["metadata"]["name"] for path in paths for item in kube.list_pages(path)[0]]


def gang(jobs: int = 3, pods: int = 4, **changes: Any) -> dict[str, Any]:
    """A part of gangs that the test's own scheduler binds."""
    return {"name": "gang", "form": "jobs", "count": jobs, "pods_per_job": pods, "min_member": pods, "until": "bound",
            "template": job(schedulerName=NAME), "measured": True} | changes  # fmt: skip


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def some(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names}


def test_gangs_have_all_milestones_and_leave_the_cluster_as_it_was(
    load: Any, kube: Kube, namespace: str, nodes: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "samples.jsonl"
    with gang_scheduler(kube, namespace, nodes):
        part = gang(queue="q", topology={"level": "rack"})
        result = load(part, observed=OBSERVED, topology_labels={"rack": RACK}, samples_path=str(path)).ok()
    values = result["values"]
    assert (result["changed"], result["timed_out"]) == (False, False)
    counts = ("asked", "created", "bound", "deleted", "failed", "missing", "foreign", "replaced", "evicted")
    assert some(values, *counts) == dict.fromkeys(counts[:4], 12) | dict.fromkeys(counts[4:], 0)
    assert values["measured_part"] == "gang"
    assert values["observed"] == {"groups": 3, "decisions": 12, "foreign": 0, "decision_elsewhere": 0}
    assert some(values["jobs"], "asked", "gangs", "gang_min_member", "broken") == {
        "asked": 3, "gangs": 3, "gang_min_member": 4, "broken": [],
    }  # fmt: skip
    # Bound to the nodes in turn: every gang lies in both racks.
    assert values["domains"] == {
        "rack": {"jobs_in_one": 0, "jobs": 3, "worst": 2, "required": 3, "required_hits": 0, "preferred": 0,
                 "preferred_hits": 0}
    }  # fmt: skip
    assert values["max_gpus_on_a_node"] <= 3
    assert 0 < values["queues_used_most"]["q"] <= 12
    assert (values["clock"]["samples"], values["objects_created"]) == (3, 3)
    rows = rows_of(path)
    assert result["samples"]["rows"] == len(rows) == len({row["uid"] for row in rows}) == 12
    order = ("posted", "created", "bound", "deleted")
    assert [row["name"] for row in rows if sorted(row[name] for name in order) != [row[name] for name in order]] == []
    assert [row["name"] for row in rows if None in (row["grouped"], row["decided"])] == []
    assert {(row["part"], row["measured"], row["queue"], row["replacement"]) for row in rows} == {
        ("gang", True, "q", False)
    }
    assert names(kube, namespace) == []


def test_the_audit_log_tells_the_same_in_microseconds_and_who_asked_how_often(
    load: Any, control_plane: ControlPlane, kube: Kube, namespace: str, nodes: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "samples.jsonl"
    limit = {"component": "nightbench", "qps": 1, "burst": 1000, "requests": ["create pods/binding"]}
    bare = {"name": "gang", "count": 8, "template": pod(schedulerName=NAME), "until": "bound"}
    with gang_scheduler(kube, namespace, nodes):
        result = load(
            {"name": "before", "count": 4}, {**bare, "measured": True}, observed=OBSERVED, samples_path=str(path),
            audit_log=str(control_plane.audit_log), client_limits=[limit],
        ).ok()  # fmt: skip
    audit = result["values"]["audit"]
    assert some(audit, "available", "bound", "binds_in_window") == {"available": True, "bound": 8, "binds_in_window": 8}
    # The test's scheduler and the load generator are clients of the same name.
    asked = audit["requests_in_window"]["nightbench"]
    assert some(asked, "create bindrequests", "create pods/binding", "create podgroups") == {
        "create bindrequests": 8, "create pods/binding": 8, "create podgroups": 8,
    }  # fmt: skip
    assert audit["requests"]["kube-scheduler"]["create pods/binding"] == 4
    assert result["client_limits"] == [
        {"component": "nightbench", "limited": True, "predicted": 0.0, "within": False, "requests_per_pod": 1.0,
         "observed": pytest.approx(audit["last_bind"] - audit["first_bind"], abs=2e-6)}
    ]  # fmt: skip
    order = ("audit_created", "audit_grouped", "audit_decided", "audit_bound")
    for row in (row for row in rows_of(path) if row["measured"]):
        moments = [row[name] for name in order]
        assert moments == sorted(moments), row
        assert all(abs(row[name] - row[f"audit_{name}"]) < 5 for name in ("created", "grouped", "decided", "bound"))


def test_pods_of_kube_scheduler_fill_the_nodes_in_parts(load: Any, kube: Kube, namespace: str, tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    values = load(
        {"name": "filler", "count": 24, "queue": "a"},
        {"name": "rest", "count": 8, "queue": "b", "measured": True},
        {"name": "too-many", "count": 3, "until": "unschedulable"},
        samples_path=str(path),
    ).ok()["values"]
    assert some(values, "measured_part", "asked", "bound", "running", "deleted", "missing") == {
        "measured_part": "rest", "asked": 8, "bound": 8, "running": 8, "deleted": 8, "missing": 0,
    }  # fmt: skip
    assert values["max_gpus_on_a_node"] == 8
    assert values["queues_used_most"] == {"a": 24, "b": 8}
    parts = values["parts"]
    assert {name: some(part, "asked", "running", "unschedulable", "missing") for name, part in parts.items()} == {
        "filler": {"asked": 24, "running": 24, "unschedulable": 0, "missing": 0},
        "rest": {"asked": 8, "running": 8, "unschedulable": 0, "missing": 0},
        "too-many": {"asked": 3, "running": 0, "unschedulable": 3, "missing": 0},
    }
    assert parts["filler"]["last_running"] <= parts["rest"]["start"] <= parts["rest"]["first_bind"]
    assert parts["rest"]["last_running"] <= parts["too-many"]["start"]
    assert len(rows_of(path)) == 35
    assert names(kube, namespace) == []


def test_completion_is_counted_from_the_jobs_and_from_the_pods(load: Any) -> None:
    sizes = [{"name": f"size-{pods}", "form": "jobs", "count": 2, "pods_per_job": pods, "until": "completed",
              "measured": True, "together": pods > 1} for pods in (1, 2, 4)]  # fmt: skip
    values = load(*sizes).ok()["values"]
    assert some(values, "asked", "completed", "missing", "failed", "evicted") == {
        "asked": 14, "completed": 14, "missing": 0, "failed": 0, "evicted": 0,
    }  # fmt: skip
    assert some(values["jobs"], "asked", "completed_by_status", "completed_by_watch") == dict.fromkeys(
        ("asked", "completed_by_status", "completed_by_watch"), 6
    )
    assert values["last_completed"] <= values["ended"]
    assert values["measured_part"] == "size-1,size-2,size-4"


@pytest.mark.parametrize(
    ("behaviour", "part", "found"),
    [
        (Behaviour(leave_out=1), gang(), {"missing": 3, "broken": 3, "below": 0, "evicted": 0}),
        (Behaviour(leave_out=4), gang(), {"missing": 12, "broken": 0, "below": 0, "evicted": 0}),
        (Behaviour(leave_out=1), gang(min_member=3), {"missing": 3, "broken": 0, "below": 0, "evicted": 0}),
    ],
    ids=["a broken gang", "none is bound", "enough are bound"],
)
def test_a_gang_that_is_bound_in_part_is_named(
    load: Any, kube: Kube, namespace: str, nodes: list[str], behaviour: Behaviour, part: dict[str, Any],
    found: dict[str, int],
) -> None:  # fmt: skip
    with gang_scheduler(kube, namespace, nodes, behaviour):
        result = load(part, observed=OBSERVED, deadline_seconds=3).ok()
    values = result["values"]
    assert result["timed_out"] is True
    assert {
        "missing": values["missing"], "broken": len(values["jobs"]["broken"]),
        "below": len(values["victims_below_min_member"]), "evicted": values["evicted"],
    } == found  # fmt: skip
    assert names(kube, namespace) == []


@pytest.mark.parametrize(
    ("count", "seconds", "below", "replacements"),
    [(1, 2, 0, 0), (2, 2, 3, 0), (4, 2, 0, 0), (1, 13, 0, 3)],
    ids=["the least is left", "below the least", "whole gangs", "bound anew"],
)
def test_victims_that_are_evicted_are_seen_with_what_is_left_of_them(
    load: Any, kube: Kube, namespace: str, silent_nodes: list[str], tmp_path: Path, count: int, seconds: int,
    below: int, replacements: int,
) -> None:  # fmt: skip
    path = tmp_path / "samples.jsonl"
    with gang_scheduler(kube, namespace, silent_nodes, Behaviour(evict={"victims": count})):
        values = load(
            gang(name="victims", min_member=3, measured=False),
            # Time for what is done to the victims; the Job controller makes others 10 s after a pod has failed it.
            {"name": "measured", "count": 2, "arrivals": "trace", "moments": [0, seconds], "until": "bound"},
            observed=OBSERVED, samples_path=str(path),
        ).ok()["values"]  # fmt: skip
    assert values["evicted"] == values["parts"]["victims"]["evicted"] == 3 * count
    assert len(values["victims_below_min_member"]) == len(values["jobs"]["broken"]) == below
    rows = rows_of(path)
    assert values["parts"]["victims"]["replacements"] == sum(row["replacement"] for row in rows) == replacements
    assert sum(1 for row in rows if row["evicted"] is not None) == 3 * count
    assert (values["parts"]["victims"]["missing"], values["missing"]) == (0, 0)
    assert names(kube, namespace) == []


def test_a_decision_that_is_not_kept_is_seen(load: Any, kube: Kube, namespace: str, nodes: list[str]) -> None:
    with gang_scheduler(kube, namespace, nodes, Behaviour(decide_elsewhere=True)):
        values = load(gang(), observed=OBSERVED).ok()["values"]
    assert values["observed"] == {"groups": 3, "decisions": 12, "foreign": 0, "decision_elsewhere": 12}


def test_the_word_that_a_group_is_unschedulable_is_timed_for_every_job_in_turn(
    load: Any, kube: Kube, namespace: str, nodes: list[str]
) -> None:
    part = gang(until="unschedulable", sequential=True, hold=False)
    with gang_scheduler(kube, namespace, nodes, Behaviour(unschedulable=("gang",))):
        values = load(part, observed=OBSERVED).ok()["values"]
    assert (len(values["unschedulable"]["samples"]), len(values["sequential"]["samples"])) == (3, 3)
    assert min(values["unschedulable"]["samples"]) >= 0
    assert some(values["parts"]["gang"], "unschedulable", "bound", "missing", "removed", "evicted") == {
        "unschedulable": 3, "bound": 0, "missing": 0, "removed": 12, "evicted": 0,
    }  # fmt: skip
    assert names(kube, namespace) == []


def test_jobs_in_sequence_do_not_overlap(load: Any, tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    part = {"name": "s", "form": "jobs", "count": 4, "until": "bound", "sequential": True}
    values = load(part, samples_path=str(path)).ok()["values"]
    rows = sorted(rows_of(path), key=lambda row: float(row["posted"]))
    assert all(before["bound"] <= after["posted"] for before, after in itertools.pairwise(rows))
    assert len(values["sequential"]["samples"]) == 4


@pytest.mark.parametrize("form", ["pods", "jobs"])
def test_running_pods_are_deleted_node_by_node_before_a_part(load: Any, tmp_path: Path, form: str) -> None:
    path = tmp_path / "samples.jsonl"
    # A Job's pod that runs is ended by kwok at once; bound is as far as it can be told to stay.
    values = load(
        {"name": "victims", "form": "pods", "count": 32},
        {"name": "measured", "form": form, "count": 12, "until": "bound", "measured": True,
         "delete": {"part": "victims", "per_node": 3}},
        samples_path=str(path),
    ).ok()["values"]  # fmt: skip
    victims = [row for row in rows_of(path) if row["part"] == "victims"]
    gone = [row["node"] for row in victims if row["deleted"] <= values["create_started"]]
    assert sorted(gone) == sorted([f"job-load-{index}" for index in range(NODES)] * 3)
    assert some(values["parts"]["victims"], "removed", "evicted", "deleted") == {
        "removed": 12, "evicted": 0, "deleted": 32,
    }  # fmt: skip
    assert (values["bound"], values["max_gpus_on_a_node"]) == (12, 8)


def test_a_part_that_does_not_stay_makes_room_for_the_next(load: Any) -> None:
    values = load(
        {"name": "first", "count": 32, "hold": False}, {"name": "second", "count": 32, "measured": True}
    ).ok()["values"]
    assert (values["running"], values["parts"]["first"]["removed"], values["evicted"]) == (32, 32, 0)


def test_an_open_loop_sends_when_objects_are_due(load: Any) -> None:
    trace = {"name": "t", "count": 4, "arrivals": "trace", "moments": [0, 0.1, 0.1, 0.4], "until": "created"}
    values = load(trace, {"name": "r", "form": "jobs", "count": 10, "rate": 50, "until": "created"}).ok()["values"]
    assert (values["rate_asked"], values["created"]) == (50, 10)
    assert values["create_ended"] - values["create_started"] >= 0.18
    assert values["parts"]["r"]["start"] - values["parts"]["t"]["start"] >= 0.4


@pytest.mark.parametrize("form", ["pods", "jobs"])
def test_refused_objects_are_counted_with_the_reason(load: Any, kube: Kube, namespace: str, form: str) -> None:
    resource = "pods" if form == "pods" else "count/jobs.batch"
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {resource: "2"}}}
    kube.request("POST", f"/api/v1/namespaces/{namespace}/resourcequotas", body=quota)
    path = f"/api/v1/namespaces/{namespace}/resourcequotas/few"
    eventually(lambda: kube.request("GET", path).json().get("status", {}).get("hard") == {resource: "2"})
    pods = 1 if form == "pods" else 3
    values = load({"name": "p", "form": form, "count": 5, "pods_per_job": pods, "until": "bound"}).ok()["values"]
    assert some(values, "asked", "bound", "failed", "missing") == {
        "asked": 5 * pods, "bound": 2 * pods, "failed": 3 * pods, "missing": 0,
    }  # fmt: skip
    assert any("exceeded quota: few" in reason for reason in values["failures"])


def test_a_deadline_is_a_result_and_parts_after_it_are_missing(load: Any, kube: Kube, namespace: str) -> None:
    nowhere = pod(nodeSelector={"job-load": "no"})
    result = load(
        {"name": "stuck", "count": 2, "template": nowhere}, {"name": "never", "form": "jobs", "count": 3},
        deadline_seconds=1,
    ).ok()  # fmt: skip
    values = result["values"]
    assert result["timed_out"] is True
    assert {name: (part["created"], part["missing"]) for name, part in values["parts"].items()} == {
        "stuck": (2, 2), "never": (0, 3),
    }  # fmt: skip
    assert some(values, "asked", "created", "missing") == {"asked": 3, "created": 0, "missing": 3}
    assert values["unaccounted"] == [f"load-never-{index}" for index in range(3)]
    assert names(kube, namespace) == []


@pytest.mark.parametrize("form", ["pods", "jobs"])
def test_the_stop_file_ends_the_load_and_removes_what_it_made(
    load: Any, kube: Kube, namespace: str, tmp_path: Path, form: str
) -> None:
    timer = threading.Timer(0.5, (tmp_path / "stop").touch)
    timer.start()
    result = load({"name": "p", "form": form, "count": 200, "rate": 20}, run_state=str(tmp_path)).failed()
    timer.join()
    assert result["stopped"] is True
    assert "stopped on request; p: " in result.msg
    assert names(kube, namespace) == []
    assert list((tmp_path / "modules").iterdir()) == []


def test_what_an_earlier_load_left_is_removed_first(load: Any, kube: Kube, namespace: str) -> None:
    labels = {"nightbench.io/load": "load"}
    made = job()
    made["spec"]["parallelism"] = made["spec"]["completions"] = 3
    made["spec"]["template"]["metadata"] = {"labels": labels}
    made["spec"]["template"]["spec"] |= {"restartPolicy": "Never", "schedulerName": "nobody"}
    body = {"metadata": {"name": "load-p-0", "labels": labels}, **made}
    kube.request("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", body=body)
    eventually(lambda: len(names(kube, namespace)) == 4)
    values = load({"name": "p", "form": "jobs", "count": 1, "until": "bound"}).ok()["values"]
    assert some(values, "created", "foreign", "replaced", "evicted") == {
        "created": 1, "foreign": 0, "replaced": 0, "evicted": 0,
    }  # fmt: skip
    assert names(kube, namespace) == []


def test_a_pod_that_somebody_will_not_let_go_is_let_go_after_a_while(
    load: Any, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_remove, "AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(job_remove, "FINALIZER_SECONDS", 0.5)
    held = pod() | {"metadata": {"finalizers": ["test.nightbench.io/held"]}}
    values = load({"name": "p", "count": 3, "template": held}).ok()["values"]
    assert (values["deleted"], values["evicted"]) == (3, 0)
    assert names(kube, namespace) == []


def test_a_deletion_that_does_not_end_is_an_error(
    load: Any, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_load, "DELETE_SECONDS", 0.5)
    monkeypatch.setattr(job_load, "FORCED_SECONDS", 0.1)
    held = pod() | {"metadata": {"finalizers": ["test.nightbench.io/held"]}}
    result = load({"name": "p", "count": 3, "template": held}).failed()
    assert "Deletion of load load: not done within 0.56 s; 3 pods have not gone yet" in result.msg
    monkeypatch.undo()
    monkeypatch.setattr(job_remove, "AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(job_remove, "FINALIZER_SECONDS", 0.1)
    load({"name": "p", "count": 1}).ok()  # clears what is left of the one before
    assert names(kube, namespace) == []


def test_somebody_elses_pod_under_our_label_is_told_and_removed(load: Any, kube: Kube, namespace: str) -> None:
    stranger = {"metadata": {"name": "stranger", "labels": {"nightbench.io/load": "load"}}, **pod()}
    path = f"/api/v1/namespaces/{namespace}/pods"
    timer = threading.Timer(0.7, lambda: kube.request("POST", path, body=stranger))
    timer.start()
    values = load({"name": "p", "count": 10, "rate": 5}).ok()["values"]
    timer.join()
    assert values["foreign"] == 1
    assert names(kube, namespace) == []


@pytest.mark.parametrize(("after", "kind"), [(3, "gone"), (10, "cut")])
def test_a_broken_watch_loses_no_pod(load: Any, control_plane: ControlPlane, after: int, kind: str) -> None:
    target = load_target(kubeconfig=control_plane.kubeconfig)
    with fault_proxy(target.host, target.port, target.context, Fault(kind, after=after)) as proxy:
        values = load(
            {"name": "p", "form": "jobs", "count": 6, "pods_per_job": 2, "until": "bound"},
            kubeconfig=None, host=proxy.url,
        ).ok()["values"]  # fmt: skip
    assert some(values, "created", "bound", "deleted", "missing") == {
        "created": 12, "bound": 12, "deleted": 12, "missing": 0,
    }  # fmt: skip
    assert (values["relists"] > 0) == (kind == "gone")


def test_what_is_held_back_is_started_when_every_measured_pod_exists(load: Any, tmp_path: Path) -> None:
    sleeper = {"name": "sleeper", "argv": ["sleep", "60"]}
    unbound = job(schedulerName="nobody")
    values = load(
        {"name": "before", "count": 1},
        {"name": "p", "form": "jobs", "count": 2, "pods_per_job": 3, "until": "created", "template": unbound},
        run_state=str(tmp_path), release=sleeper,
    ).ok()["values"]  # fmt: skip
    records = Records(tmp_path)
    record = records.get("sleeper")
    assert record is not None
    assert process.stop(record, records) is True
    assert values["parts"]["before"]["ended"] <= values["create_ended"] <= values["released"]
    assert values["released"] <= values["release_ready"]
    assert "sleeper" in values["machine"]["processes"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"observed": {"group": {**GROUP, "kind": "Nothing"}}}, "knows no kind Nothing in test.nightbench.io/v1"),
        ({"observed": {"group": {**GROUP, "api_version": "no/v1"}}}, "does not serve no/v1"),
        ({"kubeconfig": "/not/there"}, "kubeconfig /not/there does not exist"),
        ({"release": {"name": "x", "argv": ["true"]}}, "release needs run_state"),
        ({"parts": []}, "parts: there is none"),
    ],
)
def test_what_cannot_be_done_is_said(load: Any, changes: dict[str, Any], text: str) -> None:
    assert text in load({"name": "p", "count": 1}, **changes).failed().msg


def test_who_may_not_watch_is_told_and_nothing_is_left(
    load: Any, control_plane: ControlPlane, kube: Kube, namespace: str
) -> None:
    result = load({"name": "p", "count": 1}, kubeconfig=control_plane.service_account(namespace)).failed()
    assert "403" in result.msg
    assert names(kube, namespace) == []


def test_check_mode_tells_the_plan_and_creates_nothing(load: Any, kube: Kube, namespace: str) -> None:
    result = load({"name": "p", "count": 100, "rate": 10}, check=True).ok()
    assert result["plan"]["pods"] == 100
    assert result["plan"]["parts"][0]["seconds_to_send"] == 10.0
    assert result["changed"] is False
    assert names(kube, namespace) == []


def test_progress_is_written_and_without_an_audit_log_that_is_said(load: Any, tmp_path: Path) -> None:
    progress = tmp_path / "progress.jsonl"
    values = load(
        {"name": "p", "count": 4, "until": "bound"}, progress_path=str(progress), audit_log=str(tmp_path / "none"),
        task="burst 1",
    ).ok()["values"]  # fmt: skip
    last = rows_of(progress)[-1]
    assert some(last, "task", "done", "asked", "unit") == {
        "task": "burst 1", "done": 4, "asked": 4, "unit": "pods deleted",
    }  # fmt: skip
    reason = f"{tmp_path / 'none'} cannot be read: No such file or directory"
    assert values["audit"] == {"available": False, "reason": reason}
