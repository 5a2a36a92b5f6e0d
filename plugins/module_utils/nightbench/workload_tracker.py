# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a workload's pods and Jobs, by two watches, and the moment a step has what it waits for. Pure."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from .quantities import quantity
from .tracker import gpus_of
from .watch import Event
from .workload_manifest import COPY
from .workload_plan import Until


@dataclass
class PodRow:
    """One pod; moments of the monotonic clock at which the watch said so."""

    name: str
    step: str
    labels: Mapping[str, str]
    gpus: int
    created: float
    cpus: float = 0.0
    memory_bytes: int = 0
    copy: int | None = None
    node: str | None = None
    bound: float | None = None
    running: float | None = None
    ready: float | None = None
    completed: float | None = None
    failed: float | None = None
    gone: float | None = None
    is_ready: bool = False


@dataclass
class JobRow:
    name: str
    step: str
    labels: Mapping[str, str]
    created: float
    copy: int | None = None
    completed: float | None = None
    failed: float | None = None


@dataclass
class Wait:
    """What a step waits for since it began."""

    until: Until
    since: float
    reached: float | None = None
    seen: int = 0
    over: threading.Event = field(default_factory=threading.Event)


class Tracker:
    """Hears the events of both watches, each in its own thread."""

    def __init__(self) -> None:
        self.pods: dict[str, PodRow] = {}
        self.jobs: dict[str, JobRow] = {}
        self.step = ""
        self._metered: frozenset[str] = frozenset()
        self._wait: Wait | None = None
        self._lock = threading.Lock()

    def begin(self, step: str, until: Until) -> Wait:
        """What comes from now on belongs to this step."""
        with self._lock:
            self.step = step
            self._wait = Wait(until, time.monotonic())
            return self._wait

    def sent(self) -> None:
        """The step has done its part; what it waits for may be there already."""
        with self._lock:
            self._look(time.monotonic())

    def pod(self, event: Event) -> None:
        metadata = event.object["metadata"]
        with self._lock:
            row = self.pods.get(metadata["uid"])
            if event.type == "DELETED":
                if row is not None and row.gone is None:
                    row.gone, row.is_ready = event.at, False
            else:
                if row is None:
                    copy = (metadata.get("labels") or {}).get(COPY)
                    cpus, memory = (float(requested(event.object, name)) for name in ("cpu", "memory"))
                    gpus = gpus_of(event.object)
                    row = PodRow(metadata["name"], self.step, {}, gpus, event.at, cpus, int(memory), _number(copy))
                    self.pods[metadata["uid"]] = row
                _update(row, event.object, event.at)
            self._look(event.at)

    def job(self, event: Event) -> None:
        metadata = event.object["metadata"]
        with self._lock:
            row = self.jobs.get(metadata["uid"])
            labels = metadata.get("labels") or {}
            if row is None:
                row = JobRow(metadata["name"], self.step, labels, event.at, _number(labels.get(COPY)))
                self.jobs[metadata["uid"]] = row
            for condition in (event.object.get("status") or {}).get("conditions") or []:
                if condition["status"] == "True" and condition["type"] == "Complete" and row.completed is None:
                    row.completed = event.at
                if condition["status"] == "True" and condition["type"] == "Failed" and row.failed is None:
                    row.failed = event.at
            self._look(event.at)

    def metered(self, names: Iterable[str], at: float) -> None:
        """The pods of which the metrics API tells what they use."""
        with self._lock:
            self._metered = frozenset(names)
            self._look(at)

    def ready(self, labels: Mapping[str, str]) -> list[str]:
        """Names of the pods with these labels that are Ready now, the oldest first."""
        with self._lock:
            found = [row for row in self.pods.values() if row.is_ready and _chosen(labels, row.labels)]
        return [row.name for row in sorted(found, key=lambda row: (row.created, row.name))]

    def rows(self, zero: float) -> list[dict[str, Any]]:
        """One of each pod and each Job, in seconds after `zero`."""
        kinds = [("pod", row) for row in self.pods.values()] + [("job", row) for row in self.jobs.values()]
        return [{"row": kind, **_relative(asdict(row), zero)} for kind, row in kinds]

    def _look(self, at: float) -> None:
        wait = self._wait
        if wait is None or wait.over.is_set():
            return
        wait.seen = self._count(wait.until, wait.since)
        if wait.seen >= wait.until.count:
            wait.reached = max(at, wait.since)
            wait.over.set()

    def _count(self, until: Until, since: float) -> int:
        if until.state == "finished":
            return sum(
                1
                for job in self.jobs.values()
                if (job.completed or job.failed) and _counts(until, since, job.labels, job.created)
            )
        return sum(
            1
            for pod in self.pods.values()
            if _counts(until, since, pod.labels, pod.created)
            and (pod.name in self._metered if until.state == "metered" else _is(pod, until.state, since))
        )


def _is(pod: PodRow, state: str, since: float) -> bool:
    if state == "gone":
        return pod.gone is not None and pod.gone >= since
    if state == "completed":
        return pod.completed is not None
    if state == "ready":
        return pod.is_ready
    return pod.running is not None and pod.gone is None and pod.completed is None and pod.failed is None


def _counts(until: Until, since: float, labels: Mapping[str, str], created: float) -> bool:
    return _chosen(until.labels, labels) and (not until.new or created >= since)


def _chosen(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in wanted.items())


def _update(row: PodRow, pod: Mapping[str, Any], at: float) -> None:
    status, metadata = pod.get("status") or {}, pod["metadata"]
    row.labels = metadata.get("labels") or {}
    phase = status.get("phase")
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or []}
    row.is_ready = conditions.get("Ready") == "True" and phase == "Running" and "deletionTimestamp" not in metadata
    row.node = (pod.get("spec") or {}).get("nodeName") or row.node
    reached = {
        "bound": row.node is not None,
        "running": phase == "Running",
        "ready": row.is_ready,
        "completed": phase == "Succeeded",
        "failed": phase == "Failed",
    }
    for name, holds in reached.items():
        if holds and getattr(row, name) is None:
            setattr(row, name, at)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _relative(row: dict[str, Any], zero: float) -> dict[str, Any]:
    moments = ("created", "bound", "running", "ready", "completed", "failed", "gone")
    found = {name: round(row[name] - zero, 6) if row.get(name) is not None else None for name in moments}
    return {"step": row["step"], "name": row["name"], "copy": row["copy"], "gpus": row.get("gpus", 0),
            "cpus": row.get("cpus", 0.0), "memory_bytes": row.get("memory_bytes", 0),
            "node": row.get("node"), **found}  # fmt: skip


def requested(pod: Mapping[str, Any], name: str) -> Decimal:
    """What the pod's containers ask for together; a limit counts as the request where no request is written."""
    total = Decimal(0)
    for container in (pod.get("spec") or {}).get("containers") or []:
        resources = container.get("resources") or {}
        written = (resources.get("requests") or {}).get(name, (resources.get("limits") or {}).get(name, 0))
        total += quantity(written) or Decimal(0)
    return total
