# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of a load of several parts: a part, its Jobs, their pods. Times are seconds on the client's clock.

A slot is one of the pods that a Job was asked for. The first pod of a slot is its own; a pod that the Job controller
makes after that one is gone is a replacement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .job_plan import Part

#: Milestones of a slot, each a bit of JobRow.reached.
SLOT_BITS = {"created": 1, "bound": 2, "running": 4, "completed": 8}


@dataclass(slots=True)
class PodRow:
    """One pod; None for what never happened.

    seen: the ADDED event. created: the same, or the API server's answer to us where that came first.
    grouped: it names its group. decided: the object that names its node.
    evicted: somebody else wants it gone before it has ended. holding: its GPUs are in use on its node now.
    scheduled, started: when the API server bound it and when it was Ready as its own conditions say; Unix seconds
    until join_conditions() moves them.
    """

    name: str
    job: JobRow
    slot: int
    replacement: bool = False
    uid: str = ""
    answered: float | None = None
    seen: float | None = None
    created: float | None = None
    grouped: float | None = None
    decided: float | None = None
    bound: float | None = None
    running: float | None = None
    completed: float | None = None
    evicted: float | None = None
    deleted: float | None = None
    ended: bool = False
    holding: bool = False
    node: str = ""
    decided_node: str = ""
    gpus: int = 0
    audit_created: float | None = None
    audit_grouped: float | None = None
    audit_bound: float | None = None
    audit_decided: float | None = None
    audit_running: float | None = None
    scheduled: float | None = None
    started: float | None = None
    failure: str | None = None

    @property
    def lost(self) -> bool:
        """Whether it can reach nothing more."""
        return self.ended or self.deleted is not None or self.evicted is not None

    def holds_at(self, moment: float) -> bool:
        """Whether it had a node then that nobody had taken from it; one that has completed had all it wanted."""
        if self.bound is None or self.bound > moment:
            return False
        if self.completed is not None and self.completed <= moment:
            return True
        return all(at is None or at > moment for at in (self.evicted, self.deleted)) and self.failure is None


@dataclass(slots=True)
class JobRow:
    """One object that we create: a Job, or a bare pod (a Job of one slot that has no status).

    reached: for each slot the milestones that any pod of it has reached (SLOT_BITS).
    succeeded: pods that the Job's own status counts. removed: we deleted it.
    """

    name: str
    state: PartState
    posted: float | None = None
    answered: float | None = None
    seen: float | None = None
    uid: str = ""
    failure: str | None = None
    grouped: float | None = None
    audit_grouped: float | None = None
    unschedulable: float | None = None
    succeeded: int = 0
    completed: float | None = None
    removed: float | None = None
    pods: list[PodRow] = field(default_factory=list)
    reached: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.reached = bytearray(self.state.part.pods_per_job)

    def own(self) -> Iterator[PodRow]:
        """The first pod of every slot that had one."""
        return (row for row in self.pods if not row.replacement)

    def reached_slots(self, milestone: str) -> int:
        bit = SLOT_BITS[milestone]
        return sum(1 for bits in self.reached if bits & bit)

    def moment(self, milestone: str) -> float | None:
        """When the last of its slots reached the milestone (completed: by the status too), None before that."""
        if milestone == "unschedulable":
            return self.unschedulable
        if self.reached_slots(milestone) < len(self.reached):
            return None
        firsts: dict[int, float] = {}
        for row in self.pods:
            at = getattr(row, milestone)
            if at is not None:
                firsts[row.slot] = min(at, firsts.get(row.slot, at))
        last = max(firsts.values())
        if milestone == "completed" and self.state.part.form == "jobs":
            return None if self.completed is None else max(last, self.completed)
        return last

    def bound_at(self, moment: float) -> int:
        """Slots with a pod that holds a node at that moment."""
        return len({row.slot for row in self.pods if row.holds_at(moment)})


@dataclass(slots=True)
class PartState:
    """A part while it runs; counts are slots, of unschedulable and completed_by_status Jobs."""

    part: Part
    jobs: list[JobRow] = field(default_factory=list)
    created: int = 0
    bound: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    unschedulable: int = 0
    completed_by_status: int = 0
    started: float | None = None
    sent: float | None = None
    ended: float | None = None
    latest_send: float = 0.0

    @property
    def wanted(self) -> int:
        """How many the part waits for (Jobs or slots, as ``reached`` counts)."""
        return self.part.count if self.part.until == "unschedulable" else self.part.pods

    def reached(self, milestone: str) -> int:
        """Those that have reached the milestone, or never will because they were refused."""
        if milestone == "unschedulable":
            return self.unschedulable + self.failed // self.part.pods_per_job
        if milestone == "completed" and self.part.form == "jobs":
            # Both witnesses: the watch's pods, and the Jobs' own count.
            return min(self.completed, self.completed_by_status * self.part.pods_per_job) + self.failed
        return int(getattr(self, milestone)) + self.failed

    def settled(self, milestone: str) -> int:
        """Those that have reached the milestone or no longer can."""
        if milestone == "unschedulable":
            return sum(1 for job in self.jobs if job.unschedulable is not None or _is_over(job))
        count = 0
        for job in self.jobs:
            if job.moment(milestone) is not None or _is_over(job):
                count += len(job.reached)
            elif milestone != "completed":
                count += job.reached_slots(milestone)
        return count


def _is_over(job: JobRow) -> bool:
    """Whether no pod of it can get any further; a Job replaces a lost pod, nobody replaces a bare one."""
    bare = job.state.part.form == "pods"
    return job.failure is not None or job.removed is not None or (bare and any(row.lost for row in job.pods))
