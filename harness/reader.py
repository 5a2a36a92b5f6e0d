# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kind of observation has to bring along to become records: the interface of a reader.

The judge, the reports and the comparisons know this page and nothing of any suite. `harness/readers.py` lists the
readers; a suite adds its row there and files of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness.bound_by import Finding
from harness.imported import Imported
from harness.metrics import Metric
from harness.model import BoundBy, Evidence, Failure, Interval, Observation, Plan, PlannedRecord, Record, SamplesFile
from harness.repeat import Repeat
from harness.stats import Decision

Key = tuple[str, str, str]  # suite, scenario, subject


@dataclass(frozen=True)
class Gathered:
    """The repeats of a reader's kind, in order, and the runs that test what a number is the limit of."""

    loads: Mapping[Key, Sequence[Repeat]]
    confirmations: Sequence[Repeat] = ()


@dataclass(frozen=True)
class Material:
    """All that a run's records are judged by."""

    run_id: str
    plan: Plan | None
    observations: Sequence[Observation]
    failures: Mapping[str, Failure]
    loads: Mapping[Key, Sequence[Repeat]]
    confirmations: Sequence[Repeat]
    imported: Imported | None = None


@dataclass(frozen=True)
class Described:
    """One metric over all its repeats, before it is known whether the evidence holds."""

    values: Sequence[float]  # of each repeat that gives one
    pooled: Sequence[float] | None  # the samples of a distribution; None for what is one value a repeat
    clock: str | None
    evidence: tuple[Evidence, ...]
    parameters: Mapping[str, Any]
    not_runnable: str = ""  # why this subject has no such number, although everything was done to get it


@dataclass(frozen=True)
class Conclusion:
    """What is said of a value whose evidence holds."""

    finding: Finding
    resolution: float | None
    decision: Decision | None = None  # stands before that of the objective
    remarks: Sequence[str] = ()
    # Where the mean of the repeats, its interval and the plan's objective are not what the kind is judged by.
    value: float | None = None
    ci: Interval | None = None
    objective: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Chart:
    """Lines as harness/figures.py makes them, or with kind "figure" traces and layout in Plotly's own form.

    Of a figure templates/report.js adds axes and fonts, and puts the page's colour NAME where it says "--NAME".
    """

    name: str
    title: str
    caption: str
    data: Mapping[str, Any]
    wide: bool = False
    tall: bool = False


@dataclass(frozen=True)
class Table:
    title: str
    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """What report.html shows of a scenario and subject above the records; summary.md has the remarks."""

    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Words:
    """A limit as people read it: in three or four words, and in one sentence with what was predicted and seen."""

    short: Callable[[BoundBy], str]
    sentence: Callable[[BoundBy], str]


class Reader(ABC):
    """How the observations of one kind are read."""

    kind: ClassVar[str]
    #: What the machine did beside the processes that the observations name.
    unnamed_work: ClassVar[str] = "Other work"
    #: Evidence → what follows when it does not hold: `invalid`, `bound_by`, `note` or `told`.
    consequences: ClassVar[Mapping[str, str]]
    #: (kind of bound_by, name in its limit) → how it is put into words; those that harness/bound_by.py does not know.
    words: ClassVar[Mapping[tuple[str, str], Words]] = {}

    @abstractmethod
    def gather(self, run: Path, observations: Sequence[Observation]) -> Gathered:
        """Every repeat of this kind with its samples."""

    @abstractmethod
    def describe(
        self, metric: Metric, planned: PlannedRecord, loads: Sequence[Any], material: Material
    ) -> Described: ...

    @abstractmethod
    def conclude(
        self, metric: Metric, planned: PlannedRecord, loads: Sequence[Any], material: Material, value: float
    ) -> Conclusion:
        """Only called when all repeats gave a value and the evidence holds."""

    @abstractmethod
    def write_parquet(self, run: Path, path: str, loads: Sequence[Any]) -> SamplesFile | None:
        """The samples of all repeats at `path` (more beside it); none of samples that are not what the role wrote."""

    @abstractmethod
    def section(self, records: Sequence[Record], loads: Sequence[Any], material: Material) -> Section: ...
