# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods of a mesh as the API server knows them, or as they will be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .errors import ConfigurationError
from .kube import Kube
from .mesh_plan import Pod
from .network_status import of_pod
from .quantities import quantity

GROUP_LABEL = "nightbench.io/mesh-group"
INDEX_LABEL = "nightbench.io/mesh-index"


@dataclass(frozen=True)
class Exporter:
    """Where a pod's node tells what its NICs have counted, and the PCI address behind each interface of the pod."""

    url: str
    devices: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def listed(kube: Kube, namespace: str, selector: str) -> list[dict[str, Any]]:
    items, _ = kube.list_pages(f"/api/v1/namespaces/{namespace}/pods", label_selector=selector)
    return items


def pods(items: Sequence[Mapping[str, Any]]) -> list[Pod]:
    """In the order of their index; raises ConfigurationError for one that is on no node or has no index."""
    found = []
    for item in items:
        labels = item["metadata"].get("labels") or {}
        index, node = labels.get(INDEX_LABEL, ""), (item.get("spec") or {}).get("nodeName")
        if not index.isdigit() or not node:
            raise ConfigurationError(
                f"Pod {item['metadata']['name']} has no label {INDEX_LABEL} with a number, or is on no node.",
                hint="The role traffic_mesh makes the pods and waits until they run.",
            )
        found.append((int(index), Pod(item["metadata"]["name"], labels.get(GROUP_LABEL, ""), node)))
    return [pod for _, pod in sorted(found, key=lambda one: one[0])]


def exporters(items: Sequence[Mapping[str, Any]], port: int) -> dict[str, Exporter]:
    """By pod, of those that have virtual functions: the exporter listens on every node's own address."""
    found = {}
    for item in items:
        devices = {one.interface: one.device for one in of_pod(item) or () if one.interface and one.device}
        host = (item.get("status") or {}).get("hostIP")
        if devices and host:
            address = f"[{host}]" if ":" in host else host
            found[item["metadata"]["name"]] = Exporter(f"http://{address}:{port}/metrics", devices)
    return found


def predicted(groups: Sequence[Mapping[str, Any]], nodes: Sequence[str]) -> list[Pod]:
    """Pods that are still to come, one node after the other."""
    names = [(f"{group['name']}-{number}", str(group["name"])) for group in groups for number in range(group["count"])]
    return [Pod(name, group, nodes[index % len(nodes)]) for index, (name, group) in enumerate(names)]


def gone(items: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, str]:
    """Of pods that will never answer again: what became of them."""
    known = {item["metadata"]["name"]: item for item in items}
    found = {}
    for name in names:
        if name not in known:
            found[name] = f"pod {name} does not exist any more"
            continue
        status = known[name].get("status") or {}
        if status.get("phase") in ("Failed", "Succeeded"):
            told = " ".join(str(status[key]) for key in ("reason", "message") if status.get(key))
            found[name] = f"pod {name} has ended: {status['phase']} {told or _terminated(status)}".strip()
        elif known[name]["metadata"].get("deletionTimestamp"):
            found[name] = f"pod {name} is being deleted: {status.get('reason') or 'its node may be gone'}"
    return found


def allocatable(kube: Kube, resources: Sequence[str]) -> dict[str, dict[str, int]]:
    """What each node offers of the resources; nothing is asked where there is none to ask for."""
    if not any(resources):
        return {}
    items, _ = kube.list_pages("/api/v1/nodes")
    return {
        item["metadata"]["name"]: {
            name: int(quantity(((item.get("status") or {}).get("allocatable") or {}).get(name)) or 0)
            for name in resources
            if name
        }
        for item in items
    }


def _terminated(status: Mapping[str, Any]) -> str:
    for container in status.get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated")
        if ended:
            return f"{ended.get('reason', '')} with exit code {ended.get('exitCode')}".strip()
    return ""
