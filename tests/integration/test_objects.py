# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_objects against a real API server: exact counts, the same in check mode as really."""

from __future__ import annotations

import contextlib
import copy
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import auth
from ansible.module_utils.nightbench.errors import NotFound
from ansible.module_utils.nightbench.kube import Kube
from ansible.module_utils.nightbench.target import load_target
from ansible.modules import bench_objects

from tests.conftest import ModuleResult, RunModule, eventually
from tests.control_plane import ControlPlane, free_ports
from tests.fakes.fault_proxy import Fault, FaultProxy, fault_proxy

pytestmark = pytest.mark.integration

Manifest = dict[str, Any]


class Bench:
    """The module with the control plane's kubeconfig."""

    def __init__(self, run_module: RunModule, kubeconfig: str) -> None:
        self.run_module = run_module
        self.kubeconfig = kubeconfig

    def __call__(self, *objects: Manifest, **parameters: Any) -> ModuleResult:
        if objects:
            parameters["objects"] = list(objects)
        return self.run_module(bench_objects, **{"kubeconfig": self.kubeconfig, **parameters})

    def both(self, *objects: Manifest, **parameters: Any) -> ModuleResult:
        """Check mode first, then really: both have to say the same."""
        predicted = self(*copy.deepcopy(objects), check=True, diff=True, **parameters).ok()
        really = self(*objects, diff=True, **parameters).ok()
        assert counts(predicted) == counts(really)
        assert predicted["changed"] is really["changed"]
        return really


@pytest.fixture
def bench(run_module: RunModule, control_plane: ControlPlane) -> Bench:
    return Bench(run_module, control_plane.kubeconfig)


def counts(result: ModuleResult) -> dict[str, int]:
    return {key: value for key, value in result["counts"].items() if value}


def config_map(namespace: str, name: str = "a", **data: str) -> Manifest:
    metadata = {"name": name, "namespace": namespace, "labels": {"team": "blue"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def pod(namespace: str, name: str = "p", **spec: Any) -> Manifest:
    containers = [{"name": "c", "image": "nothing:1"}]
    metadata = {"name": name, "namespace": namespace, "labels": {"team": "blue"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers, **spec}}


def node(name: str, gpus: int) -> Manifest:
    labels = {"nightbench-test": "yes"}
    status = {"capacity": {"nvidia.com/gpu": gpus}, "allocatable": {"nvidia.com/gpu": gpus}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}


def definition(group: str, scope: str = "Namespaced") -> Manifest:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


@pytest.fixture
def group(kube: Kube) -> Iterator[str]:
    """An API group of the test's own; its definition goes afterwards."""
    name = f"{secrets.token_hex(4)}.example.com"
    yield name
    with contextlib.suppress(NotFound):
        kube.request("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{name}")


def get(kube: Kube, path: str) -> Any:
    try:
        return kube.request("GET", path).json()
    except NotFound:
        return None


# --- present


def test_created_unchanged_updated(bench: Bench, kube: Kube, namespace: str) -> None:
    created = bench.both(config_map(namespace, "a", x="1"), config_map(namespace, "b", x="1"))
    assert counts(created) == {"created": 2}

    assert counts(bench.both(config_map(namespace, "a", x="1"), config_map(namespace, "b", x="1"))) == {"unchanged": 2}

    updated = bench.both(config_map(namespace, "a", x="2"), config_map(namespace, "b", x="1"))
    assert counts(updated) == {"updated": 1, "unchanged": 1}
    assert [one["before_header"] for one in updated["diff"]] == [f"ConfigMap {namespace}/a"]
    assert (updated["diff"][0]["before"]["data"], updated["diff"][0]["after"]["data"]) == ({"x": "1"}, {"x": "2"})
    assert get(kube, f"/api/v1/namespaces/{namespace}/configmaps/a")["data"] == {"x": "2"}


def test_a_field_that_is_no_longer_declared_goes(bench: Bench, kube: Kube, namespace: str) -> None:
    bench(config_map(namespace, x="1", y="1")).ok()
    assert counts(bench.both(config_map(namespace, x="1"))) == {"updated": 1}
    assert get(kube, f"/api/v1/namespaces/{namespace}/configmaps/a")["data"] == {"x": "1"}


def test_what_the_server_adds_is_no_change(bench: Bench, namespace: str) -> None:
    for expected in ("created", "unchanged"):
        assert counts(bench.both(pod(namespace, schedulerName="nobody"))) == {expected: 1}


def test_fields_of_others_are_no_change(bench: Bench, kube: Kube, namespace: str) -> None:
    bench(config_map(namespace, x="1")).ok()
    patch = {"metadata": {"annotations": {"other": "writer"}}, "data": {"y": "theirs"}}
    path = f"/api/v1/namespaces/{namespace}/configmaps/a"
    kube.request("PATCH", path, body=patch, content_type="application/merge-patch+json")
    assert counts(bench.both(config_map(namespace, x="1"))) == {"unchanged": 1}


def test_somebody_who_writes_all_the_time_is_not_taken_for_us(bench: Bench, kube: Kube, namespace: str) -> None:
    bench(*[config_map(namespace, f"hot-{number}", x="1") for number in range(5)]).ok()
    stop = threading.Event()

    def write() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            for number in range(5):
                patch = {"data": {"theirs": str(turn)}}
                path = f"/api/v1/namespaces/{namespace}/configmaps/hot-{number}"
                kube.request("PATCH", path, body=patch, content_type="application/merge-patch+json")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            result = bench(*[config_map(namespace, f"hot-{number}", x="1") for number in range(5)]).ok()
            assert counts(result) == {"unchanged": 5}
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("force", [False, True])
def test_a_field_of_another_manager(bench: Bench, namespace: str, force: bool) -> None:
    bench(config_map(namespace, x="1"), field_manager="somebody").ok()
    result = bench(config_map(namespace, x="2"), force=force)
    if force:
        assert counts(result.ok()) == {"updated": 1}
    else:
        assert result.failed()["failures"][0]["status"] == 409
        assert 'conflict with "somebody"' in result.msg
        assert f"ConfigMap {namespace}/a" in result.msg


def test_many_objects_and_a_diff_that_stays_short(bench: Bench, namespace: str) -> None:
    objects = [config_map(namespace, f"many-{number}", x="1") for number in range(60)]
    created = bench.both(*objects)
    assert counts(created) == {"created": 60}
    assert len(created["diff"]) == 21
    assert created["diff"][-1] == {"prepared": "… 40 more objects; in all: 60 created\n"}
    objects[7]["data"]["x"] = "2"
    assert counts(bench.both(*objects)) == {"updated": 1, "unchanged": 59}


def test_a_declared_status_is_applied(bench: Bench, kube: Kube) -> None:
    name = f"node-{secrets.token_hex(4)}"
    try:
        assert counts(bench.both(node(name, 8))) == {"created": 1}
        assert get(kube, f"/api/v1/nodes/{name}")["status"]["allocatable"]["nvidia.com/gpu"] == "8"
        assert counts(bench.both(node(name, 8))) == {"unchanged": 1}
        assert counts(bench.both(node(name, 4))) == {"updated": 1}
        assert get(kube, f"/api/v1/nodes/{name}")["status"]["allocatable"]["nvidia.com/gpu"] == "4"
    finally:
        bench(node(name, 4), state="absent").ok()


def test_values_of_a_secret_are_in_no_diff(bench: Bench, namespace: str) -> None:
    def secret(value: str) -> Manifest:
        metadata = {"name": "s", "namespace": namespace}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": value}}

    bench(secret("hush-hush")).ok()
    result = bench(secret("whisper"), diff=True).ok()
    assert counts(result) == {"updated": 1}
    assert not {"hush-hush", "whisper", "aHVzaC1odXNo", "d2hpc3Blcg=="} & set(json.dumps(result["diff"]).split('"'))


# --- what comes from the same call or play


def test_namespace_and_objects_in_one_call(bench: Bench, kube: Kube) -> None:
    name = f"test-{secrets.token_hex(4)}"
    wanted = [config_map(name, x="1"), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}]
    assert counts(bench.both(*wanted)) == {"created": 2}
    assert counts(bench.both(*wanted)) == {"unchanged": 2}
    assert counts(bench(*wanted, state="absent", diff=True).ok()) == {"deleted": 2}
    assert get(kube, f"/api/v1/namespaces/{name}") is None


@pytest.mark.parametrize("scope", ["Namespaced", "Cluster"])
def test_a_kind_and_its_objects_in_one_call(bench: Bench, kube: Kube, namespace: str, group: str, scope: str) -> None:
    metadata = {"name": "w", **({"namespace": namespace} if scope == "Namespaced" else {})}
    widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": metadata, "spec": {"size": 1}}
    assert counts(bench.both(widget, definition(group, scope))) == {"created": 2}
    assert counts(bench.both(widget, definition(group, scope))) == {"unchanged": 2}
    assert counts(bench(widget, definition(group, scope), state="absent").ok()) == {"deleted": 2}
    assert counts(bench(widget, definition(group, scope), state="absent").ok()) == {"unchanged": 2}


def test_what_an_earlier_task_declares_is_predicted(bench: Bench, group: str) -> None:
    name = f"test-{secrets.token_hex(4)}"
    widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": name}}
    declared = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, definition(group)]
    objects = [widget, config_map(name)]

    assert counts(bench(*objects, declared=declared, check=True).ok()) == {"created": 2}

    undeclared = bench(*objects, check=True).failed()
    assert counts(undeclared) == {"failed": 2}
    assert f"does not serve {group}/v1" in undeclared.msg
    assert f'namespaces "{name}" not found' in undeclared.msg

    assert counts(bench(*objects, declared=declared).failed()) == {"failed": 2}  # a prediction is for check mode alone


# --- absent


def test_delete_by_list(bench: Bench, kube: Kube, namespace: str) -> None:
    objects = [config_map(namespace, name) for name in ("a", "b", "c")]
    bench(*objects[:2]).ok()
    deleted = bench.both(*objects, state="absent")
    assert counts(deleted) == {"deleted": 2, "unchanged": 1}
    assert [one["after"] for one in deleted["diff"]] == [{}, {}]
    assert counts(bench.both(*objects, state="absent")) == {"unchanged": 3}


def test_delete_by_label(bench: Bench, kube: Kube, namespace: str) -> None:
    bench(*[config_map(namespace, f"blue-{number}") for number in range(30)]).ok()
    other = config_map(namespace, "green")
    other["metadata"]["labels"] = {"team": "green"}
    bench(other).ok()
    selector = {"api_version": "v1", "kind": "ConfigMap", "namespace": namespace, "label_selector": "team=blue"}
    assert counts(bench.both(state="absent", selector=selector)) == {"deleted": 30}
    assert counts(bench.both(state="absent", selector=selector)) == {}
    names = [one["metadata"]["name"] for one in kube.list_pages(f"/api/v1/namespaces/{namespace}/configmaps")[0]]
    assert sorted(names) == ["green", "kube-root-ca.crt"]


def test_objects_of_a_kind_that_is_not_there_are_absent(bench: Bench, namespace: str) -> None:
    selector = {"api_version": "no.such/v1", "kind": "Widget", "label_selector": "a=b"}
    assert counts(bench.both(state="absent", selector=selector)) == {}
    widget = {"apiVersion": "no.such/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": namespace}}
    assert counts(bench.both(widget, state="absent")) == {"unchanged": 1}


def held(namespace: str) -> Manifest:
    manifest = config_map(namespace, "held")
    manifest["metadata"]["finalizers"] = ["example.com/hold"]
    return manifest


@pytest.mark.parametrize("by_label", [False, True])
def test_what_does_not_go_is_named_with_what_holds_it(bench: Bench, kube: Kube, namespace: str, by_label: bool) -> None:
    bench(held(namespace)).ok()
    selector = {"api_version": "v1", "kind": "ConfigMap", "namespace": namespace, "label_selector": "team=blue"}
    objects = () if by_label else (held(namespace),)
    what: dict[str, Any] = {"selector": selector} if by_label else {}
    try:
        result = bench(*objects, state="absent", timeout_seconds=0.3, **what).failed()
        assert f"1 objects are still there: ConfigMap {namespace}/held: being deleted since " in result.msg
        assert "held by finalizers example.com/hold" in result.msg
        assert (counts(result), result["changed"]) == ({"deleted": 1}, True)
        # It is being deleted already: to ask again changes nothing.
        assert counts(bench(*objects, state="absent", wait=False, **what).ok()) == {"unchanged": 1}
    finally:
        path = f"/api/v1/namespaces/{namespace}/configmaps/held"
        patch = {"metadata": {"finalizers": None}}
        kube.request("PATCH", path, body=patch, content_type="application/merge-patch+json")


def test_an_object_that_is_held_is_waited_for(bench: Bench, kube: Kube, namespace: str) -> None:
    bench(held(namespace)).ok()

    def let_go() -> None:
        path = f"/api/v1/namespaces/{namespace}/configmaps/held"
        eventually(lambda: get(kube, path)["metadata"].get("deletionTimestamp"))
        patch = {"metadata": {"finalizers": None}}
        kube.request("PATCH", path, body=patch, content_type="application/merge-patch+json")

    other = threading.Thread(target=let_go)
    other.start()
    assert counts(bench(held(namespace), state="absent").ok()) == {"deleted": 1}
    other.join()


# --- failures


def test_one_bad_object_does_not_keep_the_others(bench: Bench, kube: Kube, namespace: str) -> None:
    bad = config_map(namespace, "bad")
    bad["data"] = {"not a key!": "x"}
    for check in (True, False):
        result = bench(config_map(namespace, "good"), bad, check=check).failed()
        assert counts(result) == {"created": 1, "failed": 1}
        assert result["changed"] is True
        assert result["failures"][0]["object"] == f"ConfigMap {namespace}/bad"
        assert result["failures"][0]["status"] == 422
        assert result.msg.startswith(f"state=present: 1 of 2 objects failed. ConfigMap {namespace}/bad: ")
    assert get(kube, f"/api/v1/namespaces/{namespace}/configmaps/good")


def test_many_equal_failures_are_one_sentence(bench: Bench) -> None:
    result = bench(*[config_map("no-such-namespace", f"a{number}") for number in range(30)]).failed()
    assert (counts(result), len(result["failures"])) == ({"failed": 30}, 20)
    assert "ConfigMap no-such-namespace/a0 and 29 more: " in result.msg
    assert 'namespaces "no-such-namespace" not found' in result.msg


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"kind": "ConfigMap", "metadata": {"name": "a"}}, "objects[0]: ConfigMap has no apiVersion"),
        ({"apiVersion": "v1", "metadata": {"name": "a"}}, "objects[0]: the object has no kind"),
        ({"apiVersion": "v1", "kind": "Pod"}, "objects[0]: Pod has no metadata.name"),
        (
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "a-"}},
            "objects[0]: Pod has no metadata.name",
        ),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}, "ConfigMap 'a' needs a namespace"),
        ({"apiVersion": "v1", "kind": "Nothing", "metadata": {"name": "a"}}, "knows no kind Nothing in v1"),
        ({"apiVersion": "v7", "kind": "Pod", "metadata": {"name": "a"}}, "does not serve v7"),
    ],
)
def test_an_object_that_cannot_be_meant(bench: Bench, manifest: Manifest, message: str) -> None:
    assert message in bench(manifest).failed().msg


def test_twice_the_same_object(bench: Bench, namespace: str) -> None:
    message = f"objects: ConfigMap {namespace}/a is there more than once."
    assert bench(config_map(namespace), config_map(namespace)).failed().msg == message


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "one of the following is required: objects, selector"),
        (
            {"selector": {"kind": "Pod", "api_version": "v1", "label_selector": " "}, "state": "absent"},
            "every Pod would",
        ),
        ({"selector": {"kind": "Pod", "api_version": "v1", "label_selector": "a"}}, "selector is for state=absent"),
    ],
)
def test_a_call_that_cannot_be_meant(bench: Bench, parameters: dict[str, Any], message: str) -> None:
    assert message in bench(**parameters).failed().msg


def test_a_stop_file_ends_the_call(bench: Bench, kube: Kube, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    result = bench(config_map(namespace), run_state=str(tmp_path)).failed()
    assert "stopped on request" in result.msg
    assert get(kube, f"/api/v1/namespaces/{namespace}/configmaps/a") is None


# --- an API server that is in trouble


def through(control_plane: ControlPlane, *faults: Fault) -> AbstractContextManager[FaultProxy]:
    """A proxy with the administrator's rights."""
    target = load_target(kubeconfig=control_plane.kubeconfig)
    return fault_proxy(target.host, target.port, target.context, *faults)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault("status", "PATCH", code=429, times=3, retry_after=0), "429"),
        (Fault("status", "PATCH", code=503, times=3), "5xx"),
        (Fault("reset", "PATCH", times=3), "dropped"),
        (Fault("lost", "PATCH", times=3), "dropped"),
    ],
)
def test_faults_are_passed_over_and_the_counts_stay_exact(
    bench: Bench, control_plane: ControlPlane, namespace: str, fault: Fault, cause: str
) -> None:
    def call(value: str, times: int) -> ModuleResult:
        with through(control_plane, replace(fault, times=times)) as proxy:
            objects = [config_map(namespace, f"a{number}", x=value) for number in range(5)]
            return bench(*objects, kubeconfig=None, host=proxy.url).ok()

    for value, expected in (("1", "created"), ("1", "unchanged"), ("2", "updated")):
        if fault.kind == "lost" and expected == "updated":
            time.sleep(1.0)  # the API server stamps who wrote a field in whole seconds
        result = call(value, 3)
        assert counts(result) == {expected: 5}
        assert result["retries"][cause] >= 3


@pytest.mark.parametrize("kind", ["reset", "lost"])
def test_a_delete_whose_answer_is_lost_is_counted(
    bench: Bench, control_plane: ControlPlane, namespace: str, kind: str
) -> None:
    bench(config_map(namespace)).ok()
    with through(control_plane, Fault(kind, "DELETE")) as proxy:
        result = bench(config_map(namespace), state="absent", kubeconfig=None, host=proxy.url).ok()
    assert (counts(result), result["retries"]) == ({"deleted": 1}, {"dropped": 1})


def test_an_error_that_stays_is_told_after_the_bound(
    bench: Bench, control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "Kube", lambda target, **_: Kube(target, retry_seconds=0.2))
    with through(control_plane, Fault("status", "PATCH", code=500, times=1000)) as proxy:
        result = bench(config_map(namespace), kubeconfig=None, host=proxy.url).failed()
    assert (counts(result), result["failures"][0]["status"]) == ({"failed": 1}, 500)


def test_without_the_right_the_verb_and_the_resource_are_named(
    run_module: RunModule, control_plane: ControlPlane, namespace: str
) -> None:
    kubeconfig = control_plane.service_account(namespace)
    result = Bench(run_module, kubeconfig)(*[config_map(namespace, f"a{number}") for number in range(30)]).failed()
    who = f'User "system:serviceaccount:{namespace}:default"'
    assert f'{who} cannot list resource "configmaps" in API group "" in the namespace "{namespace}"' in result.msg
    assert result.msg.count("cannot") == 1


def test_an_expired_certificate_is_named_as_such(run_module: RunModule, control_plane: ControlPlane) -> None:
    result = Bench(run_module, control_plane.expired_kubeconfig())(config_map("default")).failed()
    assert "401 Unauthorized" in result.msg
    assert "The client certificate expired at 2001-01-02T00:00:00+00:00: renew the kubeconfig." in result.msg


def test_a_cluster_that_is_still_to_come_is_predicted(bench: Bench, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "kubeconfig")
    objects = [config_map("load", name) for name in ("a", "b")]
    predicted = bench(*objects, kubeconfig=nowhere, predict_cluster=True, check=True, diff=True).ok()
    assert (counts(predicted), len(predicted["diff"])) == ({"created": 2}, 2)
    gone = bench(*objects, kubeconfig=nowhere, predict_cluster=True, check=True, state="absent").ok()
    assert counts(gone) == {"unchanged": 2}
    for parameters in ({"predict_cluster": True}, {"check": True}):
        failed = bench(*objects, kubeconfig=nowhere, **parameters).failed()
        assert failed.msg.startswith(f"kubeconfig {nowhere} does not exist.")


@pytest.mark.usefixtures("impatient")
def test_an_api_server_that_does_not_answer_is_told_once(bench: Bench) -> None:
    host = f"https://127.0.0.1:{free_ports(1)[0]}"
    result = bench(*[config_map("load", f"a{number}") for number in range(50)], host=host).failed()
    assert f"GET /api/v1 on {host}: no answer: " in result.msg
    assert result.msg.count("no answer") == 1
