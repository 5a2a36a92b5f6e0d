# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_workload as it is called, where there is no cluster to ask."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.modules import bench_workload

from tests.conftest import RunModule

JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, "spec": {}}
STEP: dict[str, Any] = {"name": "start", "action": "apply", "until": {"state": "finished", "count": 1}}
WHOLE: dict[str, Any] = {"name": "load", "forms": {"plain": [JOB]}, "steps": [STEP]}


def test_check_mode_gives_the_plan_and_asks_nobody(run_module: RunModule) -> None:
    result = run_module(bench_workload, check=True, **WHOLE).ok()
    until = {"state": "finished", "count": 1, "labels": {}, "new": False}
    begins = {"after_seconds": 0.0, "within_seconds": 0.0}
    assert result["plan"] == [{"name": "start", "action": "apply", "asked": 0, **begins, "until": until}]
    assert result["changed"] is False


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"form": "operator"}, "form: there is no operator, only plain."),
        ({"steps": []}, "steps: at least one is needed"),
        ({"steps": [{**STEP, "action": "explode"}]}, "value of action must be one of"),
        ({"steps": [{**STEP, "until": {"state": "bored", "count": 1}}]}, "value of state must be one of"),
        ({"steps": [{**STEP, "copies": 2, "arrivals": {"kind": "poisson"}}]}, "poisson needs a rate above 0"),
        ({"steps": [{**STEP, "copies": 2, "arrivals": {"colour": 1}}]}, "arrivals: colour is none of"),
        ({"steps": [{**STEP, "after_seconds": -1}]}, "start: after_seconds is -1; it is 0 to 3600"),
        ({"steps": [{**STEP, "within_seconds": 4000}]}, "start: within_seconds is 4000; it is 0 to 3600"),
        ({"infrastructure": [{"need": "luck"}]}, "value of need must be one of"),
    ],
)
def test_what_means_nothing_is_refused_with_the_reason(
    run_module: RunModule, changes: dict[str, Any], told: str
) -> None:
    assert told in run_module(bench_workload, **{**WHOLE, **changes}).failed().msg


@pytest.mark.usefixtures("impatient")
def test_a_cluster_that_does_not_answer_is_said_to_be_unreachable(run_module: RunModule) -> None:
    assert "no answer" in run_module(bench_workload, **WHOLE, host="http://127.0.0.1:9").failed().msg
