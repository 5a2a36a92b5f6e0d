# SPDX-License-Identifier: GPL-3.0-or-later
"""Dataplanes and releases side by side: one row a metric, judged against one subject. Knows records, nothing of a run.

A subject is what the nodes were seen to run, with the release that it stated. Repeats of several runs are pooled where
everything that was asked for is equal; what was asked for differently stands in a row of its own.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness import stats
from harness.compare import asked, change_of, differences, flat
from harness.errors import UsageError
from harness.model import Interval, Record
from harness.overhead.statistics import holm
from harness.words import nearest

SUITE = "calico_scale"
CONTROL = "no_policy_engine"
NO_ENGINE = "none"  # as bench_dataplane calls it
#: What names the subject itself is no part of what has to be equal.
OF_SUBJECT = ("dataplane_asked", "dataplane_observed")
#: A number that is the limit of one of these says nothing of what was measured.
NOT_OF_SUBJECT = ("client_limit", "load_generator", "probe_period")

Row = tuple[str, str, str]  # scenario, metric, what was asked for


@dataclass(frozen=True)
class Cell:
    """One metric of one subject over all runs that asked for the same."""

    records: Sequence[Record]

    @property
    def valid(self) -> list[Record]:
        return [record for record in self.records if record.value is not None]

    @property
    def repeats(self) -> list[float]:
        return [value for record in self.valid for value in record.repeats]

    @property
    def resolution(self) -> float:
        return max((record.resolution or 0.0 for record in self.valid), default=0.0)

    @property
    def limits(self) -> set[str]:
        return {record.bound_by.kind if record.bound_by else "" for record in self.valid}

    @property
    def left_out(self) -> dict[str, int]:
        """Verdict → how many records of it have no value: shown, and never compared."""
        verdicts = [record.verdict for record in self.records if record.value is None]
        return {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}


def subject_of(record: Record) -> str:
    """What the nodes were seen to run; where nobody looked, what was asked for, and said so."""
    told = record.parameters.get("subject")
    seen = told.get("dataplane") if isinstance(told, Mapping) else None
    seen = seen if isinstance(seen, Mapping) else {}
    observed = seen.get("observed")
    if observed is None:
        return f"{record.subject} (asked)" if record.subject != CONTROL else CONTROL
    if observed == NO_ENGINE:
        return CONTROL
    return " ".join(filter(None, (f"calico_{observed}", str(seen.get("release") or ""))))


def compare(records: Iterable[Record], against: str = CONTROL) -> dict[str, Any]:
    """A document of it; raises UsageError where there is nothing to set side by side, or no such baseline."""
    own = [record for record in records if record.suite == SUITE]
    if not own:
        raise UsageError(f"none of these runs has a record of {SUITE}", hint="`list` says what each run holds")
    subjects = sorted({subject_of(record) for record in own}, key=lambda name: (name != against, name))
    if against not in subjects and against != CONTROL:
        near = nearest(against, subjects)
        guess = f"; did you mean '{near}'?" if near else ""
        raise UsageError(
            f"no record is of the subject {against!r}", hint=f"subjects there: {', '.join(subjects)}{guess}"
        )
    rows = _rows(own)
    found = [_row(name, cells, rows, against) for name, cells in rows.items()]
    _correct(found)
    return {
        "against": against if against in subjects else None,
        "subjects": subjects,
        "records": found,
        "left_out": [
            {"run_id": record.run_id, "subject": subject_of(record), "scenario": record.scenario}
            | {"metric": record.metric, "verdict": record.verdict, "reason": record.reason}
            for record in own
            if record.value is None
        ],
    }


def conditions(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """In what the machines of the runs differ: a line for each thing, with the first run that has it otherwise."""
    found: dict[str, str] = {}
    for run in runs[1:]:
        for name, first, other in differences(flat(runs[0].get("host") or {}), flat(run.get("host") or {})):
            found.setdefault(name, f"{name}: {first} in {runs[0]['run_id']}, {other} in {run['run_id']}")
    return list(found.values())


def verdict(direction: str, before: Cell, after: Cell) -> dict[str, Any]:
    """Decided by the whole interval of ratio or difference; inconclusive with the reason where nothing can be said."""
    undecided: dict[str, Any] = {
        "verdict": "inconclusive",
        "ratio": None,
        "difference": None,
        "p": None,
        "p_adjusted": None,
    }
    if not before.valid or not after.valid:
        absent, side = (before, "the baseline") if not before.valid else (after, "it")
        why = ", ".join(absent.left_out) or "absent"
        return undecided | {"verdict": None, "reason": f"{side} is {why}".replace("_", " ")}
    if shared := before.limits & after.limits & set(NOT_OF_SUBJECT):
        return undecided | {"reason": f"both bound by {', '.join(sorted(shared))}".replace("_", " ")}
    fewest = min(len(before.repeats), len(after.repeats))
    if fewest < stats.FEWEST_REPEATS:
        return undecided | {"reason": f"{fewest} of {stats.FEWEST_REPEATS} repeats"}
    positive = min(*before.repeats, *after.repeats) > 0
    ratio = stats.ratio(before.repeats, after.repeats) if positive else None
    difference = stats.difference(before.repeats, after.repeats)
    decisive, nothing = (ratio, 1.0) if ratio is not None else (difference, 0.0)
    assert decisive is not None  # there are repeats enough
    found = undecided | {"ratio": _plain(ratio), "difference": _plain(difference), "reason": ""}
    found |= {"p": stats.p_value(before.repeats, after.repeats)}
    if decisive.low <= nothing <= decisive.high:
        return found | {"reason": "no difference shown"}
    resolution = max(before.resolution, after.resolution)
    if abs(statistics.fmean(after.repeats) - statistics.fmean(before.repeats)) < resolution:
        return found | {"reason": "less than the resolution apart"}
    return found | {"verdict": change_of(direction, decisive.low > nothing)}


def _correct(rows: Iterable[Mapping[str, Any]]) -> None:
    """Holm's correction over all comparisons of the table: what chance alone gives among so many is no difference."""
    tested = [cell["against"] for row in rows for cell in row["cells"] if cell.get("against", {}).get("p") is not None]
    for found, adjusted in zip(tested, holm(np.array([one["p"] for one in tested])), strict=True):
        found["p_adjusted"] = float(adjusted)
        if found["verdict"] != "inconclusive" and adjusted > 1 - stats.LEVEL:
            found |= {"verdict": "inconclusive", "reason": f"no difference among {len(tested)} comparisons"}


def _rows(records: Iterable[Record]) -> dict[Row, dict[str, Cell]]:
    """Records without parameters never came to be measured: they stand in every row of their metric."""
    measured: dict[Row, dict[str, list[Record]]] = {}
    nowhere: list[Record] = []
    for record in records:
        if record.parameters:
            row = (record.scenario, record.metric, json.dumps(_wanted(record), sort_keys=True))
            measured.setdefault(row, {}).setdefault(subject_of(record), []).append(record)
        else:
            nowhere.append(record)
    for record in nowhere:
        name = (record.scenario, record.metric)
        own = [row for row in measured if row[:2] == name] or [(*name, "{}")]
        for row in own:
            measured.setdefault(row, {}).setdefault(subject_of(record), []).append(record)
    return {row: {subject: Cell(found) for subject, found in cells.items()} for row, cells in measured.items()}


def _row(name: Row, cells: Mapping[str, Cell], rows: Mapping[Row, Mapping[str, Cell]], against: str) -> dict[str, Any]:
    scenario, metric, wanted = name
    first = next(iter(cells.values())).records[0]
    siblings = [json.loads(row[2]) for row in rows if row[:2] == name[:2]]
    own = json.loads(wanted)
    baseline = cells.get(against, Cell(()))
    return {
        "scenario": scenario,
        "metric": metric,
        "unit": first.unit,
        "direction": first.direction,
        "asked": {key: own[key] for key in own if any(other.get(key) != own[key] for other in siblings)},
        "cells": [
            {"subject": subject, **_cell(cell)}
            | ({} if subject == against else {"against": verdict(first.direction, baseline, cell)})
            for subject, cell in cells.items()
        ],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    repeats = cell.repeats
    return {
        "value": statistics.fmean(repeats) if repeats else None,
        "repeats": len(repeats),
        "ci": _plain(stats.interval(repeats)),
        "resolution": cell.resolution or None,
        "runs": list(dict.fromkeys(record.run_id for record in cell.records)),
        "left_out": cell.left_out,
    }


def _wanted(record: Record) -> dict[str, Any]:
    return {key: value for key, value in asked(record).items() if key not in OF_SUBJECT}


def _plain(interval: Interval | None) -> dict[str, Any] | None:
    return asdict(interval) if interval is not None else None
