# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that are not on this machine cannot be looked into: churn and policies say so, and leave nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from ansible.modules import bench_churn, bench_policy_latency

from tests.conftest import RunModule, eventually

if TYPE_CHECKING:
    from ansible.module_utils.nightbench.kube import Kube

    from tests.control_plane import ControlPlane

pytestmark = pytest.mark.integration

NODE = "churn-elsewhere"
SPEC = {"nodeName": NODE, "containers": [{"name": "main", "image": "i"}]}


@pytest.fixture
def elsewhere(kube: Kube, namespace: str) -> Iterator[str]:
    """A pod that runs on a node that kwok plays; no process of it is anywhere."""
    node = {"metadata": {"name": NODE, "labels": {"type": "kwok"}, "annotations": {"kwok.x-k8s.io/node": "fake"}}}
    kube.request("POST", "/api/v1/nodes", body=node)
    path = f"/api/v1/namespaces/{namespace}/pods"
    kube.request("POST", path, body={"metadata": {"name": "sender"}, "spec": SPEC})
    eventually(lambda: kube.request("GET", f"{path}/sender").json()["status"].get("podIP"))
    yield namespace
    kube.request("DELETE", f"/api/v1/nodes/{NODE}")


def given(control_plane: ControlPlane, namespace: str) -> dict[str, Any]:
    return {"kubeconfig": control_plane.kubeconfig, "name": "job", "namespace": namespace}


def test_churn_beside_a_pod_of_another_machine_is_refused(
    control_plane: ControlPlane, kube: Kube, elsewhere: str, run_module: RunModule
) -> None:
    ends = dict.fromkeys(("stranger", "source", "target"), "sender")
    asked = given(control_plane, elsewhere) | {"template": {"spec": SPEC}, **ends}
    failed = run_module(bench_churn, **asked).failed()
    assert f"no process of pod {elsewhere}/sender (node {NODE}) is on this machine" in failed.msg
    left = kube.list_pages(f"/api/v1/namespaces/{elsewhere}/pods")[0]
    assert [pod["metadata"]["name"] for pod in left] == ["sender"]
    assert kube.list_pages(f"/apis/networking.k8s.io/v1/namespaces/{elsewhere}/networkpolicies")[0] == []


@pytest.mark.parametrize(("target", "says"), [("sender", "is on this machine"), ("nobody", "pod nobody is not in")])
def test_a_pair_of_pods_that_cannot_be_entered_is_refused(
    control_plane: ControlPlane, elsewhere: str, run_module: RunModule, target: str, says: str
) -> None:
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny"}}
    pairs = [{"name": "pair", "target_pod": target}]
    asked = given(control_plane, elsewhere) | {"policy": policy, "pairs": pairs}
    assert says in run_module(bench_policy_latency, **asked).failed().msg


def test_a_pair_without_a_target_is_refused(control_plane: ControlPlane, namespace: str, run_module: RunModule) -> None:
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny"}}
    asked = given(control_plane, namespace) | {"policy": policy, "pairs": [{"name": "pair"}]}
    assert (
        "it names neither target_pod nor the address of one" in run_module(bench_policy_latency, **asked).failed().msg
    )
