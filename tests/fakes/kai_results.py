# SPDX-License-Identifier: GPL-3.0-or-later
"""Results as the KAI project's scale suite writes them; and where a published one lies, if it does."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

FILL = "Fill Cluster with single GPU Jobs"
TOPOLOGY = "Allocate with preferred topology"
NO_TOPOLOGY = "Allocate without preferred topology"
LARGE = "Reclaim time for one very large job"
BURST = "NCCL Simulation on empty cluster"

#: The only file of a test that is not in this repository; tests that want it have one of their own beside it.
PUBLISHED = Path(
    os.environ.get("NIGHTBENCH_KAI_RESULT")
    or Path(__file__).resolve().parents[3] / "shared/fixtures/kai/example-results.json"
)


def test(name: str, **details: Any) -> dict[str, Any]:
    return {"test_name": name, "status": "success", "details": {k.replace("_", " "): v for k, v in details.items()}}


def results() -> dict[str, Any]:
    """The sizes and times of a run of which the binder's client was the limit."""
    gangs = {"distributed_jobs": 1, "nodes": 512, "pods": 512}
    return {
        "status": "success",
        "tests": [
            test(TOPOLOGY, **gangs, time="48.722995576s"),
            test(NO_TOPOLOGY, **gangs, time="49.426854935s"),
            test(FILL, jobs=4000, nodes=500, time="6m37.770565662s"),
            test(f"{FILL} - scheduler is running while submitting jobs", jobs=4000, nodes=500, time="7m40.527539676s"),
            test(f"{FILL} with 400 pending tasks in background", jobs=4000, nodes=500, time="6m38.070285147s"),
            test(
                "Average time to unschedulable for distributed job",
                nodes=500,
                pods=10,
                total_requested_gpus=80,
                **{"average time to unschedulable (seconds)": 249.5},
            ),
            test(LARGE, number_of_pods=250, total_requested_gpus=2000, **{"time to reclaim (seconds)": 102}),
            test(
                "Measuring reclaim time for single GPU",
                running_jobs=4000,
                **{"average time to reclaim single GPU (seconds)": 13.93},
            ),
            test("Reclaim 4000 single GPU Jobs", jobs=4000, nodes=500, time="11m34.491068786s"),
            test(
                "Multi Node Reclaim for distributed jobs",
                distributed_jobs=50,
                nodes=500,
                pods=500,
                time="11m56.874118188s",
            ),
            test(
                "Consolidation to run multiple distributed jobs",
                distributed_jobs=41,
                nodes=500,
                pods=410,
                time="7m35.679944886s",
            ),
            test(LARGE, number_of_pods=500, total_requested_gpus=4000, **{"time to reclaim (seconds)": 85}),
            test(
                BURST,
                completed_pods=12651,
                nodes=500,
                pending_pods=0,
                total_pods=45990,
                **{"time(seconds)": 5098.691694779},
            ),
        ],
    }


def wrapped(document: dict[str, Any] | None = None) -> dict[str, Any]:
    """As the dashboard wants it."""
    return {
        "metadata": {
            "kai_scheduler_ref": "main",
            "kai_commit_hash": "0123456789abcdef0123456789abcdef01234567",
            "kwok_node_count": 500,
            "cluster_node_count": 5,
            "test_focus": "",
            "timestamp": "2026-07-03T08:39:43Z",
            "service_resources": {"binder": {"limits": {"cpu": "400m"}, "requests": {"cpu": "100m"}}},
        },
        "results": copy.deepcopy(document or results()),
    }


def write(path: Path, document: Any) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path
