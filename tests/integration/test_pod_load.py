# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_pod_load against a real control plane with kwok: every pod is accounted for, whatever is in the way."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import process
from ansible.module_utils.nightbench.kube import Call, Kube
from ansible.module_utils.nightbench.process import Records
from ansible.module_utils.nightbench.target import load_target
from ansible.modules import bench_pod_load

from tests.conftest import RunModule, eventually
from tests.control_plane import ControlPlane
from tests.fakes.fault_proxy import Fault, fault_proxy

pytestmark = pytest.mark.integration

NODES = 4
TEMPLATE: dict[str, Any] = {
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "tolerations": [{"operator": "Exists"}],
        "containers": [{"name": "main", "image": "pause", "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
    }
}


@pytest.fixture(scope="module")
def nodes(control_plane: ControlPlane) -> Iterator[list[str]]:
    """Fake nodes of 8 GPUs that kwok keeps Ready."""
    kube = control_plane.kube()
    names = [f"pod-load-{index}" for index in range(NODES)]
    capacity = {"cpu": "32", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": "8"}
    for name in names:
        metadata = {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}}
        node = {"metadata": metadata, "status": {"capacity": capacity, "allocatable": capacity}}
        kube.request("POST", "/api/v1/nodes", body=node)
    yield names
    kube.map([Call("DELETE", f"/api/v1/nodes/{name}") for name in names])
    kube.close()


@pytest.fixture
def load(control_plane: ControlPlane, namespace: str, run_module: RunModule, nodes: list[str]) -> Any:
    """Call bench_pod_load with what all tests share."""

    def call(**changes: Any) -> Any:
        parameters = {
            "kubeconfig": control_plane.kubeconfig,
            "name": "fill",
            "namespace": namespace,
            "count": 32,
            "template": TEMPLATE,
            "deadline_seconds": 60,
        }
        return run_module(bench_pod_load, **{**parameters, **changes})

    return call


def pods(kube: Kube, namespace: str) -> list[str]:
    items, _ = kube.list_pages(f"/api/v1/namespaces/{namespace}/pods")
    return [item["metadata"]["name"] for item in items]


def test_a_clean_load_accounts_for_every_pod_and_leaves_the_cluster_as_it_was(
    load: Any, kube: Kube, namespace: str, tmp_path: Path, nodes: list[str]
) -> None:
    result = load(samples_path=str(tmp_path / "s" / "fill.jsonl")).ok()
    values = result["values"]
    assert result["changed"] is False
    assert result["timed_out"] is False
    counts = ("asked", "created", "bound", "running", "deleted", "failed", "missing", "foreign", "replaced", "relists")
    assert {name: values[name] for name in counts} == dict.fromkeys(counts[:5], 32) | dict.fromkeys(counts[5:], 0)
    assert values["max_gpus_on_a_node"] == 8
    assert values["create_started"] < values["first_bind"] <= values["last_bind"] <= values["last_running"]
    assert values["clock"]["samples"] == 32
    rows = [json.loads(line) for line in (tmp_path / "s" / "fill.jsonl").read_text().splitlines()]
    assert result["samples"]["rows"] == len(rows) == 32
    assert all(row["posted"] <= row["created"] <= row["bound"] <= row["running"] <= row["deleted"] for row in rows)
    assert {row["node"] for row in rows} == set(nodes)
    assert pods(kube, namespace) == []


@pytest.mark.parametrize(
    ("faults", "retries"),
    [
        ([Fault("lost", "POST", times=5)], {"429": 0, "5xx": 0, "dropped": 5}),
        ([Fault("reset", "POST", times=5)], {"429": 0, "5xx": 0, "dropped": 5}),
        ([Fault("status", "POST", code=500, times=3), Fault("status", "POST", code=429, times=2)],
         {"429": 2, "5xx": 3, "dropped": 0}),
    ],
    ids=["answers lost", "connections reset", "500 and 429"],
)  # fmt: skip
def test_no_pod_is_lost_or_counted_twice_by_what_happens_to_a_request(
    load: Any, control_plane: ControlPlane, faults: list[Fault], retries: dict[str, int]
) -> None:
    target = load_target(kubeconfig=control_plane.kubeconfig)
    with fault_proxy(target.host, target.port, target.context, *faults) as proxy:
        values = load(kubeconfig=None, host=proxy.url).ok()["values"]
    assert (values["created"], values["bound"], values["running"], values["failed"]) == (32, 32, 32, 0)
    assert values["retries"] == retries


@pytest.mark.parametrize(("after", "kind"), [(3, "gone"), (40, "gone"), (10, "cut")])
def test_a_broken_watch_loses_no_pod(load: Any, control_plane: ControlPlane, after: int, kind: str) -> None:
    target = load_target(kubeconfig=control_plane.kubeconfig)
    with fault_proxy(target.host, target.port, target.context, Fault(kind, after=after)) as proxy:
        values = load(kubeconfig=None, host=proxy.url).ok()["values"]
    assert (values["created"], values["bound"], values["running"], values["deleted"]) == (32, 32, 32, 32)
    assert (values["relists"], values["reconnects"] > 0) == (
        (1, False) if kind == "gone" else (0, values["reconnects"] > 0)
    )


def test_refused_pods_are_counted_with_the_reason(load: Any, kube: Kube, namespace: str) -> None:
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "10"}}}
    kube.request("POST", f"/api/v1/namespaces/{namespace}/resourcequotas", body=quota)
    path = f"/api/v1/namespaces/{namespace}/resourcequotas/few"
    eventually(lambda: kube.request("GET", path).json().get("status", {}).get("hard") == {"pods": "10"})
    values = load(count=16).ok()["values"]
    assert (values["created"], values["failed"], values["missing"]) == (10, 6, 0)
    assert any("exceeded quota: few" in reason for reason in values["failures"])


def test_pods_that_never_arrive_are_missing_and_named_and_removed(load: Any, kube: Kube, namespace: str) -> None:
    nowhere = {"spec": {**TEMPLATE["spec"], "nodeSelector": {"no": "where"}}}
    result = load(count=5, template=nowhere, deadline_seconds=1).ok()
    values = result["values"]
    assert result["timed_out"] is True
    assert (values["created"], values["bound"], values["missing"]) == (5, 0, 5)
    assert values["unaccounted"] == [f"fill-{index}" for index in range(5)]
    assert pods(kube, namespace) == []


def test_the_stop_file_ends_the_load_and_removes_its_pods(
    load: Any, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    timer = threading.Timer(0.3, (tmp_path / "stop").touch)
    timer.start()
    result = load(count=200, rate=20, run_state=str(tmp_path)).failed()
    timer.join()
    assert result["stopped"] is True
    assert "stopped on request" in result.msg
    assert "pods created" in result.msg
    assert pods(kube, namespace) == []
    assert list((tmp_path / "modules").iterdir()) == []


def test_pods_of_an_earlier_load_are_removed_first(load: Any, kube: Kube, namespace: str) -> None:
    load(count=8, until="created", delete=False).ok()
    assert len(pods(kube, namespace)) == 8
    values = load(count=4).ok()["values"]
    assert (values["created"], values["foreign"], values["replaced"]) == (4, 0, 0)
    assert pods(kube, namespace) == []


def test_an_open_loop_sends_when_the_pods_are_due(load: Any) -> None:
    values = load(count=20, rate=100, until="created").ok()["values"]
    assert values["rate_asked"] == 100
    assert values["create_ended"] - values["create_started"] >= 0.19


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"namespace": "not-there"}, "namespaces \"not-there\" not found"),
        ({"count": 0}, "count: 0 is not a number of at least 1"),
        ({"connections": 0}, "connections: 0 is not a number of at least 1"),
        ({"template": {}}, "no spec.containers"),
        ({"rate": 0}, "cannot be sent"),
        ({"release": {"name": "x", "argv": ["true"]}}, "release needs run_state"),
        ({"audit_log": "/not/there"}, None),
        ({"kubeconfig": "/not/there"}, "kubeconfig /not/there does not exist"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(load: Any, changes: dict[str, Any], text: str | None) -> None:
    if text is None:
        audit = load(count=1, **changes).ok()["values"]["audit"]
        assert audit == {"available": False, "reason": "/not/there cannot be read: No such file or directory"}
    elif "namespace" in changes:
        values = load(count=1, **changes).ok()["values"]
        assert values["failed"] == 1
        assert text in values["failures"][0]
    else:
        assert text in load(**changes).failed().msg


def test_what_is_held_back_is_started_when_every_pod_exists(load: Any, tmp_path: Path) -> None:
    sleeper = {"name": "sleeper", "argv": ["sleep", "60"]}
    unbound = {"spec": {**TEMPLATE["spec"], "schedulerName": "nobody"}}
    result = load(count=8, until="created", template=unbound, run_state=str(tmp_path), release=sleeper).ok()
    values = result["values"]
    records = Records(tmp_path)
    record = records.get("sleeper")
    assert record is not None
    assert process.stop(record, records) is True
    assert values["create_ended"] <= values["released"] <= values["release_ready"]
    assert "sleeper" in values["machine"]["processes"]


def test_a_released_process_that_dies_is_told_with_the_end_of_its_log(
    load: Any, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    argv = [sys.executable, "-c", "import time; print('no such flag', flush=True); time.sleep(1); raise SystemExit(3)"]
    nowhere = {"spec": {**TEMPLATE["spec"], "schedulerName": "nobody"}}
    release = {"name": "mortal", "argv": argv}
    result = load(count=4, template=nowhere, run_state=str(tmp_path), release=release).failed()
    assert "mortal" in result.msg
    assert "no such flag" in result.msg
    assert pods(kube, namespace) == []


def test_a_component_that_dies_ends_the_load_with_the_end_of_its_log(load: Any, tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_text("out of luck\n")
    nowhere = {"spec": {**TEMPLATE["spec"], "schedulerName": "nobody"}}
    with subprocess.Popen(["sleep", "1"]) as part:
        who = process.identity(part.pid)
        assert who is not None
        processes = {
            "part": {"pid": who.pid, "start_time": who.start_time, "log": str(log)},
            "held back": {"pid": who.pid, "start_time": who.start_time - 1},
            "elsewhere": {"pid": None},
        }
        result = load(count=4, template=nowhere, run_state=str(tmp_path), processes=processes).failed()
    assert result.msg == f"part (pid {who.pid}) died during the load. The end of {log}:\nout of luck"


def test_a_component_that_dies_ends_the_load_though_every_request_hangs(
    load: Any, control_plane: ControlPlane, tmp_path: Path
) -> None:
    target = load_target(kubeconfig=control_plane.kubeconfig)
    hanging = Fault("latency", "POST|DELETE", times=1000, seconds=3600)
    with subprocess.Popen(["sleep", "1"]) as part:
        who = process.identity(part.pid)
        assert who is not None
        processes = {"part": {"pid": who.pid, "start_time": who.start_time}}
        with fault_proxy(target.host, target.port, target.context, hanging) as proxy:
            result = load(kubeconfig=None, host=proxy.url, run_state=str(tmp_path), processes=processes).failed()
    assert result.msg == f"part (pid {who.pid}) died during the load. It has no log here."


def test_a_scheduler_that_runs_already_cannot_be_held_back(load: Any, tmp_path: Path) -> None:
    records = Records(tmp_path)
    sleeper = {"name": "sleeper", "argv": ["sleep", "60"]}
    load(count=1, until="created", run_state=str(tmp_path), release=sleeper).ok()
    try:
        assert "sleeper is running already" in load(run_state=str(tmp_path), release=sleeper).failed().msg
    finally:
        record = records.get("sleeper")
        assert record is not None
        process.stop(record, records)


def test_check_mode_tells_the_plan_and_creates_nothing(load: Any, kube: Kube, namespace: str) -> None:
    result = load(count=100, rate=10, check=True).ok()
    assert result["plan"] == {
        "pods": 100,
        "first": "fill-00",
        "last": "fill-99",
        "namespace": namespace,
        "connections": 16,
        "seconds_to_send": 10.0,
        "until": "running",
        "delete": True,
    }
    assert pods(kube, namespace) == []
