# SPDX-License-Identifier: GPL-3.0-or-later
"""What breaks while a mesh runs: the cells concerned are failed with the reason, the rest stands, all of it ends."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import mesh_module
from tests.fakes.mesh_namespaces import FakeCluster, layout, namespaces
from tests.integration.test_mesh import TINY, parameters, rows, values, wait_for_round

pytestmark = [pytest.mark.integration, pytest.mark.root]

LAST = "mg-3"


def played(
    folder: Path, pods: Path, meddle: Callable[[FakeCluster], None], after: int = 1, ahead: float = 0.0
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Four pods in rings; once the first round is over, something happens."""
    all_pods = layout({"mg": 4})
    all_pods[-1].ahead = ahead
    with namespaces(all_pods, pods) as cluster:
        module = mesh_module.started(**parameters(cluster, folder, TINY))
        try:
            wait_for_round(cluster, "mg-0", after)
            meddle(cluster)
            result = mesh_module.ended(module, 120)
        finally:
            mesh_module.killed(module)
    return result, rows(folder)


def touches(row: dict[str, Any]) -> bool:
    return LAST in (row["source"], row["target"])


def test_a_pod_that_dies_takes_only_its_own_cells_with_it(tmp_path: Path, tmp_path_factory: Any) -> None:
    result, found = played(tmp_path, tmp_path_factory.mktemp("pods"), lambda all_: all_.kill(all_.pod(LAST)))
    assert {row["state"] for row in found if not touches(row)} == {"done"}
    own = {row["error"] for row in found if row["source"] == LAST}
    assert own == {f"no result of {LAST}: pod {LAST} has ended: Failed"}
    to_it = [row for row in found if row["target"] == LAST and row["round"] > 1]
    assert {row["state"] for row in to_it} == {"failed"}
    assert values(result)["asked"] == values(result)["done"] + values(result)["failed"] == 12


def test_an_agent_that_hangs_is_not_waited_for(tmp_path: Path, tmp_path_factory: Any) -> None:
    _, found = played(tmp_path, tmp_path_factory.mktemp("pods"), lambda all_: all_.pod(LAST).signal(signal.SIGSTOP))
    assert {row["state"] for row in found if not touches(row)} == {"done"}
    reasons = {row["error"] for row in found if row["source"] == LAST}
    assert len(reasons) == 1
    assert reasons.pop().startswith(f"no result of {LAST}: ")


def test_a_container_that_is_started_again_goes_on_with_the_plan(tmp_path: Path, tmp_path_factory: Any) -> None:
    def restart(cluster: FakeCluster) -> None:
        cluster.kill(cluster.pod(LAST))
        cluster.start(cluster.pod(LAST))

    _, found = played(tmp_path, tmp_path_factory.mktemp("pods"), restart)
    own = [row for row in found if row["source"] == LAST]
    assert {row["state"] for row in own if row["round"] in (0, 2)} == {"done"}
    assert {row["error"].partition(":")[0] for row in own if row["state"] == "failed"} <= {
        "the agent was not at work", "control socket has closed unexpectedly",
    }  # fmt: skip


def test_a_mesh_goes_on_without_the_control_machine_which_finds_it_again(tmp_path: Path, tmp_path_factory: Any) -> None:
    with namespaces(layout({"mg": 4}), tmp_path_factory.mktemp("pods")) as cluster:
        first = mesh_module.started(**parameters(cluster, tmp_path, TINY))
        wait_for_round(cluster, "mg-0", 1)
        mesh_module.killed(first)
        started = [line for line in cluster.requests if line.startswith("PUT")]
        result = mesh_module.ended(mesh_module.started(**parameters(cluster, tmp_path, TINY)), 120)
        again = [line for line in cluster.requests if line.startswith("PUT")][len(started) :]
    assert (result["taken_over"], again) == (True, [])
    assert {row["state"] for row in rows(tmp_path)} == {"done"}


@pytest.mark.parametrize("ahead", [3600.0, -5.0])
def test_a_clock_that_is_off_is_measured_and_the_rounds_are_common_all_the_same(
    tmp_path: Path, tmp_path_factory: Any, ahead: float
) -> None:
    result, found = played(tmp_path, tmp_path_factory.mktemp("pods"), lambda _: None, ahead=ahead)
    assert {row["state"] for row in found} == {"done"}
    clocks = values(result)["clocks"]
    assert clocks["corrected"] >= 1
    assert clocks["worst_offset_seconds"] == pytest.approx(abs(ahead), abs=0.5)
    for number in range(3):
        moments = [row["started"] for row in found if row["round"] == number]
        assert max(moments) - min(moments) < 1.0
