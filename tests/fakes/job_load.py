# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of loads of several parts give to the module, and how they look at what it left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fakes.gang_scheduler import API, NAME

if TYPE_CHECKING:
    from ansible.module_utils.nightbench.kube import Kube

NODES = 4
RACK = "test.nightbench.io/rack"
GROUP = {"api_version": API, "kind": "PodGroup", "unschedulable": {"type": "Unschedulable"}}
DECISION = {"api_version": API, "kind": "BindRequest", "pod": "spec.podName", "node": "spec.selectedNode"}
OBSERVED = {"group": GROUP, "decision": DECISION}


def pod(gpus: int = 1, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "pause", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    fixed = {"terminationGracePeriodSeconds": 0, "tolerations": [{"operator": "Exists"}], "containers": [container]}
    return {"spec": {**fixed, **spec}}


def job(gpus: int = 1, **spec: Any) -> dict[str, Any]:
    return {"spec": {"template": pod(gpus, **spec)}}


def gang(jobs: int = 3, pods: int = 4, **changes: Any) -> dict[str, Any]:
    """A part of gangs that the test's own scheduler binds."""
    return {"name": "gang", "form": "jobs", "count": jobs, "pods_per_job": pods, "min_member": pods, "until": "bound",
            "template": job(schedulerName=NAME), "measured": True} | changes  # fmt: skip


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def some(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names}


def names(kube: Kube, namespace: str) -> list[str]:
    paths = (f"/api/v1/namespaces/{namespace}/pods", f"/apis/batch/v1/namespaces/{namespace}/jobs")
    return [item["metadata"]["name"] for path in paths for item in kube.list_pages(path)[0]]
