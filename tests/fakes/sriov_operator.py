# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-in for the SR-IOV network operator, its config daemon, the device plugin and Multus, for tests without a NIC.

It does to the API what these do, and no more: policies are written into the node states' specs, nodes get their VFs
and offer them, SriovNetworks become NetworkAttachmentDefinitions, and pods that ask for networks get a network-status.
How it misbehaves is a table: by node for the VFs, by pod for the networks.

main() is the same as a process, until SIGTERM: KUBECONFIG and NAMESPACE are its arguments.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.nightbench.errors import KubeError
from ansible.module_utils.nightbench.kube import MERGE_PATCH, Kube
from ansible.module_utils.nightbench.target import load_target

SRIOV = "/apis/sriovnetwork.openshift.io/v1"
NADS = "/apis/k8s.cni.cncf.io/v1"
FINALIZER = "netattdef.finalizers.sriovnetwork.openshift.io"
NETWORKS, STATUS = "k8s.v1.cni.cncf.io/networks", "k8s.v1.cni.cncf.io/network-status"
PREFIX = "openshift.io"
STEP_SECONDS = 0.1
LATE_STEPS = 5  # how often it looks before something late is done

Object = dict[str, Any]


def nic(name: str, address: str, total: int = 64, **more: Any) -> Object:
    """A PF as the config daemon reports it before it has VFs."""
    model = {"vendor": "15b3", "deviceID": "1017", "mtu": 1500}
    return {"name": name, "pciAddress": address, "totalvfs": total, **model, **more}


def right(entry: Object) -> Object | None:
    return entry


#: What becomes of the entry of each network in a pod's network-status; None: it is left out.
POD_FAULTS: dict[str, Callable[[Object], Object | None]] = {
    "right": right,
    "another address": lambda entry: {**entry, "ips": ["198.19.0.250"]},
    "duplicate": lambda entry: {**entry, "ips": ["198.19.0.1"]},
    "other interface": lambda entry: {**entry, "interface": "net9"},
    "no ips": lambda entry: {key: value for key, value in entry.items() if key != "ips"},
    "no entry": lambda _entry: None,
    "small mtu": lambda entry: {**entry, "mtu": 1500},
}


@dataclass
class SriovOperator:
    """`nodes`: node → late, failed, never, stale (Succeeded before the VFs are there), mended (failed at first).

    `pods`: pod → one of POD_FAULTS, late, never or broken.
    """

    kube: Kube
    namespace: str
    nodes: dict[str, str] = field(default_factory=dict)
    pods: dict[str, str] = field(default_factory=dict)
    mtu: int = 9000

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._looks: dict[str, int] = {}
        self._applied: dict[str, str] = {}
        self._given = 0

    def run(self) -> None:
        """Look and act until it is ended."""
        while not self._ended.wait(STEP_SECONDS):
            with contextlib.suppress(KubeError):  # somebody removed it meanwhile, or a kind is not there yet
                self.step()

    def end(self, *_: Any) -> None:
        self._ended.set()

    def step(self) -> None:
        networks = self._list(f"{SRIOV}/namespaces/{self.namespace}/sriovnetworks")
        for network in networks:
            self._network(network)
        policies = self._list(f"{SRIOV}/namespaces/{self.namespace}/sriovnetworknodepolicies")
        nodes = {item["metadata"]["name"]: item for item in self._list("/api/v1/nodes")}
        for state in self._list(f"{SRIOV}/namespaces/{self.namespace}/sriovnetworknodestates"):
            name = state["metadata"]["name"]
            if self.nodes.get(name) != "never":
                self._node(name, state, policies, nodes[name])
        for pod in self._list("/api/v1/pods"):
            annotations = pod["metadata"].get("annotations") or {}
            if NETWORKS in annotations and STATUS not in annotations:
                self._pod(pod, json.loads(annotations[NETWORKS]))

    # --- the operator

    def _network(self, network: Object) -> None:
        metadata, spec = network["metadata"], network["spec"]
        path = f"{SRIOV}/namespaces/{self.namespace}/sriovnetworks/{metadata['name']}"
        attachments = f"{NADS}/namespaces/{spec['networkNamespace']}/network-attachment-definitions"
        if metadata.get("deletionTimestamp"):
            with contextlib.suppress(KubeError):
                self.kube.request("DELETE", f"{attachments}/{metadata['name']}")
            self._merge(path, {"metadata": {"finalizers": None}})
            return
        if FINALIZER not in metadata.get("finalizers", []):
            self._merge(path, {"metadata": {"finalizers": [FINALIZER]}})
        resource = f"{PREFIX}/{spec['resourceName']}"
        config = {"type": "sriov", "name": metadata["name"], "ipam": json.loads(spec["ipam"])}
        body = {
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": metadata["name"], "annotations": {"k8s.v1.cni.cncf.io/resourceName": resource}},
            "spec": {"config": json.dumps(config)},
        }
        if metadata["name"] not in [item["metadata"]["name"] for item in self._list(attachments)]:
            self.kube.request("POST", attachments, body=body)

    def _node(self, name: str, state: Object, policies: list[Object], node: Object) -> None:
        wanted = _planned(state, policies, node["metadata"].get("labels") or {})
        path = f"{SRIOV}/namespaces/{self.namespace}/sriovnetworknodestates/{name}"
        if ((state.get("spec") or {}).get("interfaces") or []) != wanted:
            self._merge(path, {"spec": {"interfaces": wanted}})
            return
        self._daemon(name, path, state, wanted)

    # --- the config daemon and the device plugin of a node

    def _daemon(self, name: str, path: str, state: Object, wanted: list[Object]) -> None:
        text = json.dumps(wanted, sort_keys=True)
        if self._applied.get(name, "[]") == text:
            return
        fault = self.nodes.get(name, "right")
        looks = self._looks[name] = self._looks.get(name, 0) + 1
        if fault in ("failed", "mended"):
            failed = {"syncStatus": "Failed", "lastSyncError": "cannot allocate memory for VFs of 0000:18:00.0"}
            self._merge(f"{path}/status", {"status": failed})
            if fault == "failed" or looks <= LATE_STEPS:
                return
        if fault in ("late", "stale") and looks <= LATE_STEPS:
            if fault == "late":
                self._merge(f"{path}/status", {"status": {"syncStatus": "InProgress"}})
            return
        asked = {one["pciAddress"]: one for one in wanted}
        interfaces = [
            {**one, "numVfs": int(asked.get(one["pciAddress"], {}).get("numVfs", 0)),
             "mtu": int(asked.get(one["pciAddress"], {}).get("mtu") or 1500)}
            for one in state["status"]["interfaces"]
        ]  # fmt: skip
        self._offer(name, wanted)
        status = {"syncStatus": "Succeeded", "lastSyncError": None, "interfaces": interfaces}
        self._merge(f"{path}/status", {"status": status})
        self._applied[name] = text
        self._looks[name] = 0

    def _offer(self, name: str, wanted: list[Object]) -> None:
        counts: dict[str, int] = {}
        for one in wanted:
            for group in one["vfGroups"]:
                resource = f"{PREFIX}/{group['resourceName']}"
                counts[resource] = counts.get(resource, 0) + one["numVfs"]
        there = self.kube.request("GET", f"/api/v1/nodes/{name}").json()["status"].get("allocatable") or {}
        offer = {key: "0" for key in there if key.startswith(f"{PREFIX}/")} | {
            key: str(count) for key, count in counts.items()
        }
        self._merge(f"/api/v1/nodes/{name}/status", {"status": {"capacity": offer, "allocatable": offer}})

    # --- Multus

    def _pod(self, pod: Object, elements: list[Object]) -> None:
        metadata = pod["metadata"]
        name = metadata["name"]
        fault = self.pods.get(name, "right")
        looks = self._looks[f"pod/{name}"] = self._looks.get(f"pod/{name}", 0) + 1
        if fault == "never" or (fault == "late" and looks <= LATE_STEPS):
            return
        self._given += 1
        first = {"name": "aws-cni", "interface": "dummy1a2b3c", "ips": [f"10.0.0.{self._given}"], "default": True}
        entries: list[Object] = [first]
        for number, element in enumerate(elements):
            entry = {
                "name": f"{element['namespace']}/{element['name']}",
                "interface": element.get("interface", f"net{number + 1}"),
                "ips": [address.partition("/")[0] for address in element.get("ips") or ()],
                "mac": f"02:00:00:00:00:{number + 1:02x}",
                "mtu": self.mtu,
                "dns": {},
            }
            entries += filter(None, [POD_FAULTS.get(fault, right)(entry)])
        text = "[{" if fault == "broken" else json.dumps(entries)
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{name}"
        self._merge(path, {"metadata": {"annotations": {STATUS: text}}})

    def _list(self, path: str) -> list[Object]:
        return self.kube.list_pages(path)[0]

    def _merge(self, path: str, body: Object) -> None:
        self.kube.request("PATCH", path, body=body, content_type=MERGE_PATCH)


@contextlib.contextmanager
def running(operator: SriovOperator) -> Iterator[SriovOperator]:
    """In a thread, until the block ends."""
    thread = threading.Thread(target=operator.run, daemon=True)
    thread.start()
    try:
        yield operator
    finally:
        operator.end()
        thread.join(timeout=10)


def _planned(state: Object, policies: list[Object], labels: dict[str, str]) -> list[Object]:
    """The interfaces of the node that policies ask VFs of."""
    found: dict[str, Object] = {}
    for policy in policies:
        spec = policy["spec"]
        if policy["metadata"].get("deletionTimestamp") or any(
            labels.get(key) != value for key, value in spec["nodeSelector"].items()
        ):
            continue
        names = spec["nicSelector"].get("pfNames") or []
        for one in state["status"]["interfaces"]:
            if names and one["name"] not in names:
                continue
            mine = found.setdefault(
                one["pciAddress"],
                {"pciAddress": one["pciAddress"], "name": one["name"], "numVfs": spec["numVfs"], "vfGroups": []},
            )
            mine |= {"mtu": spec["mtu"]} if spec.get("mtu") else {}
            mine["vfGroups"].append({"policyName": policy["metadata"]["name"], "resourceName": spec["resourceName"]})
    return list(found.values())


def main() -> None:
    kubeconfig, namespace = sys.argv[1:]
    operator = SriovOperator(Kube(load_target(kubeconfig=kubeconfig)), namespace)
    signal.signal(signal.SIGTERM, operator.end)
    operator.run()
