# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_job_load against a real control plane with kwok: parts, Jobs, gangs, decisions, victims, in their order."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench.kube import Kube

from tests.control_plane import ControlPlane
from tests.fakes.gang_scheduler import NAME, Behaviour, gang_scheduler
from tests.fakes.job_load import OBSERVED, RACK, gang, names, pod, rows_of, some

pytestmark = pytest.mark.integration


def test_gangs_have_all_milestones_and_leave_the_cluster_as_it_was(
    load_parts: Any, kube: Kube, namespace: str, gpu_nodes: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "samples.jsonl"
    with gang_scheduler(kube, namespace, gpu_nodes):
        part = gang(queue="q", topology={"level": "rack"})
        result = load_parts(part, observed=OBSERVED, topology_labels={"rack": RACK}, samples_path=str(path)).ok()
    values = result["values"]
    assert (result["changed"], result["timed_out"]) == (False, False)
    counts = ("asked", "created", "bound", "deleted", "failed", "missing", "foreign", "replaced", "evicted")
    assert some(values, *counts) == dict.fromkeys(counts[:4], 12) | dict.fromkeys(counts[4:], 0)
    assert values["measured_part"] == "gang"
    assert values["observed"] == {"groups": 3, "decisions": 12, "foreign": 0, "decision_elsewhere": 0}
    assert some(values["jobs"], "asked", "gangs", "gang_min_member", "broken") == {
        "asked": 3, "gangs": 3, "gang_min_member": 4, "broken": [],
    }  # fmt: skip
    assert values["max_gpus_on_a_node"] <= 3
    assert 0 < values["queues_used_most"]["q"] <= 12
    assert (values["clock"]["samples"], values["objects_created"]) == (3, 3)
    rows = rows_of(path)
    assert result["samples"]["rows"] == len(rows) == len({row["uid"] for row in rows}) == 12
    order = ("posted", "created", "bound", "deleted")
    assert [row["name"] for row in rows if sorted(row[name] for name in order) != [row[name] for name in order]] == []
    assert [row["name"] for row in rows if None in (row["grouped"], row["decided"])] == []
    racks = {node: f"rack-{index // 2}" for index, node in enumerate(gpu_nodes)}
    assert [row["name"] for row in rows if row["domains"] != {"rack": racks[row["node"]]}] == []
    spread = [
        len({row["domains"]["rack"] for row in rows if row["job"] == job}) for job in {row["job"] for row in rows}
    ]
    assert values["domains"] == {
        "rack": {"jobs_in_one": spread.count(1), "jobs": 3, "worst": max(spread), "required": 3,
                 "required_hits": spread.count(1), "preferred": 0, "preferred_hits": 0}
    }  # fmt: skip
    assert {(row["part"], row["measured"], row["queue"], row["replacement"]) for row in rows} == {
        ("gang", True, "q", False)
    }
    assert names(kube, namespace) == []


def test_the_audit_log_tells_the_same_in_microseconds_and_who_asked_how_often(
    load_parts: Any, control_plane: ControlPlane, kube: Kube, namespace: str, gpu_nodes: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "samples.jsonl"
    limit = {"component": "nightbench", "qps": 1, "burst": 1000, "requests": ["create pods/binding"]}
    bare = {"name": "gang", "count": 8, "template": pod(schedulerName=NAME), "until": "bound"}
    with gang_scheduler(kube, namespace, gpu_nodes):
        result = load_parts(
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


def test_pods_of_kube_scheduler_fill_the_nodes_in_parts(
    load_parts: Any, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    path = tmp_path / "samples.jsonl"
    values = load_parts(
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


def test_completion_is_counted_from_the_jobs_and_from_the_pods(load_parts: Any) -> None:
    sizes = [{"name": f"size-{pods}", "form": "jobs", "count": 2, "pods_per_job": pods, "until": "completed",
              "measured": True, "together": pods > 1} for pods in (1, 2, 4)]  # fmt: skip
    values = load_parts(*sizes).ok()["values"]
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
    load_parts: Any, kube: Kube, namespace: str, gpu_nodes: list[str], behaviour: Behaviour, part: dict[str, Any],
    found: dict[str, int],
) -> None:  # fmt: skip
    with gang_scheduler(kube, namespace, gpu_nodes, behaviour):
        result = load_parts(part, observed=OBSERVED, deadline_seconds=3).ok()
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
    load_parts: Any, kube: Kube, namespace: str, silent_nodes: list[str], tmp_path: Path, count: int, seconds: int,
    below: int, replacements: int,
) -> None:  # fmt: skip
    path = tmp_path / "samples.jsonl"
    with gang_scheduler(kube, namespace, silent_nodes, Behaviour(evict={"victims": count})):
        values = load_parts(
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


def test_a_decision_that_is_not_kept_is_seen(load_parts: Any, kube: Kube, namespace: str, gpu_nodes: list[str]) -> None:
    with gang_scheduler(kube, namespace, gpu_nodes, Behaviour(decide_elsewhere=True)):
        values = load_parts(gang(), observed=OBSERVED).ok()["values"]
    assert values["observed"] == {"groups": 3, "decisions": 12, "foreign": 0, "decision_elsewhere": 12}


def test_the_word_that_a_group_is_unschedulable_is_timed_for_every_job_in_turn(
    load_parts: Any, kube: Kube, namespace: str, gpu_nodes: list[str]
) -> None:
    part = gang(until="unschedulable", sequential=True, hold=False)
    with gang_scheduler(kube, namespace, gpu_nodes, Behaviour(unschedulable=("gang",))):
        values = load_parts(part, observed=OBSERVED).ok()["values"]
    assert (len(values["unschedulable"]["samples"]), len(values["sequential"]["samples"])) == (3, 3)
    assert min(values["unschedulable"]["samples"]) >= 0
    assert some(values["parts"]["gang"], "unschedulable", "bound", "missing", "removed", "evicted") == {
        "unschedulable": 3, "bound": 0, "missing": 0, "removed": 12, "evicted": 0,
    }  # fmt: skip
    assert names(kube, namespace) == []


def test_jobs_in_sequence_do_not_overlap(load_parts: Any, tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    part = {"name": "s", "form": "jobs", "count": 4, "until": "bound", "sequential": True}
    values = load_parts(part, samples_path=str(path)).ok()["values"]
    rows = sorted(rows_of(path), key=lambda row: float(row["posted"]))
    assert all(before["bound"] <= after["posted"] for before, after in itertools.pairwise(rows))
    assert len(values["sequential"]["samples"]) == 4


@pytest.mark.parametrize("form", ["pods", "jobs"])
def test_running_pods_are_deleted_node_by_node_before_a_part(
    load_parts: Any, gpu_nodes: list[str], tmp_path: Path, form: str
) -> None:
    path = tmp_path / "samples.jsonl"
    # A Job's pod that runs is ended by kwok at once; bound is as far as it can be told to stay.
    values = load_parts(
        {"name": "victims", "form": "pods", "count": 32},
        {"name": "measured", "form": form, "count": 12, "until": "bound", "measured": True,
         "delete": {"part": "victims", "per_node": 3}},
        samples_path=str(path),
    ).ok()["values"]  # fmt: skip
    victims = [row for row in rows_of(path) if row["part"] == "victims"]
    gone = [row["node"] for row in victims if row["deleted"] <= values["create_started"]]
    assert sorted(gone) == sorted(gpu_nodes * 3)
    assert some(values["parts"]["victims"], "removed", "evicted", "deleted") == {
        "removed": 12, "evicted": 0, "deleted": 32,
    }  # fmt: skip
    assert (values["bound"], values["max_gpus_on_a_node"]) == (12, 8)


def test_a_part_that_does_not_stay_makes_room_for_the_next(load_parts: Any) -> None:
    values = load_parts(
        {"name": "first", "count": 32, "hold": False}, {"name": "second", "count": 32, "measured": True}
    ).ok()["values"]
    assert (values["running"], values["parts"]["first"]["removed"], values["evicted"]) == (32, 32, 0)
