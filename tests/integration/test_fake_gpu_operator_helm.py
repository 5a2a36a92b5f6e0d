# SPDX-License-Identifier: GPL-3.0-or-later
"""Role fake_gpu_operator: a real helm, a real API server, and a chart that renders its values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.control_plane import find_tool
from tests.role import CHARTS, changes, golden, need_helm_collection, play_role

if TYPE_CHECKING:
    from ansible.module_utils.nightbench.kube import Kube

    from tests.control_plane import ControlPlane

pytestmark = pytest.mark.integration

POOLS = "/apis/kwok.sigs.run-ai.com/v1beta1/nodepools"
OFFER = {"cpu": "32", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": "8"}


@pytest.fixture
def variables(control_plane: ControlPlane) -> dict[str, Any]:
    need_helm_collection()
    return {
        "fake_gpu_operator_helm_binary": find_tool("helm"),
        "fake_gpu_operator_kubeconfig": control_plane.kubeconfig,
        "fake_gpu_operator_chart_ref": str(CHARTS / "fake-gpu-operator"),
        "fake_gpu_operator_registry": "registry.example.org/mirror",
        "fake_gpu_operator_kwok_operator": str(ROOT / "tests" / "fixtures" / "kwok_operator.yml"),
        "fake_gpu_operator_node_pools": [{"name": "pool", "count": 2, "labels": {"example.org/rack": "r1"}}],
        "fake_gpu_operator_timeout_seconds": 20,
    }


@pytest.fixture
def nodes(kube: Kube) -> Iterator[None]:
    """What the KWOK operator and the fake GPU operator would make of the pool."""
    for name in ("pool-a", "pool-b"):
        metadata = {
            "name": name,
            "labels": {"nightbench.io/node-pool": "pool"},
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        }
        node = {"metadata": metadata, "status": {"capacity": OFFER, "allocatable": OFFER}}
        kube.request("POST", "/api/v1/nodes", body=node)
    yield
    for name in ("pool-a", "pool-b"):
        kube.request("DELETE", f"/api/v1/nodes/{name}")


@pytest.mark.usefixtures("nodes")
def test_chart_and_node_pools_are_made_and_removed_again(tmp_path: Path, kube: Kube, variables: dict[str, Any]) -> None:
    assert changes(play_role("fake_gpu_operator", tmp_path, variables)) == 4
    path = "/api/v1/namespaces/gpu-operator/configmaps/rendered"
    rendered = yaml.safe_load(kube.request("GET", path).json()["data"]["values.yaml"])
    assert {
        "values": rendered,
        "node_pool": kube.request("GET", f"{POOLS}/pool").json()["spec"],
    } == golden("fake_gpu_operator.yml")
    assert changes(play_role("fake_gpu_operator", tmp_path, variables)) == 0
    assert changes(play_role("fake_gpu_operator", tmp_path, variables | {"fake_gpu_operator_gpus": 4}, "--check")) == 1

    absent = variables | {"fake_gpu_operator_state": "absent"}
    assert changes(play_role("fake_gpu_operator", tmp_path, absent)) == 4
    namespaces = {item["metadata"]["name"] for item in kube.list_pages("/api/v1/namespaces")[0]}
    assert namespaces & {"gpu-operator", "kwok-operator"} == set()
    assert changes(play_role("fake_gpu_operator", tmp_path, absent)) == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"fake_gpu_operator_gpus": 0}, "fake_gpu_operator_gpus (0)"),
        ({"fake_gpu_operator_node_pools": [{"name": "p", "count": 0}]}, "the count of every node pool"),
        ({"fake_gpu_operator_node_pools": [{"name": "p", "count": 1}] * 2}, "each node pool needs a name of its own"),
    ],
    ids=["no GPUs", "no nodes", "one name twice"],
)
def test_what_cannot_be_is_refused_before_anything_is_made(tmp_path: Path, given: dict[str, Any], told: str) -> None:
    played = play_role("fake_gpu_operator", tmp_path, given)
    assert (played.rc, played.changed) == (2, 0)
    assert told in " ".join(played.output.split())
