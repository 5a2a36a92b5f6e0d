# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scenario has to be true of, from the rows of a load: gangs, domains, victims, waits; pure.

Everything is as it was when the parts had ended and nothing of them was deleted yet: a gang that is bound pod by pod is
not broken while that goes on, only when it stays so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .job_rows import JobRow, PartState
from .job_tracker import JobTracker

NAMES_SHOWN = 20


def last_look(job: JobRow, end: float) -> float:
    """The last moment at which we had left the Job alone."""
    return end if job.removed is None else min(job.removed, end)


def gangs(tracker: JobTracker) -> list[JobRow]:
    return [job for job in tracker.jobs.values() if job.state.part.min_member is not None and job.posted is not None]


def broken(job: JobRow, end: float) -> bool:
    """Whether some of the gang hold nodes, and fewer than it needs."""
    least = job.state.part.min_member
    return least is not None and 0 < job.bound_at(last_look(job, end)) < least


def bind_seconds(job: JobRow) -> float:
    """From the first to the last bind of the Job's own pods."""
    moments = [row.bound for row in job.own() if row.bound is not None]
    return max(moments) - min(moments) if moments else 0.0


def jobs(tracker: JobTracker, end: float) -> dict[str, Any]:
    """The value ``jobs``."""
    measured = [state for state in tracker.parts.values() if state.part.measured]
    of_gangs = gangs(tracker)
    found = [job.name for job in of_gangs if broken(job, end)]
    return {
        "asked": sum(state.part.count for state in measured),
        "gangs": len(of_gangs),
        "gang_min_member": min((job.state.part.min_member or 0 for job in of_gangs), default=None),
        "broken": found[:NAMES_SHOWN],
        "broken_count": len(found),
        "completed_by_status": sum(completed_by_status(state) for state in measured),
        "completed_by_watch": sum(completed_by_watch(state) for state in measured),
        "widest_bind_seconds": round(max((bind_seconds(job) for job in of_gangs), default=0.0), 6),
    }


def completed_by_status(state: PartState) -> int:
    """Jobs whose own status counts all of their pods; a bare pod's status is its phase."""
    return state.completed if state.part.form == "pods" else state.completed_by_status


def completed_by_watch(state: PartState) -> int:
    return sum(1 for job in state.jobs if job.reached_slots("completed") == len(job.reached))


def domains(
    tracker: JobTracker, labels: Mapping[str, str], nodes: Mapping[str, Mapping[str, str]], end: float
) -> dict[str, Any]:
    """The value ``domains``: for each level in how many domains the measured Jobs lie. ``nodes``: name → labels."""
    whole = [
        (job, places)
        for state in tracker.parts.values()
        if state.part.measured
        for job in state.jobs
        if len(places := places_of(job, end)) == len(job.reached)
    ]
    found = {}
    for level, label in labels.items():
        counts = [
            (job, len({nodes.get(node, {}).get(label) or f"node {node}" for node in places.values()}))
            for job, places in whole
        ]
        one = {
            placement: [count for job, count in counts if job.state.part.level == level
                        and job.state.part.placement == placement]
            for placement in ("required", "preferred")
        }  # fmt: skip
        found[level] = {
            "jobs_in_one": sum(1 for _, count in counts if count == 1),
            "jobs": len(counts),
            "worst": max((count for _, count in counts), default=0),
            **{name: len(several) for name, several in one.items()},
            **{f"{name}_hits": several.count(1) for name, several in one.items()},
        }
    return found


def places_of(job: JobRow, end: float) -> dict[int, str]:
    """Slot → node of the pod that holds one."""
    look = last_look(job, end)
    return {row.slot: row.node for row in job.pods if row.holds_at(look)}


def victims_below_min_member(tracker: JobTracker, end: float) -> list[str]:
    """Jobs that are not measured, lost pods to others, and were left with some but too few."""
    return [
        job.name
        for job in gangs(tracker)
        if not job.state.part.measured and any(row.evicted is not None for row in job.pods) and broken(job, end)
    ][:NAMES_SHOWN]


def unschedulable_seconds(tracker: JobTracker) -> list[float]:
    """From the group, or the Job's first pod, to the word that it cannot be scheduled; of the measured Jobs."""
    found = []
    for job in _measured(tracker):
        begin = job.grouped
        if begin is None:
            begin = min((row.created for row in job.pods if row.created is not None), default=None)
        if begin is not None and job.unschedulable is not None:
            found.append(round(max(0.0, job.unschedulable - begin), 6))
    return found


def sequential_seconds(tracker: JobTracker) -> list[float]:
    """From a Job's request to its milestone; of the measured sequential parts."""
    return [
        round(at - job.posted, 6)
        for job in _measured(tracker)
        if job.state.part.sequential and job.posted is not None and (at := job.moment(job.state.part.until)) is not None
    ]


def _measured(tracker: JobTracker) -> Iterable[JobRow]:
    return (job for state in tracker.parts.values() if state.part.measured for job in state.jobs)
