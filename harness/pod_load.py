# SPDX-License-Identifier: GPL-3.0-or-later
"""One repeat of a pod load: what its observation claims, beside what its samples say. Times are in seconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import product
from typing import Any, Self

from harness.repeat import Repeat

#: The API server stamps these itself, in microseconds; the watch tells of them when it gets to it.
AUDITED_MOMENTS = {
    "first_bind": "bound",
    "last_bind": "bound",
    "first_running": "running",
    "last_running": "running",
}


@dataclass(frozen=True, slots=True)
class PodSample:
    """One pod; a moment is null when it never came."""

    name: str
    uid: str | None
    posted: float | None
    created: float | None
    bound: float | None
    running: float | None
    deleted: float | None
    node: str | None
    gpus: float | None
    audit_created: float | None
    audit_bound: float | None
    failure: str | None
    audit_running: float | None = None
    # What the pod's own conditions say, in whole seconds.
    scheduled: float | None = None
    started: float | None = None
    # Only a load of several parts has these.
    part: str | None = None
    measured: bool | None = None
    job: str | None = None
    queue: str | None = None
    replacement: bool | None = None
    grouped: float | None = None
    decided: float | None = None
    completed: float | None = None
    evicted: float | None = None
    audit_grouped: float | None = None
    audit_decided: float | None = None
    # Level of the topology → the domain that its node's label names, null for a node without one.
    domains: Mapping[str, str | None] | None = None

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        return cls(**{name: document[name] for name in _SAMPLE_FIELDS if name in document})

    @property
    def holds(self) -> bool:
        """Whether it had a node that nobody but us took from it."""
        return self.bound is not None and self.evicted is None and self.failure is None

    @property
    def released(self) -> float | None:
        """When its GPUs were free again: at its end, else when it was gone."""
        ended = [at for at in (self.completed, self.deleted) if at is not None]
        return min(ended) if ended else self.evicted

    def stamp(self, name: str, *, audited: bool) -> float | None:
        """A moment by the watch or by the audit log. A group that was there before its pod was no wait for it."""
        found: float | None = getattr(self, f"audit_{name}" if audited else name)
        if name == "grouped" and found is not None:
            created = self.audit_created if audited else self.created
            return found if created is None else max(found, created)
        return found


@dataclass(frozen=True)
class PodLoad(Repeat):
    """One repeat, with its pods."""

    every_sample: Sequence[PodSample]
    samples_problem: str = ""  # why the samples cannot be trusted; empty when they can

    @cached_property
    def samples(self) -> Sequence[PodSample]:
        """The pods that are measured: those of other parts, and those made in place of others, are not."""
        return [sample for sample in self.every_sample if sample.measured is not False and not sample.replacement]

    def stamp(self, sample: PodSample, name: str, *, audited: bool) -> float | None:
        """From when the next component could work on the pod; of a gang only with its minimum in the group."""
        own = sample.stamp(name, audited=audited)
        whole = self._gathered[audited].get(sample.job or "") if name == "grouped" else None
        return own if own is None or whole is None else max(own, whole)

    @cached_property
    def _gathered(self) -> Mapping[bool, Mapping[str, float]]:
        """When the minimum of each gang was in its group, by Job, by audit log or not; without those never whole."""
        least = {str(part["name"]): int(part["min_member"]) for part in self.parts if part.get("min_member")}
        gangs: defaultdict[str, list[PodSample]] = defaultdict(list)
        for sample in self.samples:
            if sample.job and sample.part in least:
                gangs[sample.job].append(sample)
        found: dict[bool, dict[str, float]] = {False: {}, True: {}}
        for audited, (job, pods) in product(found, gangs.items()):
            marks = sorted(at for pod in pods if (at := pod.stamp("grouped", audited=audited)) is not None)
            if len(marks) >= least[pods[0].part or ""]:
                found[audited][job] = marks[least[pods[0].part or ""] - 1]
        return found

    def stamped_by_audit_log(self, *names: str) -> bool:
        """Whether the audit log has a stamp of each of these for every pod that the watch has one for."""
        return set(names) <= self._stamped_by_audit_log

    @cached_property
    def _stamped_by_audit_log(self) -> set[str]:
        if not self.samples or self.value("audit", "available") is not True:
            return set()
        return {
            name
            for name in ("created", "grouped", "decided", "bound", "running")
            if all(
                getattr(sample, name) is None or getattr(sample, f"audit_{name}") is not None for sample in self.samples
            )
        }

    def moment(self, name: str) -> float | None:
        """A milestone; `start` is the moment from which the subject could work on the load."""
        if name in AUDITED_MOMENTS and self.stamped_by_audit_log(AUDITED_MOMENTS[name]):
            return self.number("audit", name)
        if name == "start":
            return self.number("released") if self.held_back else self.number("create_started")
        found = self.number(name)
        if found is None and name == "last_completed":
            return max(
                (at for part in self.measured_parts if (at := self.number("parts", part, name)) is not None),
                default=None,
            )
        return found

    @property
    def measured_parts(self) -> list[str]:
        """Names of the parts that the values are of; empty for a load of one part."""
        return [name.strip() for name in str(self.value("measured_part") or "").split(",") if name.strip()]

    @property
    def parts(self) -> Sequence[Mapping[str, Any]]:
        """The parts as they were asked for; empty for a load of one part."""
        found = self.parameters.get("parts")
        return [part for part in found if isinstance(part, Mapping)] if isinstance(found, Sequence) else []

    def stamps(self, name: str) -> list[float]:
        """The moment of every measured pod that has one."""
        return [moment for sample in self.samples if (moment := getattr(sample, name)) is not None]

    def series(self, *path: str) -> list[float]:
        """Numbers that the observation lists."""
        found = self.value(*path)
        listed = found if isinstance(found, list) else []
        return [float(item) for item in listed if isinstance(item, (int, float)) and not isinstance(item, bool)]

    def span(self, begin: str, end: str) -> float | None:
        first, last = self.moment(begin), self.moment(end)
        return last - first if first is not None and last is not None else None

    @property
    def held_back(self) -> bool:
        """Whether the subject was stopped while the load was created."""
        return self.number("released") is not None

    @property
    def pods(self) -> int:
        return int(self.number("asked") or 0)

    @property
    def creation_rate(self) -> float | None:
        """Pods a second between sending the first create and the last answer; of Jobs, what was sent: the Jobs."""
        if self.number("objects_created") is not None:
            return self.number("creation_rate")
        seconds, created = self.span("create_started", "create_ended"), self.number("created")
        return created / seconds if seconds and created else self.number("creation_rate")

    @property
    def pods_made_rate(self) -> float | None:
        """Pods a second as they came to be: the Job controller makes those of a Job in its own time."""
        made = self.stamps("created") if self.number("objects_created") is not None else []
        if len(made) < 2:
            return self.creation_rate
        seconds = max(made) - min(made)
        return (len(made) - 1) / seconds if seconds > 0 else None

    @property
    def bind_rate(self) -> float | None:
        seconds, bound = self.span("first_bind", "last_bind"), self.number("bound")
        return (bound - 1) / seconds if seconds and bound else None

    @property
    def resolution(self) -> float | None:
        return self.number("clock", "resolution_seconds")

    @property
    def lag(self) -> float | None:
        """The watch's delay as creations show it: what is held against the audit log must not come from there."""
        known = self.number("clock", "creation_lag_seconds")
        return self.resolution if known is None else known


_SAMPLE_FIELDS = tuple(field.name for field in fields(PodSample))
