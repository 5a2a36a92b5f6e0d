# SPDX-License-Identifier: GPL-3.0-or-later
"""Reader of the kind `overhead`: one run of the GPU probe, judged only beside the others of its block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness.bound_by import Finding
from harness.errors import UsageError
from harness.metrics import Metric
from harness.model import Evidence, Interval, Observation, PlannedRecord, Record, SamplesFile
from harness.overhead import comparison, experiment, experiment_checks, measures, runs
from harness.overhead.experiment import Experiment
from harness.overhead.runs import Run
from harness.overhead.statistics import LEVEL
from harness.reader import Conclusion, Described, Gathered, Key, Material, Reader, Section, Table
from harness.stats import Decision

METHOD = "BCa bootstrap over blocks, on no side narrower than Student t"
CLOCK = "host monotonic, around the call; device events beside it"


@dataclass(frozen=True)
class Judged(Run):
    """A run of the variant that a subject is judged by, in a whole block of this experiment."""

    experiment: Experiment | None = None


def gather(run: Path, observations: Iterable[Observation]) -> dict[tuple[str, str], list[Run]]:
    """By suite and scenario, all runs of all subjects together."""
    found: dict[tuple[str, str], list[Run]] = {}
    for item in observations:
        if item.kind == OverheadReader.kind:
            found.setdefault((item.suite, item.scenario or ""), []).append(runs.read(run, item))
    return found


class OverheadReader(Reader):
    kind = "overhead"
    consequences: ClassVar[Mapping[str, str]] = {}

    def gather(self, run: Path, observations: Sequence[Observation]) -> Gathered:
        loads: dict[Key, Sequence[Judged]] = {}
        for (suite, scenario), every in gather(run, observations).items():
            try:
                built = experiment.build(every)
            except UsageError:
                built = None  # without its baseline; the evidence says so
            for subject in dict.fromkeys(one.observation.subject or "" for one in every):
                own = [one for one in every if one.observation.subject == subject and one.value("judged") is True]
                able = [one for one in own if one.status != "not_runnable"]
                whole = built.of(own[0].variant) if built is not None and own else []
                chosen = whole or able
                if chosen:
                    loads[suite, scenario, subject] = [
                        Judged(one.observation, one.lines, one.samples_problem, built) for one in chosen
                    ]
        return Gathered(loads)

    def describe(
        self, metric: Metric, planned: PlannedRecord, loads: Sequence[Judged], material: Material
    ) -> Described:
        first, measure = loads[0], measures.BY_METRIC[metric.name]
        built = first.experiment
        parameters = _parameters(first)
        if built is None:
            missing = Evidence("baseline_measured", "both native variants in every block", "one was never run", False)
            return Described([0.0] * len(loads), None, CLOCK, (missing,), parameters)
        proof = experiment_checks.collect(built, first.variant, measure)
        compared = built.compared(measure, first.variant)
        if compared is None:
            seen = f"{measure.title} is not in every run"
            proof += (Evidence("value_in_every_block", "the value in every whole block", seen, False),)
        told = [0.0] * len(loads) if compared is None else [float(value) for value in measure.scale.told(compared)]
        return Described(told, None, CLOCK, proof, parameters)

    def conclude(
        self, metric: Metric, planned: PlannedRecord, loads: Sequence[Judged], material: Material, value: float
    ) -> Conclusion:
        built = loads[0].experiment
        assert built is not None, "without a baseline the evidence does not hold"
        decision = built.decisions(loads[0].variant).get(metric.name)
        measure, finding = measures.BY_METRIC[metric.name], Finding(None, "")
        compared = built.compared(measure, loads[0].variant)
        estimate = None if compared is None else float(measure.scale.told(float(compared.mean())))
        if decision is None:
            return Conclusion(finding, None, value=estimate)
        ci = None
        if decision.low is not None and decision.high is not None:
            ci = Interval(decision.low, decision.high, LEVEL, METHOD)
        own = None if planned.objective else Decision(decision.verdict, decision.reason)
        objective = None if planned.objective else {"max": decision.gate.objective}
        return Conclusion(finding, decision.noise_floor, own, value=estimate, ci=ci, objective=objective)

    def write_parquet(self, run: Path, path: str, loads: Sequence[Judged]) -> SamplesFile | None:
        """The JSON Lines of the runs stay as they are: a record is of several files, not of one."""
        return None

    def section(self, records: Sequence[Record], loads: Sequence[Judged], material: Material) -> Section:
        built = loads[0].experiment
        if built is None or not built.blocks:
            return Section(remarks=("No whole block: nothing is compared.",))
        rows = comparison.rows(loads[0].observation.scenario or "", built, {}, only=loads[0].variant)
        table = Table(
            "Overhead", "Every metric of this variant, with the noise floor of its blocks.", comparison.HEADINGS, rows
        )
        return Section(tables=[table], remarks=[comparison.environment(built), comparison.cost(built)])


def _parameters(run: Run) -> dict[str, Any]:
    found = {**run.of_experiment(), "variant": dict(run.parameters.get("variant") or {})}
    true = run.of_variant("true_overhead")
    if true is not None:
        found["simulated"] = f"the GPU is a stand-in that is {true:.0%} slower than native"
    return found
