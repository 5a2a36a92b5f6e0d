# SPDX-License-Identifier: GPL-3.0-or-later
"""A real control plane by bench_kwok_cluster: what dies is reported and mended, and nothing is ever left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench import kwok_start, process
from ansible.module_utils.nightbench.kwok_cluster import Cluster
from ansible.modules import bench_kwok_cluster

from tests.conftest import ROOT, RunModule
from tests.control_plane import find_tool

pytestmark = pytest.mark.integration

COMPONENTS = ["etcd", "kube-apiserver", "kube-controller-manager", "kwok-controller"]
Declare = Callable[..., dict[str, Any]]


@pytest.fixture
def declare(tmp_path: Path, run_module: RunModule) -> Iterator[Declare]:
    """The module's parameters for a control plane below tmp_path, which is gone after the test."""
    directory = tmp_path / "control_plane"

    def parameters(**more: Any) -> dict[str, Any]:
        ports = run_module(bench_kwok_cluster, state="info", directory=str(directory)).ok()["ports"]
        return {
            "directory": str(directory),
            "run_id": "tests-kwok-cluster",
            "kwokctl": find_tool("kwokctl"),
            "kubectl": str(ROOT / "roles" / "control_plane" / "files" / "kubectl"),
            "files": {"kwokctl.yaml": _configuration(directory, ports)},
            "ports": ports,
            "components": {
                "etcd": f"http://127.0.0.1:{ports['etcd']}/health",
                "kube-apiserver": f"https://127.0.0.1:{ports['kube_apiserver']}/readyz",
                "kube-controller-manager": f"https://127.0.0.1:{ports['kube_controller_manager']}/healthz",
                "kwok-controller": f"http://127.0.0.1:{ports['kwok_controller']}/healthz",
            },
            **more,
        }

    yield parameters
    for who in Cluster(directory).processes():
        process.send_signal(who, signal.SIGKILL)


def _configuration(directory: Path, ports: dict[str, int], *patches: dict[str, Any]) -> str:
    pki = Cluster(directory).pki
    certificate = {"tls-cert-file": f"{pki}/admin.crt", "tls-private-key-file": f"{pki}/admin.key"}
    served = _patch("kube-controller-manager", **certificate)
    options = {
        "runtime": "binary",
        "bindAddress": "127.0.0.1",
        "disable": ["kube-scheduler"],
        "etcdBinary": find_tool("etcd"),
        "kubeApiserverBinary": find_tool("kube-apiserver"),
        "kubeControllerManagerBinary": find_tool("kube-controller-manager"),
        "kwokControllerBinary": find_tool("kwok"),
        "etcdPort": ports["etcd"],
        "etcdPeerPort": ports["etcd_peer"],
        "kubeApiserverPort": ports["kube_apiserver"],
        "kubeControllerManagerPort": ports["kube_controller_manager"],
        "kwokControllerPort": ports["kwok_controller"],
    }
    kind = {"apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokctlConfiguration"}
    return yaml.safe_dump({**kind, "options": options, "componentsPatches": [served, *patches]})


def _patch(component: str, **arguments: str) -> dict[str, Any]:
    return {"name": component, "extraArgs": [{"key": key, "value": value} for key, value in arguments.items()]}


def left_of(directory: str, ports: dict[str, int]) -> dict[str, Any]:
    """What of a control plane is there yet: ports, files, processes."""
    answering = []
    for name, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                answering.append(name)
    running = [process.command_of(who.pid) for who in Cluster(Path(directory)).processes()]
    return {"ports": answering, "directory": os.path.lexists(directory), "processes": running}


NOTHING: dict[str, Any] = {"ports": [], "directory": False, "processes": []}


def test_a_life_of_a_control_plane(declare: Declare, run_module: RunModule, tmp_path: Path) -> None:
    wanted = declare(run_state=str(tmp_path / "state"))

    predicted = run_module(bench_kwok_cluster, check=True, diff=True, **wanted).ok()
    assert (predicted["changed"], predicted["action"], predicted["running"]) == (True, "create", False)
    assert [entry["after"] for entry in predicted["diff"]] == [wanted["files"]["kwokctl.yaml"]]
    assert not os.path.lexists(wanted["directory"])

    made = run_module(bench_kwok_cluster, **wanted).ok()
    assert (made["changed"], made["action"], made["running"]) == (True, "create", True)
    assert sorted(made["components"]) == COMPONENTS
    assert made["versions"]["kube-apiserver"].startswith("v1.")
    assert {path.stem for path in (tmp_path / "state" / "processes").glob("*.json")} == set(COMPONENTS)
    environment = process.environment_of(made["components"]["etcd"]["pid"])
    assert b"NIGHTBENCH_RUN_ID=tests-kwok-cluster" in environment

    again = run_module(bench_kwok_cluster, **wanted).ok()
    assert (again["changed"], again["action"], again["components"]) == (False, "nothing", made["components"])

    os.kill(made["components"]["kube-controller-manager"]["pid"], signal.SIGKILL)
    _until(lambda: process.identity(made["components"]["kube-controller-manager"]["pid"]) is None)
    mended = run_module(bench_kwok_cluster, **wanted).ok()
    assert (mended["action"], list(mended["restarted"])) == ("restart", ["kube-controller-manager"])
    assert str(made["components"]["kube-controller-manager"]["pid"]) in mended["restarted"]["kube-controller-manager"]
    assert {name for name in COMPONENTS if mended["components"][name] != made["components"][name]} == {
        "kube-controller-manager"
    }

    os.kill(made["components"]["kube-apiserver"]["pid"], signal.SIGKILL)
    ending = {"directory": wanted["directory"], "run_state": wanted["run_state"], "state": "absent"}
    assert run_module(bench_kwok_cluster, check=True, **ending).ok()["changed"] is True
    assert run_module(bench_kwok_cluster, **ending).ok()["changed"] is True
    assert left_of(wanted["directory"], wanted["ports"]) == NOTHING
    assert list((tmp_path / "state" / "processes").glob("*.json")) == []
    assert run_module(bench_kwok_cluster, **ending).ok()["changed"] is False


def test_a_component_that_does_not_start_is_named_with_the_end_of_its_log(
    declare: Declare, run_module: RunModule
) -> None:
    wanted = declare()
    patch = _patch("kube-apiserver", **{"no-such-flag": "1"})
    wanted["files"] = {"kwokctl.yaml": _configuration(Path(wanted["directory"]), wanted["ports"], patch)}
    failed = run_module(bench_kwok_cluster, **wanted).failed()
    assert failed.msg.startswith("start the control plane: kube-apiserver has ended. The end of ")
    assert "unknown flag: --no-such-flag" in failed.msg
    assert Cluster(Path(wanted["directory"])).processes() == []
    assert run_module(bench_kwok_cluster, state="absent", directory=wanted["directory"]).ok()["changed"] is True
    assert left_of(wanted["directory"], wanted["ports"]) == NOTHING


def test_a_controller_manager_that_did_not_wait_for_the_api_server_is_started_again(
    declare: Declare, run_module: RunModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a busy machine: it has ended, and the API server does not answer yet."""
    wanted = declare()
    probe, killed, withheld = kwok_start.probe, [], ["not yet", "not yet"]

    def late(cluster: Cluster, url: str) -> str:
        pid = kwok_start._pid(cluster, "kube-controller-manager")
        if pid is not None and not killed:
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)
            _until(lambda: process.identity(pid) is None)
        return withheld.pop() if killed and withheld else probe(cluster, url)

    monkeypatch.setattr(kwok_start, "probe", late)
    made = run_module(bench_kwok_cluster, **wanted).ok()
    assert (made["running"], killed != []) == (True, True)
    assert made["components"]["kube-controller-manager"]["pid"] not in killed


def test_a_port_that_is_taken_is_named_with_its_holder_before_anything_starts(
    declare: Declare, run_module: RunModule
) -> None:
    wanted = declare()
    with socket.create_server(("127.0.0.1", wanted["ports"]["kube_apiserver"])):
        failed = run_module(bench_kwok_cluster, **wanted).failed()
    assert f"port {wanted['ports']['kube_apiserver']} is taken by pid {os.getpid()}" in failed.msg
    assert failed["ports_taken"] == ["kube_apiserver"]
    assert not os.path.lexists(wanted["directory"])


def test_a_deadline_ends_the_start_and_leaves_no_process(declare: Declare, run_module: RunModule) -> None:
    wanted = declare(timeout_seconds=0.5)
    failed = run_module(bench_kwok_cluster, **wanted).failed()
    assert failed.msg.startswith("start the control plane: not ready after 0.5 s: ")
    assert Cluster(Path(wanted["directory"])).processes() == []


def test_a_stop_file_ends_the_start_and_leaves_no_process(
    declare: Declare, run_module: RunModule, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "stop").touch()
    wanted = declare(run_state=str(tmp_path / "state"))
    assert run_module(bench_kwok_cluster, **wanted).failed().msg == (
        "start the control plane: stopped, because the run asked for it."
    )
    assert Cluster(Path(wanted["directory"])).processes() == []


@pytest.mark.parametrize("victim", ["kwokctl", "module"])
@pytest.mark.parametrize("moment", ["the directory is there", "etcd runs"])
def test_what_a_kill_in_the_middle_leaves_is_found_and_removed(
    declare: Declare, run_module: RunModule, tmp_path: Path, victim: str, moment: str
) -> None:
    wanted = declare()
    starter = _start_in_a_process_of_its_own(tmp_path, wanted)
    cluster = Cluster(Path(wanted["directory"]))
    sign = {
        "the directory is there": cluster.directory / "kwokctl.log",
        "etcd runs": cluster.home / "pids" / "etcd.pid",
    }[moment]
    _until(lambda: sign.exists() or starter.poll() is not None)
    if victim == "module":
        starter.kill()
    else:
        for who in cluster.processes():
            if "kwokctl" in process.command_of(who.pid):
                process.send_signal(who, signal.SIGKILL)
    starter.wait(timeout=90)
    assert run_module(bench_kwok_cluster, state="absent", directory=wanted["directory"]).ok()["changed"] is True
    assert left_of(wanted["directory"], wanted["ports"]) == NOTHING


def _start_in_a_process_of_its_own(tmp_path: Path, wanted: dict[str, Any]) -> subprocess.Popen[bytes]:
    script = tmp_path / "start.py"
    script.write_text(
        "import tests.conftest\n"
        "from ansible.module_utils.testing import patch_module_args\n"
        "from ansible.modules import bench_kwok_cluster\n"
        f"with patch_module_args({wanted!r}):\n"
        "    bench_kwok_cluster.main()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.DEVNULL)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
