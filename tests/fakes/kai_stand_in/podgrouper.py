# SPDX-License-Identifier: GPL-3.0-or-later
"""podgrouper: each pod of the scheduler gets a PodGroup, one for a bare pod or one for all pods of a Job."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.nightbench.errors import Conflict, NotFound
from ansible.module_utils.nightbench.kube import MERGE_PATCH

from tests.fakes.kai_stand_in import names
from tests.fakes.kai_stand_in.process import Component
from tests.fakes.kai_stand_in.store import Key, WorkQueue


class PodGrouper(Component):
    """POST of the PodGroup on one client, PATCH of the pod's annotation on another: one request a pod on each."""

    def __init__(self, options: dict[str, Any], planted: frozenset[str]) -> None:
        super().__init__("podgrouper", options, planted)
        queue = WorkQueue()
        mine = f"spec.schedulerName={options['scheduler-name']}"
        self.groups = self.store(f"{names.POD_GROUPS}/podgroups")
        self.jobs = self.store("/apis/batch/v1/jobs", reduce=lambda job: {"kind": "Job", **_metadata_of(job)})
        self.pods = self.store("/api/v1/pods", changed=queue.add, field_selector=mine)
        self.reconcile(queue, options["max-concurrent-reconciles"], self.group)

    def group(self, key: Key) -> None:
        """Give one pod its PodGroup."""
        pod = self.pods.get(key)
        if pod is None or names.GROUP_ANNOTATION in annotations_of(pod) or skipped(pod):
            return
        wanted = group_of(pod, self.owner_of(pod))
        if wanted is None:
            return
        if self.groups.get((key[0], wanted["metadata"]["name"])) is None:
            try:
                self.client("podgroups").request("POST", names.groups_of(key[0]), body=wanted)
            except Conflict:  # another pod of the Job was quicker
                pass
            except NotFound:  # the namespace is gone, and the pod with it
                return
        body = {"metadata": {"annotations": {names.GROUP_ANNOTATION: wanted["metadata"]["name"]}}}
        try:
            self.client("pods").request(
                "PATCH", f"{names.pods_of(key[0])}/{key[1]}", body=body, content_type=MERGE_PATCH
            )
        except NotFound:
            return

    def owner_of(self, pod: dict[str, Any]) -> dict[str, Any]:
        """The Job that controls the pod, or the pod itself."""
        for reference in pod["metadata"].get("ownerReferences") or []:
            if reference.get("controller") and reference["kind"] == "Job":
                key = (pod["metadata"]["namespace"], reference["name"])
                found: dict[str, Any] | None = self.jobs.get(key)
                if found is None or found["metadata"]["uid"] != reference["uid"]:
                    path = f"/apis/batch/v1/namespaces/{key[0]}/jobs/{key[1]}"
                    found = {**self.client("jobs").request("GET", path).json(), "kind": "Job"}
                return {**found, "apiVersion": "batch/v1"}
        return {**pod, "apiVersion": "v1", "kind": "Pod"}


def group_of(pod: dict[str, Any], owner: dict[str, Any]) -> dict[str, Any] | None:
    """The PodGroup of a pod whose top owner is ``owner``; None where its minMember is no number."""
    marks = annotations_of(owner)
    try:
        min_member = int(marks.get(names.MIN_MEMBER, 1)) if owner["kind"] == "Job" else 1
    except ValueError:
        return None
    metadata = owner["metadata"]
    both = {**labels_of(pod), **labels_of(owner)}
    queue = both.get(names.QUEUE_LABEL) or both.get(names.PROJECT_LABEL) or names.DEFAULT_QUEUE
    priority = both.get(names.PRIORITY_LABEL) or pod["spec"].get("priorityClassName") or names.DEFAULT_PRIORITY_CLASS
    spec: dict[str, Any] = {"minMember": max(1, min_member), "queue": queue, "priorityClassName": priority}
    if both.get(names.PREEMPTIBILITY_LABEL):
        spec["preemptibility"] = both[names.PREEMPTIBILITY_LABEL]
    constraint = {field: marks[mark] for field, mark in names.TOPOLOGY.items() if marks.get(mark)}
    if constraint:
        spec["topologyConstraint"] = constraint
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"]}
    reference |= {"name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "scheduling.run.ai/v2alpha2",
        "kind": "PodGroup",
        "metadata": {
            "name": f"pg-{metadata['name']}-{metadata['uid']}",
            "namespace": pod["metadata"]["namespace"],
            "labels": labels_of(owner),
            "annotations": marks,
            "ownerReferences": [reference],
        },
        "spec": spec,
    }


def annotations_of(item: dict[str, Any]) -> dict[str, str]:
    return item["metadata"].get("annotations") or {}


def labels_of(item: dict[str, Any]) -> dict[str, str]:
    return item["metadata"].get("labels") or {}


def skipped(pod: dict[str, Any]) -> bool:
    return names.SKIP in annotations_of(pod) or names.SKIP in labels_of(pod) or "deletionTimestamp" in pod["metadata"]


def _metadata_of(item: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": item["metadata"]}
