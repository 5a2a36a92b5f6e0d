# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a pod is pending is said in plain words, for every way in which KAI leaves one behind."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from harness.pending import Situation, duration, explain

NOW = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
LONG_AGO, JUST_NOW = "2026-01-01T00:00:00Z", "2026-01-01T00:09:55Z"
Said = list[tuple[str, str]]


def pod(**changes: Any) -> dict[str, Any]:
    """A KAI pod of one GPU, grouped; `labels`, `annotations`, `metadata`, `spec` and `status` change it."""
    metadata = {
        "namespace": "kai-team",
        "name": "job-x1",
        "creationTimestamp": LONG_AGO,
        "labels": changes.get("labels", {"kai.scheduler/queue": "team"}),
        "annotations": changes.get("annotations", {"pod-group-name": "pg-job"}),
    }
    container = {"name": "main", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    spec = {"schedulerName": "kai-scheduler", "containers": [container], **changes.get("spec", {})}
    return {
        "metadata": {**metadata, **changes.get("metadata", {})},
        "spec": spec,
        "status": {"phase": "Pending", **changes.get("status", {})},
    }


def queue(parent: str | None = "department", status: dict[str, Any] | None = None, **gpu: Any) -> dict[str, Any]:
    spec = {"resources": {"gpu": {"quota": -1, "limit": -1, "overQuotaWeight": 1, **gpu}}}
    return {"spec": {**spec, **({"parentQueue": parent} if parent else {})}, "status": status or {}}


def queues(**changed: Any) -> dict[str, Any]:
    return {"department": queue(None), "team": queue(), **changed}


def group(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "pg-job", "creationTimestamp": LONG_AGO},
        "spec": {"queue": "team", "minMember": 1, **spec},
        "status": status or {},
    }


def condition(**fields: Any) -> dict[str, Any]:
    return {"schedulingConditions": [{"type": "UnschedulableOnNodePool", "nodePool": "default", **fields}]}


def shard(name: str, value: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"partitionLabelValue": value}}


def deployment(name: str, replicas: int = 1, available: int = 1) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "kai-scheduler", "name": name},
        "spec": {"replicas": replicas},
        "status": {"availableReplicas": available},
    }


def bind_request(created: str = LONG_AGO, backoff: int | None = None, **status: Any) -> dict[str, Any]:
    spec = {"selectedNode": "node-7", **({} if backoff is None else {"backoffLimit": backoff})}
    return {"metadata": {"creationTimestamp": created}, "spec": spec, "status": status}


UNSCHEDULABLE = {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/5 nodes are available"}]}
LOOKED_AT = {"pod_group": group(condition(message="no node fits"))}
NO_ANSWER = (
    "scheduler",
    (
        "no scheduler has written a word about its PodGroup in 10 min: 'kai-scheduler' seems not to run "
        "(no pod here was ever bound by it)"
    ),
)

# What there is, beside a KAI pod with its PodGroup and its queues, and the causes that have to be said.
KAI: dict[str, tuple[dict[str, Any], Said]] = {
    "no queue label and no default queue": (
        {"pod": pod(labels={}), "pod_group": group(queue="default-queue", status=condition(message="x"))},
        [("queue", "it has no label kai.scheduler/queue, so it belongs to 'default-queue', and there is no such queue"),
         ("unschedulable", "the scheduler finds no place for it: x")],
    ),
    "no queue label, not yet grouped": (
        {"pod": pod(labels={}, annotations={}), "pod_group": None},
        [("PodGroup", ("the podgrouper has made no PodGroup for it in 10 min, and without one the scheduler does not "
          "see it")),
         ("queue", ("it has no label kai.scheduler/queue, so it belongs to 'default-queue', and there is no such "
          "queue"))],
    ),
    "the queue does not exist": (
        {"pod": pod(labels={"kai.scheduler/queue": "taem"}, annotations={}, metadata={"creationTimestamp": JUST_NOW}),
         "pod_group": None},
        [("PodGroup", "it was made 5 s ago and has no PodGroup yet"),
         ("queue", "its queue 'taem' (label kai.scheduler/queue) does not exist")],
    ),
    "the queue of the label project": (
        {"pod": pod(labels={"project": "gone"}, annotations={}), "pod_group": None,
         "deployments": (deployment("pod-grouper", available=0),)},
        [("PodGroup", ("the podgrouper has made no PodGroup for it in 10 min: of the 1 pods of Deployment "
          "kai-scheduler/pod-grouper none is available")),
         ("queue", "its queue 'gone' (label project) does not exist")],
    ),
    "the queue has no parent": (
        {"queues": {"team": queue(None)}, **LOOKED_AT},
        [("queue", "its queue 'team' has no parent queue, and KAI before 0.13 schedules only queues that have one"),
         ("unschedulable", "the scheduler finds no place for it: no node fits")],
    ),
    "the parent does not exist": (
        {"queues": {"team": queue("gone")}, "bind_request": bind_request(JUST_NOW)},
        [("queue", "the parent 'gone' of its queue 'team' does not exist")],
    ),
    "the queue is no leaf": (
        {"queues": queues(below=queue("team")), "bind_request": bind_request(JUST_NOW)},
        [("queue", "its queue 'team' is the parent of below, and only leaf queues schedule")],
    ),
    "unknown shard": (
        {"pod": pod(labels={"kai.scheduler/queue": "team", "kai.scheduler/node-pool": "h10"}),
         "shards": (shard("default"), shard("big", "h100"))},
        [("shard", ("its node pool 'h10' (label kai.scheduler/node-pool) is no SchedulingShard's: no scheduler takes "
          "it"))],
    ),
    "no shard for pods without a label": (
        {"shards": (shard("big", "h100"),)},
        [("shard", ("it has no label kai.scheduler/node-pool, and every SchedulingShard serves a node pool of its "
          "own"))],
    ),
    "no node in its pool": (
        {"pod": pod(labels={"kai.scheduler/queue": "team", "kai.scheduler/node-pool": "h100"}),
         "shards": (shard("big", "h100"),), "node_pools": frozenset({"a100"})},
        [("node pool", "no node carries the label kai.scheduler/node-pool=h100 that it asks for")],
    ),
    "its queues are of another node pool": (
        {"pod": pod(labels={"kai.scheduler/queue": "team", "kai.scheduler/node-pool": "h100"}),
         "shards": (shard("big", "h100"),), "node_pools": frozenset({"h100"}), "bind_request": bind_request(JUST_NOW),
         "queues": queues(department={**queue(None), "metadata": {"labels": {"kai.scheduler/node-pool": "h100"}}})},
        [("queue", ("the queue 'team' carries no label kai.scheduler/node-pool and the pod carries "
          "kai.scheduler/node-pool=h100: their scheduler does not see the queue"))],
    ),
    "its queue is of a node pool and the pod is not": (
        {"bind_request": bind_request(JUST_NOW),
         "queues": queues(team={**queue(), "metadata": {"labels": {"kai.scheduler/node-pool": "h100"}}})},
        [("queue", ("the queue 'team' carries kai.scheduler/node-pool=h100 and the pod carries none: "
          "their scheduler does not see the queue"))],
    ),
    "a queue without a parent that is used": (
        {"queues": {"team": queue(None, status={"allocated": {"nvidia.com/gpu": "1"}})}}, [NO_ANSWER],
    ),
    "the only attempt failed": (
        {"bind_request": bind_request(phase="Failed", reason="gone")},
        [("binder", ("the scheduler chose node-7, and the binder failed to bind it there in its only attempt and has "
          "given up: gone"))],
    ),
    "the queue of a project and a node pool": (
        {"pod": pod(labels={"project": "ml", "kai.scheduler/node-pool": "h100"}, annotations={},
                    metadata={"creationTimestamp": JUST_NOW}), "pod_group": None, "node_pools": frozenset({"h100"})},
        [("PodGroup", "it was made 5 s ago and has no PodGroup yet"),
         ("queue", "its queue 'ml-h100' (label project) does not exist")],
    ),
    "the scheduler is switched off": (
        {"config": {"spec": {"scheduler": {"service": {"enabled": False}}}}},
        [("scheduler", "KAI's scheduler is switched off (spec.scheduler.service.enabled of its Config is false)")],
    ),
    "the scheduler's Deployment runs nothing": (
        {"shards": (shard("default"),), "deployments": (deployment("kai-scheduler-default", 0, 0),)},
        [("scheduler", "the scheduler does not run: Deployment kai-scheduler/kai-scheduler-default is scaled to 0")],
    ),
    "the scheduler's Deployment is missing": (
        {"config": {"spec": {}}, "shards": (shard("default"),), "deployments": (deployment("binder"),)},
        [("scheduler", "the scheduler does not run: there is no Deployment kai-scheduler-default (there is: binder)")],
    ),
    "no scheduler process": ({}, [NO_ANSWER]),
    "over the limit, as the scheduler says": (
        {"pod_group": group(condition(reasons=[{"reason": "OverLimit", "message": "team: 8 of 8 GPUs"}])),
         "queues": queues(team=queue(limit=8, status={"allocated": {"nvidia.com/gpu": "8"}}))},
        [("unschedulable", "its queue would be over its limit: team: 8 of 8 GPUs")],
    ),
    "over the limit, by arithmetic": (
        {"queues": queues(team=queue(limit=8, status={"allocated": {"nvidia.com/gpu": "8"}}))},
        [("limit", "the queue 'team' may use 8 GPUs, 8 of them are in use, and it asks for 1")],
    ),
    "the gang is over the limit of the parent": (
        {"pod_group": group(minMember=10), "group_pods": 10,
         "queues": queues(department=queue(None, limit=16, status={"allocated": {"nvidia.com/gpu": 8}}))},
        [("limit", "the queue 'department' may use 16 GPUs, 8 of them are in use, and its gang of 10 asks for 10")],
    ),
    "one more pod of a gang that runs": (
        {"pod_group": group(condition(message="no node fits") | {"resourcesStatus": {"allocated": {"gpu": "9"}}},
                            minMember=10), "group_pods": 11,
         "queues": queues(team=queue(limit=10, status={"allocated": {"nvidia.com/gpu": 9}}))},
        [("unschedulable", "the scheduler finds no place for it: no node fits")],
    ),
    "the limit is 0": (
        {"queues": queues(team=queue(limit=0))},
        [("limit", "the queue 'team' allows no gpu at all: spec.resources.gpu.limit is 0")],
    ),
    "the limit is not set": (
        {"queues": queues(team={"spec": {"parentQueue": "department"}})},
        [("limit", "the queue 'team' allows no gpu at all: spec.resources.gpu.limit is not set, which means 0")],
    ),
    "neither quota nor weight": (
        {"queues": queues(team=queue(quota=0, overQuotaWeight=0))},
        [("quota", "the queue 'team' has no share of gpu: its quota is 0 and so is its weight beyond it")],
    ),
    "cpu is asked for and not allowed": (
        {"pod": pod(spec={"containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}]})},
        [("limit", "the queue 'team' allows no cpu at all: spec.resources.cpu.limit is not set, which means 0"),
         ("limit", "the queue 'department' allows no cpu at all: spec.resources.cpu.limit is not set, which means 0")],
    ),
    "not preemptible and over the quota": (
        {"priority": 125, "queues": queues(team=queue(quota=2, status={"allocatedNonPreemptible": {"gpu": "2"}}))},
        [("quota", ("it cannot be preempted, so only the quota of the queue 'team' counts: 2 GPUs, 2 of them in use, "
          "and it asks for 1"))],
    ),
    "preemptible and over the quota": (
        {"priority": 50, "queues": queues(team=queue(quota=2, status={"allocated": {"gpu": "2"}}))},
        [NO_ANSWER],
    ),
    "not preemptible by its own word": (
        {"pod_group": group(preemptibility="non-preemptible"), "priority": 50, "queues": queues(team=queue(quota=0))},
        [("quota", ("it cannot be preempted, so only the quota of the queue 'team' counts: 0 GPUs, 0 of them in use, "
          "and it asks for 1"))],
    ),
    "unschedulable, several reasons": (
        {"pod_group": group(condition(nodePool="h100", reasons=[
            {"reason": "NonPreemptibleOverQuota", "message": "quota"}, {"reason": "NewReason", "message": "new"}]))},
        [("unschedulable", ("a job that cannot be preempted may use its queue's quota only, and that is used up on "
          "node pool h100: quota")),
         ("unschedulable", "the scheduler finds no place for it on node pool h100: new")],
    ),
    "the same reason twice": (
        {"pod_group": group(condition(reasons=[{"message": "9 GPUs, 8 at most"}, {"message": "9 GPUs, 8 at most"}]))},
        [("unschedulable", "the scheduler finds no place for it: 9 GPUs, 8 at most")],
    ),
    "unschedulable once, not any more": (
        {"pod_group": group(condition(status="False", message="old")), "pod": pod(status=UNSCHEDULABLE)},
        [("unschedulable", "the scheduler 'kai-scheduler' finds no node for it: 0/5 nodes are available")],
    ),
    "a gang that is not whole": (
        {"pod_group": group(condition(message="x"), minMember=10), "group_pods": 7},
        [("gang", "its gang needs 10 pods and 7 of them exist: it waits for the rest"),
         ("unschedulable", "the scheduler finds no place for it: x")],
    ),
    "the binder failed": (
        {"bind_request": bind_request(backoff=3, phase="Failed", failedAttempts=3, reason="volume is gone")},
        [("binder", ("the scheduler chose node-7, and the binder failed to bind it there in 3 of 3 attempts and has "
          "given up: volume is gone"))],
    ),
    "the binder tries again": (
        {"bind_request": bind_request(phase="Pending", failedAttempts=1)},
        [("binder", "the scheduler chose node-7, and the binder failed to bind it there in 1 attempt")],
    ),
    "the binder does not answer": (
        {"bind_request": bind_request(), "deployments": (deployment("binder", 1, 0), deployment("kai-scheduler"))},
        [("binder", ("the scheduler chose node-7 10 min ago, and the binder has not bound it: of the 1 pods of "
          "Deployment kai-scheduler/binder none is available"))],
    ),
    "the PodGroup is gone": (
        {"pod_group": None}, [("PodGroup", "its PodGroup pg-job is not there")],
    ),
    "the podgrouper was told to leave it alone": (
        {"pod_group": None, "pod": pod(annotations={"kai.scheduler/skip-podgrouper": "true"})},
        [("PodGroup", ("it asks the podgrouper to leave it alone (kai.scheduler/skip-podgrouper) and names no "
          "PodGroup"))],
    ),
    "KAI is not installed": (
        {"queues": None, "pod_group": None, "pod": pod(annotations={})},
        [("KAI", "this cluster knows no kind Queue of scheduling.run.ai: KAI is not installed")],
    ),
    "the queues may not be read": (
        {"queues": None, "not_read": ("queues: 403 forbidden",), **LOOKED_AT},
        [("unschedulable", "the scheduler finds no place for it: no node fits")],
    ),
    "scheduling gates": (
        {"pod": pod(spec={"schedulingGates": [{"name": "team.io/quota"}]}), "bind_request": bind_request(JUST_NOW)},
        [("scheduling gates", "it is held back by the scheduling gates team.io/quota")],
    ),
    "it is being deleted": (
        {"pod": pod(metadata={"deletionTimestamp": LONG_AGO, "finalizers": ["a/b"]}),
         "bind_request": bind_request(JUST_NOW)},
        [("deleted", "it is being deleted since 2026-01-01T00:00:00Z, held by a/b: no scheduler takes it any more")],
    ),
    "no node at all": (
        {"nodes": False, **LOOKED_AT},
        [("nodes", "the cluster has no node at all"),
         ("unschedulable", "the scheduler finds no place for it: no node fits")],
    ),
    "a KAI of another name": (
        {"config": {"spec": {"global": {"schedulerName": "mine", "queueLabelKey": "q"}}},
         "pod": pod(labels={"q": "gone"}, annotations={}, spec={"schedulerName": "mine"}), "pod_group": None,
         "deployments": (deployment("pod-grouper"), deployment("mine"))},
        [("PodGroup", ("the podgrouper has made no PodGroup for it in 10 min, and without one the scheduler does not "
          "see it")),
         ("queue", "its queue 'gone' (label q) does not exist")],
    ),
    "the scheduler has not had its turn": (
        {"pod_group": {**group(), "metadata": {"name": "pg-job", "creationTimestamp": JUST_NOW}}},
        [("age", "its PodGroup was made 5 s ago: the scheduler has not had its turn yet")],
    ),
    "the binder has not had its turn": (
        {"bind_request": bind_request(JUST_NOW)},
        [("age", "the scheduler chose node-7 5 s ago, and the binder has not had its turn yet")],
    ),
    "nothing to be found": ({"pod": pod(status={"conditions": [{"type": "PodScheduled", "status": "Unknown"}]})}, []),
}  # fmt: skip


def situation(**given: Any) -> Situation:
    usual: dict[str, Any] = {"pod": pod(), "now": NOW, "pod_group": group(), "queues": queues(), "shards": None}
    return Situation(**{**usual, **given})


@pytest.mark.parametrize("case", KAI)
def test_a_kai_pod_is_explained(case: str) -> None:
    given, expected = KAI[case]
    answer = explain(situation(**given))
    assert [(cause.check, cause.problem) for cause in answer.causes] == expected
    assert (answer.pending, answer.exit_code) == (True, 0 if expected else 1)


def plain(**changes: Any) -> dict[str, Any]:
    spec = {"schedulerName": "default-scheduler", **changes.pop("spec", {})}
    return pod(labels=changes.pop("labels", {}), annotations={}, spec=spec, **changes)


OTHERS: dict[str, tuple[dict[str, Any], Said]] = {
    "unschedulable": (
        {"pod": plain(status=UNSCHEDULABLE)},
        [("unschedulable", "the scheduler 'default-scheduler' finds no node for it: 0/5 nodes are available")],
    ),
    "unschedulable without a message": (
        {"pod": plain(status={"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]})},
        [("unschedulable", "the scheduler 'default-scheduler' finds no node for it: Unschedulable")],
    ),
    "gated": (
        {"pod": plain(spec={"schedulingGates": [{"name": "a"}]}, status={
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]})},
        [("scheduling gates", "it is held back by the scheduling gates a")],
    ),
    "nobody looked at it": (
        {"pod": plain()},
        [("scheduler", ("the scheduler 'default-scheduler' has not looked at it in 10 min: it seems not to run "
          "(no pod here was ever bound by it)"))],
    ),
    "nobody looked at this one": (
        {"pod": plain(), "scheduler_binds": True},
        [("scheduler", ("the scheduler 'default-scheduler' has not looked at it in 10 min: it seems not to run "
          "(it has bound other pods)"))],
    ),
    "made just now": (
        {"pod": plain(metadata={"creationTimestamp": JUST_NOW})},
        [("age", "it was made 5 s ago: it has not had its turn yet")],
    ),
    "a misspelt name": (
        {"pod": plain(spec={"schedulerName": "kai-schedular"})},
        [("scheduler name", "no scheduler by the name 'kai-schedular' has ever bound a pod here")],
    ),
    "a KAI pod that forgot to say so": (
        {"pod": plain(labels={"kai.scheduler/queue": "team"}, status=UNSCHEDULABLE)},
        [("scheduler name", ("it has KAI's queue label and asks for the scheduler 'default-scheduler': KAI leaves it "
          "alone")),
         ("unschedulable", "the scheduler 'default-scheduler' finds no node for it: 0/5 nodes are available")],
    ),
    "another scheduler that works": (
        {"pod": plain(spec={"schedulerName": "volcano"}, status=UNSCHEDULABLE), "scheduler_binds": True},
        [("unschedulable", "the scheduler 'volcano' finds no node for it: 0/5 nodes are available")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_a_pod_of_another_scheduler_is_explained(case: str) -> None:
    given, expected = OTHERS[case]
    assert [(cause.check, cause.problem) for cause in explain(situation(**given)).causes] == expected


WAITING = {"name": "main", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}
NOT_PENDING = [
    (pod(status={"phase": "Running"}, spec={"nodeName": "node-1"}), "not pending: it is Running on node-1"),
    (pod(status={"phase": "Succeeded"}), "not pending: it is Succeeded"),
    (
        pod(spec={"nodeName": "node-1"}),
        "not waiting for a scheduler: it is bound to node-1, whose kubelet has not started it yet",
    ),
    (
        pod(spec={"nodeName": "node-1"}, status={"containerStatuses": [WAITING]}),
        (
            "not waiting for a scheduler: it is bound to node-1, whose kubelet has not started it yet; "
            "main: ErrImagePull (no such image)"
        ),
    ),
]


@pytest.mark.parametrize(("one", "said"), NOT_PENDING, ids=["running", "over", "bound", "image"])
def test_a_pod_that_waits_for_no_scheduler_is_said_to(one: dict[str, Any], said: str) -> None:
    answer = explain(situation(pod=one))
    assert (answer.pending, answer.said, answer.causes, answer.exit_code) == (False, said, (), 0)


MENDS = [
    ({"pod": pod(labels={"kai.scheduler/queue": "taem"}, annotations={}), "pod_group": None}, "did you mean 'team'?"),
    ({"pod": pod(labels={}, annotations={}), "pod_group": None, "queues": {}},
     "label it with kai.scheduler/queue: one of no queue"),
    ({"pod": pod(labels={"kai.scheduler/queue": "team", "kai.scheduler/node-pool": "h10"}),
      "shards": (shard("big", "h100"),)}, "did you mean 'h100'?"),
    ({"pod": plain(spec={"schedulerName": "kai-schedular"})}, "did you mean spec.schedulerName: kai-scheduler?"),
    ({"queues": queues(team=queue(limit=0))}, "set spec.resources.gpu.limit of queue team; -1 is no limit"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "mend"), MENDS)
def test_what_mends_it_is_said(given: dict[str, Any], mend: str) -> None:
    assert mend in [cause.mend for cause in explain(situation(**given)).causes]


def test_a_fraction_of_a_gpu_counts_as_one() -> None:
    one = pod(annotations={"pod-group-name": "pg-job", "gpu-fraction": "0.5"}, spec={"containers": [{"name": "a"}]})
    full = queues(team=queue(limit=1, status={"allocated": {"nvidia.com/gpu": "750m"}}))
    (cause,) = explain(situation(pod=one, queues=full)).causes
    assert cause.problem == "the queue 'team' may use 1 GPUs, 0.75 of them are in use, and it asks for 0.5"


def test_a_circle_of_queues_ends() -> None:
    circle = {"team": queue("other"), "other": queue("team")}
    (cause, *_) = explain(situation(queues=circle)).causes
    assert cause.problem == "its queue 'team' is the parent of other, and only leaf queues schedule"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172800, "2 d")]
)
def test_a_time_is_said_in_its_largest_unit(seconds: float, said: str) -> None:
    assert duration(seconds) == said
