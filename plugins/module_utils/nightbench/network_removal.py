# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a role's networks is in a cluster, and what has to be waited for when it goes."""

from __future__ import annotations

from typing import Any

from .errors import ConfigurationError
from .kube import Kube
from .network_cluster import STATE_KIND, Object
from .network_plan import NAD_API, NAD_KIND, SRIOV_API, Place
from .network_strangers import is_ours
from .sriov_state import policies_on


def removal(kube: Kube, place: Place) -> dict[str, Any]:
    """Names of what is ours by kind, and the conditions under which all of it is gone from the nodes too."""
    policies = _ours(kube, SRIOV_API, "SriovNetworkNodePolicy", place.operator_namespace, place)
    networks = _ours(kube, SRIOV_API, "SriovNetwork", place.operator_namespace, place)
    attachments = _ours(kube, NAD_API, NAD_KIND, place.namespace, place)
    made = [str(item["metadata"]["name"]) for item in networks]
    return {
        "policies": [str(item["metadata"]["name"]) for item in policies],
        "networks": made,
        "attachments": [str(item["metadata"]["name"]) for item in attachments],
        "conditions": {
            "detached": [_detached(place, made)] if made else [],
            "reset": _reset(kube, place, [str(item["metadata"]["name"]) for item in policies]),
        },
    }


def _detached(place: Place, names: list[str]) -> Object:
    """The operator removes the NetworkAttachmentDefinition of a SriovNetwork that goes."""
    where = {"api_version": NAD_API, "kind": NAD_KIND, "namespace": place.namespace}
    return {**where, "names": names, "predicate": "absent"}


def _reset(kube: Kube, place: Place, policies: list[str]) -> list[Object]:
    """Nodes that have VFs of ours; those of a PF that is managed elsewhere are not the operator's to remove."""
    if not policies:
        return []
    devices = {}
    for state in _list(kube, SRIOV_API, STATE_KIND, place.operator_namespace):
        there = policies_on(state)
        mine = {device for policy in policies for device in there.get(policy, ())}
        external = {
            str(one.get("pciAddress"))
            for one in (state.get("spec") or {}).get("interfaces") or ()
            if one.get("externallyManaged")
        }
        if mine:
            devices[str(state["metadata"]["name"])] = sorted(mine - external)
    if not devices:
        return []
    return [
        {
            "api_version": SRIOV_API,
            "kind": STATE_KIND,
            "namespace": place.operator_namespace,
            "names": sorted(devices),
            "predicate": "sriov_reset",
            "parameters": {"policies": policies, "devices": devices},
        }
    ]


def _ours(kube: Kube, api_version: str, kind: str, namespace: str, place: Place) -> list[Object]:
    return [item for item in _list(kube, api_version, kind, namespace) if is_ours(item, place.labels)]


def _list(kube: Kube, api_version: str, kind: str, namespace: str) -> list[Object]:
    """Of a kind that is not there, no object is."""
    try:
        path = kube.resource(api_version, kind).collection(namespace)
    except ConfigurationError:
        return []
    return kube.list_pages(path)[0]
