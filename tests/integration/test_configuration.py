# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_configuration against a real API server, which drops what a schema lacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench.kube import MERGE_PATCH, Kube
from ansible.modules import bench_configuration

from tests.conftest import RunModule, eventually
from tests.control_plane import ControlPlane
from tests.definitions import OWN, installed, kai_definitions

pytestmark = pytest.mark.integration

FLAGS = yaml.safe_load(
    (Path(__file__).parents[2] / "roles" / "kai_scheduler" / "files" / "flags.yml").read_text(encoding="utf-8")
)["v0.17.0"]


@pytest.fixture(scope="module")
def own_definitions(control_plane: ControlPlane) -> Iterator[None]:
    with closing(control_plane.kube()) as kube, installed(kube, list(yaml.safe_load_all(OWN.read_text("utf-8")))):
        yield


@pytest.fixture
def own(kube: Kube, own_definitions: None) -> Iterator[None]:
    """No object of the test is left for the next one."""
    yield
    for plural in ("settings", "shards"):
        kube.request("DELETE", f"/apis/configuration.nightbench.io/v1/{plural}")


@pytest.fixture
def real(kube: Kube) -> Iterator[None]:
    with installed(kube, kai_definitions()):
        yield


def put(kube: Kube, plural: str, manifest: dict[str, Any]) -> None:
    """As somebody does who patches what is there: unknown fields pass without an error."""
    collection = f"/apis/{manifest['apiVersion']}/{plural}"
    bare = {key: manifest[key] for key in ("apiVersion", "kind", "metadata")}
    kube.request("POST", collection, body={**bare, "spec": {}})
    patch(kube, f"{collection}/{manifest['metadata']['name']}", manifest, "nightbench")


def patch(kube: Kube, path: str, body: dict[str, Any], manager: str) -> None:
    kube.request("PATCH", path, body=body, content_type=MERGE_PATCH, query={"fieldManager": manager})


def settings(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "configuration.nightbench.io/v1", "kind": "Settings", "metadata": {"name": "x"}, "spec": spec}


def problems(run_module: RunModule, control_plane: ControlPlane, **parameters: Any) -> dict[str, str]:
    result = run_module(bench_configuration, kubeconfig=control_plane.kubeconfig, **parameters).ok()
    assert result["changed"] is False
    assert result["holds"] is (result["problems"] == [])
    return {one["key"]: one["reason"] for one in result["checks"] if not one["holds"]}


SHARD_REASON = (
    "there is no flag max-number-consolidation-preemptees, so it is ignored or refused; "
    "the nearest is max-consolidation-preemptees"
)
REFUSED = "the memory request 1000Mi is over the limit 200Mi: the API server refuses such a pod"
OVER = {"requests": {"memory": "1000Mi"}, "limits": {"memory": "200Mi"}}


def dropped(kind: str, near: str) -> str:
    return f"{kind} has no such field, so the API server dropped it without an error; the nearest field is {near}"


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("check", [False, True])
def test_what_the_api_server_dropped_is_found(
    run_module: RunModule, control_plane: ControlPlane, kube: Kube, check: bool
) -> None:
    asked = settings(
        binder={"args": {"qps": 1000}, "maxConcurrentReconciles": 100, "service": {"k8sClientConfig": {"burst": 5}}},
        queueController={"service": {"resources": OVER}},
    )
    put(kube, "settings", asked)
    result = run_module(
        bench_configuration, check=check, kubeconfig=control_plane.kubeconfig, objects=[{"manifest": asked}]
    ).ok()
    source = "Settings x as the API server has it"
    assert [(one["key"], one["asked"], one["observed"], one["holds"]) for one in result["checks"]] == [
        ("spec.binder.args.qps", 1000, None, False),
        ("spec.binder.maxConcurrentReconciles", 100, 100, True),
        ("spec.binder.service.k8sClientConfig.burst", 5, 5, True),
        ("spec.queueController.service.resources.requests.memory", "1000Mi", "1000Mi", True),
        ("spec.queueController.service.resources.limits.memory", "200Mi", "200Mi", True),
        ("spec.queueController.service.resources.requests.memory <= limits.memory", "1000Mi", "200Mi", False),
    ]
    assert {one["source"] for one in result["checks"]} == {source}
    assert result["problems"] == [
        "Settings x: spec.binder.args.qps: " + dropped("Settings", "spec.binder.service.k8sClientConfig.qps"),
        f"Settings x: spec.queueController.service.resources.requests.memory <= limits.memory: {REFUSED}",
    ]


@pytest.mark.usefixtures("own")
def test_a_value_that_somebody_wrote_over_is_told_with_his_name(
    run_module: RunModule, control_plane: ControlPlane, kube: Kube
) -> None:
    asked = settings(binder={"replicas": 3})
    put(kube, "settings", asked)
    path = "/apis/configuration.nightbench.io/v1/settings/x"
    patch(kube, path, {"spec": {"binder": {"replicas": 2}}}, "operator")
    found = problems(run_module, control_plane, objects=[{"manifest": asked, "field_manager": "nightbench"}])
    assert found["spec.binder.replicas"].startswith("the live object says 2, set by operator at ")


@pytest.mark.usefixtures("own")
def test_a_shard_with_a_flag_that_does_not_exist_is_found(
    run_module: RunModule, control_plane: ControlPlane, kube: Kube
) -> None:
    shard = {
        "apiVersion": "configuration.nightbench.io/v1",
        "kind": "Shard",
        "metadata": {"name": "default"},
        "spec": {"args": {"qps": "1000", "max-number-consolidation-preemptees": "4000"}},
    }
    put(kube, "shards", shard)
    one = {"manifest": shard, "flag_fields": {"spec.args": FLAGS["scheduler"]}}
    assert problems(run_module, control_plane, objects=[one]) == {
        "spec.args.max-number-consolidation-preemptees": SHARD_REASON
    }


@pytest.mark.usefixtures("own")
def test_an_object_that_is_not_there_is_told_and_its_manifest_still_looked_at(
    run_module: RunModule, control_plane: ControlPlane
) -> None:
    asked = settings(queueController={"service": {"resources": OVER}})
    assert set(problems(run_module, control_plane, objects=[{"manifest": asked}])) == {
        "object",
        "spec.queueController.service.resources.requests.memory <= limits.memory",
    }


def test_a_kind_that_is_not_served_is_told(run_module: RunModule, control_plane: ControlPlane) -> None:
    manifest = {**settings(), "apiVersion": "nobody.nightbench.io/v1"}
    found = problems(run_module, control_plane, objects=[{"manifest": manifest}])
    assert set(found) == {"object"}
    assert "does not serve nobody.nightbench.io/v1. Is its CustomResourceDefinition installed?" in found["object"]


def test_a_namespaced_kind_without_a_namespace_is_an_error(run_module: RunModule, control_plane: ControlPlane) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    failed = run_module(
        bench_configuration, kubeconfig=control_plane.kubeconfig, objects=[{"manifest": manifest}]
    ).failed()
    assert (failed.msg, failed["exit_code"]) == ("ConfigMap 'a' needs a namespace and has none.", 2)


def test_a_built_in_kind_is_compared_without_a_definition(
    run_module: RunModule, control_plane: ControlPlane, kube: Kube, namespace: str
) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": namespace}}
    asked = {**manifest, "data": {"a": "1"}, "daata": {"b": "1"}}
    kube.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body=asked)
    lacks = "the live object lacks it: never applied, or removed since"
    assert problems(run_module, control_plane, objects=[{"manifest": asked}]) == {"daata.b": lacks}


def deployment(namespace: str, *args: str) -> dict[str, Any]:
    labels = {"app": "binder"}
    container = {"name": "main", "image": "none.invalid/none", "args": list(args)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "binder", "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def test_the_arguments_of_a_deployment_are_read_back(
    run_module: RunModule, control_plane: ControlPlane, kube: Kube, namespace: str
) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    kube.request("POST", path, body=deployment(namespace, "--qps=20", "--burst", "100", "--max-concurent-reconciles=1"))
    eventually(lambda: kube.request("GET", f"{path}/binder").json().get("status", {}).get("observedGeneration") == 1)
    one = {"namespace": namespace, "name": "binder", "arguments": {"qps": 1000, "burst": 100}}
    found = problems(run_module, control_plane, deployments=[{**one, "known_flags": FLAGS["binder"]}])
    assert found == {
        "qps": "it runs with --qps=20",
        "max-concurent-reconciles": "there is no flag max-concurent-reconciles, so it is ignored or refused; "
        "the nearest is max-concurrent-reconciles",
    }
    missing = {**one, "name": "bindr"}
    assert problems(run_module, control_plane, deployments=[missing]) == {
        "object": f"there is no Deployment {namespace}/bindr"
    }


def test_what_may_not_be_read_is_an_error(run_module: RunModule, control_plane: ControlPlane, namespace: str) -> None:
    kubeconfig = control_plane.service_account(namespace)
    failed = run_module(
        bench_configuration, kubeconfig=kubeconfig, deployments=[{"namespace": namespace, "name": "binder"}]
    ).failed()
    assert "403 Forbidden" in failed.msg
    assert failed["exit_code"] == 3


@pytest.mark.usefixtures("real")
def test_on_the_real_definitions_the_known_mistakes_are_found(
    run_module: RunModule, control_plane: ControlPlane, kube: Kube
) -> None:
    config = {
        "apiVersion": "kai.scheduler/v1",
        "kind": "Config",
        "metadata": {"name": "kai-config"},
        "spec": {
            "binder": {
                "args": {"maxConcurrentReconciles": 100, "qps": 1000, "burst": 2000},
                "maxConcurrentReconciles": 100,
            },
            "podGrouper": {"k8sClientConfig": {"qps": 500, "burst": 1000}},
            "queueController": {"service": {"resources": OVER}},
        },
    }
    shard = {
        "apiVersion": "kai.scheduler/v1",
        "kind": "SchedulingShard",
        "metadata": {"name": "default"},
        "spec": {"args": {"max-number-consolidation-preemptees": "4000", "max-consolidation-preemptees": "0"}},
    }
    put(kube, "configs", config)
    put(kube, "schedulingshards", shard)
    one = {"manifest": shard, "flag_fields": {"spec.args": FLAGS["scheduler"]}}
    assert problems(run_module, control_plane, objects=[{"manifest": config}, one]) == {
        "spec.binder.args.maxConcurrentReconciles": dropped("Config", "spec.binder.maxConcurrentReconciles"),
        "spec.binder.args.qps": dropped("Config", "spec.binder.service.k8sClientConfig.qps"),
        "spec.binder.args.burst": dropped("Config", "spec.binder.service.k8sClientConfig.burst"),
        "spec.queueController.service.resources.requests.memory <= limits.memory": REFUSED,
        "spec.args.max-number-consolidation-preemptees": SHARD_REASON,
    }
    right = {**config, "spec": {"binder": {"service": {"k8sClientConfig": {"qps": 1000, "burst": 2000}}}}}
    path = "/apis/kai.scheduler/v1/configs/kai-config"
    patch(kube, path, {"spec": {**right["spec"], "queueController": None}}, "nightbench")
    assert problems(run_module, control_plane, objects=[{"manifest": right}]) == {}
