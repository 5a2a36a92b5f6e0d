# SPDX-License-Identifier: GPL-3.0-or-later
"""Audit, bundle and doctor beside running processes that speak as KAI's do."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import process
from ansible.module_utils.nightbench.kube import Kube
from ansible.modules import bench_bundle, bench_configuration

from harness import cli
from tests.conftest import RunModule, eventually
from tests.control_plane import ControlPlane
from tests.fakes.kai_stand_in.install import install
from tests.fakes.kai_stand_in.running import StandIn, apply_crds, make_pods, make_queue, remove_crds, stand_in
from tests.profiles import sample_types

pytestmark = pytest.mark.integration

COMPONENTS = ("podgrouper", "scheduler")


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A podgrouper and a scheduler, with one node and no binder."""
    folder = install(tmp_path_factory.mktemp("kai") / "bin")
    with closing(control_plane.kube()) as kube:
        apply_crds(kube, folder / "crds")
        capacity = {"cpu": "32", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": "8"}
        body = {"metadata": {"name": "alone"}, "status": {"capacity": capacity, "allocatable": capacity}}
        kube.request("POST", "/api/v1/nodes", body=body)
        make_queue(kube, "parent", None)
        make_queue(kube, "measured")
        make_queue(kube, "nothing", quota=0, limit=0, overQuotaWeight=0)
        flags = {"scheduler": {"qps": 20, "burst": 100}}
        here = tmp_path_factory.mktemp("running")
        with stand_in(control_plane.kubeconfig, here, bin_dir=folder, flags=flags, components=COMPONENTS) as started:
            yield started
        kube.request("DELETE", "/api/v1/nodes/alone")
        remove_crds(kube)


def asked(running: StandIn, component: str, **arguments: Any) -> dict[str, Any]:
    who = process.identity(running.processes[component].pid)
    assert who is not None
    program = process.command_of(who.pid).split()[1]
    return {
        "component": component,
        "pid": who.pid,
        "start_time": who.start_time,
        "arguments": arguments,
        "help_argv": [program, "--help"],
    }


def test_the_limits_that_processes_run_with_are_read_back(run_module: RunModule, running: StandIn) -> None:
    scheduler = asked(running, "scheduler", qps=20, burst=100, **{"max-number-consolidation-preemptees": 0})
    result = run_module(bench_configuration, processes=[scheduler, asked(running, "podgrouper", qps=1000)]).ok()
    unknown = "max-number-consolidation-preemptees"
    near = f"there is no flag {unknown}, so it is ignored or refused; the nearest is max-consolidation-preemptees"
    assert result["problems"] == [
        f"scheduler: {unknown}: {near}",
        "podgrouper: qps: it runs with --qps=5000",
    ]


def test_the_bundle_holds_metrics_profiles_and_the_snapshot(
    run_module: RunModule, running: StandIn, tmp_path: Path
) -> None:
    path, state = tmp_path / "failure.tar.gz", tmp_path / "state"
    state.mkdir()
    base = f"http://127.0.0.1:{running.ports['scheduler']}"
    snapshot = f"http://127.0.0.1:{running.plugin_port}/get-snapshot"
    scheduler = {"metrics_url": f"{base}/metrics", "pprof_url": f"{base}/debug/pprof", "snapshot_url": snapshot}
    run_module(bench_bundle, state_dir=str(state), path=str(path), components={"scheduler": scheduler}).ok()
    with tarfile.open(path) as archive:
        found = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    with zipfile.ZipFile(io.BytesIO(found["components/scheduler/snapshot.zip"])) as kept:
        (name,) = kept.namelist()
        with zipfile.ZipFile(io.BytesIO(running.get("scheduler", "/get-snapshot"))) as given:
            assert set(json.loads(kept.read(name))) == set(json.loads(given.read(name)))
    assert b"kai_" in found["components/scheduler/metrics.txt"]
    assert sample_types(found["components/scheduler/heap.pprof"]) == ["inuse_space"]
    assert sample_types(found["components/scheduler/profile.pprof"]) == ["cpu"]
    assert "components/scheduler/notes.txt" not in found


def causes(control_plane: ControlPlane, capsys: pytest.CaptureFixture[str], pod: str) -> list[str]:
    capsys.readouterr()
    assert cli.main(["doctor", "--pending", pod, "--kubeconfig", control_plane.kubeconfig, "--json"]) == 0
    return [cause["problem"] for cause in json.loads(capsys.readouterr().out)["causes"]]


def grouped(kube: Kube, namespace: str, pod: str) -> bool:
    found = kube.request("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}").json()
    return "pod-group-name" in (found["metadata"].get("annotations") or {})


@pytest.mark.usefixtures("running")
def test_the_doctor_follows_pods_of_running_processes(
    control_plane: ControlPlane, kube: Kube, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for queue in ("gone", "nothing", "measured"):
        make_pods(kube, namespace, queue, 1, name=queue)
        eventually(lambda queue=queue: grouped(kube, namespace, f"{queue}-0"))
    assert "its queue 'gone' (of its PodGroup) does not exist" in causes(control_plane, capsys, f"{namespace}/gone-0")
    limit = "the queue 'nothing' allows no gpu at all: spec.resources.gpu.limit is 0"

    def refused() -> bool:
        found = causes(control_plane, capsys, f"{namespace}/nothing-0")
        return limit in found or any(one.startswith("its queue would be over its limit") for one in found)

    eventually(refused)
    eventually(lambda: "chose alone" in causes(control_plane, capsys, f"{namespace}/measured-0")[0], 60)
