# SPDX-License-Identifier: GPL-3.0-or-later
"""What a SriovNetworkNodeState says: whether a node has what policies ask for, or nothing of them any more.

syncStatus alone does not say it: until the operator has written a policy into the spec and the node's config daemon has
begun, it is still the Succeeded of what was before (sriov-network-operator v1.6.0, pkg/daemon and api/v1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .reasons import Hopeless

#: The config daemon tries again by itself after a failure; one that stands this long is told at once.
FAILED_SECONDS = 60.0
Object = Mapping[str, Any]


def synced(item: Object, parameters: Mapping[str, Any]) -> str | None:
    """Every one of `policies` is planned on the node, and its VFs are there."""
    missing = [name for name in _names(parameters) if not _planned(item, name)]
    if missing:
        return f"the operator has not planned {', '.join(missing)} on it yet{_status(item)}"
    wanted = [one for one in _spec(item) if any(policy in _policies(one) for policy in _names(parameters))]
    return _unsettled(item, parameters) or next(filter(None, (_behind(item, one) for one in wanted)), None)


def reset(item: Object, parameters: Mapping[str, Any]) -> str | None:
    """None of `policies` is planned on the node, and of `devices` (by node) no VF is left that nobody asks for."""
    left = [name for name in _names(parameters) if _planned(item, name)]
    if left:
        return f"the operator still plans {', '.join(left)} on it{_status(item)}"
    unsettled = _unsettled(item, parameters)
    if unsettled:
        return unsettled
    asked = {one.get("pciAddress") for one in _spec(item)}
    devices = (parameters.get("devices") or {}).get(str((item.get("metadata") or {}).get("name"))) or ()
    found = _interfaces(item)
    for device in devices:
        vfs = int(found.get(device, {}).get("numVfs") or 0)
        if device not in asked and vfs > 0:
            return f"{found[device].get('name') or device} still has {vfs} VFs: its config daemon has not begun"
    return None


def policies_on(item: Object) -> dict[str, list[str]]:
    """Names of the policies that are planned on the node, each with the PCI addresses of its PFs."""
    found: dict[str, list[str]] = {}
    for one in _spec(item):
        for policy in _policies(one):
            found.setdefault(policy, []).append(str(one.get("pciAddress")))
    return found


def _unsettled(item: Object, parameters: Mapping[str, Any]) -> str | None:
    """What its config daemon says when it is not done."""
    status = item.get("status") or {}
    state, error = status.get("syncStatus"), status.get("lastSyncError")
    if state == "Succeeded":
        return None
    if not state:
        return "its config daemon has written no syncStatus"
    if state == "Failed":
        after = float(parameters.get("failed_seconds", FAILED_SECONDS))
        return Hopeless(f"syncStatus is Failed: {error or 'without a lastSyncError'}", after)
    return f"syncStatus is {state}" + (f", after: {error}" if error else "")


def _behind(item: Object, wanted: Mapping[str, Any]) -> str | None:
    """Why an interface is not what the spec asks for, though the daemon says that all is done."""
    found = _interfaces(item).get(str(wanted.get("pciAddress")))
    name = wanted.get("name") or wanted.get("pciAddress")
    if found is None:
        return f"{name} is not among its interfaces"
    for key, unit in (("numVfs", "VFs"), ("mtu", "MTU")):
        asked, there = int(wanted.get(key) or 0), int(found.get(key) or 0)
        if there < asked:
            return f"{name} has {unit} {there} of {asked}: its config daemon has not begun"
    return None


def _names(parameters: Mapping[str, Any]) -> list[str]:
    return [str(name) for name in parameters["policies"]]


def _planned(item: Object, policy: str) -> bool:
    return any(policy in _policies(one) for one in _spec(item))


def _policies(interface: Mapping[str, Any]) -> list[str]:
    return [str(group.get("policyName")) for group in interface.get("vfGroups") or ()]


def _spec(item: Object) -> Iterable[Mapping[str, Any]]:
    return (item.get("spec") or {}).get("interfaces") or ()


def _interfaces(item: Object) -> dict[str, Mapping[str, Any]]:
    return {str(one.get("pciAddress")): one for one in (item.get("status") or {}).get("interfaces") or ()}


def _status(item: Object) -> str:
    status = item.get("status") or {}
    told = ": ".join(str(part) for part in (status.get("syncStatus"), status.get("lastSyncError")) if part)
    return f" (syncStatus {told})" if told else ""
