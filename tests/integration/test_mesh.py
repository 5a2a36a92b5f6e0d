# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes of the real agent and the real iperf3 in network namespaces; loads are bounded and never leave the machine."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.modules import bench_mesh

from tests.conftest import RunModule
from tests.fakes.mesh_namespaces import NAMESPACE, TOKEN, FakeCluster, FakePod, layout, namespaces, proxied
from tests.fakes.vf_exporter import vf_exporter

pytestmark = [pytest.mark.integration, pytest.mark.root]

INTERFACES = ["eth0", "net1"]
TINY = {
    "streams": 1,
    "bits_per_second": 4_000_000,
    "seconds": 1,
    "slack_seconds": 2.0,
    "pacing_microseconds": 100_000,
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeCluster]:
    """Four pods on two nodes, for tests that leave them as they are."""
    with namespaces(layout({"mesh": 1, "mg": 3}), tmp_path_factory.mktemp("pods")) as cluster:
        yield cluster


@pytest.fixture
def run(run_module: RunModule, tmp_path: Path) -> Any:
    def called(cluster: FakeCluster, **more: Any) -> Any:
        mesh = {**TINY, **more.pop("mesh", {})}
        return run_module(bench_mesh, **parameters(cluster, tmp_path, mesh, **more))

    return called


def parameters(cluster: FakeCluster, folder: Path, mesh: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "name": f"mesh.{folder.name}",
        "namespace": NAMESPACE,
        "token": TOKEN,
        "host": cluster.host,
        "interfaces": INTERFACES,
        "mesh": mesh,
        "samples_path": str(folder / "samples"),
        "run_state": str(folder / "state"),
        "deadline_seconds": 120,
        **more,
    }


def rows(folder: Path, what: str = "cells") -> list[dict[str, Any]]:
    """Of both interfaces; counters are the same in both files."""
    files = sorted(folder.glob(f"samples.*.{what}.jsonl"))
    return [
        json.loads(line) for path in files[: None if what == "cells" else 1] for line in path.read_text().splitlines()
    ]


def states(folder: Path) -> dict[str, int]:
    found = [row["state"] for row in rows(folder)]
    return {state: found.count(state) for state in sorted(set(found))}


def values(result: Any, interface: str = "eth0") -> dict[str, Any]:
    return next(one for one in result["observations"] if (one["subject"], one["kind"]) == (interface, "mesh"))["values"]


@contextlib.contextmanager
def with_devices(devices: dict[str, FakePod], host: str) -> Iterator[None]:
    for device, pod in devices.items():
        pod.devices, pod.host = {"net1": device}, host
    yield
    for pod in devices.values():
        pod.devices, pod.host = {}, ""


def test_every_cell_of_rings_runs_and_carries_its_proof(run: Any, shared: FakeCluster, tmp_path: Path) -> None:
    result = run(shared).ok()
    found = rows(tmp_path)
    assert [(one["asked"], one["done"]) for one in (values(result), values(result, "net1"))] == [(12, 12), (12, 12)]
    assert {row["error"] for row in found} == {None}
    assert all(
        (row["local_address"], row["remote_address"]) == (row["expected_local"], row["expected_remote"])
        for row in found
    )
    assert {row["remote_is_local"] for row in found} == {False}
    assert all(row["socket_bytes"] == row["sent_bytes"] > 0 for row in found)
    assert {row["loopback_bytes"] for row in found} == {0}
    assert len({(row["source"], row["target"], row["interface"]) for row in found}) == 24


def test_the_counters_of_every_interface_account_for_its_cells(run: Any, shared: FakeCluster, tmp_path: Path) -> None:
    run(shared).ok()
    found = rows(tmp_path, "counters")
    assert len(found) == 4 * 3 * 2  # pods, rounds, interfaces
    ratios = [row[f"{way}_bytes"] / row[f"cells_{way}_bytes"] for row in found for way in ("tx", "rx")]
    assert [ratio for ratio in ratios if not 0.95 < ratio < 1.15] == []


def test_virtual_functions_are_counted_by_their_nic(run: Any, shared: FakeCluster, tmp_path: Path) -> None:
    host = shared.pods[0].ip.rpartition(".")[0] + ".1"
    devices = {f"0000:18:02.{number}": pod for number, pod in enumerate(shared.pods)}
    with (
        with_devices(devices, host),
        vf_exporter(host, {device: shared.cable(pod, "net1") for device, pod in list(devices.items())[:-1]}) as port,
    ):
        run(shared, vf_exporter_port=port).ok()
    found = rows(tmp_path, "counters")
    untold = shared.pods[-1].name  # its function is on no page, and the kernel's count is no proof of it
    assert {(row["pod"], row["interface"]) for row in found} == {
        (pod.name, interface) for pod in shared.pods for interface in INTERFACES
    } - {(untold, "net1")}
    assert {(row["interface"], row["source"]) for row in found} == {("eth0", "kernel"), ("net1", "vf")}
    ratios = [
        row[f"{way}_bytes"] / row[f"cells_{way}_bytes"]
        for row in found
        for way in ("tx", "rx")
        if row["interface"] == "net1"
    ]
    assert len(ratios) == 3 * 3 * 2
    assert [ratio for ratio in ratios if not 0.95 < ratio < 1.15] == []


def test_results_are_handed_over_once_and_asked_for_again_they_are_the_same(
    run: Any, shared: FakeCluster, tmp_path: Path
) -> None:
    first = run(shared).ok()
    before = len(shared.requests)
    second = run(shared).ok()
    played = [line for line in shared.requests[before:] if line.startswith("PUT")]
    assert (second["observations"], played) == (first["observations"], [])
    identity = next((tmp_path / "state" / "meshes").iterdir()).stem
    answers = [
        proxied(pod, method, f"/result?id={identity}", b"") for pod in shared.pods for method in ("GET", "DELETE")
    ]
    assert [status for status, _ in answers] == [410, 200] * 4


def test_the_cost_of_the_control_side_is_recorded(run: Any, shared: FakeCluster) -> None:
    control = values(run(shared, mesh={"pairs": "within_node"}).ok())["control"]
    assert control["processes"] == 1
    assert control["cpu_seconds"] > 0
    assert control["max_rss_bytes"] > 1e6
    assert 4 * 6 <= control["requests"] <= 4 * 16


MEASURES = [
    ({"protocol": "udp"}, 24, ("jitter_seconds", "lost_ratio")),
    ({"direction": "reverse"}, 24, ("retransmits",)),
    ({"direction": "both"}, 48, ("retransmits",)),
    ({"plan": "all_at_once", "server_ports": "one_per_peer"}, 24, ("retransmits", "rtt_seconds")),
    ({"plan": "coloured", "limits": {"nic": 2}}, 24, ("rtt_seconds",)),
]


@pytest.mark.parametrize(("mesh", "cells", "told"), MEASURES, ids=lambda value: str(value)[:40])
def test_every_form_of_a_mesh_measures_all_of_its_cells(
    run: Any, shared: FakeCluster, tmp_path: Path, mesh: dict[str, Any], cells: int, told: tuple[str, ...]
) -> None:
    run(shared, mesh=mesh).ok()
    found = rows(tmp_path)
    assert (states(tmp_path), {row["error"] for row in found}) == ({"done": cells}, {None})
    assert [name for name in told if any(row[name] is None for row in found)] == []
    assert min(row["goodput_bytes_per_second"] for row in found) > 200_000


def test_the_published_way_all_at_once_on_one_server_runs_next_to_nothing(
    run: Any, shared: FakeCluster, tmp_path: Path
) -> None:
    """An iperf3 server serves one test at a time; of N pods' cells on an interface no more than N can run."""
    result = run(shared, mesh={"plan": "all_at_once", "server_ports": "one_per_interface"}).ok()
    for name in INTERFACES:
        one = values(result, name)
        assert one["asked"] == one["done"] + one["failed"] == 12
        assert one["done"] <= 4
        assert one["busy"] >= 1


def test_an_endless_mesh_goes_on_in_slices_until_it_is_asked_to_stop(
    run: Any, shared: FakeCluster, tmp_path: Path
) -> None:
    stop = tmp_path / "enough"
    result = run(
        shared, mesh={"endless": True, "plan": "all_at_once", "server_ports": "one_per_peer"}, endless_seconds=7.0,
        stop_path=str(stop),
    ).ok()  # fmt: skip
    found = rows(tmp_path)
    slices = {row["slice"] for row in found}
    assert slices == set(range(len(slices)))
    assert len(slices) >= 2
    assert (len(found), states(tmp_path)) == (24 * len(slices), {"done": 24 * len(slices)})
    assert values(result)["plan"]["endless"] is True


def test_a_mesh_that_its_deadline_ends_tells_what_is_missing(run: Any, shared: FakeCluster, tmp_path: Path) -> None:
    result = run(shared, mesh={"plan": "isolated"}, deadline_seconds=12).ok()
    found = states(tmp_path)
    assert found["missing"] > 0
    assert sum(found.values()) == 24
    assert "not done within 12 s" in values(result)["given_up"]
    assert {row["error"] for row in rows(tmp_path) if row["state"] == "missing"} == {values(result)["given_up"]}


def test_a_mesh_stops_when_the_run_is_asked_to(run: Any, shared: FakeCluster, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "stop").touch()
    result = run(shared).failed()
    assert result["stopped"] is True
    assert "stopped on request" in result.msg


def test_agents_let_nobody_in_without_the_token(run: Any, shared: FakeCluster) -> None:
    result = run(shared, token="another").failed()
    assert "4 of 4 agents do not answer" in result.msg
    assert "401" in result.msg


def test_check_mode_says_the_plan_and_asks_no_agent(run_module: RunModule, shared: FakeCluster, tmp_path: Path) -> None:
    before = len(shared.requests)
    result = run_module(bench_mesh, check=True, **parameters(shared, tmp_path, TINY)).ok()
    assert (result["plan"]["cells"], result["plan"]["rounds"]) == (24, 3)
    assert [line for line in shared.requests[before:] if "proxy" in line] == []


def test_the_published_addresses_are_refused_with_the_reason(
    run: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pods = layout({"mg": 3}, ("{net}.{host}/24", "{second}.10/24"))
    with namespaces(pods, tmp_path_factory.mktemp("pods")) as cluster:
        result = run(cluster).failed()
        progress = [json.loads(proxied(pod, "GET", "/progress", b"")[1])["plan"] for pod in pods]
    assert "The mesh was not started. addresses are used twice" in result.msg
    assert "mg-0 net1, mg-1 net1, mg-2 net1" in result.msg
    assert result["refused"] is True
    assert [check["name"] for check in result["preflight"] if check["holds"] is False] == ["addresses are used twice"]
    assert progress == [None, None, None]


def wait_for_round(cluster: FakeCluster, name: str, steps: int) -> None:
    """Until the agent has played so many steps; it has a bound of its own."""
    bound = time.monotonic() + 60
    while time.monotonic() < bound:
        status, answer = proxied(cluster.pod(name), "GET", "/progress", b"")
        if status == 200 and json.loads(answer)["steps_done"] >= steps:
            return
        time.sleep(0.1)
    pytest.fail(f"{name} never played {steps} steps")
