# SPDX-License-Identifier: GPL-3.0-or-later
"""Two runs are compared when they were made with equal parameters, and only then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import compare
from harness.errors import UsageError
from harness.report import report
from harness.results import RunFolder
from tests.fakes.run_builder import OFF, Run, Shape, build

SMALL = Shape(pods=80, nodes=10, scenarios=(OFF,))
A, B = "20261121T183000Z-aaaa", "20261122T183000Z-bbbb"


def made(root: Path, run_id: str, shape: Shape = SMALL, *edits: Callable[[Run], None]) -> RunFolder:
    run = build(root, shape, edits=edits, run_id=run_id)
    report(run)
    return run


def compared(a: RunFolder, b: RunFolder) -> dict[str, Any]:
    return compare.compare(a.records(), b.records(), a.run(), b.run())


def of(document: dict[str, Any], metric: str) -> dict[str, Any]:
    return next(item for item in document["records"] if item["metric"] == metric)


CHANGES = [
    ("bind_all_seconds", {}, "no difference shown"),
    ("bind_all_seconds", {"bind_rate": 26.0}, "worse"),
    ("pods_bound_per_second", {"bind_rate": 26.0}, "worse"),
    ("pods_bound_per_second", {"bind_rate": 2600.0}, "better"),
    ("pods_created_per_second", {"creation_rate": 350.0}, "lower"),
    ("bind_all_seconds", {"repeats": 2}, "too few repeats to tell"),
]


@pytest.mark.parametrize(("metric", "changed", "word"), CHANGES)
def test_a_change_is_called_by_what_is_wanted(tmp_path: Path, metric: str, changed: dict[str, Any], word: str) -> None:
    document = compared(made(tmp_path, A), made(tmp_path, B, replace(SMALL, **changed)))
    found = of(document, metric)
    assert found["change"] == word
    assert found["ratio"] == pytest.approx(found["b"] / found["a"])
    assert (found["ci"] is None) == (word == "too few repeats to tell")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (replace(SMALL, pods=40), "pods: 80 and 40"),
        (replace(SMALL, nodes=20), "nodes: 10 and 20"),
        (replace(SMALL, pods=40, nodes=20), "pods: 80 and 40; nodes: 10 and 20"),
    ],
)
def test_runs_of_other_parameters_are_not_compared(tmp_path: Path, shape: Shape, message: str) -> None:
    a, b = made(tmp_path, A), made(tmp_path, B, shape)
    with pytest.raises(UsageError, match=f"runs {A} and {B} were not made with equal parameters: {message}") as raised:
        compared(a, b)
    assert raised.value.exit_code == 2


def test_runs_with_nothing_in_common_are_not_compared(tmp_path: Path) -> None:
    a, b = made(tmp_path, A), made(tmp_path, B, replace(SMALL, scenarios=()))
    with pytest.raises(UsageError, match="have no measured record in common"):
        compared(a, b)


def test_a_number_that_is_bound_by_something_else_is_pointed_out(tmp_path: Path) -> None:
    shape = replace(SMALL, pods=800, nodes=100)
    a, b = made(tmp_path, A, replace(shape, qps=20.0, burst=100.0)), made(tmp_path, B, shape)
    document = compared(a, b)
    assert of(document, "bind_all_seconds")["bound_by_changed"]
    assert not of(document, "pod_bound_to_running_seconds")["bound_by_changed"]
    told = compare.in_words(document, a.records(), b.records())
    line = "  fill_scheduler_off bind_all_seconds: client limit: kube-scheduler 20/s in A, subject: kube-scheduler in B"
    assert line in told.splitlines()
    assert "  subject.kube-scheduler.qps: 20.0 → 5000.0" in told.splitlines()


def test_what_else_changed_is_listed(tmp_path: Path) -> None:
    def upgraded(run: Run) -> None:
        run.run["tools"]["etcd"] |= {"version": "3.7.0", "path": "/elsewhere/etcd"}
        run.run["host"]["cpus"] = 4
        run.run["started_at"] = "2026-11-23T18:30:00Z"

    document = compared(made(tmp_path, A), made(tmp_path, B, SMALL, upgraded))
    assert document["changed"] == [
        {"name": "host.cpus", "a": 2, "b": 4},
        {"name": "tools.etcd.version", "a": "3.6.10", "b": "3.7.0"},
    ]


def test_what_is_not_compared_is_said(tmp_path: Path) -> None:
    def lost(run: Run) -> None:
        run.loads()[0]["values"]["running"] -= 1
        run.rows_of(run.loads()[0])[0]["running"] = None

    document = compared(made(tmp_path, A), made(tmp_path, B, SMALL, lost))
    assert {(item["metric"], item["a"], item["b"]) for item in document["not_compared"]} == {
        ("run_all_seconds", "measured", "invalid"),
        ("pod_bound_to_running_seconds", "measured", "invalid"),
    }
    both = replace(SMALL, scenarios=("fill_scheduler_off", "fill_scheduler_on"))
    wider = compared(made(tmp_path / "c", A), made(tmp_path / "c", B, both))
    assert {item["scenario"] for item in wider["only_in_b"]} == {"fill_scheduler_on"}
    assert wider["only_in_a"] == []
