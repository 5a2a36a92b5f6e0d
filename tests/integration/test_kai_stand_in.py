# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in for KAI on a real control plane: what it does right, and each fault that is planted in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench.kube import Call, Kube

from tests.conftest import eventually
from tests.control_plane import ControlPlane
from tests.fakes.kai_stand_in.install import install
from tests.fakes.kai_stand_in.running import StandIn, apply_crds, make_pods, make_queue, stand_in

pytestmark = pytest.mark.integration

Start = Callable[..., StandIn]
NODES = 4
GPUS = 8


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nodes of 8 GPUs, the CRDs and the queues; the folder of the executables."""
    folder = install(tmp_path_factory.mktemp("kai") / "bin")
    kube = control_plane.kube()
    apply_crds(kube, folder / "crds")
    capacity = {"cpu": "32", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": str(GPUS)}
    names = [f"kai-{index}" for index in range(NODES)]
    for index, name in enumerate(names):
        labels = {"zone": "z0", "rack": f"r{index // 2}"}
        metadata = {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}}
        body = {"metadata": metadata, "status": {"capacity": capacity, "allocatable": capacity}}
        kube.request("POST", "/api/v1/nodes", body=body)
    make_queue(kube, "parent", None)
    make_queue(kube, "measured")
    yield folder
    kube.map([Call("DELETE", f"/api/v1/nodes/{name}") for name in names])
    kube.close()


@pytest.fixture
def start(control_plane: ControlPlane, cluster: Path, tmp_path: Path) -> Iterator[Start]:
    """Start the stand-in with flags and faults of the test's own."""
    with ExitStack() as stack:

        def begin(**options: Any) -> StandIn:
            return stack.enter_context(stand_in(control_plane.kubeconfig, tmp_path, bin_dir=cluster, **options))

        yield begin


def pods(kube: Kube, namespace: str) -> list[dict[str, Any]]:
    return kube.list_pages(f"/api/v1/namespaces/{namespace}/pods")[0]


def on_nodes(kube: Kube, namespace: str) -> Counter[str]:
    return Counter(pod["spec"]["nodeName"] for pod in pods(kube, namespace) if pod["spec"].get("nodeName"))


def test_it_fills_a_cluster_with_single_pods(start: Start, kube: Kube, namespace: str) -> None:
    start()
    make_pods(kube, namespace, "measured", NODES * GPUS)
    eventually(lambda: on_nodes(kube, namespace) == dict.fromkeys([f"kai-{index}" for index in range(NODES)], GPUS))
