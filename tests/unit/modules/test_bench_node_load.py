# SPDX-License-Identifier: GPL-3.0-or-later
"""What bench_node_load and bench_churn would do, and what they refuse before they touch anything."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.modules import bench_churn, bench_node_load

from tests.conftest import RunModule

TEMPLATE = {"metadata": {"labels": {"type": "kwok"}}}
NODES: dict[str, Any] = {"name": "load", "count": 3000, "template": TEMPLATE}
POD = {"spec": {"containers": [{"name": "main", "image": "i"}]}}
CHURN: dict[str, Any] = {"name": "job", "template": POD, "stranger": "s", "source": "s", "target": "t"}


def test_check_mode_returns_the_plan_of_nodes_and_needs_no_cluster(run_module: RunModule) -> None:
    result = run_module(bench_node_load, check=True, **NODES).ok()
    plan = {"nodes": 3000, "connections": 16, "clients": None, "mock_nodes": None}
    assert (result["changed"], result["plan"]) == (False, plan)
    mocked = run_module(bench_node_load, check=True, **NODES | MOCKED).ok()["plan"]
    assert mocked["mock_nodes"] == 3000


def test_check_mode_returns_the_plan_of_churn_and_needs_no_cluster(run_module: RunModule) -> None:
    plan = run_module(bench_churn, check=True, **CHURN).ok()["plan"]
    asked = ("pods", "gangs_per_second", "policies_per_gang", "background_policies", "nodes")
    assert [plan[name] for name in asked] == [32, 0.5, 1, 0, None]


TYPHAS = {"namespace": "calico-system", "label_selector": "k8s-app=calico-typha", "port": 9093}
MOCK_NODES: dict[str, Any] = {
    "kind": "Deployment",
    "metadata": {"name": "mock-nodes", "namespace": "calico-system"},
    "spec": {"replicas": 3000},
}
MOCKED: dict[str, Any] = {"mock_nodes": MOCK_NODES, "typha_pods": TYPHAS}

REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (bench_node_load, NODES | {"count": 0}, "count: 0 nodes"),
    (bench_node_load, NODES | {"fake_label": "type"}, "'type' is not a label as name=value"),
    (bench_node_load, NODES | {"fake_label": "type=mock"}, "its labels lack type=mock"),
    (bench_node_load, NODES | {"template": {}}, "its labels lack type=kwok"),
    (bench_node_load, NODES | {"mock_nodes": MOCK_NODES}, "what streams cannot be counted"),
    (bench_node_load, NODES | {"typha_pods": TYPHAS, "typha_urls": ["http://127.0.0.1:1/metrics"]}, "give one"),
    (bench_node_load, NODES | MOCKED | {"mock_nodes": {"kind": "Pod"}}, "Pod None is no Deployment"),
    (bench_node_load, NODES | MOCKED | {"mock_nodes": MOCK_NODES | {"spec": {}}}, "spec.replicas is None"),
    (bench_churn, CHURN | {"template": {}}, "it has no spec.containers"),
    (bench_churn, CHURN | {"pods_per_gang": 1}, "gangs of 1 pods"),
    (bench_churn, CHURN | {"policies_per_gang": -1}, "-1 policies of a gang, 0 in the background"),
    (bench_churn, CHURN | {"background_policies": -2}, "1 policies of a gang, -2 in the background"),
    (bench_churn, CHURN | {"quiet_seconds": 0.0}, "too few to compare with"),
]


@pytest.mark.parametrize(("module", "given", "words"), REFUSED)
def test_what_cannot_be_measured_is_refused(
    run_module: RunModule, module: Any, given: dict[str, Any], words: str
) -> None:
    for check in (True, False):
        assert words in run_module(module, check=check, **given).failed().msg


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("module", "given"), [(bench_node_load, NODES), (bench_churn, CHURN)])
def test_without_an_api_server_it_ends_with_its_address(
    run_module: RunModule, module: Any, given: dict[str, Any]
) -> None:
    assert "127.0.0.1:1" in run_module(module, host="http://127.0.0.1:1", **given).failed().msg
