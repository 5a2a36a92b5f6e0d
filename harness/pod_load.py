# SPDX-License-Identifier: GPL-3.0-or-later
"""One repeat of a pod load: what its observation claims, beside what its samples say. Times are in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

from harness.model import Observation

#: The API server stamps these itself, in microseconds; the watch tells of them when it gets to it.
AUDITED_MOMENTS = frozenset({"first_bind", "last_bind"})


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

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        return cls(**{name: document[name] for name in _SAMPLE_FIELDS})


@dataclass(frozen=True)
class PodLoad:
    """Values that the observation does not give are None: evidence that needs them does not hold."""

    observation: Observation
    samples: Sequence[PodSample]
    samples_problem: str = ""  # why the samples cannot be trusted; empty when they can

    @property
    def repeat(self) -> int:
        return self.observation.repeat or 0

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.observation.parameters

    def value(self, *path: str) -> Any:
        """values.a.b of the observation, or None where anything on the way is absent."""
        found: Any = self.observation.values
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    def number(self, *path: str) -> float | None:
        found = self.value(*path)
        return float(found) if isinstance(found, (int, float)) and not isinstance(found, bool) else None

    @cached_property
    def audited(self) -> bool:
        """Whether the audit log has a stamp of every creation and every binding: then those are published."""
        if not self.samples or self.value("audit", "available") is not True:
            return False
        return all(
            (sample.created is None or sample.audit_created is not None)
            and (sample.bound is None or sample.audit_bound is not None)
            for sample in self.samples
        )

    def moment(self, name: str) -> float | None:
        """A milestone; `start` is the moment from which the subject could work on the load."""
        if name in AUDITED_MOMENTS and self.audited:
            return self.number("audit", name)
        if name == "start":
            return self.number("released") if self.held_back else self.number("create_started")
        return self.number(name)

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
        """Pods a second between sending the first create and the last answer."""
        seconds, created = self.span("create_started", "create_ended"), self.number("created")
        return created / seconds if seconds and created else self.number("creation_rate")

    @property
    def bind_rate(self) -> float | None:
        seconds, bound = self.span("first_bind", "last_bind"), self.number("bound")
        return (bound - 1) / seconds if seconds and bound else None

    @property
    def resolution(self) -> float | None:
        return self.number("clock", "resolution_seconds")

    def cores_used(self, process: str) -> float | None:
        ratio, cpus = (
            self.number("machine", "processes", process, "cpu_ratio_of_machine"),
            self.number("machine", "cpus"),
        )
        return ratio * cpus if ratio is not None and cpus is not None else None


_SAMPLE_FIELDS = tuple(field.name for field in fields(PodSample))
