# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a published result of the KAI project's scale suite: kwok_scale_test.json, or the dashboard's wrapper of it."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeGuard

from harness.errors import UsageError
from harness.kai_tests import KaiTest, named, seconds_of

LARGEST = 16 * 2**20
SHAPE = (
    'a kwok_scale_test.json has {"status", "tests": [{"test_name", "status", "details"}]}; '
    'the dashboard\'s wrapper has that as "results"'
)


@dataclass(frozen=True)
class Measured:
    """One test of the file, with its time in seconds and the scenario that it is here."""

    test: KaiTest
    name: str
    repeat: int
    succeeded: bool
    seconds: float | None  # of a test that failed there may be none
    details: Mapping[str, Any]

    def count(self, source: str) -> float | None:
        """How many jobs, pods, nodes, … the details say."""
        value = self.details.get(self.test.detail(source) or "")
        return float(value) if _is_number(value) else None

    @property
    def pods(self) -> float | None:
        """Pods bound; a test that counts Jobs alone has Jobs of one pod."""
        return self.count("pods") or self.count("jobs")


@dataclass(frozen=True)
class KaiResult:
    measured: tuple[Measured, ...]
    unknown: tuple[str, ...]  # tests that are no scenario here
    metadata: Mapping[str, Any]
    wrapped: bool
    sha256: str
    data: bytes


def read(path: Path) -> KaiResult:
    """Raise UsageError for whatever is no such file, naming what is wrong with it."""
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path} is {path.stat().st_size:,} bytes long: no result of the suite is", hint=SHAPE)
        data = path.read_bytes()
        document = json.loads(data.decode("utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deep to be a result", hint=SHAPE) from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}", hint=SHAPE) from error
    try:
        return _result(document, data)
    except OverflowError as error:
        raise UsageError(f"{path}: one of its numbers is too large to be meant", hint=SHAPE) from error
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", hint=error.hint or SHAPE) from error


def _result(document: Any, data: bytes) -> KaiResult:
    if not isinstance(document, dict):
        raise UsageError("is no JSON object")
    wrapped = "results" in document
    results = document["results"] if wrapped else document
    metadata = document.get("metadata", {}) if wrapped else {}
    if not isinstance(results, dict) or not isinstance(results.get("tests"), list):
        raise UsageError(f"{'results' if wrapped else 'it'} has no list of tests")
    if not isinstance(metadata, dict):
        raise UsageError("metadata is no object")
    _check_timestamp(metadata.get("timestamp"))
    if not results["tests"]:
        raise UsageError("has no test in it")
    rows = [_checked(item, place) for place, item in enumerate(results["tests"])]
    nodes = _nodes(metadata, rows)
    measured: list[Measured] = []
    unknown: list[str] = []
    seen = Counter[str]()
    for place, row in enumerate(rows):
        test = _chosen(row, nodes, rows)
        if test is None:
            unknown.append(str(row["test_name"]))
            continue
        # The suite appends to a file that is there already: a test that comes again is another repeat.
        seen[test.scenario] += 1
        seconds, succeeded = _seconds(test, row, place), row["status"] == "success"
        measured.append(Measured(test, row["test_name"], seen[test.scenario], succeeded, seconds, dict(row["details"])))
    if not measured:
        raise UsageError(
            f"none of its tests is one of the suite's: {', '.join(map(repr, unknown[:3]))}",
            hint="known are, for example, 'Fill Cluster with single GPU Jobs' and 'Allocate with preferred topology'",
        )
    return KaiResult(tuple(measured), tuple(unknown), metadata, wrapped, hashlib.sha256(data).hexdigest(), data)


def _checked(item: Any, place: int) -> dict[str, Any]:
    where = f"tests[{place}]"
    if not isinstance(item, dict) or not isinstance(item.get("test_name"), str) or not item["test_name"]:
        raise UsageError(f"{where} has no test_name")
    name = f"{where} ({item['test_name']!r})"
    if item.get("status") not in ("success", "failure"):
        raise UsageError(f"{name} has the status {item.get('status')!r}, neither 'success' nor 'failure'")
    # A test that failed may have nothing to tell.
    if item.get("details") is None and item["status"] == "failure":
        item = {**item, "details": {}}
    if not isinstance(item.get("details"), dict):
        raise UsageError(f"{name} has no details")
    return dict(item)


def _chosen(row: Mapping[str, Any], nodes: float | None, rows: list[dict[str, Any]]) -> KaiTest | None:
    """Of two tests with one name the one with a pod on every node is that with full nodes as victims."""
    tests = named(row["test_name"])
    if len(tests) < 2:
        return tests[0] if tests else None
    smaller, larger = tests
    field = smaller.detail("pods") or ""
    pods = row["details"].get(field)
    if not _is_number(pods):
        return smaller
    sizes = [item["details"].get(field) for item in rows if item["test_name"] == row["test_name"]]
    most = max(size for size in sizes if _is_number(size))
    several = len({size for size in sizes if _is_number(size)}) > 1
    return larger if (pods >= nodes if nodes is not None else several and pods == most) else smaller


def _seconds(test: KaiTest, row: Mapping[str, Any], place: int) -> float | None:
    where = f"tests[{place}] ({row['test_name']!r})"
    value = row["details"].get(test.timing_field)
    if value is None and row["status"] == "failure":
        return None
    seconds = seconds_of(value) if isinstance(value, str) else float(value) if _is_number(value) else None
    if seconds is None:
        raise UsageError(
            f"{where}: {test.timing_field!r} is {value!r}, no time",
            hint="a time is a number of seconds or a Go duration like 6m37.77s",
        )
    if not math.isfinite(seconds) or seconds <= 0:
        raise UsageError(f"{where}: {test.timing_field!r} is {value!r}: a time is above 0")
    for name in test.details:
        count = row["details"].get(name)
        if count is not None and (not _is_number(count) or not math.isfinite(count) or count < 0):
            raise UsageError(f"{where}: {name!r} is {count!r}, no count")
    return seconds


def _nodes(metadata: Mapping[str, Any], rows: list[dict[str, Any]]) -> float | None:
    """The fake nodes of the cluster; a file without its wrapper tells them only test by test."""
    told = metadata.get("kwok_node_count")
    if _is_number(told):
        return float(told)
    fills = [
        float(row["details"]["nodes"])
        for row in rows
        if row["test_name"].startswith("Fill ") and _is_number(row["details"].get("nodes"))
    ]
    return fills[0] if fills else None


def _check_timestamp(value: Any) -> None:
    if value is None:
        return
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"metadata.timestamp is {value!r}, no time like 2026-07-03T08:39:43Z") from error


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
