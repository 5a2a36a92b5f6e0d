# SPDX-License-Identifier: GPL-3.0-or-later
"""The things a results folder is made of, as types. Their fields are those of harness/schema/*.schema.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Evidence:
    """A machine-checked fact that has to hold for a record to mean what it says."""

    name: str
    expected: str
    observed: str
    holds: bool


@dataclass(frozen=True)
class BoundBy:
    """What a number is really the limit of; `bound_by.in_words` says what predicted and observed are."""

    kind: str
    component: str
    limit: Mapping[str, float] | None = None
    predicted: float | None = None
    observed: float | None = None


@dataclass(frozen=True)
class Interval:
    low: float
    high: float
    level: float
    method: str


@dataclass(frozen=True)
class SamplesFile:
    path: str
    sha256: str


@dataclass(frozen=True)
class Record:
    """One metric of one scenario and subject, judged."""

    run_id: str
    suite: str
    scenario: str
    subject: str
    metric: str
    unit: str
    direction: str
    verdict: str
    reason: str
    value: float | None = None
    n: int = 0
    quantiles: Mapping[str, float | None] | None = None
    repeats: tuple[float, ...] = ()
    ci: Interval | None = None
    resolution: float | None = None
    clock: str | None = None
    bound_by: BoundBy | None = None
    evidence: tuple[Evidence, ...] = ()
    objective: Mapping[str, float] | None = None
    baseline: Mapping[str, Any] | None = None
    samples: SamplesFile | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        values = {f.name: document[f.name] for f in fields(cls) if f.name in document}
        values["evidence"] = tuple(Evidence(**item) for item in document["evidence"])
        values["repeats"] = tuple(document["repeats"])
        for name, kind in (("bound_by", BoundBy), ("ci", Interval), ("samples", SamplesFile)):
            values[name] = kind(**document[name]) if document[name] is not None else None
        return cls(**values)


@dataclass(frozen=True)
class SamplesReference:
    """Where a role put the samples of one observation, and what they were when it did."""

    path: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Observation:
    """What a role saw and wrote down, raw."""

    run_id: str
    at: str
    suite: str
    kind: str
    values: Mapping[str, Any]
    scenario: str | None = None
    subject: str | None = None
    repeat: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    samples: SamplesReference | None = None
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        values = {f.name: document[f.name] for f in fields(cls) if f.name in document}
        values["parameters"] = document.get("parameters") or {}
        if values.get("samples") is not None:
            values["samples"] = SamplesReference(**values["samples"])
        return cls(**values)

    @property
    def role(self) -> str | None:
        """What a confirmation run tests (second_size, doubled_limit), or which variant of a block this is."""
        role = self.parameters.get("role")
        return str(role) if role is not None else None


@dataclass(frozen=True)
class PlannedStage:
    name: str
    folder: str
    playbook: str


@dataclass(frozen=True)
class PlannedRecord:
    suite: str
    scenario: str
    subject: str
    metric: str
    repeats: int
    objective: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Plan:
    run_id: str
    created_at: str
    stages: tuple[PlannedStage, ...]
    records: tuple[PlannedRecord, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        return cls(
            run_id=document["run_id"],
            created_at=document["created_at"],
            stages=tuple(PlannedStage(s["name"], s["folder"], s["playbook"]) for s in document["stages"]),
            records=tuple(
                PlannedRecord(
                    r["suite"], r["scenario"], r["subject"], r["metric"], int(r["repeats"]), r.get("objective")
                )
                for r in document["records"]
            ),
            parameters=document.get("parameters") or {},
        )


@dataclass(frozen=True)
class Failure:
    """What a stage that failed left in stages/NN__<stage>/FAILURE."""

    stage: str
    reason: str
    task: str | None = None
    at: str | None = None
    exit_code: int | None = None
