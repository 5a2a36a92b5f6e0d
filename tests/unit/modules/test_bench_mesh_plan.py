# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a mesh as a module: told before anything is made."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.modules import bench_mesh_plan

from tests.conftest import RunModule

GROUPS = [{"name": "mesh", "count": 3}, {"name": "lb-bgp", "count": 6}, {"name": "mg", "count": 40}]
GOOD: dict[str, Any] = {
    "groups": GROUPS, "interfaces": ["eth0", "net1"], "mesh": {"plan": "rings", "seconds": 1, "slack_seconds": 1.5},
}  # fmt: skip


def test_the_published_mesh_is_said_in_a_sentence(run_module: RunModule) -> None:
    result = run_module(bench_mesh_plan, **GOOD).ok()
    assert result["message"] == (
        "4,704 cells between 49 pods in 48 rounds of 2.5 s (rings); all of them will take 122 s."
    )
    assert result["plan"]["predicted_seconds"] == 122.0
    assert [pod["name"] for pod in result["pods"]][:4] == ["mesh-0", "mesh-1", "mesh-2", "lb-bgp-0"]
    assert [pod["index"] for pod in result["pods"]] == list(range(49))


def test_pods_are_spread_over_the_nodes_in_turn(run_module: RunModule) -> None:
    result = run_module(bench_mesh_plan, **GOOD, nodes=["a", "b", "c"], check=True).ok()
    assert [pod["node"] for pod in result["pods"][:4]] == ["a", "b", "c", "a"]


WRONG = [
    ({"groups": [{"name": "mg", "count": 2}, {"name": "mg", "count": 2}]}, "has a name twice"),
    ({"groups": [{"name": "mg", "count": -1}]}, "a count below 0"),
    ({"groups": [{"name": "mg", "count": 1}]}, "A mesh of 1 pods cannot be planned"),
    ({"interfaces": []}, "at least one is needed"),
    ({"mesh": {"plan": "star"}}, "plan is 'star'"),
    ({"mesh": {"pairs": "across_nodes"}, "nodes": ["only"]}, "No pair of the 49 pods on 1 nodes is wanted"),
]


@pytest.mark.parametrize(("change", "told"), WRONG, ids=lambda value: str(value)[:40])
def test_a_mesh_that_cannot_be_is_refused(run_module: RunModule, change: dict[str, Any], told: str) -> None:
    assert told in run_module(bench_mesh_plan, **(GOOD | change)).failed().msg
