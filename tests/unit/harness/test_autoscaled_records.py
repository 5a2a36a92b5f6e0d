# SPDX-License-Identifier: GPL-3.0-or-later
"""Of an autoscaler at work every leg is published, where it was the autoscaler and it saw what was planted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.model import Record
from harness.report import report
from harness.workload.scaling import LEGS
from tests.fakes.workload_run_builder import PARAMETERS, Rows, build, pod, row, step, values

ASKED: Mapping[str, Any] = {
    **PARAMETERS,
    "form": "autoscaled",
    "usage": {"consumer": {"cpu": "500m"}},
    "metrics": {"resolution_seconds": 15, "sync_seconds": 15},
    "steps": [
        {
            "name": "load",
            "count": 2,
            "patch": {"metadata": {"annotations": {"kwok.x-k8s.io/usage-cpu": "8400m"}}},
            "until": {"state": "ready", "count": 12},
        }
    ],
}
AUTOSCALER = {"name": "consumer", "scales": "Deployment/consumer", "min_replicas": 2, "max_replicas": 12,
              "target_cpus": 1.4, "active": True}  # fmt: skip


def told(kind: str, at: float, replicas: int, cpus: float = 0.0) -> dict[str, Any]:
    found = row(kind, "load", "consumer", reached=at)
    return {**found, "replicas": replicas, "cpus": cpus}


def rows() -> Rows:
    return [
        step("start", 0.0, 1.0),
        step("load", 40.0, 85.0),
        row("request", "load", "consumer-a", due=40.0, sent=40.0, answered=40.1),
        row("request", "load", "consumer-b", due=40.0, sent=40.1, answered=40.2),
        *(pod("load", f"consumer-{n}", 80.0) for n in range(2)),
        told("replicas", 0.5, 1),
        told("replicas", 2.0, 2),
        told("usage", 30.0, 2, 1.0),
        # A reading in which the load has just begun: not more than the target of two pods.
        told("usage", 45.0, 2, 2.9),
        told("usage", 55.0, 2, 16.8),
        told("replicas", 63.0, 6),
        told("wanted", 63.1, 6),
        told("replicas", 80.0, 12),
        told("wanted", 80.1, 12),
    ]


Edit = Callable[[Rows, dict[str, Any]], None]


def record(
    tmp_path: Path, metric: str, edit: Edit = lambda found, said: None, asked: Mapping[str, Any] = ASKED
) -> Record:
    found = rows()
    said = values(found, autoscaler=dict(AUTOSCALER))
    said["forms"] = {"autoscaled": said["forms"].pop("plain")}
    edit(found, said)
    (only,) = report(build(tmp_path, {"pattern": ([metric], [(said, found)])}, asked)).records
    return only


@pytest.mark.parametrize(("metric", "seconds"), list(zip(LEGS, (45.0, 15.0, 8.0, 17.0, 5.0), strict=True)))
def test_each_leg_is_published_and_they_add_up(tmp_path: Path, metric: str, seconds: float) -> None:
    found = record(tmp_path, metric)
    assert (found.verdict, found.value) == ("measured", pytest.approx(seconds))
    assert [item.observed for item in found.evidence if item.name == "autoscaler_decided"] == ["2 → 6 → 12"]


def test_who_looks_only_every_so_often_is_named(tmp_path: Path) -> None:
    bound = record(tmp_path, "usage_seen_seconds").bound_by
    assert bound is not None
    assert (bound.kind, bound.component, bound.predicted) == ("probe_period", "metrics-server", 15.0)
    assert record(tmp_path / "whole", "autoscaled_scale_out_seconds").bound_by is None


def test_what_takes_longer_than_two_looks_is_not_put_down_to_them(tmp_path: Path) -> None:
    asked = {**ASKED, "metrics": {"resolution_seconds": 15, "sync_seconds": 1}}
    assert record(tmp_path, "scaling_decision_seconds", asked=asked).bound_by is None


def set_by_the_run(found: Rows, said: dict[str, Any]) -> None:
    found.append(row("request", "load", "Deployment/consumer", due=41.0, sent=41.0, answered=41.1))
    said["requests"]["sent"] += 1


def by_somebody_else(found: Rows, said: dict[str, Any]) -> None:
    found[:] = [one for one in found if (one["row"], one["replicas"]) != ("wanted", 6)]


def not_active(found: Rows, said: dict[str, Any]) -> None:
    said["autoscaler"]["active"] = False


def less_than_planted(found: Rows, said: dict[str, Any]) -> None:
    next(one for one in found if one["cpus"] == 16.8)["cpus"] = 15.0


def more_than_planted(found: Rows, said: dict[str, Any]) -> None:
    next(one for one in found if one["cpus"] == 16.8)["cpus"] = 90.0


def never_told(found: Rows, said: dict[str, Any]) -> None:
    found[:] = [one for one in found if one["row"] != "usage"]


def never_scaled(found: Rows, said: dict[str, Any]) -> None:
    found[:] = [one for one in found if one["row"] != "replicas" or one["reached"] < 40]


def no_target(found: Rows, said: dict[str, Any]) -> None:
    said["autoscaler"]["target_cpus"] = None


@pytest.mark.parametrize(
    ("edit", "evidence"),
    [
        (set_by_the_run, {"autoscaler_decided"}),
        (by_somebody_else, {"autoscaler_decided"}),
        (not_active, {"autoscaler_decided"}),
        (less_than_planted, {"usage_told_as_planted"}),
        (more_than_planted, {"usage_told_as_planted"}),
        (never_told, {"autoscaler_decided", "usage_told_as_planted", "has_its_samples"}),
        (never_scaled, {"autoscaler_decided", "has_its_samples"}),
        (no_target, {"autoscaler_decided", "has_its_samples"}),
    ],
)
def test_what_was_not_the_autoscaler_or_not_the_planted_use_is_invalid(
    tmp_path: Path, edit: Edit, evidence: set[str]
) -> None:
    found = record(tmp_path, "autoscaled_scale_out_seconds", edit)
    assert found.verdict == "invalid"
    assert {item.name for item in found.evidence if not item.holds} == evidence


@pytest.mark.parametrize("without", ["usage", "steps"])
def test_use_that_nobody_planted_cannot_be_compared(tmp_path: Path, without: str) -> None:
    asked = {key: value for key, value in ASKED.items() if key != without}
    found = record(tmp_path, "usage_seen_seconds", asked=asked)
    assert {item.name for item in found.evidence if not item.holds} == {"usage_told_as_planted"}
