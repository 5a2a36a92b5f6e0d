# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of a load of parts as its watches tell of them, and a tracker that was told."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.nightbench.job_plan import Condition, JobLoadPlan, Part, Watched
from ansible.module_utils.nightbench.job_tracker import INDEX_LABEL, JOB_LABEL, JobTracker

POD_TEMPLATE: dict[str, Any] = {"spec": {"containers": [{"name": "main"}]}}
GROUP = Watched("test/v1", "PodGroup", "metadata.ownerReferences.0.name",
                unschedulable=Condition("status.conditions", "Unschedulable"))  # fmt: skip
DECISION = Watched("test/v1", "BindRequest", "spec.podName", node="spec.selectedNode")


def part(name: str = "gang", *, jobs: int = 1, pods: int = 1, **changes: Any) -> Part:
    """A part of Jobs; of bare pods with form="pods"."""
    return Part(**{"name": name, "count": jobs, "pods_per_job": pods, "template": POD_TEMPLATE, "form": "jobs",
                   "until": "bound", "measured": True} | changes)  # fmt: skip


def tracker_of(
    *parts: Part, group: Watched | None = None, decision: Watched | None = None, labels: dict[str, str] | None = None
) -> JobTracker:
    """A tracker whose Jobs have all been posted at 1.0."""
    plan = JobLoadPlan("l", "load", parts, group=group, decision=decision, topology_labels=labels or {})
    tracker = JobTracker(plan)
    for job in tracker.jobs.values():
        tracker.posted(job, 1.0)
    return tracker


def pod(
    job: str,
    number: int = 0,
    *,
    node: str = "",
    phase: str = "Pending",
    gpus: int = 1,
    uid: str = "",
    index: int | None = None,
    going: bool = False,
    reason: str = "",
) -> dict[str, Any]:
    """A pod of a Job; `going`: somebody has asked for its deletion. Its condition is `reason` where one is given."""
    name = f"{job}-{number}"
    labels = {JOB_LABEL: job} | ({INDEX_LABEL: str(index)} if index is not None else {})
    metadata = {"name": name, "uid": uid or f"uid-{name}", "labels": labels}
    resources = {"limits": {"nvidia.com/gpu": str(gpus)}}
    conditions = [{"type": "PodScheduled", "status": "False", "reason": reason}] if reason else []
    return {
        "metadata": metadata | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if going else {}),
        "spec": {"nodeName": node, "containers": [{"name": "main", "resources": resources}]},
        "status": {"phase": phase, "conditions": conditions},
    }


def bare(name: str, **changes: Any) -> dict[str, Any]:
    made = pod(name, **changes)
    return made | {"metadata": made["metadata"] | {"name": name, "labels": {}}}


def job_object(name: str, *, succeeded: int = 0, uid: str = "", failed: str = "") -> dict[str, Any]:
    conditions = [{"type": "Failed", "status": "True", "reason": failed, "message": "told so"}] if failed else []
    status = {"succeeded": succeeded, "conditions": conditions}
    return {"metadata": {"name": name, "uid": uid or f"uid-{name}"}, "status": status}


def group(job: str, *, owner: str = "", conditions: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
    references = [{"kind": "Job", "name": job, "uid": owner or f"uid-{job}"}]
    status = {"conditions": [{"type": kind, "status": value} for kind, value in conditions]}
    return {"metadata": {"name": f"pg-{job}", "ownerReferences": references}, "status": status}


def decision(pod_name: str, node: str = "", *, owner: str = "") -> dict[str, Any]:
    references = [{"kind": "Pod", "name": pod_name, "uid": owner or f"uid-{pod_name}"}]
    return {
        "metadata": {"name": f"bind-{pod_name}", "ownerReferences": references},
        "spec": {"podName": pod_name, "selectedNode": node},
    }
