# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_objects against a real API server that refuses a field: at once, by its name, and the rest goes on."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from ansible.module_utils.nightbench.errors import NotFound
from ansible.module_utils.nightbench.kube import Kube
from ansible.modules import bench_objects

from tests.conftest import RunModule
from tests.control_plane import ControlPlane

pytestmark = pytest.mark.integration

SCHEMA = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}


def definition(group: str) -> dict[str, Any]:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMA}}
    names = {"kind": "Widget", "plural": "widgets", "singular": "widget"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


@pytest.fixture
def group(kube: Kube) -> Iterator[str]:
    """An API group of the test's own; its definition goes afterwards."""
    name = f"{secrets.token_hex(4)}.example.com"
    yield name
    with contextlib.suppress(NotFound):
        kube.request("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{name}")


def config_map(namespace: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": {}}


@pytest.mark.parametrize("check", [True, False], ids=["check mode", "really"])
@pytest.mark.parametrize("exists", [True, False], ids=["there already", "new"])
@pytest.mark.parametrize("kind", ["built in", "of a definition"])
def test_a_field_that_the_kind_lacks_fails_at_once_and_is_named(
    run_module: RunModule,
    control_plane: ControlPlane,
    namespace: str,
    group: str,
    kind: str,
    exists: bool,
    check: bool,
) -> None:
    def bench(*objects: dict[str, Any], **more: Any) -> Any:
        return run_module(bench_objects, kubeconfig=control_plane.kubeconfig, objects=list(objects), **more)

    if kind == "built in":
        good = config_map(namespace, "a")
        wrong, told = {**good, "datas": {"x": "1"}}, ".datas: field not declared in schema"
    else:
        bench(definition(group)).ok()
        good = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "a", "namespace": namespace}}
        good["spec"] = {"size": 1}
        wrong = {**good, "spec": {"size": 1, "args": {"qps": 1000}}}
        told = ".spec.args: field not declared in schema"
    if exists:
        bench(good).ok()
    result = bench(wrong, config_map(namespace, "other"), check=check).failed()
    counts = {outcome: count for outcome, count in result["counts"].items() if count}
    assert (counts, result["retries"]) == ({"failed": 1, "created": 1}, {})
    assert told in result["msg"]
    assert result["msg"].endswith("Leave the field out, or install the version of the kind that has it.")
