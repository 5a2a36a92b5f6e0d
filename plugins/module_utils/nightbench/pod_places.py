# SPDX-License-Identifier: GPL-3.0-or-later
"""Where pods are on this machine: their addresses, and their network namespaces by a process of each.

A kubelet puts every process of a pod into a cgroup that carries the pod's uid, whatever the form of the cgroup's name
(kubernetes, pkg/kubelet/cm/pod_container_manager_linux.go: `pod<uid>`, with `_` for `-` under systemd).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigurationError
from .kube import Kube

_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})")


@dataclass(frozen=True)
class PodPlace:
    """namespace: a path like /proc/PID/ns/net."""

    name: str
    node: str
    address: str
    namespace: str


def network_namespaces(uids: Collection[str], proc: Path = Path("/proc")) -> dict[str, str]:
    """uid → path of the network namespace, of those pods of which a process runs on this machine."""
    wanted = set(uids)
    found: dict[str, str] = {}
    for folder in proc.iterdir():
        if len(found) == len(wanted):
            break
        if not folder.name.isdigit():
            continue
        try:
            groups = (folder / "cgroup").read_text()
        except OSError:  # it has ended since
            continue
        pod = _POD.search(groups)
        uid = pod.group(1).replace("_", "-") if pod else ""
        if uid in wanted and uid not in found:
            found[uid] = str(folder / "ns" / "net")
    return found


def places(kube: Kube, namespace: str, names: Collection[str]) -> dict[str, PodPlace]:
    """Of each of these pods; they have to run, and on this machine."""
    items, _ = kube.list_pages(f"/api/v1/namespaces/{namespace}/pods")
    pods = {item["metadata"]["name"]: item for item in items if item["metadata"]["name"] in set(names)}
    spaces = network_namespaces([item["metadata"]["uid"] for item in pods.values()])
    return {name: _place(name, namespace, pods.get(name), spaces) for name in dict.fromkeys(names)}


def _place(name: str, namespace: str, pod: Mapping[str, Any] | None, spaces: Mapping[str, str]) -> PodPlace:
    if pod is None:
        raise ConfigurationError(
            f"pod {name} is not in namespace {namespace}.", hint="Create it and wait until it runs."
        )
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        raise ConfigurationError(f"pod {namespace}/{name} has no address yet.", hint="Wait until it runs.")
    node = str(pod["spec"].get("nodeName", ""))
    space = spaces.get(pod["metadata"]["uid"])
    if space is None:
        raise ConfigurationError(
            f"no process of pod {namespace}/{name} (node {node}) is on this machine.",
            hint="Probes run in the pods' network namespaces: on real nodes of this machine, as root.",
        )
    return PodPlace(name, node, address, space)
