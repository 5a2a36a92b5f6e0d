# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets two runs side by side: only what was measured under equal parameters, and only with what bounds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harness import fairness, presentation, stats, units
from harness.console import table
from harness.errors import UsageError
from harness.fairness import Manifest
from harness.judge import TOLD
from harness.model import Interval, Record

Name = tuple[str, str, str, str]
# What two runs may differ in without being two different machines or programs.
NOT_TELLING = ("started_at", "ended_at", "run_id", "exit_code", "schema_version", "path", "command", "at")


def compare(
    a: Sequence[Record],
    b: Sequence[Record],
    run_a: Mapping[str, Any],
    run_b: Mapping[str, Any],
    manifests: tuple[Mapping[str, Manifest], Mapping[str, Manifest]] = ({}, {}),
) -> dict[str, Any]:
    """A document of it; raises UsageError when the parameters differ or nothing is in both runs."""
    left, right = ({_name(record): record for record in side} for side in (a, b))
    both = [name for name in left if name in right]
    measured = [name for name in both if left[name].value is not None and right[name].value is not None]
    differing = {
        f"{key}: {before!r} and {after!r}": None
        for name in measured
        for key, before, after in differences(asked(left[name]), asked(right[name]))
    }
    if differing:
        raise UsageError(
            f"runs {run_a['run_id']} and {run_b['run_id']} were not made with equal parameters: {'; '.join(differing)}",
            hint="only runs with equal parameters are compared; `show` prints each of them by itself",
        )
    if not measured:
        raise UsageError(
            f"runs {run_a['run_id']} and {run_b['run_id']} have no measured record in common",
            hint="`list` says what each run holds",
        )
    return {
        "a": run_a["run_id"],
        "b": run_b["run_id"],
        "fairness": fairness.between_runs(*manifests),
        "records": [_pair(left[name], right[name]) for name in measured],
        "not_compared": [
            {**_named(name), "a": left[name].verdict, "b": right[name].verdict} for name in both if name not in measured
        ],
        "only_in_a": [_named(name) for name in left if name not in right],
        "only_in_b": [_named(name) for name in right if name not in left],
        "changed": [
            {"name": name, "a": before, "b": after}
            for name, before, after in differences(_telling(run_a, a), _telling(run_b, b))
        ],
    }


def in_words(document: Mapping[str, Any], a: Sequence[Record], b: Sequence[Record]) -> str:
    """The document as a table, then what else changed between the runs."""
    left, right = ({_name(record): record for record in side} for side in (a, b))
    rows, moved = [], []
    for item in document["records"]:
        before, after = left[_name_of(item)], right[_name_of(item)]
        ratio = f"{item['ratio']:.3f}" if item["ratio"] is not None else units.MISSING
        values = (presentation.value(before), presentation.value(after), ratio, _interval(item["ci"]))
        rows.append((item["scenario"], item["metric"], *values, item["change"]))
        if item["bound_by_changed"]:
            bounds = f"{presentation.bound_of(before)} in A, {presentation.bound_of(after)} in B"
            moved.append(f"  {item['scenario']} {item['metric']}: {bounds}")
    text = f"A {document['a']}\nB {document['b']}\n\n"
    if document["fairness"]:
        text += "Not under equal conditions:\n"
        text += "".join(
            f"  {item['subject']} {item['name']}: {item['a']!r} in A, {item['b']!r} in B\n"
            for item in document["fairness"]
        )
        text += "\n"
    headings = ("scenario", "metric", "A", "B", "B/A", "95 % interval", "")
    text += table(headings, rows, right=(2, 3, 4))
    if moved:
        text += "\nBound by something else, so not the same thing measured twice:\n" + "\n".join(moved) + "\n"
    for title, key in (("Not compared", "not_compared"), ("Only in A", "only_in_a"), ("Only in B", "only_in_b")):
        if document[key]:
            text += f"\n{title}:\n" + "".join(f"  {_told(item)}\n" for item in document[key])
    if document["changed"]:
        text += "\nWhat else changed from A to B:\n"
        text += "".join(f"  {item['name']}: {item['a']!r} → {item['b']!r}\n" for item in document["changed"])
    return text


def _pair(before: Record, after: Record) -> dict[str, Any]:
    ci = stats.ratio(before.repeats, after.repeats)
    bounds = [(r.bound_by.kind, r.bound_by.component) if r.bound_by else None for r in (before, after)]
    return {
        **_named(_name(before)),
        "unit": before.unit,
        "direction": before.direction,
        "a": before.value,
        "b": after.value,
        "ratio": after.value / before.value if before.value and after.value is not None else None,
        "ci": asdict(ci) if ci is not None else None,
        "change": _change(before.direction, ci),
        "bound_by": {"a": asdict(before.bound_by) if before.bound_by else None}
        | {"b": asdict(after.bound_by) if after.bound_by else None},
        "bound_by_changed": bounds[0] != bounds[1],
    }


def _change(direction: str, ci: Interval | None) -> str:
    if ci is None:
        return "too few repeats to tell"
    if ci.low <= 1 <= ci.high:
        return "no difference shown"
    return change_of(direction, ci.low > 1)


def change_of(direction: str, higher: bool) -> str:
    """What it is called when a number is higher, or lower."""
    if direction == "none":
        return "higher" if higher else "lower"
    return "worse" if higher == (direction == "lower") else "better"


def asked(record: Record) -> dict[str, Any]:
    """What was asked for, which has to be equal before two records are compared."""
    wanted = {key: value for key, value in record.parameters.items() if key not in TOLD}
    return flat({**wanted, "unit": record.unit, "objective": None})


def _telling(run: Mapping[str, Any], records: Sequence[Record]) -> dict[str, Any]:
    """What a run tells of machine, programs and settings; the suspects when a number changes."""
    subjects = {record.subject: record.parameters["subject"] for record in records if "subject" in record.parameters}
    return flat({**run, "subject": subjects})


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        if key not in NOT_TELLING:
            found |= flat(item, f"{prefix}.{key}" if prefix else str(key))
    return found


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    names = dict.fromkeys((*before, *after))
    return [(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def _name(record: Record) -> Name:
    return record.suite, record.scenario, record.subject, record.metric


def _name_of(item: Mapping[str, Any]) -> Name:
    return item["suite"], item["scenario"], item["subject"], item["metric"]


def _named(name: Name) -> dict[str, str]:
    return dict(zip(("suite", "scenario", "subject", "metric"), name, strict=True))


def _interval(ci: Mapping[str, Any] | None) -> str:
    return f"{ci['low']:.3f} to {ci['high']:.3f}" if ci else units.MISSING


def _told(item: Mapping[str, Any]) -> str:
    verdicts = f" ({item['a']} in A, {item['b']} in B)" if "a" in item else ""
    return f"{item['scenario']} {item['subject']} {item['metric']}{verdicts}"
