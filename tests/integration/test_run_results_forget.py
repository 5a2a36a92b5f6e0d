# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dead run left in a cluster that outlives it is found by its label, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.definitions import installed
from tests.integration.sriov_cluster import definitions
from tests.role import changes, play_role

if TYPE_CHECKING:
    from ansible.module_utils.nightbench.kube import Kube

    from tests.control_plane import ControlPlane

pytestmark = pytest.mark.integration

DEAD, ALIVE = "20260101T000000Z-dead", "20260101T000000Z-a11e"
PRIORITIES = "/apis/scheduling.k8s.io/v1/priorityclasses"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAMESPACES = "/api/v1/namespaces"


def definition(name: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object"}}
    return {
        "group": "forget.example.org",
        "scope": "Cluster",
        "names": {"kind": name.capitalize(), "plural": name, "singular": name},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
    }


def test_only_what_carries_the_label_of_the_dead_run_goes(
    tmp_path: Path, control_plane: ControlPlane, kube: Kube
) -> None:
    made = []
    for run_id, name in ((DEAD, "deads"), (ALIVE, "alives")):
        labels = {"nightbench.io/run-id": run_id}
        kind = f"{name}.forget.example.org"
        for path, called, rest in (
            (NAMESPACES, name, {}),
            (PRIORITIES, name, {"value": 7}),
            (CRDS, kind, {"spec": definition(name)}),
        ):
            kube.request("POST", path, body={"metadata": {"name": called, "labels": labels}, **rest})
            made.append((path, called))
    dead = {"run_id": DEAD, "kubeconfig": control_plane.kubeconfig}
    played = play_role("run_results", tmp_path, {"__run_results_dead": dead}, tasks_from="forget")
    assert changes(played) == 3, played.output
    left = [(path, name) for path, name in made if name in names(kube, path)]
    assert left == made[3:]
    for path, name in left:
        kube.request("DELETE", f"{path}/{name}")


def test_networks_of_the_dead_run_go_from_namespaces_of_other_people(
    tmp_path: Path, control_plane: ControlPlane, kube: Kube, namespace: str
) -> None:
    kinds = {
        f"/apis/k8s.cni.cncf.io/v1/namespaces/{namespace}/network-attachment-definitions": (
            {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition"}, {"config": "{}"}),
        f"/apis/sriovnetwork.openshift.io/v1/namespaces/{namespace}/sriovnetworks": (
            {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetwork"}, {"resourceName": "vf"}),
        f"/apis/sriovnetwork.openshift.io/v1/namespaces/{namespace}/sriovnetworknodepolicies": (
            {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodePolicy"},
            {"resourceName": "vf", "nodeSelector": {}, "numVfs": 1, "nicSelector": {}}),
    }  # fmt: skip
    with installed(kube, definitions()):
        for run_id, name in ((DEAD, "dead"), (ALIVE, "alive")):
            for path, (kind, spec) in kinds.items():
                metadata = {"name": name, "labels": {"nightbench.io/run-id": run_id}}
                kube.request("POST", path, body={**kind, "metadata": metadata, "spec": spec})
        dead = {"run_id": DEAD, "kubeconfig": control_plane.kubeconfig}
        assert changes(play_role("run_results", tmp_path, {"__run_results_dead": dead}, tasks_from="forget")) == 3
        assert [names(kube, path) for path in kinds] == [{"alive"}] * 3


def names(kube: Kube, path: str) -> set[str]:
    return {item["metadata"]["name"] for item in kube.list_pages(path)[0]}
