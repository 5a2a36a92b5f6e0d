# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster as the SR-IOV network operator has it, for tests: its kinds, and two nodes with a NIC each."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from ansible.module_utils.nightbench.errors import NotFound
from ansible.module_utils.nightbench.kube import MERGE_PATCH, Call, Kube
from ansible.modules import bench_network_plan, bench_network_status

from tests.conftest import ROOT, ModuleResult, RunModule
from tests.fakes.sriov_operator import NADS, NETWORKS, SRIOV, STATUS, nic

LABELS = {"app.kubernetes.io/managed-by": "nightbench", "nightbench.io/role": "sriov_network"}
CRDS = ROOT / "tests" / "fixtures" / "crds" / "networks.yml"
DEVICE = "0000:18:00.0"


@dataclass(frozen=True)
class SriovCluster:
    """`namespace` is the operator's; `attached` is where the networks go, which the role makes."""

    kube: Kube
    kubeconfig: str
    namespace: str
    nodes: tuple[str, str]

    @property
    def attached(self) -> str:
        return f"{self.namespace}-pods"

    def network(self, **changes: Any) -> dict[str, Any]:
        """VFs of both nodes, as a user writes it."""
        policy = {
            "numVfs": 4,
            "nodeSelector": {"test.nightbench.io/sriov": self.namespace},
            "nicSelector": {"vendor": "15b3", "pfNames": ["ens1"]},
        }
        given = {"name": "fast", "subnet": "198.19.0.0/24", "mtu": 9000, "resource": "test_vf", "policy": policy}
        return {**given, **changes}

    def policy(self, **changes: Any) -> dict[str, Any]:
        return {**self.network()["policy"], **changes}

    def pods(self, count: int = 4) -> list[dict[str, str]]:
        """In turn on the one node and the other."""
        return [{"name": f"mesh-{number}", "group": "mesh", "node": self.nodes[number % 2]} for number in range(count)]

    def create_pods(self, planned: list[dict[str, Any]], namespace: str) -> None:
        """As a suite would, of what the plan says; there is no kubelet on their nodes."""
        for pod in planned:
            body = {
                "metadata": {"name": pod["name"], "annotations": pod["annotations"], "labels": {"app": "mesh"}},
                "spec": {
                    "nodeName": self.nodes[0],
                    "automountServiceAccountToken": False,
                    "containers": [{"name": "main", "image": "none", "resources": {"limits": pod["resources"]}}],
                },
            }
            self.kube.request("POST", f"/api/v1/namespaces/{namespace}/pods", body=body)

    def path(self, plural: str, name: str = "") -> str:
        api, namespace = (NADS, self.attached) if plural.startswith("network-") else (SRIOV, self.namespace)
        return f"{api}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")

    def state(self, node: str) -> dict[str, Any]:
        return dict(self.kube.request("GET", self.path("sriovnetworknodestates", node)).json())

    def offered(self, node: str) -> str | None:
        status = self.kube.request("GET", f"/api/v1/nodes/{node}").json()["status"]
        found = (status.get("allocatable") or {}).get("openshift.io/test_vf")
        return None if found is None else str(found)

    def names(self, plural: str) -> list[str]:
        return [item["metadata"]["name"] for item in self.kube.list_pages(self.path(plural))[0]]

    def exists(self, path: str) -> bool:
        try:
            self.kube.request("GET", path)
        except NotFound:
            return False
        return True

    def status_of(self, pod: str, namespace: str, text: str) -> None:
        body = {"metadata": {"annotations": {STATUS: text}}}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}"
        self.kube.request("PATCH", path, body=body, content_type=MERGE_PATCH)


def definitions() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(CRDS.read_text(encoding="utf-8")))


@contextlib.contextmanager
def sriov_cluster(kube: Kube, kubeconfig: str, namespace: str, total: int = 8) -> Iterator[SriovCluster]:
    """Where the kinds are there already; what was made is removed again."""
    nodes = (f"{namespace}-a", f"{namespace}-b")
    found = SriovCluster(kube, kubeconfig, namespace, nodes)
    for name in nodes:
        labels = {"test.nightbench.io/sriov": namespace}
        kube.request("POST", "/api/v1/nodes", body={"metadata": {"name": name, "labels": labels}})
        kube.request("POST", found.path("sriovnetworknodestates"), body=_state(name))
        status = {"syncStatus": "Succeeded", "interfaces": [nic("ens1", DEVICE, total)]}
        path = f"{found.path('sriovnetworknodestates', name)}/status"
        kube.request("PATCH", path, body={"status": status}, content_type=MERGE_PATCH)
    try:
        yield found
    finally:
        for plural in ("sriovnetworks", "sriovnetworknodepolicies"):
            for name in found.names(plural):
                let_go = {"metadata": {"finalizers": None}}
                kube.request("PATCH", found.path(plural, name), body=let_go, content_type=MERGE_PATCH)
                with contextlib.suppress(NotFound):
                    kube.request("DELETE", found.path(plural, name))
        kube.map([Call("DELETE", f"/api/v1/nodes/{name}") for name in nodes])
        with contextlib.suppress(NotFound):
            kube.request("DELETE", f"/api/v1/namespaces/{found.attached}")


def _state(name: str) -> dict[str, Any]:
    api = {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodeState"}
    return {**api, "metadata": {"name": name}, "spec": {"interfaces": []}}


def asked_networks(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """What a planned pod asks Multus for."""
    return list(json.loads(pod["annotations"][NETWORKS]))


class Bench:
    """Both modules, with what all calls share."""

    def __init__(self, run_module: RunModule, cluster: SriovCluster) -> None:
        self.run_module = run_module
        self.cluster = cluster

    def plan(self, *networks: dict[str, Any], **more: Any) -> ModuleResult:
        given = {
            "kubeconfig": self.cluster.kubeconfig,
            "namespace": self.cluster.attached,
            "operator_namespace": self.cluster.namespace,
            "labels": LABELS | {"nightbench.io/run-id": self.cluster.namespace},
            "networks": list(networks),
            "pods": self.cluster.pods(),
        }
        return self.run_module(bench_network_plan, **{**given, **more})

    def status(self, **more: Any) -> ModuleResult:
        given = {"kubeconfig": self.cluster.kubeconfig, "namespace": self.cluster.namespace, "timeout_seconds": 20}
        return self.run_module(bench_network_status, **{**given, **more})
