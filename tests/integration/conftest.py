# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of loads of several parts share: nodes, and the call of the module."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench.errors import Conflict, KubeError
from ansible.module_utils.nightbench.kube import Call, Kube
from ansible.modules import bench_job_load

from tests.conftest import ROOT, RunModule, eventually
from tests.control_plane import ControlPlane
from tests.fakes.gang_scheduler import API
from tests.fakes.job_load import NODES, RACK, job, pod
from tests.real_nodes import declare, images, tools

__all__ = ["declare", "images", "tools"]  # fixtures

CRDS = ROOT / "tests" / "fixtures" / "crds" / "groups_and_decisions.yml"


@pytest.fixture(scope="module")
def gpu_nodes(control_plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Fake nodes of 8 GPUs, two to a rack; the kinds of groups and decisions are there too."""
    kube = control_plane.kube()
    # Of its own name in each file: kwok runs no pod on a node that comes again before its lease has ended (40 s).
    prefix = Path(request.path).stem.removeprefix("test_").replace("_", "-")
    names = [f"{prefix}-{index}" for index in range(NODES)]
    capacity = {"cpu": "32", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": "8"}
    for index, name in enumerate(names):
        labels = {RACK: f"rack-{index // 2}", "job-load": "yes"}
        metadata = {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}}
        node = {"metadata": metadata, "status": {"capacity": capacity, "allocatable": capacity}}
        kube.request("POST", "/api/v1/nodes", body=node)
    for document in yaml.safe_load_all(CRDS.read_text()):
        with contextlib.suppress(Conflict):  # another file of tests has them too
            kube.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body=document)
    for plural in ("podgroups", "bindrequests"):
        eventually(lambda plural=plural: served(kube, plural))
    yield names
    kube.map([Call("DELETE", f"/api/v1/nodes/{name}") for name in names])
    kube.close()


@pytest.fixture
def silent_nodes(kube: Kube) -> Iterator[list[str]]:
    """Nodes where nobody runs a pod: kwok would end those of a Job at once, and what has ended is no victim."""
    names = ["silent-0", "silent-1"]
    for name in names:
        kube.request("POST", "/api/v1/nodes", body={"metadata": {"name": name}})
    yield names
    kube.map([Call("DELETE", f"/api/v1/nodes/{name}") for name in names])


def served(kube: Kube, plural: str) -> bool:
    kube.forget_discovery()
    try:
        return bool(kube.request("GET", f"/apis/{API}/{plural}"))
    except KubeError:
        return False


@pytest.fixture
def load_parts(control_plane: ControlPlane, namespace: str, run_module: RunModule, gpu_nodes: list[str]) -> Any:
    """Call bench_job_load with what all tests share; a part needs a name and a count."""

    def call(*parts: dict[str, Any], **changes: Any) -> Any:
        parameters = {
            "kubeconfig": control_plane.kubeconfig,
            "name": "load",
            "namespace": namespace,
            "parts": [{"template": job() if part.get("form") == "jobs" else pod(), **part} for part in parts],
            "deadline_seconds": 60,
        }
        return run_module(bench_job_load, **{**parameters, **changes})

    return call
