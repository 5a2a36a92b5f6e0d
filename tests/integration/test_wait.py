# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_wait against a real API server."""

from __future__ import annotations

import secrets
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import jsonfile
from ansible.module_utils.nightbench.kube import MERGE_PATCH, Kube
from ansible.module_utils.nightbench.target import load_target
from ansible.modules import bench_wait

from tests.conftest import ModuleResult, RunModule, eventually
from tests.control_plane import ControlPlane, free_ports
from tests.fakes.fault_proxy import Fault, fault_proxy

pytestmark = pytest.mark.integration

Condition = dict[str, Any]


class Bench:
    """The module with the control plane's kubeconfig."""

    def __init__(self, run_module: RunModule, kubeconfig: str) -> None:
        self.run_module = run_module
        self.kubeconfig = kubeconfig

    def __call__(self, *conditions: Condition, **parameters: Any) -> ModuleResult:
        parameters = {"kubeconfig": self.kubeconfig, "timeout_seconds": 20, **parameters}
        return self.run_module(bench_wait, conditions=list(conditions), **parameters)


@pytest.fixture
def bench(run_module: RunModule, control_plane: ControlPlane) -> Bench:
    return Bench(run_module, control_plane.kubeconfig)


@pytest.fixture
def maps(kube: Kube, namespace: str) -> list[str]:
    """Three config maps, blue-0 to blue-2."""
    names = [f"blue-{number}" for number in range(3)]
    for name in names:
        create(kube, namespace, name)
    return names


def create(kube: Kube, namespace: str, name: str) -> None:
    metadata = {"name": name, "labels": {"team": "blue"}}
    kube.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body={"metadata": metadata, "data": {"x": "1"}})


def blue(namespace: str, predicate: str = "exists", **more: Any) -> Condition:
    labels = {} if "names" in more else {"label_selector": "team=blue"}
    return {"kind": "ConfigMap", "namespace": namespace, "predicate": predicate, **labels, **more}


def seen(result: ModuleResult) -> list[tuple[int, int, int, bool]]:
    return [(one["asked"], one["existing"], one["ready"], one["met"]) for one in result["conditions"]]


def later(action: Any, *arguments: Any) -> threading.Thread:
    """Something that happens while the module waits."""

    def run() -> None:
        time.sleep(0.3)
        action(*arguments)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, (3, 3, 3, True)),
        ({"count": 2}, (2, 3, 3, True)),
        ({"count": 0}, (0, 3, 3, True)),
        ({"names": ["blue-1"]}, (1, 1, 1, True)),
        ({"names": ["blue-1", "blue-2"]}, (2, 2, 2, True)),
        ({"predicate": "field", "parameters": {"path": "data.x", "value": 1}}, (3, 3, 3, True)),
        ({"predicate": "absent", "names": ["green"]}, (0, 0, 0, True)),
        ({"predicate": "absent", "label_selector": "team=green"}, (0, 0, 0, True)),
    ],
)
@pytest.mark.parametrize("check", [False, True])
def test_what_is_ready_already(
    bench: Bench, namespace: str, maps: list[str], more: dict[str, Any], expected: tuple[Any, ...], check: bool
) -> None:
    result = bench(blue(namespace, **more), check=check).ok()
    assert (seen(result), result["met"], result["changed"]) == ([expected], True, False)


@pytest.mark.parametrize(
    ("more", "expected", "reasons"),
    [
        ({"count": 4}, (4, 3, 3), "3 of 4, 3 exist."),
        ({"names": ["blue-1", "green"]}, (2, 1, 1), "Not yet: green: it does not exist"),
        ({"label_selector": "team=green"}, (1, 0, 0), "0 of 1, 0 exist."),
        ({"predicate": "absent"}, (0, 3, 0), "blue-0: it is there and is not being deleted; "),
        (
            {"predicate": "condition", "parameters": {"type": "Ready"}},
            (3, 3, 0),
            "blue-2: it has no condition Ready yet",
        ),
        ({"predicate": "field", "parameters": {"path": "data.x", "value": 2}}, (3, 3, 0), "blue-0: data.x is '1'"),
        ({"predicate": "field", "parameters": {"path": "data.y"}}, (3, 3, 0), "blue-0: it has no data.y"),
    ],
)
def test_what_never_comes_is_named_with_the_reason(
    bench: Bench, namespace: str, maps: list[str], more: dict[str, Any], expected: tuple[Any, ...], reasons: str
) -> None:
    result = bench(blue(namespace, **more), timeout_seconds=0.2).failed()
    assert seen(result) == [(*expected, False)]
    assert result.msg.startswith("Not all is ready after 0.2 s.\nConfigMap")
    assert reasons.rstrip(".") in result.msg
    looked = bench(blue(namespace, **more), check=True).ok()
    assert (seen(looked), looked["met"]) == ([(*expected, False)], False)


def test_at_most_ten_are_named(bench: Bench, kube: Kube, namespace: str) -> None:
    for number in range(12):
        create(kube, namespace, f"a-{number:02}")
    result = bench(blue(namespace, "absent"), timeout_seconds=0.1).failed()
    assert [one["object"] for one in result["conditions"][0]["not_ready"]] == [
        f"{namespace}/a-{number:02}" for number in range(10)
    ]
    assert "12 are still there" in result.msg


def test_several_conditions_share_one_deadline_and_only_the_unmet_are_told(
    bench: Bench, namespace: str, maps: list[str]
) -> None:
    result = bench(blue(namespace), blue(namespace, names=["green"]), timeout_seconds=0.2).failed()
    assert [one["met"] for one in result["conditions"]] == [True, False]
    assert "green" in result.msg
    assert "blue" not in result.msg.replace("team=blue", "")


def test_what_appears_changes_and_goes_is_seen(bench: Bench, kube: Kube, namespace: str, maps: list[str]) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    other = later(create, kube, namespace, "blue-3")
    assert seen(bench(blue(namespace, count=4)).ok()) == [(4, 4, 4, True)]
    other.join()

    patch = {"data": {"x": "2"}}
    other = later(lambda: kube.request("PATCH", f"{path}/blue-0", body=patch, content_type=MERGE_PATCH))
    changed = blue(namespace, "field", names=["blue-0"], parameters={"path": "data['x']", "value": "2"})
    assert seen(bench(changed).ok()) == [(1, 1, 1, True)]
    other.join()

    other = later(lambda: [kube.request("DELETE", f"{path}/{name}") for name in [*maps, "blue-3"]])
    assert seen(bench(blue(namespace, "absent")).ok()) == [(0, 0, 0, True)]
    other.join()


def test_a_kind_that_is_not_served_yet(bench: Bench, kube: Kube) -> None:
    group = f"{secrets.token_hex(4)}.example.com"
    schema = {"openAPIV3Schema": {"type": "object"}}
    definition = {
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Cluster",
            "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    widget = {"api_version": f"{group}/v1", "kind": "Widget"}
    gone = bench({**widget, "predicate": "absent"}).ok()
    assert seen(gone) == [(0, 0, 0, True)]

    too_late = bench({**widget, "predicate": "exists"}, timeout_seconds=0.1).failed()
    assert f"does not serve {group}/v1" in too_late.msg
    assert seen(bench({**widget, "predicate": "exists"}, check=True).ok()) == [(1, 0, 0, False)]

    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    other = later(lambda: kube.request("POST", path, body=definition))
    try:
        established = {
            "api_version": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "names": [f"widgets.{group}"],
            "predicate": "crd_established",
        }
        result = bench(established, {**widget, "predicate": "exists", "count": 0}).ok()
        assert [one["met"] for one in result["conditions"]] == [True, True]
    finally:
        other.join()
        kube.request("DELETE", f"{path}/widgets.{group}")


def test_a_pod_without_a_node_says_why(bench: Bench, kube: Kube, namespace: str) -> None:
    spec = {"containers": [{"name": "c", "image": "nothing:1"}], "nodeSelector": {"no": "such-node"}}
    kube.request("POST", f"/api/v1/namespaces/{namespace}/pods", body={"metadata": {"name": "p"}, "spec": spec})
    pod = {"kind": "Pod", "namespace": namespace, "names": ["p"]}
    bench({**pod, "predicate": "condition", "parameters": {"type": "PodScheduled", "status": "False"}}).ok()
    result = bench({**pod, "predicate": "pod_running"}, timeout_seconds=0.1).failed()
    assert f"{namespace}/p: Pending: no node (Unschedulable: " in result.msg


def test_a_job_that_has_failed_ends_the_wait_at_once(bench: Bench, kube: Kube, namespace: str) -> None:
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "nothing:1"}]}}
    spec = {"template": pod, "activeDeadlineSeconds": 1}
    kube.request("POST", path, body={"metadata": {"name": "j"}, "spec": spec})
    job = {
        "api_version": "batch/v1",
        "kind": "Job",
        "namespace": namespace,
        "names": ["j"],
        "predicate": "job_complete",
    }
    result = bench(job, timeout_seconds=60).failed()
    assert f"{namespace}/j: it failed (DeadlineExceeded: " in result.msg
    assert "Waiting longer is in vain." in result.msg


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", code=429, path="configmaps", times=2, retry_after=0),
        Fault("status", code=500, path="configmaps", times=2),
        Fault("reset", path="configmaps", times=2),
        Fault("gone", path="configmaps"),
        Fault("cut", path="configmaps"),
    ],
    ids=["429", "500", "reset", "gone", "cut"],
)
def test_faults_lose_nothing(
    bench: Bench, control_plane: ControlPlane, kube: Kube, namespace: str, maps: list[str], fault: Fault
) -> None:
    target = load_target(kubeconfig=control_plane.kubeconfig)
    with fault_proxy(target.host, target.port, target.context, fault) as proxy:
        others = [later(create, kube, namespace, f"blue-{number}") for number in (3, 4)]
        result = bench(blue(namespace, count=5), kubeconfig=None, host=proxy.url).ok()
        for other in others:
            other.join()
    assert seen(result) == [(5, 5, 5, True)]
    assert proxy.carried_out


def test_the_stop_file_ends_the_wait(bench: Bench, namespace: str, tmp_path: Path) -> None:
    stopper = later((tmp_path / "stop").touch)
    result = bench(blue(namespace), run_state=str(tmp_path)).failed()
    stopper.join()
    assert result.msg == "wait: the run was asked to stop."
    assert list((tmp_path / "modules").iterdir()) == []


def test_progress_is_written_while_it_waits(bench: Bench, kube: Kube, namespace: str, tmp_path: Path) -> None:
    progress = tmp_path / "progress.jsonl"

    def when_noted() -> None:
        eventually(lambda: jsonfile.read_lines(progress))
        create(kube, namespace, "blue-0")

    other = later(when_noted)
    bench(blue(namespace), progress_path=str(progress), task="config maps").ok()
    other.join()
    lines = jsonfile.read_lines(progress)
    assert {line["task"] for line in lines} == {"config maps"}
    assert [(line["done"], line["asked"], line["unit"]) for line in (lines[0], lines[-1])] == [
        (0, 1, "objects ready"),
        (1, 1, "objects ready"),
    ]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"predicate": "node_redy"}, "value of predicate must be one of: absent, at_least, condition"),
        ({"predicate": "condition"}, "predicate condition needs the parameter type."),
        ({"predicate": "exists", "parameters": {"typ": "x"}}, "predicate exists has no parameter typ. Known: none."),
        ({"predicate": "exists", "names": ["a"], "label_selector": "b=c"}, "give names or a label_selector, not both"),
        ({"predicate": "exists", "names": ["a"], "count": 1}, "a count goes with neither names nor absent"),
        ({"predicate": "absent", "count": 1}, "a count goes with neither names nor absent"),
        ({"predicate": "exists", "count": -1}, "count is -1, less than 0"),
    ],
)
def test_a_condition_that_cannot_be_meant(bench: Bench, condition: dict[str, Any], message: str) -> None:
    assert message in bench({"kind": "Pod", **condition}).failed().msg


def test_no_condition_at_all(bench: Bench) -> None:
    assert bench().failed().msg == "conditions is empty: there is nothing to wait for."


def test_without_the_right_it_does_not_wait(run_module: RunModule, control_plane: ControlPlane, namespace: str) -> None:
    bench = Bench(run_module, control_plane.service_account(namespace))
    result = bench(blue(namespace), timeout_seconds=60).failed()
    assert f'cannot list resource "configmaps" in API group "" in the namespace "{namespace}"' in result.msg
    assert result["waited_seconds"] < 30


def test_an_expired_certificate_is_named_as_such(run_module: RunModule, control_plane: ControlPlane) -> None:
    result = Bench(run_module, control_plane.expired_kubeconfig())(blue("default")).failed()
    assert "The client certificate expired at 2001-01-02T00:00:00+00:00: renew the kubeconfig." in result.msg


@pytest.mark.usefixtures("impatient")
def test_a_cluster_that_is_still_to_come(bench: Bench, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "kubeconfig")
    looked = bench(blue("load", count=3), kubeconfig=nowhere, predict_cluster=True, check=True).ok()
    assert (seen(looked), looked["met"]) == ([(3, 0, 0, False)], False)
    host = f"https://127.0.0.1:{free_ports(1)[0]}"
    assert bench(blue("load"), kubeconfig=None, host=host, predict_cluster=True, check=True).ok()["met"] is False
    for parameters in ({"predict_cluster": True}, {"check": True}):
        failed = bench(blue("load"), kubeconfig=nowhere, **parameters).failed()
        assert failed.msg.startswith(f"kubeconfig {nowhere} does not exist.")
