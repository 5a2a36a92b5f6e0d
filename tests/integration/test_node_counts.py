# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of a real API server are counted, each column by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from ansible.modules import bench_node_counts

from tests.conftest import RunModule, eventually

if TYPE_CHECKING:
    from ansible.module_utils.nightbench.kube import Kube

    from tests.control_plane import ControlPlane

pytestmark = pytest.mark.integration


def node(name: str, labels: dict[str, str]) -> dict[str, Any]:
    annotations = {"kwok.x-k8s.io/node": "fake"} if labels else {}
    return {"metadata": {"name": name, "labels": labels, "annotations": annotations}}


@pytest.fixture
def nodes(kube: Kube) -> Iterator[None]:
    """Two fake ones that kwok plays, and a real one that nobody runs."""
    made = [node("count-0", {"type": "kwok"}), node("count-1", {"type": "kwok"}), node("count-real", {})]
    for body in made:
        kube.request("POST", "/api/v1/nodes", body=body)
    yield
    for body in made:
        kube.request("DELETE", f"/api/v1/nodes/{body['metadata']['name']}")


@pytest.mark.usefixtures("nodes")
def test_a_node_that_nobody_runs_is_existing_and_not_ready(control_plane: ControlPlane, run_module: RunModule) -> None:
    def look(**changes: Any) -> Any:
        asked = {"kubeconfig": control_plane.kubeconfig, "real": 1, "fake": 2}
        return run_module(bench_node_counts, **asked | changes).ok()

    eventually(lambda: look()["columns"]["ready"]["fake"] == 2)
    found = look()
    assert (found["holds"], found["problems"]) == (False, ["0 real nodes ready, 1 existing"])
    assert found["typhas"] == {
        "there": None, "expected": 2, "most_connections": None, "connection_limit": None, "dropped": 0,
    }  # fmt: skip
    assert "3 fake" not in look(fake=3, real=1)["problems"][0]
    assert look(fake=3)["problems"][0] == "2 fake nodes existing, 3 asked"


def test_a_typha_that_does_not_answer_is_a_failure(control_plane: ControlPlane, run_module: RunModule) -> None:
    asked = {"kubeconfig": control_plane.kubeconfig, "real": 0, "fake": 0, "typha_urls": ["http://127.0.0.1:1/metrics"]}
    assert "http://127.0.0.1:1/metrics" in run_module(bench_node_counts, **asked).failed().msg
    assert "fake: -1" in run_module(bench_node_counts, **asked | {"fake": -1}).failed().msg
    assert (
        "is not a label as name=value" in run_module(bench_node_counts, **asked | {"fake_label": "kwok"}).failed().msg
    )
