# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of every pod of a load of several parts. Pure: events of four watches go in, rows come out.

A milestone is the moment at which the client first knew of it. Pods are known by their uid, because a Job's pods have
names that nobody knows beforehand; the watches are not in step, so what is said of a pod before it is known is kept.
"""

from __future__ import annotations

import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from .job_plan import Condition, JobLoadPlan
from .job_rows import SLOT_BITS, JobRow, PartState, PodRow
from .tracker import READY, SCHEDULED, condition_since, gpus_of

#: Labels that the Job controller puts on its pods (kubernetes.io/docs/reference/labels-annotations-taints).
JOB_LABEL = "batch.kubernetes.io/job-name"
INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
#: What a scheduler says of a pod where no group says it (kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle).
POD_UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
#: How many names of pods that are not ours are kept for a message.
NAMES_KEPT = 1000


class Use:
    """GPUs in use by name (of a node, of a queue): now, and at the worst moment."""

    def __init__(self) -> None:
        self._now: defaultdict[str, int] = defaultdict(int)
        self.most: defaultdict[str, int] = defaultdict(int)

    def add(self, name: str, gpus: int) -> None:
        self._now[name] += gpus
        self.most[name] = max(self.most[name], self._now[name])

    def worst(self) -> tuple[str, int]:
        return max(self.most.items(), key=lambda item: item[1], default=("", 0))


class JobTracker:
    """Collects the rows of all parts; a pod that carries the load's label and is nobody's is ``foreign``.

    groups: name of a group → its Job. decisions: name of a decision → name of its pod.
    pods, gone: how many pods were seen, and seen to go. closed: the parts have ended and are deleted; what happens to a
    pod meanwhile (room for those that waited) is no part of the measurement, only that it goes.
    """

    def __init__(self, plan: JobLoadPlan) -> None:
        self.plan = plan
        self.parts = {part.name: PartState(part) for part in plan.parts}
        self.jobs: dict[str, JobRow] = {}
        for state in self.parts.values():
            state.jobs = [JobRow(name, state) for name in state.part.names(plan.name)]
            self.jobs.update((job.name, job) for job in state.jobs)
        self.foreign: set[str] = set()
        self.replaced: set[str] = set()
        self.groups: dict[str, JobRow] = {}
        self.decisions: dict[str, str] = {}
        self.foreign_groups = 0
        self.nodes, self.queues = Use(), Use()
        self.pods = self.gone = 0
        self.closed = False
        self._by_uid: dict[str, PodRow] = {}
        self._by_name: dict[str, PodRow] = {}
        self._early: dict[str, tuple[float, str, Mapping[str, Any]]] = {}  # decisions that came before their pods
        self._begun = False
        self._lock = threading.Lock()
        self.changed = threading.Event()

    def rows(self) -> Iterator[PodRow]:
        return (row for job in self.jobs.values() for row in job.pods)

    @property
    def foreign_decisions(self) -> int:
        return len(self._early)

    def posted(self, job: JobRow, at: float) -> None:
        self._begun = True
        job.posted = at
        if job.state.started is None:
            job.state.started = at

    def answered(self, job: JobRow, uid: str, at: float) -> None:
        """The API server said that the object exists."""
        with self._lock:
            job.answered = at
            job.uid = job.uid or uid
            if job.state.part.form == "pods":
                row = self._bare(job, uid)
                row.answered = at
                self._create(row, at)
        self.changed.set()

    def failed(self, job: JobRow, reason: str) -> None:
        """The API server refused the object for good, or its Job has given up."""
        with self._lock:
            if job.failure is None and (job.state.part.form == "jobs" or not job.pods):
                job.failure = reason
                bit = SLOT_BITS.get(job.state.part.until, 0)
                job.state.failed += sum(1 for reached in job.reached if not reached & bit)
        self.changed.set()

    def pod_event(self, kind: str, pod: Mapping[str, Any], at: float) -> None:
        with self._lock:
            row = self._by_uid.get(pod["metadata"]["uid"]) or self._adopt(kind, pod["metadata"])
            if row is None:
                return
            if "spec" in pod and not self.closed:  # a DELETED after a relist brings the name only
                self._take(row, pod, at)
            if kind == "DELETED":
                self._gone(row, at)
        self.changed.set()

    def job_event(self, kind: str, item: Mapping[str, Any], at: float) -> None:
        job = self.jobs.get(item["metadata"]["name"])
        if self.closed or job is None or job.posted is None or (job.uid and job.uid != item["metadata"]["uid"]):
            return
        job.uid = item["metadata"]["uid"]
        if kind == "DELETED":
            if job.removed is None and job.completed is None:
                self.failed(job, "the Job was deleted by somebody else")
            return
        if job.seen is None:
            job.seen = at
        status = item.get("status") or {}
        job.succeeded = max(job.succeeded, int(status.get("succeeded") or 0))
        if job.succeeded >= job.state.part.pods_per_job and job.completed is None:
            job.completed = at
            job.state.completed_by_status += 1
        for condition in status.get("conditions") or ():
            if condition.get("type") == "Failed" and condition.get("status") == "True":
                self.failed(job, f"Job failed: {condition.get('reason', '')} {condition.get('message', '')}".strip())
        self.changed.set()

    def group_event(self, kind: str, item: Mapping[str, Any], at: float) -> None:
        watched = self.plan.group
        assert watched is not None
        job = self.jobs.get(str(lookup(item, watched.of)))
        if self.closed or kind == "DELETED" or job is None or job.posted is None or not _owned_by(item, job.uid):
            self.foreign_groups += self._begun and not self.closed and kind == "ADDED" and job is None
            return
        with self._lock:
            self.groups[item["metadata"]["name"]] = job
            if job.grouped is None:
                job.grouped = at
            if watched.unschedulable is not None and _says(item, watched.unschedulable):
                self._unschedulable(job, at)
        self.changed.set()

    def decision_event(self, kind: str, item: Mapping[str, Any], at: float) -> None:
        watched = self.plan.decision
        assert watched is not None
        pod = lookup(item, watched.of)
        if self.closed or kind == "DELETED" or not self._begun or not isinstance(pod, str):
            return
        node = sys.intern(str(lookup(item, watched.node) or "")) if watched.node else ""
        with self._lock:
            self.decisions.setdefault(item["metadata"]["name"], pod)
            row = self._by_name.get(pod)
            if row is not None and row.uid:
                _decide(row, at, node, item)
            else:
                self._early.setdefault(pod, (at, node, {"metadata": {"ownerReferences": _owners(item)}}))
        self.changed.set()

    def _adopt(self, kind: str, metadata: Mapping[str, Any]) -> PodRow | None:
        """The row of a pod that is seen for the first time, or None for one that is not ours."""
        name, uid, labels = metadata["name"], metadata["uid"], metadata.get("labels") or {}
        owner = labels.get(JOB_LABEL)
        job = self.jobs.get(owner or name)
        if kind == "DELETED" or self.closed:
            return None
        if job is None or (owner is None) != (job.state.part.form == "pods"):
            if len(self.foreign) < NAMES_KEPT:
                self.foreign.add(name)
            return None
        if owner is None:
            if job.pods and job.pods[0].uid not in ("", uid):
                # Somebody deleted and made the pod anew: its stamps would belong to two pods.
                self.replaced.add(name)
                return None
            return self._bare(job, uid)
        slot = _slot(job, labels.get(INDEX_LABEL))
        row = PodRow(name, job, slot, bool(job.reached[slot] & SLOT_BITS["created"]), uid)
        job.pods.append(row)
        self._know(row)
        return row

    def _bare(self, job: JobRow, uid: str) -> PodRow:
        """The one row of a bare pod."""
        if not job.pods:
            job.pods.append(PodRow(job.name, job, 0))
        (row,) = job.pods
        if uid and not row.uid:
            row.uid = uid
            self._know(row)
        return row

    def _know(self, row: PodRow) -> None:
        self._by_uid[row.uid] = row
        self._by_name[row.name] = row
        early = self._early.pop(row.name, None)
        if early is not None:
            _decide(row, *early)

    def _take(self, row: PodRow, pod: Mapping[str, Any], at: float) -> None:
        """What one state of the pod tells."""
        if row.seen is None:
            row.seen = at
        self._create(row, at)
        group = self.plan.group
        if group is not None and group.member and row.grouped is None and lookup(pod, group.member):
            row.grouped = at
        status = pod.get("status") or {}
        node, phase = pod["spec"].get("nodeName") or "", status.get("phase", "")
        if node and row.bound is None:
            row.node, row.gpus, row.scheduled = sys.intern(node), gpus_of(dict(pod)), condition_since(pod, SCHEDULED)
            self._reach(row, "bound", at)
            self._hold(row)
        if phase == "Running":
            if row.running is None:
                row.started = condition_since(pod, READY)
            self._reach(row, "running", at)
        elif phase == "Succeeded":
            row.ended = True
            self._reach(row, "completed", at)
            self._free(row)
        if pod["metadata"].get("deletionTimestamp") and not row.ended:
            self._evict(row, at)
        if phase == "Failed":
            row.ended = True
            self._free(row)
            if row.failure is None and row.evicted is None:
                row.failure = f"phase Failed: {status.get('reason', '')} {status.get('message', '')}".strip()
        if not node and (self.plan.group is None or self.plan.group.unschedulable is None):
            for condition in status.get("conditions") or ():
                if POD_UNSCHEDULABLE.items() <= condition.items():
                    self._unschedulable(row.job, at)

    def _gone(self, row: PodRow, at: float) -> None:
        if row.deleted is None:
            if not row.ended:
                self._evict(row, at)
            row.deleted = at
            self.gone += 1
            self._free(row)

    def _evict(self, row: PodRow, at: float) -> None:
        """Somebody deletes the pod: an eviction, unless it was us."""
        if row.evicted is None and row.job.removed is None:
            row.evicted = at

    def _unschedulable(self, job: JobRow, at: float) -> None:
        if job.unschedulable is None:
            job.unschedulable = at
            job.state.unschedulable += 1

    def _create(self, row: PodRow, at: float) -> None:
        self.pods += row.created is None
        if row.created is None or at < row.created:
            row.created = at
        self._count(row, "created")

    def _reach(self, row: PodRow, milestone: str, at: float) -> None:
        if getattr(row, milestone) is None:
            setattr(row, milestone, at)
            self._count(row, milestone)

    def _count(self, row: PodRow, milestone: str) -> None:
        """The slot has reached the milestone, by whichever of its pods came first."""
        job, bit = row.job, SLOT_BITS[milestone]
        if not job.reached[row.slot] & bit:
            job.reached[row.slot] |= bit
            setattr(job.state, milestone, getattr(job.state, milestone) + 1)

    def _hold(self, row: PodRow) -> None:
        row.holding = True
        self.nodes.add(row.node, row.gpus)
        self.queues.add(row.job.state.part.queue, row.gpus)

    def _free(self, row: PodRow) -> None:
        if row.holding:
            row.holding = False
            self.nodes.add(row.node, -row.gpus)
            self.queues.add(row.job.state.part.queue, -row.gpus)


def lookup(item: Any, path: str) -> Any:
    """What stands at a path as ``metadata.ownerReferences.0.name``, or None."""
    for key in path.split("."):
        if isinstance(item, Mapping):
            item = item.get(key)
        elif isinstance(item, list) and key.isdigit() and int(key) < len(item):
            item = item[int(key)]
        else:
            return None
    return item


def _slot(job: JobRow, index: str | None) -> int:
    """Which slot a Job's new pod takes: the one that its index names, a free one, or that of a pod that is lost."""
    if index is not None and index.isdigit() and int(index) < len(job.reached):
        return int(index)
    if len(job.pods) < len(job.reached):
        return len(job.pods)
    taken: dict[int, PodRow] = {row.slot: row for row in job.pods}
    return next((slot for slot, last in taken.items() if last.lost and last.completed is None), 0)


def _decide(row: PodRow, at: float, node: str, item: Mapping[str, Any]) -> None:
    if _owned_by(item, row.uid):
        row.decided_node = node
        if row.decided is None:
            row.decided = at


def _owned_by(item: Mapping[str, Any], uid: str) -> bool:
    """Whether the object may belong to who has the uid: one of an earlier load may have the same name."""
    owners = _owners(item)
    return not uid or not owners or any(owner.get("uid") in (uid, None) for owner in owners)


def _owners(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(item["metadata"].get("ownerReferences") or [])


def _says(item: Mapping[str, Any], condition: Condition) -> bool:
    """Whether the object has the condition."""
    for one in lookup(item, condition.path) or ():
        status = one.get("status")
        if one.get("type") == condition.type and (
            status == condition.status if condition.status else status != "False"
        ):
            return True
    return False
