# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of every pod of a load: its milestones, and how full each node ever was.

Pure: events go in, rows come out. A milestone is the moment at which the client first knew of it, on one clock.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .audit import stamp

#: The resource that the fake nodes offer (Kubernetes device plugin naming, k8s.io/docs/tasks/manage-gpus).
GPU = "nvidia.com/gpu"
#: The API server writes it with every binding (kubernetes pkg/registry/core/pod/storage, setPodNodeAndMetadata).
SCHEDULED = "PodScheduled"
#: Whoever plays the kubelet writes it.
READY = "Ready"
_ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(slots=True)
class PodRow:
    """One pod of the load; times are seconds on the client's clock, None for what never happened.

    posted: the request was sent. created: the earlier of the API server's answer and the ADDED event.
    answered: the answer alone; seen: the ADDED event alone (the two give the watch's lag).
    scheduled, started: when the API server bound it and when it was Ready as its own conditions say; Unix seconds
    until join_conditions() moves them.
    """

    name: str
    uid: str = ""
    posted: float | None = None
    answered: float | None = None
    seen: float | None = None
    created: float | None = None
    bound: float | None = None
    running: float | None = None
    deleted: float | None = None
    node: str = ""
    gpus: int = 0
    audit_created: float | None = None
    audit_bound: float | None = None
    audit_running: float | None = None
    scheduled: float | None = None
    started: float | None = None
    failure: str | None = None


MILESTONES = ("created", "bound", "running", "deleted")


class PodTracker:
    """Collects the rows of the pods named in advance; anything else that carries the label is ``foreign``."""

    def __init__(self, names: Iterable[str]) -> None:
        self.rows = {name: PodRow(name) for name in names}
        self.counts = dict.fromkeys((*MILESTONES, "failed"), 0)
        self.foreign: set[str] = set()
        self.replaced: set[str] = set()
        self.max_gpus_on_a_node = 0
        self.max_gpus_at_node = ""
        self._gpus_on: defaultdict[str, int] = defaultdict(int)
        self._holding: dict[str, tuple[str, int]] = {}
        self._lock = threading.Lock()
        self.changed = threading.Event()

    def posted(self, name: str, at: float) -> None:
        self.rows[name].posted = at

    def answered(self, name: str, uid: str, at: float) -> None:
        """The API server said that the pod exists."""
        with self._lock:
            row = self.rows[name]
            row.answered = at
            row.uid = row.uid or uid
            self._reach(row, "created", at)

    def failed(self, name: str, reason: str) -> None:
        """The API server refused the pod for good."""
        with self._lock:
            row = self.rows[name]
            if row.created is None and row.failure is None:
                row.failure = reason
                self.counts["failed"] += 1
        self.changed.set()

    def event(self, kind: str, pod: dict[str, Any], at: float) -> None:
        """Take one watch event."""
        metadata = pod["metadata"]
        row = self.rows.get(metadata["name"])
        if row is None:
            self.foreign.add(metadata["name"])
            return
        with self._lock:
            uid = metadata["uid"]
            if row.uid and row.uid != uid:
                # Somebody deleted and made the pod anew: its stamps would belong to two pods.
                self.replaced.add(row.name)
                return
            row.uid = uid
            if kind == "DELETED":
                self._free(uid)
                self._reach(row, "deleted", at)
                self.changed.set()
                return
            if row.seen is None:
                row.seen = at
            self._reach(row, "created", at)
            node = pod.get("spec", {}).get("nodeName") or ""
            phase = pod.get("status", {}).get("phase", "")
            if node and row.bound is None:
                row.node, row.gpus, row.scheduled = node, gpus_of(pod), condition_since(pod, SCHEDULED)
                self._reach(row, "bound", at)
                self._hold(uid, node, row.gpus)
            if phase == "Running":
                if row.running is None:
                    row.started = condition_since(pod, READY)
                self._reach(row, "running", at)
            elif phase in _ENDED:
                self._free(uid)
                if phase == "Failed" and row.failure is None:
                    row.failure = f"phase Failed: {pod['status'].get('reason', '')} {pod['status'].get('message', '')}"
        self.changed.set()

    def reached(self, milestone: str) -> int:
        """How many pods have reached a milestone, or never will because they were refused."""
        return self.counts[milestone] + (self.counts["failed"] if milestone != "deleted" else 0)

    def settled(self, milestone: str) -> int:
        """How many pods have reached a milestone or no longer can: refused, or gone before."""
        return sum(
            1
            for row in self.rows.values()
            if getattr(row, milestone) is not None or row.failure is not None or row.deleted is not None
        )

    def missing(self, milestone: str, at_most: int = 20) -> list[str]:
        """Names of pods that were not refused and have not reached the milestone."""
        names = (row.name for row in self.rows.values() if row.failure is None and getattr(row, milestone) is None)
        return [name for name, _ in zip(names, range(at_most), strict=False)]

    def first(self, milestone: str) -> float | None:
        return min((at for row in self.rows.values() if (at := getattr(row, milestone)) is not None), default=None)

    def last(self, milestone: str) -> float | None:
        return max((at for row in self.rows.values() if (at := getattr(row, milestone)) is not None), default=None)

    def samples(self, zero: float) -> list[dict[str, Any]]:
        """Every row, times relative to ``zero`` and rounded to microseconds."""
        return [_relative(asdict(row), zero) for row in self.rows.values()]

    def _reach(self, row: PodRow, milestone: str, at: float) -> None:
        before = getattr(row, milestone)
        if before is None:
            setattr(row, milestone, at)
            self.counts[milestone] += 1
        elif milestone == "created" and at < before:
            row.created = at

    def _hold(self, uid: str, node: str, gpus: int) -> None:
        self._holding[uid] = (node, gpus)
        self._gpus_on[node] += gpus
        if self._gpus_on[node] > self.max_gpus_on_a_node:
            self.max_gpus_on_a_node = self._gpus_on[node]
            self.max_gpus_at_node = node

    def _free(self, uid: str) -> None:
        node, gpus = self._holding.pop(uid, ("", 0))
        if node:
            self._gpus_on[node] -= gpus


def gpus_of(pod: dict[str, Any]) -> int:
    """GPUs that the pod's containers ask for; a limit counts as the request where no request is written."""
    total = 0
    for container in pod.get("spec", {}).get("containers", []):
        resources = container.get("resources", {})
        value = resources.get("requests", {}).get(GPU, resources.get("limits", {}).get(GPU, 0))
        total += int(value)
    return total


def condition_since(pod: Mapping[str, Any], wanted: str) -> float | None:
    """Unix seconds, whole ones (metav1.Time), since which a condition of the pod is true; None where it is not."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == wanted and condition.get("status") == "True":
            written = condition.get("lastTransitionTime")
            return stamp(written) if written else None
    return None


_TIMES = tuple(field.name for field in fields(PodRow) if field.type == "float | None")


def _relative(row: dict[str, Any], zero: float) -> dict[str, Any]:
    for name in _TIMES:
        if row[name] is not None:
            row[name] = round(row[name] - zero, 6)
    return row
