# SPDX-License-Identifier: GPL-3.0-or-later
"""From the rows of a finished load to its samples, one for each pod; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .job_rows import JobRow, PodRow
from .job_tracker import JobTracker
from .load_summary import since


def samples(
    tracker: JobTracker, zero: float, nodes: Mapping[str, Mapping[str, str]] | None = None
) -> Iterator[dict[str, Any]]:
    """A row for every pod of every part, and one for every slot that never had any. ``nodes``: name → labels."""
    labels, places = tracker.plan.topology_labels, nodes or {}
    by_pod = tracker.plan.group is not None and tracker.plan.group.member is not None
    for job in tracker.jobs.values():
        there = {row.slot for row in job.pods}
        for row in job.pods:
            yield sample(job, row, zero, by_pod=by_pod) | {"domains": domains_of(row.node, labels, places)}
        for slot in range(len(job.reached)):
            if slot not in there:
                name = job.name if job.state.part.form == "pods" else f"{job.name}/{slot}"
                yield sample(job, PodRow(name, job, slot, failure=job.failure), zero) | {"domains": None}


def sample(job: JobRow, row: PodRow, zero: float, *, by_pod: bool = False) -> dict[str, Any]:
    """One line of the samples. A group that was there before its pod is the pod's from the pod's first moment on.

    by_pod: a pod is in its group when it says so, not when the group is there.
    """
    grouped, audited = (row.grouped, row.audit_grouped) if by_pod else (job.grouped, job.audit_grouped)
    times = {
        "posted": job.posted,
        "answered": row.answered,
        "seen": row.seen,
        "created": row.created,
        "grouped": None if row.created is None else _not_before(grouped, row.created),
        "decided": row.decided,
        "bound": row.bound,
        "running": row.running,
        "completed": row.completed,
        "evicted": row.evicted,
        "deleted": row.deleted,
        "audit_created": row.audit_created,
        "audit_grouped": None if row.created is None else _not_before(audited, row.audit_created),
        "audit_decided": row.audit_decided,
        "audit_bound": row.audit_bound,
        "audit_running": row.audit_running,
        "scheduled": row.scheduled,
        "started": row.started,
    }
    return {
        "name": row.name,
        "uid": row.uid,
        "part": job.state.part.name,
        "measured": job.state.part.measured,
        "job": job.name,
        "queue": job.state.part.queue or None,
        "replacement": row.replacement,
        **{name: since(zero, at) for name, at in times.items()},
        "node": row.node,
        "gpus": row.gpus,
        "failure": row.failure,
    }


def domains_of(
    node: str, labels: Mapping[str, str], nodes: Mapping[str, Mapping[str, str]]
) -> dict[str, str | None] | None:
    """Level → the node's domain; None where there is no level to look at, or no node."""
    if not node or not labels:
        return None
    return {level: nodes.get(node, {}).get(label) for level, label in labels.items()}


def _not_before(at: float | None, created: float | None) -> float | None:
    return at if at is None or created is None else max(at, created)
