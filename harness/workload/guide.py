# SPDX-License-Identifier: GPL-3.0-or-later
"""The selection guide of workload patterns, made of a run's records, and what of the published one it bears out.

A grade is the place among the patterns that were measured, in thirds. A value that we planted is no measurement: where
nothing else is known the cell says `simulated`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness import units
from harness.model import Observation, Record
from harness.workload.cost import source

SUITE = "workload_patterns"
#: What cannot be used: its evidence does not hold, or it never came to be.
UNUSABLE = frozenset({"invalid", "error", "not_runnable"})
GRADES = ("Low", "Medium", "High")
LEAST = 3  # patterns; fewer have no thirds
SIMULATED, ABSENT, NONE = "simulated", "not measured", "none"
PLANTED = "the work is planted on fake nodes"
#: Column → metrics that say it, the first that was measured of a pattern counts.
COLUMNS: Mapping[str, Sequence[str]] = {
    "latency": (
        "request_added_seconds",
        "event_to_running_seconds",
        "notebook_spawn_seconds",
        "sandbox_claim_seconds",
        "scale_out_seconds",
        "gang_start_seconds",
        "model_swap_seconds",
        "pipeline_overhead_seconds",
        "slot_turnaround_seconds",
        "request_latency_seconds",  # last of those of requests: what a service sleeps is in it
        "pod_replacement_seconds",
    ),
    # Of requests it is the rate at which we let them come, of what answers them the time we let it sleep.
    "throughput": (),
    "resource_usage": ("gpus_held_most",),
    "cost": ("usd_per_thousand_units",),
    "complexity": ("manifest_fields",),
}
TITLES = {
    "latency": "Latency",
    "throughput": "Throughput",
    "resource_usage": "GPUs of the run",
    "cost": "Cost, 1,000 units",
    "complexity": "Complexity (fields)",
}
#: What is claimed in words that are no grade cannot be compared with a number.
USAGES = frozenset({"Sustained", "Periodic", "On-demand"})
#: What is counted in the manifest and is the same in every repeat.
EXACT = frozenset({"manifest_fields"})
#: What the size of the run sets is no place among patterns.
UNGRADED = frozenset({"resource_usage"})


@dataclass(frozen=True)
class Cell:
    """`record` None: `text` says why there is no number."""

    record: Record | None
    text: str
    grade: str = ""
    claim: str = ""
    #: The grades that the interval reaches; without an interval any may be right.
    reached: frozenset[str] = frozenset(GRADES)

    @property
    def sure(self) -> bool:
        return self.reached == {self.grade}

    @property
    def change(self) -> str:
        """What became of the claim."""
        if not self.claim:
            return "no claim"
        if self.record is None and self.claim not in USAGES:
            return self.text
        if not self.grade:
            return "not comparable"
        # A claim that no end of the interval reaches is refuted, also where two other grades are left.
        if _third(self.claim) not in self.reached:
            return f"claimed {self.claim}, is {self.grade}{'' if self.sure else '?'}"
        return "as claimed" if self.sure else "undecided"


@dataclass(frozen=True)
class Line:
    scenario: str
    title: str
    cells: Mapping[str, Cell]


def made(records: Sequence[Record], observations: Sequence[Observation]) -> list[Line]:
    """One line for each pattern that the run planned."""
    found = [record for record in records if record.suite == SUITE]
    names = list(dict.fromkeys(record.scenario for record in found))
    patterns = {
        item.scenario: item.values["pattern"]
        for item in observations
        if item.suite == SUITE and item.scenario and isinstance(item.values.get("pattern"), Mapping)
    }
    chosen = {name: {column: _choose(found, name, column) for column in COLUMNS} for name in names}
    grades = {
        column: {} if column in UNGRADED else _grades({name: chosen[name][column] for name in names})
        for column in COLUMNS
    }
    lines = []
    for name in names:
        pattern = patterns.get(name) or {}
        seed = pattern.get("seed") or {}
        claims = seed.get("claim") or {}
        cells = {
            column: _cell(
                chosen[name][column],
                column,
                grades[column].get(name, ""),
                str(claims.get(column, "")),
                _reached(chosen[name][column], {other: chosen[other][column] for other in names}),
                _absent(column, pattern),
            )
            for column in COLUMNS
        }
        lines.append(Line(name, str(pattern.get("title") or name), cells))
    return lines


def markdown(run_id: str, lines: Sequence[Line]) -> str:
    """guide.md."""
    parts = [
        f"# Selection guide, measured in run {run_id}",
        "",
        "A grade is the place among the patterns of this run, in thirds; ± is half of the 95 % interval over repeats,",
        "of which there were fewer than three where it is not given. Latency is what the metric beside it names.",
        "How many GPUs a pattern has is the run's own size. Cost is what a unit (a gang's start, a part, a user,",
        "an event, a replacement, a claim, a swap, a pipeline) holds of GPUs, CPUs and memory beside its planted work.",
        *_sources(lines),
        "",
        _row(["Pattern", *TITLES.values()]),
        "|---" * (len(TITLES) + 1) + "|",
        *(_row([line.title, *(_text(line.cells[column]) for column in TITLES)]) for line in lines),
        "",
        "## What became of what was claimed",
        "",
        _row(["Pattern", *TITLES.values()]),
        "|---" * (len(TITLES) + 1) + "|",
        *(_row([line.title, *(line.cells[column].change for column in TITLES)]) for line in lines),
        "",
        "`?`: the interval reaches into another third, or there is none for want of repeats. `undecided`: the claimed",
        "grade is among those that it reaches, and not alone.",
        f"`{SIMULATED}`: {PLANTED}, so it is no result. `not comparable`: the claim is no grade (sustained, periodic,",
        "on-demand), or what the run offered sets the number. `no claim`: the published guide has no such pattern.",
    ]
    return "\n".join(parts) + "\n"


def _sources(lines: Sequence[Line]) -> list[str]:
    records = [record for line in lines if (record := line.cells["cost"].record) is not None]
    return [f"Prices: {one}." for one in dict.fromkeys(source(record.parameters) for record in records)]


def _choose(records: Sequence[Record], scenario: str, column: str) -> Record | None:
    """The first metric that says it; of several subjects the one on real nodes."""
    for metric in COLUMNS[column]:
        found = [
            record
            for record in records
            if (record.scenario, record.metric) == (scenario, metric)
            and record.value is not None
            and record.verdict not in UNUSABLE
            and not (record.metric.startswith("request_") and record.parameters.get("simulated"))
        ]
        if found:
            return min(found, key=lambda record: record.subject == "fake_nodes")
    return None


def _grades(column: Mapping[str, Record | None]) -> dict[str, str]:
    """Thirds by rank; equal values have equal grades."""
    values = {name: record.value for name, record in column.items() if record is not None and record.value is not None}
    if len(values) < LEAST:
        return {}
    ranked = sorted(values.values())
    return {name: _grade(value, ranked) for name, value in values.items()}


def _grade(value: float, ranked: Sequence[float]) -> str:
    """The third that so many smaller ones put it in."""
    below = sum(1 for other in ranked if other < value)
    return GRADES[min(2, below * 3 // len(ranked))]


def _reached(record: Record | None, column: Mapping[str, Record | None]) -> frozenset[str]:
    """The grades from one end of the interval to the other, among the others' values."""
    if record is None or record.value is None:
        return frozenset(GRADES)
    ends = (
        (record.value, record.value) if record.metric in EXACT else (record.ci.low, record.ci.high) if record.ci else ()
    )
    if not ends:
        return frozenset(GRADES)
    others = [one.value for one in column.values() if one is not None and one.value is not None and one is not record]
    first, last = (GRADES.index(_grade(at, sorted([*others, at]))) for at in ends)
    return frozenset(GRADES[first : last + 1])


def _absent(column: str, pattern: Mapping[str, object]) -> str:
    """Why a column has no number: what we planted is no result, and who asks for no GPU has none to be measured."""
    needs = pattern.get("infrastructure")
    if column == "throughput":
        return SIMULATED
    if column == "resource_usage" and isinstance(needs, list) and not any(one.get("need") == "gpus" for one in needs):
        return NONE
    return ABSENT


def _cell(record: Record | None, column: str, grade: str, claim: str, reached: frozenset[str], absent: str) -> Cell:
    if record is None:
        return Cell(None, absent, "", claim)
    shown = units.show(record.value, record.unit, resolution=record.resolution)
    if record.ci is not None and record.value is not None:
        margin = (record.ci.high - record.ci.low) / 2
        shown += f" ± {units.show_margin(margin, record.value, record.unit, resolution=record.resolution)}"
    return Cell(record, shown, grade, claim, reached)


def _text(cell: Cell) -> str:
    if cell.record is None:
        return cell.text
    bound = cell.record.bound_by
    held = f", bound by the {bound.component}" if bound is not None else ""
    named = f" ({cell.record.metric}{held})" if cell.record.unit == "s" else ""
    grade = f"{cell.grade}{'' if cell.sure else '?'}: " if cell.grade else ""
    return f"{grade}{cell.text}{named}"


def _third(claim: str) -> str:
    return {"Very Low": "Low", "Very High": "High"}.get(claim, claim)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
