# SPDX-License-Identifier: GPL-3.0-or-later
"""Fake nodes of a real control plane are added, awaited, counted and gone; other people's are left alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.nightbench import process
from ansible.modules import bench_node_load

from harness.nodes.load import COLUMNS
from tests.conftest import RunModule, eventually

if TYPE_CHECKING:
    from ansible.module_utils.nightbench.kube import Kube

    from tests.control_plane import ControlPlane

pytestmark = pytest.mark.integration

TEMPLATE = {"metadata": {"labels": {"type": "kwok"}, "annotations": {"kwok.x-k8s.io/node": "fake"}}}
GIVEN: dict[str, Any] = {"name": "load", "count": 12, "template": TEMPLATE}


def names(kube: Kube) -> list[str]:
    return [node["metadata"]["name"] for node in kube.list_pages("/api/v1/nodes")[0]]


def test_every_node_is_ready_counted_and_gone(
    control_plane: ControlPlane, kube: Kube, run_module: RunModule, tmp_path: Path
) -> None:
    # One of an earlier load that was killed, and one that is nobody's business.
    for name, labels in (("load-left", {"type": "kwok", "nightbench.io/load": "load"}), ("other", {"type": "kwok"})):
        body = {"metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}}}
        kube.request("POST", "/api/v1/nodes", body=body)
    eventually(lambda: _ready(kube, "other"))
    try:
        path = tmp_path / "samples.jsonl"
        who = process.own_identity()
        processes = {"tests": {"pid": who.pid, "start_time": who.start_time}}
        given = GIVEN | {"kubeconfig": control_plane.kubeconfig, "samples_path": str(path), "processes": processes}
        result = run_module(bench_node_load, **given).ok()
        values = result["values"]
        assert [values[name] for name in ("asked", "created", "ready", "gone")] == [12] * 4
        assert (values["counts_hold"], values["problems"], values["failures"]) == (True, [], [])
        assert values["before"] == {"real": 0, "fake": 1, "all": 1}
        assert values["columns"]["existing"] == values["columns"]["ready"] == {"real": 0, "fake": 13, "all": 13}
        assert values["typhas"]["expected"] == 3
        assert 0 < values["storage"]["first_bytes"] <= values["storage"]["last_bytes"]
        assert (values["memory"]["tests"]["max_bytes"] > 0, values["programs"]) == (True, {})
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert [row["name"] for row in rows] == [f"load-{number:02d}" for number in range(12)]
        assert all(set(row) == set(COLUMNS) for row in rows)
        assert all(0 < row["ready"] < row["gone"] for row in rows)
        assert names(kube) == ["other"]
    finally:
        kube.request("DELETE", "/api/v1/nodes/other")


def _ready(kube: Kube, name: str) -> bool:
    conditions = kube.request("GET", f"/api/v1/nodes/{name}").json()["status"].get("conditions") or []
    return any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)


def test_nodes_that_nobody_plays_end_with_the_deadline_and_are_gone(
    control_plane: ControlPlane, kube: Kube, run_module: RunModule
) -> None:
    alone = GIVEN | {"template": {"metadata": {"labels": {"type": "kwok"}}}, "count": 2, "deadline_seconds": 1.0}
    failed = run_module(bench_node_load, kubeconfig=control_plane.kubeconfig, **alone).failed()
    assert "2 of 2 nodes created, 0 Ready, 0 gone; waiting until they are Ready" in failed.msg
    assert names(kube) == []


def test_a_node_that_is_refused_is_told_and_the_others_go_on(
    control_plane: ControlPlane, kube: Kube, run_module: RunModule
) -> None:
    kube.request("POST", "/api/v1/nodes", body={"metadata": {"name": "load-1", "labels": {"type": "kwok"}}})
    try:
        values = run_module(bench_node_load, kubeconfig=control_plane.kubeconfig, **GIVEN | {"count": 2}).ok()["values"]
        assert (values["created"], values["ready"], values["gone"]) == (1, 1, 1)
        assert "already exists" in values["failures"][0]
        assert values["counts_hold"] is False
    finally:
        kube.request("DELETE", "/api/v1/nodes/load-1")
    assert names(kube) == []
