# SPDX-License-Identifier: GPL-3.0-or-later
"""When an object counts as ready, as a table of pure functions.

Each takes the object and the caller's parameters and returns None when it is ready, else why it is not. A reason
that can never go away is a Hopeless one: nobody has to wait for its deadline. Those of SR-IOV are in sriov_state.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from . import sriov_state
from .errors import ConfigurationError
from .quantities import quantity
from .reasons import Hopeless

Object = dict[str, Any]
Predicate = Callable[[Object, dict[str, Any]], str | None]


def condition(item: Object, parameters: dict[str, Any]) -> str | None:
    """status.conditions has `type` with `status` (True unless said otherwise)."""
    wanted_type, wanted = str(parameters["type"]), str(parameters.get("status", "True"))
    found = _condition(item, wanted_type)
    if found is None:
        return f"it has no condition {wanted_type} yet"
    if found.get("status") == wanted:
        return None
    return _told(f"{wanted_type} is {found.get('status')}", found)


def field(item: Object, parameters: dict[str, Any]) -> str | None:
    """The field at `path` equals `value`, or is there when no value is given."""
    path = str(parameters["path"])
    found = look_up(item, path)
    if found is _NOTHING:
        return f"it has no {path}"
    if "value" not in parameters or found == parameters["value"] or str(found) == str(parameters["value"]):
        return None
    return f"{path} is {found!r}"


def at_least(item: Object, parameters: dict[str, Any]) -> str | None:
    """The quantity at `path` is `value` or more."""
    path, wanted = str(parameters["path"]), quantity(parameters["value"])
    if wanted is None:
        raise ConfigurationError(f"predicate at_least: value {parameters['value']!r} is no quantity.")
    found = look_up(item, path)
    if found is _NOTHING:
        return f"it has no {path}"
    there = quantity(found)
    return None if there is not None and there >= wanted else f"{path} is {found}, less than {parameters['value']}"


def node_ready(item: Object, _parameters: dict[str, Any]) -> str | None:
    return condition(item, {"type": "Ready"})


def pod_bound(item: Object, _parameters: dict[str, Any]) -> str | None:
    if item.get("spec", {}).get("nodeName"):
        return None
    scheduled = _condition(item, "PodScheduled")
    return _told("no node", scheduled) if scheduled else "no scheduler has looked at it"


def pod_running(item: Object, parameters: dict[str, Any]) -> str | None:
    phase = item.get("status", {}).get("phase", "Pending")
    if phase == "Running":
        return None
    reason = pod_bound(item, parameters) or _waiting_container(item) or item.get("status", {}).get("message", "")
    return f"{phase}: {reason}" if reason else str(phase)


def pod_ready(item: Object, parameters: dict[str, Any]) -> str | None:
    reason = condition(item, {"type": "Ready"})
    return reason and (pod_running(item, parameters) or reason)


def deployment_available(item: Object, _parameters: dict[str, Any]) -> str | None:
    """The newest template is on all replicas, and all are available."""
    status, wanted = item.get("status", {}), item.get("spec", {}).get("replicas", 1)
    if _not_observed(item):
        return "its controller has not seen the newest template"
    numbers = {key: status.get(key, 0) for key in ("updatedReplicas", "availableReplicas", "replicas")}
    if numbers["updatedReplicas"] == numbers["replicas"] == wanted and numbers["availableReplicas"] >= wanted:
        return None
    failing = _condition(item, "ReplicaFailure")
    text = f"{numbers['updatedReplicas']} updated and {numbers['availableReplicas']} available of {wanted}"
    return _told(text, failing) if failing else text


def daemonset_ready(item: Object, _parameters: dict[str, Any]) -> str | None:
    """The newest template is on every node that shall have it, and ready there."""
    status = item.get("status", {})
    if _not_observed(item) or "desiredNumberScheduled" not in status:
        return "its controller has not seen the newest template"
    wanted = status["desiredNumberScheduled"]
    updated, ready = status.get("updatedNumberScheduled", 0), status.get("numberReady", 0)
    return None if updated == ready == wanted else f"{updated} updated and {ready} ready of {wanted}"


def job_complete(item: Object, _parameters: dict[str, Any]) -> str | None:
    failed = _condition(item, "Failed")
    if failed and failed.get("status") == "True":
        return Hopeless(_told("it failed", failed))
    return condition(item, {"type": "Complete"})


def crd_established(item: Object, _parameters: dict[str, Any]) -> str | None:
    return condition(item, {"type": "NamesAccepted"}) or condition(item, {"type": "Established"})


def namespace_active(item: Object, _parameters: dict[str, Any]) -> str | None:
    return field(item, {"path": "status.phase", "value": "Active"})


def exists(_item: Object, _parameters: dict[str, Any]) -> str | None:
    return None


def absent(item: Object, _parameters: dict[str, Any]) -> str | None:
    """Whatever is seen is one too many; the wait ends when nothing is seen."""
    metadata = item.get("metadata", {})
    if not metadata.get("deletionTimestamp"):
        return "it is there and is not being deleted"
    finalizers = [*metadata.get("finalizers", []), *item.get("spec", {}).get("finalizers", [])]
    return f"being deleted since {metadata['deletionTimestamp']}" + (
        f", held by finalizers {', '.join(finalizers)}" if finalizers else ""
    )


PREDICATES: dict[str, Predicate] = {
    "absent": absent,
    "at_least": at_least,
    "condition": condition,
    "crd_established": crd_established,
    "daemonset_ready": daemonset_ready,
    "deployment_available": deployment_available,
    "exists": exists,
    "field": field,
    "job_complete": job_complete,
    "namespace_active": namespace_active,
    "node_ready": node_ready,
    "pod_bound": pod_bound,
    "pod_ready": pod_ready,
    "pod_running": pod_running,
    "sriov_reset": sriov_state.reset,
    "sriov_synced": sriov_state.synced,
}
#: What a predicate cannot do without, and what it takes besides.
PARAMETERS: dict[str, tuple[set[str], set[str]]] = {
    "at_least": ({"path", "value"}, set()),
    "condition": ({"type"}, {"status"}),
    "field": ({"path"}, {"value"}),
    "sriov_reset": ({"policies"}, {"devices", "failed_seconds"}),
    "sriov_synced": ({"policies"}, {"failed_seconds"}),
}


def check_parameters(name: str, parameters: dict[str, Any]) -> None:
    """Raise when the predicate lacks a parameter, or has one that it does not know."""
    needed, more = PARAMETERS.get(name, (set(), set()))
    if missing := needed - set(parameters):
        raise ConfigurationError(f"predicate {name} needs the parameter {', '.join(sorted(missing))}.")
    if unknown := set(parameters) - needed - more:
        known = ", ".join(sorted(needed | more)) or "none"
        raise ConfigurationError(
            f"predicate {name} has no parameter {', '.join(sorted(unknown))}.", hint=f"Known: {known}."
        )


_NOTHING = object()
_STEP = re.compile(r"\[['\"]?([^\]'\"]+)['\"]?\]|((?:[^.\[\\]|\\.)+)")


def look_up(item: Any, path: str) -> Any:
    """The value at a path such as status.phase, spec.containers[0].image or metadata.labels['a.b/c']."""
    found = item
    for bracketed, plain in _STEP.findall(path):
        step = bracketed or plain.replace("\\.", ".")
        if isinstance(found, list) and step.lstrip("-").isdigit() and -len(found) <= int(step) < len(found):
            found = found[int(step)]
        elif isinstance(found, dict) and step in found:
            found = found[step]
        else:
            return _NOTHING
    return found


def _condition(item: Object, kind: str) -> dict[str, Any] | None:
    conditions = item.get("status", {}).get("conditions") or []
    return next((one for one in conditions if one.get("type") == kind), None)


def _told(text: str, found: dict[str, Any]) -> str:
    """With the condition's reason and message, as far as there are any."""
    why = ": ".join(part for part in (found.get("reason"), found.get("message")) if part)
    return f"{text} ({why})" if why else text


def _waiting_container(item: Object) -> str:
    """Why the first container that waits does so."""
    status = item.get("status", {})
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        waiting = container.get("state", {}).get("waiting")
        if waiting:
            return _told(f"container {container.get('name')} waits", waiting)
    return ""


def _not_observed(item: Object) -> bool:
    observed = item.get("status", {}).get("observedGeneration")
    return observed is None or observed < item.get("metadata", {}).get("generation", 0)
