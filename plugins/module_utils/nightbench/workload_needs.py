# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a cluster has what a workload needs: GPUs, storage, APIs. What the API cannot tell is said to be unknown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .errors import NotFound
from .kube import Kube
from .workload_manifest import Settings

GPU = "nvidia.com/gpu"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
Found = tuple[str, bool | None]


def looked_up(kube: Kube, needs: Sequence[Mapping[str, Any]], settings: Settings) -> list[dict[str, Any]]:
    """Each need with what was seen; `holds` is None where nobody can say."""
    found = []
    for need in needs:
        observed, holds = LOOKS[need["need"]](kube, need, settings)
        expected = need.get("count") or need.get("serves") or "there"
        found.append({"need": need["need"], "expected": str(expected), "observed": observed, "holds": holds})
    return found


def lacking(found: Sequence[Mapping[str, Any]], left_out: bool) -> str:
    """Why there is nothing to run it on; an API is for what was left out, where something was."""
    wrong = [one for one in found if one["holds"] is False and not (one["need"] == "api" and left_out)]
    return "; ".join(f"it needs {one['need']}: {one['expected']}; there is {one['observed']}" for one in wrong)


def _gpus(kube: Kube, need: Mapping[str, Any], settings: Settings) -> Found:
    selector = ",".join(f"{name}={value}" for name, value in settings.node_selector.items())
    nodes, _ = kube.list_pages("/api/v1/nodes", label_selector=selector)
    total = sum(int((node.get("status", {}).get("allocatable") or {}).get(GPU, 0)) for node in nodes)
    return f"{total} on {len(nodes)} nodes", total >= need["count"]


def _storage(kube: Kube, need: Mapping[str, Any], settings: Settings) -> Found:
    if settings.storage_class == "":
        return "volumes that hold nothing", True
    classes, _ = kube.list_pages("/apis/storage.k8s.io/v1/storageclasses")
    if settings.storage_class is not None:
        names = [one["metadata"]["name"] for one in classes]
        return f"the classes {', '.join(names) or 'none'}", settings.storage_class in names
    default = [one for one in classes if (one["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"]
    return f"{len(default)} default classes of {len(classes)}", bool(default)


def _api(kube: Kube, need: Mapping[str, Any], settings: Settings) -> Found:
    try:
        kube.request("GET", f"/apis/{need['serves']}")
    except NotFound:
        return "not served", False
    return "served", True


def _network_policy(kube: Kube, need: Mapping[str, Any], settings: Settings) -> Found:
    """Every API server takes policies; whether the network obeys them only a packet can tell."""
    return "not to be seen by the API", None


LOOKS: Mapping[str, Callable[[Kube, Mapping[str, Any], Settings], Found]] = {
    "gpus": _gpus,
    "storage": _storage,
    "api": _api,
    "network_policy": _network_policy,
}
