# SPDX-License-Identifier: GPL-3.0-or-later
"""Which queue a pod belongs to, and whether that queue and those above it leave room for it."""

from __future__ import annotations

from collections.abc import Iterator

from harness import quantities
from harness.pending import DEFAULT_QUEUE, Cause, Object, Situation

PROJECT_LABEL = "project"
FRACTION_ANNOTATION = "gpu-fraction"
# From this priority on a job cannot be preempted, unless it says otherwise.
NOT_PREEMPTIBLE = 100
UNLIMITED = -1


def queue_name(situation: Situation) -> tuple[str, str]:
    """The queue, and where that is said; empty when it is said nowhere."""
    spec = (situation.pod_group or {}).get("spec") or {}
    label = situation.queue_label
    if spec.get("queue"):
        said = label in situation.labels or PROJECT_LABEL in situation.labels or spec["queue"] != DEFAULT_QUEUE
        return str(spec["queue"]), " (of its PodGroup)" if said else ""
    if situation.labels.get(label):
        return str(situation.labels[label]), f" (label {label})"
    project = situation.labels.get(PROJECT_LABEL)
    if project:
        return f"{project}-{situation.pool}" if situation.pool else str(project), f" (label {PROJECT_LABEL})"
    return DEFAULT_QUEUE, ""


def limits(situation: Situation) -> Iterator[Cause]:
    """A limit or quota that the pod, or its gang, would exceed; of its queue first, then of those above."""
    wanted = asked_gpus(situation)
    for name, queue in _upwards(situation):
        resources = (queue.get("spec") or {}).get("resources") or {}
        status = queue.get("status") or {}
        yield from _nothing_allowed(situation, name, resources, wanted)
        gpu = resources.get("gpu") or {}
        limit, used = gpu.get("limit", 0), gpus(status.get("allocated"))
        if wanted and limit > 0 and used + wanted > limit:
            yield Cause(
                "limit",
                f"the queue '{name}' may use {limit:g} GPUs, {used:g} of them are in use, "
                f"and {_what(situation)} asks for {wanted:g}",
                f"wait, or raise spec.resources.gpu.limit of queue {name}",
            )
        quota, fixed = gpu.get("quota", 0), gpus(status.get("allocatedNonPreemptible"))
        if wanted and limit and not _preemptible(situation) and quota != UNLIMITED and fixed + wanted > quota:
            yield Cause(
                "quota",
                f"it cannot be preempted, so only the quota of the queue '{name}' counts: {quota:g} GPUs, {fixed:g} of "
                f"them in use, and {_what(situation)} asks for {wanted:g}",
                "give it a priority class below 100, or raise the quota",
            )


def _nothing_allowed(situation: Situation, name: str, resources: Object, wanted: float) -> Iterator[Cause]:
    """A limit that is not set is 0, and 0 means nothing at all."""
    for kind in ("gpu", "cpu", "memory"):
        if not (wanted if kind == "gpu" else _asks_for(situation, kind)):
            continue
        share = resources.get(kind) or {}
        field = f"spec.resources.{kind}"
        if not share.get("limit", 0):
            told = "is 0" if "limit" in share else "is not set, which means 0"
            yield Cause(
                "limit",
                f"the queue '{name}' allows no {kind} at all: {field}.limit {told}",
                f"set {field}.limit of queue {name}; -1 is no limit",
            )
        elif share.get("quota", 0) == 0 and share.get("overQuotaWeight") == 0:
            yield Cause(
                "quota",
                f"the queue '{name}' has no share of {kind}: its quota is 0 and so is its weight beyond it",
                f"raise {field}.quota or {field}.overQuotaWeight of queue {name}",
            )


def asked_gpus(situation: Situation) -> float:
    """What has to be free at once: the whole gang while none of it runs, else one pod."""
    one = pod_gpus(situation.pod)
    group = situation.pod_group or {}
    running = gpus(((group.get("status") or {}).get("resourcesStatus") or {}).get("allocated"))
    members = (group.get("spec") or {}).get("minMember") or 1
    return one if running else one * members


def pod_gpus(pod: Object) -> float:
    annotations = pod["metadata"].get("annotations") or {}
    if annotations.get(FRACTION_ANNOTATION):
        try:
            return float(annotations[FRACTION_ANNOTATION])
        except ValueError:
            return 0.0
    return sum(gpus(_resources(container)) for container in pod["spec"].get("containers") or ())


def gpus(amounts: Object | None) -> float:
    """Of a list of resources those that are GPUs, whoever makes them."""
    return sum(
        quantities.number(value) or 0.0
        for name, value in (amounts or {}).items()
        if name == "gpu" or name.endswith("/gpu")
    )


def _upwards(situation: Situation) -> Iterator[tuple[str, Object]]:
    name, _ = queue_name(situation)
    seen: set[str] = set()
    while name and name not in seen and situation.queues and name in situation.queues:
        seen.add(name)
        yield name, situation.queues[name]
        name = str((situation.queues[name].get("spec") or {}).get("parentQueue") or "")


def _preemptible(situation: Situation) -> bool:
    said = ((situation.pod_group or {}).get("spec") or {}).get("preemptibility")
    if said:
        return bool(said == "preemptible")
    return situation.priority is None or situation.priority < NOT_PREEMPTIBLE


def _asks_for(situation: Situation, kind: str) -> bool:
    return any(kind in _resources(container) for container in situation.pod["spec"].get("containers") or ())


def _resources(container: Object) -> Object:
    resources = container.get("resources") or {}
    return {**(resources.get("limits") or {}), **(resources.get("requests") or {})}


def _what(situation: Situation) -> str:
    members = ((situation.pod_group or {}).get("spec") or {}).get("minMember") or 1
    return f"its gang of {members}" if members > 1 else "it"
