# SPDX-License-Identifier: GPL-3.0-or-later
"""What a subject's components may use, as the fairness manifest and the upstream format tell it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scheduler_scale import evaluated

DEPLOYMENT = {"deployment": {"namespace": "kai-scheduler", "name": "binder"}}
LIMITS, REQUESTS = {"cpu": "400m", "memory": "2500Mi"}, {"cpu": "100m"}
#: A component → its replicas, CPU and memory.
CASES: list[tuple[dict[str, Any], tuple[Any, Any, Any]]] = [
    ({"process": {"name": "binder"}}, (1, "no limit", "no limit")),
    ({"pid": 7}, (1, "no limit", "no limit")),
    (DEPLOYMENT, (None, "unknown", "unknown")),
    ({**DEPLOYMENT, "runs_with": {"replicas": 3}}, (3, "no limit", "no limit")),
    ({**DEPLOYMENT, "runs_with": {"replicas": 2, "limits": LIMITS}}, (2, "400m", "2500Mi")),
    (
        {**DEPLOYMENT, "runs_with": {"replicas": 2, "limits": LIMITS, "requests": REQUESTS}},
        (2, {"limit": "400m", "request": "100m"}, "2500Mi"),
    ),
    (
        {**DEPLOYMENT, "runs_with": {"replicas": 1, "requests": {"memory": 1024}}},
        (1, "no limit", {"limit": "no limit", "request": "1024"}),
    ),
]


def test_limits_and_requests_are_told_where_they_were_read_back(tmp_path: Path) -> None:
    subject = {"__scheduler_scale_subject": {"components": ["binder"]}}
    cases = [{**subject, "scheduler_scale_components": {"binder": component}} for component, _ in CASES]
    found = evaluated(tmp_path, "__scheduler_scale_sizes", cases)
    assert [tuple(one[key]["binder"] for key in ("replicas", "cpu", "memory")) for one in found] == [
        told for _, told in CASES
    ]
