# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether arguments that were asked for are those that a component runs with, and whether it knows them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .command_line import flags_of
from .configuration_check import Check
from .configuration_object import over_limits
from .names import nearest
from .quantities import same_argument


def arguments(
    component: str,
    source: str,
    asked: Mapping[str, Any],
    observed: Mapping[str, str],
    known: Collection[str] | None,
) -> Iterator[Check]:
    """One check for each argument asked for, and one for each flag there that the program does not know."""
    for name, value in asked.items():
        flag = name.lstrip("-")
        reason = unknown(flag, known)
        there = observed.get(flag)
        if value is None:
            holds, reason = there is None, reason or f"--{flag} was to be left out and is there"
        elif reason:
            holds = False
        elif there is None:
            holds, reason = False, f"--{flag} is not there, so the default of {component} applies"
        else:
            holds, reason = same_argument(value, there), f"it runs with --{flag}={there}"
        yield Check(component, flag, value, there, source, holds, "" if holds else reason)
    given = {name.lstrip("-") for name in asked}
    yield from known_only(component, source, {n: v for n, v in observed.items() if n not in given}, known)


def known_only(
    component: str, source: str, observed: Mapping[str, Any], known: Collection[str] | None, prefix: str = ""
) -> Iterator[Check]:
    """A check for each flag that the program does not know."""
    for name, value in observed.items():
        reason = unknown(name, known)
        if reason:
            yield Check(component, f"{prefix}{name}", value, value, source, False, reason)


def unknown(flag: str, known: Collection[str] | None) -> str:
    """Why a flag does nothing; empty for one that is known, or when nobody knows what there is."""
    if known is None or flag in known:
        return ""
    near = nearest(flag, known)
    hint = f"; the nearest is {near}" if near else ""
    return f"there is no flag {flag}, so it is ignored or refused{hint}"


def flag_field(
    component: str, source: str, document: Mapping[str, Any], path: str, known: Collection[str]
) -> Iterator[Check]:
    """The flags in a field of an object, such as the args of a SchedulingShard; those it knows hold."""
    value: Any = document
    for word in path.split("."):
        value = value.get(word) if isinstance(value, Mapping) else None
    if value is None:
        return
    if not isinstance(value, Mapping):
        yield Check(component, path, None, value, source, False, "it is no mapping of flags to their values")
        return
    yield from known_only(component, source, value, known, f"{path}.")


def deployment(
    component: str,
    live: Mapping[str, Any],
    container: str | None,
    asked: Mapping[str, Any],
    known: Collection[str] | None,
) -> Iterator[Check]:
    """What a Deployment runs its pods with, and whether all of its pods are the new ones."""
    metadata, spec = live["metadata"], live["spec"]
    name = f"Deployment {metadata['namespace']}/{metadata['name']}"
    containers = {one["name"]: one for one in spec["template"]["spec"]["containers"]}
    if container is None and len(containers) == 1:
        container = next(iter(containers))
    if container not in containers:
        near = nearest(str(container), containers)
        told = f"the nearest is {near}" if near else f"there is: {', '.join(containers)}"
        reason = f"{name} has no container {container}; {told}" if container else f"name one of its containers: {told}"
        yield Check(component, "container", container, sorted(containers), name, False, reason)
        return
    found = containers[container]
    argv = [*(found.get("command") or ["-"]), *(found.get("args") or [])]
    yield from arguments(component, f"arguments of {name}, container {container}", asked, flags_of(argv), known)
    yield from over_limits(component, name, spec["template"]["spec"]["containers"], "containers")
    yield _rolled_out(component, name, live)


def running(live: Mapping[str, Any], container: str | None) -> dict[str, Any]:
    """What a Deployment runs its pods with; of several containers the one that is named, or else the first."""
    metadata, spec = live["metadata"], live["spec"]
    containers = spec["template"]["spec"]["containers"]
    found = next((one for one in containers if one["name"] == container), containers[0])
    resources = found.get("resources") or {}
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "image": found.get("image", ""),
        "arguments": flags_of([*(found.get("command") or ["-"]), *(found.get("args") or [])]),
        "replicas": spec.get("replicas", 1),
        "requests": resources.get("requests") or {},
        "limits": resources.get("limits") or {},
    }


def _rolled_out(component: str, name: str, live: Mapping[str, Any]) -> Check:
    """Pods of the template before go on with the arguments before."""
    status = live.get("status") or {}
    wanted = live["spec"].get("replicas", 1)
    updated, pods = status.get("updatedReplicas", 0), status.get("replicas", 0)
    reason = ""
    if status.get("observedGeneration", 0) < live["metadata"].get("generation", 0):
        reason = "its controller has not seen the last change yet"
    elif updated < wanted or pods > updated:
        reason = f"{pods - updated} of its {pods} pods still run what was before, {wanted} are wanted"
    return Check(component, "rolled_out", wanted, updated, name, not reason, reason)
