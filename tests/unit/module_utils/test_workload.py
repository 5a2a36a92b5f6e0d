# SPDX-License-Identifier: GPL-3.0-or-later
"""A workload's steps, its manifests as they are applied, and the moment a step has what it waits for."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.nightbench import workload_manifest, workload_needs, workload_plan
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.watch import Event
from ansible.module_utils.nightbench.workload_manifest import LIFETIME, LOAD, SPREAD, Settings
from ansible.module_utils.nightbench.workload_plan import Until
from ansible.module_utils.nightbench.workload_tracker import Tracker

READY: dict[str, Any] = {"state": "ready", "count": 1}


def step(**changes: Any) -> dict[str, Any]:
    return {"name": "start", "action": "apply", "until": READY, **changes}


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([], "at least one is needed"),
        ([step(), step()], "each name once"),
        ([step(until={"state": "ready", "count": 0})], "nothing would be waited for"),
        ([step(action="patch", patch={"spec": {}})], "patch needs objects"),
        ([step(action="patch", objects=["Job/a"])], "patch needs a patch"),
        ([step(action="evict", count=1)], "evict needs the labels"),
        ([step(action="claim", labels={"a": "b"}, patch={"metadata": {}})], "claim needs the labels of pods and their"),
        ([step(copies=3, arrivals={"moments": [0.0]})], "1 moments for 3 copies"),
        ([step(copies=workload_plan.MOST_COPIES + 1)], "at most 5000"),
    ],
)
def test_steps_that_mean_nothing_are_refused_with_the_reason(steps: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        workload_plan.steps_of(steps)
    assert told in error.value.message


def test_arrivals_at_random_are_the_same_for_the_same_seed_and_begin_at_once() -> None:
    one, same, other = (
        workload_plan.steps_of([step(copies=500, arrivals={"kind": "poisson", "rate": 10.0, "seed": seed})])[0].moments
        for seed in (1, 1, 2)
    )
    assert one == same != other
    assert one[0] == 0.0
    assert 40 < one[-1] < 60


CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "home"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "notebook", "labels": {"app": "notebook"}},
    "spec": {"containers": [], "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": "home"}}]},
}
SCALER = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"}, "spec": {}}
SET = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "store"},
    "spec": {"replicas": 2, "template": {"metadata": {}, "spec": {}}, "volumeClaimTemplates": [CLAIM]},
}
CRON = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "batch"},
    "spec": {"jobTemplate": {"spec": {"template": {"metadata": {"labels": {"app": "batch"}}, "spec": {}}}}},
}


def test_a_pod_gets_its_place_its_labels_and_its_planted_lifetime() -> None:
    settings = Settings(
        "load",
        "here",
        labels={"own": "yes"},
        node_selector={"type": "kwok"},
        tolerations=[{"operator": "Exists"}],
        priority_class="high",
        lifetimes={"notebook": {"seconds": 2, "spread": 1}},
        leave_out=["HorizontalPodAutoscaler"],
    )
    (pod,) = workload_manifest.prepared([POD, SCALER], settings)
    assert pod["metadata"] == {
        "name": "notebook",
        "namespace": "here",
        "labels": {"app": "notebook", LOAD: "load", "own": "yes"},
        "annotations": {LIFETIME: "2s", SPREAD: "3s"},
    }
    assert pod["spec"]["nodeSelector"] == {"type": "kwok"}
    assert pod["spec"]["tolerations"] == [{"operator": "Exists"}]
    assert pod["spec"]["priorityClassName"] == "high"
    assert POD["metadata"] == {"name": "notebook", "labels": {"app": "notebook"}}


def test_what_a_pod_uses_is_planted_by_its_annotations_and_only_on_the_pods_that_are_named() -> None:
    usage = {"notebook": {"cpu": "500m", "memory": "2Gi"}}
    (pod,) = workload_manifest.prepared([POD], Settings(name="load", namespace="here", usage=usage))
    assert pod["metadata"]["annotations"] == {"kwok.x-k8s.io/usage-cpu": "500m", "kwok.x-k8s.io/usage-memory": "2Gi"}
    (other,) = workload_manifest.prepared([POD], Settings(name="load", namespace="here", usage={"chat": {"cpu": "1"}}))
    assert "annotations" not in other["metadata"]


@pytest.mark.parametrize(
    ("manifest", "volumes"),
    [(CLAIM, {"here-home": "home"}), (SET, {"here-home-store-0": "home-store-0", "here-home-store-1": "home-store-1"})],
)
def test_every_claim_has_a_volume_of_its_own_where_there_is_no_provisioner(
    manifest: dict[str, Any], volumes: dict[str, str]
) -> None:
    made = workload_manifest.prepared([manifest], Settings("load", "here", storage_class=""))
    found = {one["metadata"]["name"]: one["spec"]["claimRef"]["name"] for one in made[:-1]}
    assert found == volumes


def test_claims_stay_as_they_are_where_the_cluster_has_a_default_class() -> None:
    (claim,) = workload_manifest.prepared([CLAIM], Settings("load", "here"))
    assert claim["spec"] == CLAIM["spec"]


def test_a_copy_has_a_name_a_claim_and_a_volume_of_its_own() -> None:
    settings = Settings("load", "here", storage_class="")
    copies = [
        workload_manifest.copied(one, 7, ["home"], settings)
        for one in workload_manifest.prepared([CLAIM, POD], settings)
    ]
    volume, claim, pod = copies
    assert [one["metadata"]["name"] for one in copies] == ["here-home-7", "home-7", "notebook-7"]
    assert volume["spec"]["claimRef"]["name"] == "home-7"
    assert claim["spec"]["volumeName"] == "here-home-7"
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "home-7"
    assert pod["metadata"]["labels"][workload_manifest.COPY] == "7"


def test_a_job_out_of_a_cron_job_is_found_by_its_labels() -> None:
    (cron,) = workload_manifest.prepared([CRON], Settings("load", "here"))
    job = workload_manifest.job_of(cron)
    assert (job["kind"], job["metadata"]["name"], job["metadata"]["namespace"]) == ("Job", "batch-now", "here")
    assert job["metadata"]["labels"][LOAD] == job["spec"]["template"]["metadata"]["labels"][LOAD] == "load"


def test_fields_are_what_somebody_has_decided_on() -> None:
    assert workload_manifest.fields({"a": 1, "b": {"c": [1, {"d": 2}]}, "e": {}}) == 3


def pod(name: str, phase: str = "Pending", ready: bool = False, labels: dict[str, str] | None = None) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    limits = {"limits": {"nvidia.com/gpu": 2}}
    return {
        "metadata": {"uid": f"uid-{name}", "name": name, "labels": labels or {"app": "a"}},
        "spec": {"nodeName": "node", "containers": [{"resources": limits}]},
        "status": {"phase": phase, "conditions": conditions},
    }


def test_a_step_has_what_it_waits_for_at_the_moment_of_the_event_that_brought_it() -> None:
    tracker = Tracker()
    wait = tracker.begin("start", Until("ready", 2, {"app": "a"}))
    begin = wait.since
    tracker.pod(Event("ADDED", pod("one"), begin + 1))
    tracker.pod(Event("MODIFIED", pod("one", "Running", ready=True), begin + 2))
    tracker.pod(Event("ADDED", pod("other", "Running", ready=True, labels={"app": "b"}), begin + 3))
    assert not wait.over.is_set()
    tracker.pod(Event("ADDED", pod("two", "Running", ready=True), begin + 4))
    assert (wait.reached, wait.seen) == (begin + 4, 2)
    tracker.pod(Event("ADDED", pod("three", "Running", ready=True), begin + 5))
    assert wait.reached == begin + 4


def test_a_pod_holds_what_its_containers_ask_for() -> None:
    tracker = Tracker()
    wait = tracker.begin("start", Until("ready", 1, {}))
    asking = pod("one")
    asking["spec"]["containers"] = [
        {"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi", "nvidia.com/gpu": 1}}},
        {"resources": {"limits": {"cpu": 2, "memory": "512Mi"}}},
        {},
    ]
    tracker.pod(Event("ADDED", asking, wait.since + 1))
    (row,) = tracker.rows(0.0)
    assert (row["gpus"], row["cpus"], row["memory_bytes"]) == (1, 2.5, 3 << 29)


def test_pods_that_were_there_before_a_step_are_not_new() -> None:
    tracker = Tracker()
    first = tracker.begin("start", Until("ready", 1, {}))
    tracker.pod(Event("ADDED", pod("one", "Running", ready=True), first.since + 1e-6))
    wait = tracker.begin("replace", Until("ready", 1, {}, new=True))
    tracker.sent()
    assert not wait.over.is_set()
    tracker.pod(Event("ADDED", pod("two", "Running", ready=True), wait.since + 1))
    assert wait.reached == wait.since + 1
    assert [row["step"] for row in tracker.rows(0.0)] == ["start", "replace"]


@pytest.mark.parametrize(
    ("state", "event", "reached"),
    [
        ("gone", Event("DELETED", pod("one"), 0.0), True),
        ("completed", Event("MODIFIED", pod("one", "Succeeded"), 0.0), True),
        ("completed", Event("MODIFIED", pod("one", "Failed"), 0.0), False),
        ("running", Event("MODIFIED", pod("one", "Running"), 0.0), True),
        ("ready", Event("MODIFIED", pod("one", "Running"), 0.0), False),
        ("finished", Event("MODIFIED", pod("one", "Succeeded"), 0.0), False),
    ],
)
def test_each_state_is_reached_by_what_it_means(state: str, event: Event, reached: bool) -> None:
    tracker = Tracker()
    wait = tracker.begin("step", Until(state, 1, {}))
    tracker.pod(Event("ADDED", pod("one"), wait.since + 1))
    tracker.pod(Event(event.type, event.object, wait.since + 2))
    assert wait.over.is_set() == reached


@pytest.mark.parametrize(("condition", "reached"), [("Complete", True), ("Failed", True), ("Suspended", False)])
def test_a_job_is_finished_when_it_says_so(condition: str, reached: bool) -> None:
    tracker = Tracker()
    wait = tracker.begin("work", Until("finished", 1, {}))
    conditions = [{"type": condition, "status": "True"}]
    job = {"metadata": {"uid": "j", "name": "batch", "labels": {}}, "status": {"conditions": conditions}}
    tracker.job(Event("ADDED", job, wait.since + 1))
    assert wait.over.is_set() == reached


def test_a_pod_that_leaves_is_not_ready_and_the_oldest_comes_first() -> None:
    tracker = Tracker()
    wait = tracker.begin("fill", Until("ready", 9, {}))
    for number, name in enumerate(("b", "a", "c")):
        tracker.pod(Event("ADDED", pod(name, "Running", ready=True), wait.since + number))
    leaving = pod("b", "Running", ready=True)
    leaving["metadata"]["deletionTimestamp"] = "now"
    tracker.pod(Event("MODIFIED", leaving, wait.since + 5))
    assert tracker.ready({"app": "a"}) == ["a", "c"]


@pytest.mark.parametrize(
    ("found", "left_out", "told"),
    [
        ([{"need": "gpus", "expected": "8", "observed": "0 on 0 nodes", "holds": False}], False, "it needs gpus: 8"),
        ([{"need": "network_policy", "expected": "there", "observed": "?", "holds": None}], False, ""),
        ([{"need": "api", "expected": "custom/v1", "observed": "not served", "holds": False}], True, ""),
        ([{"need": "api", "expected": "custom/v1", "observed": "not served", "holds": False}], False, "it needs api"),
    ],
)
def test_what_is_lacking_is_told_unless_what_wants_it_is_left_out(
    found: list[dict[str, Any]], left_out: bool, told: str
) -> None:
    assert workload_needs.lacking(found, left_out).startswith(told)
    assert bool(workload_needs.lacking(found, left_out)) == bool(told)
