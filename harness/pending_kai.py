# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps KAI from scheduling a pod, in the order of its way: podgrouper, queue, shard, scheduler, binder."""

from __future__ import annotations

from collections.abc import Iterator

from harness.pending import (
    DEFAULT_QUEUE,
    GROUP_ANNOTATION,
    SKIP_ANNOTATION,
    TURN_SECONDS,
    Cause,
    Object,
    Rule,
    Situation,
    duration,
    seconds_since,
)
from harness.pending_queue import gpus, limits, queue_name
from harness.words import nearest

# The reasons a PodGroup gives, in words.
REASONS = {
    "OverLimit": "its queue would be over its limit",
    "NonPreemptibleOverQuota": "a job that cannot be preempted may use its queue's quota only, and that is used up",
    "PreemptionDelayNotElapsed": "it may not preempt others yet: its preemption delay is not over",
    "QueueDoesNotExist": "its queue does not exist, or has no parent queue",
}
UNSCHEDULABLE = "UnschedulableOnNodePool"


def _installed(situation: Situation, found: bool) -> Iterator[Cause]:
    if situation.queues is None and not any("queues" in one for one in situation.not_read):
        yield Cause(
            "KAI", "this cluster knows no kind Queue of scheduling.run.ai: KAI is not installed", "install KAI first"
        )


def _grouped(situation: Situation, found: bool) -> Iterator[Cause]:
    group = situation.annotations.get(GROUP_ANNOTATION)
    if situation.pod_group is not None or situation.queues is None:
        return
    if group:
        yield Cause(
            "PodGroup",
            f"its PodGroup {group} is not there",
            "was it deleted by hand? Make the job anew, then the podgrouper makes another one",
        )
    elif situation.annotations.get(SKIP_ANNOTATION) == "true":
        yield Cause(
            "PodGroup",
            f"it asks the podgrouper to leave it alone ({SKIP_ANNOTATION}) and names no PodGroup",
            f"make a PodGroup and name it in the pod's annotation {GROUP_ANNOTATION}, or take {SKIP_ANNOTATION} away",
        )
    elif situation.age < TURN_SECONDS:
        yield Cause("PodGroup", f"it was made {duration(situation.age)} ago and has no PodGroup yet", "ask again soon")
    else:
        down = _down(situation, "pod-grouper")
        yield Cause(
            "PodGroup",
            f"the podgrouper has made no PodGroup for it in {duration(situation.age)}"
            + (f": {down}" if down else ", and without one the scheduler does not see it"),
            "look at the podgrouper: does it run, and what does the end of its log say?",
            certain=bool(down),
        )


def _queue(situation: Situation, found: bool) -> Iterator[Cause]:
    if situation.queues is None:
        return
    name, source = queue_name(situation)
    queue = situation.queues.get(name)
    if queue is None:
        near = nearest(name, situation.queues)
        without = name == DEFAULT_QUEUE and not source
        yield Cause(
            "queue",
            f"it has no label {situation.queue_label}, so it belongs to '{name}', and there is no such queue"
            if without
            else f"its queue '{name}'{source} does not exist",
            f"did you mean '{near}'?"
            if near
            else f"label it with {situation.queue_label}: one of {', '.join(sorted(situation.queues)) or 'no queue'}"
            if without
            else "make that queue, or label the pod with another one",
        )
        return
    parent = (queue.get("spec") or {}).get("parentQueue")
    children = (queue.get("status") or {}).get("childQueues") or [
        other for other, one in situation.queues.items() if (one.get("spec") or {}).get("parentQueue") == name
    ]
    if children:
        yield Cause(
            "queue",
            f"its queue '{name}' is the parent of {', '.join(sorted(children)[:5])}, and only leaf queues schedule",
            f"label it with one of these: {situation.queue_label}",
        )
    elif not parent and not gpus((queue.get("status") or {}).get("allocated")):
        yield Cause(
            "queue",
            f"its queue '{name}' has no parent queue, and KAI before 0.13 schedules only queues that have one",
            f"set spec.parentQueue of queue {name}",
            certain=False,
        )
    elif parent and parent not in situation.queues:
        yield Cause("queue", f"the parent '{parent}' of its queue '{name}' does not exist", f"make the queue {parent}")


def _queue_pool(situation: Situation, found: bool) -> Iterator[Cause]:
    """A scheduler of a node pool sees only the queues of that pool."""
    label, pool = situation.pool_label, situation.pool
    if any(_shard(situation, found)):
        return  # the pod's own label is wrong
    name, _ = queue_name(situation)
    queue = (situation.queues or {}).get(name)
    for one in (name, str(((queue or {}).get("spec") or {}).get("parentQueue") or "")):
        labels = ((situation.queues or {}).get(one) or {}).get("metadata", {}).get("labels") or {}
        there = str(labels.get(label) or "")
        if one in (situation.queues or {}) and there != pool:
            has = f"carries {label}={there}" if there else f"carries no label {label}"
            wants = f"the pod carries {label}={pool}" if pool else "the pod carries none"
            mend = (
                f"label the queue {one} with {label}={pool}" if pool else f"take the label {label} off the queue {one}"
            )
            yield Cause("queue", f"the queue '{one}' {has} and {wants}: their scheduler does not see the queue", mend)


def _shard(situation: Situation, found: bool) -> Iterator[Cause]:
    pool, label = situation.pool, situation.pool_label
    if situation.shards:
        served = {str((one.get("spec") or {}).get("partitionLabelValue") or "") for one in situation.shards}
        if pool not in served:
            near = nearest(pool, served - {""}) if pool else None
            names = ", ".join(f"'{one}'" for one in sorted(served)) or "none"
            yield Cause(
                "shard",
                f"its node pool '{pool}' (label {label}) is no SchedulingShard's: no scheduler takes it"
                if pool
                else f"it has no label {label}, and every SchedulingShard serves a node pool of its own",
                f"did you mean '{near}'?" if near else f"label it with a node pool that is served: {names}",
            )
            return
    if pool and situation.node_pools is not None and pool not in situation.node_pools:
        known = sorted(situation.node_pools)
        near = nearest(pool, known)
        told = f"did you mean '{near}'?" if near else f"the nodes have: {', '.join(known) or 'no such label'}"
        yield Cause("node pool", f"no node carries the label {label}={pool} that it asks for", told)


def _scheduler(situation: Situation, found: bool) -> Iterator[Cause]:
    service = (((situation.config or {}).get("spec") or {}).get("scheduler") or {}).get("service") or {}
    if service.get("enabled") is False:
        yield Cause(
            "scheduler",
            "KAI's scheduler is switched off (spec.scheduler.service.enabled of its Config is false)",
            "switch it on again",
        )
        return
    shard = next(
        (
            one["metadata"]["name"]
            for one in situation.shards or ()
            if str((one.get("spec") or {}).get("partitionLabelValue") or "") == situation.pool
        ),
        None,
    )
    down = _down(situation, f"{situation.kai}-{shard}" if shard else situation.kai)
    if down:
        yield Cause("scheduler", f"the scheduler does not run: {down}", "look at its Deployment and its pods")
        return
    if found or situation.pod_group is None or _conditions(situation) or situation.bind_request is not None:
        return
    since = seconds_since(situation.pod_group["metadata"].get("creationTimestamp"), situation.now)
    if situation.condition("PodScheduled"):
        return
    if since < TURN_SECONDS:
        told = f"its PodGroup was made {duration(since)} ago: the scheduler has not had its turn yet"
        yield Cause("age", told, "ask again soon")
    else:
        binds = "it has bound other pods" if situation.scheduler_binds else "no pod here was ever bound by it"
        yield Cause(
            "scheduler",
            f"no scheduler has written a word about its PodGroup in {duration(since)}: "
            f"'{situation.scheduler}' seems not to run ({binds})",
            "look at the scheduler: does it run, and what does the end of its log say?",
            certain=False,
        )


def _gang(situation: Situation, found: bool) -> Iterator[Cause]:
    needed = ((situation.pod_group or {}).get("spec") or {}).get("minMember") or 1
    if situation.group_pods is not None and situation.group_pods < needed:
        yield Cause(
            "gang",
            f"its gang needs {needed} pods and {situation.group_pods} of them exist: it waits for the rest",
            "look at what makes them: its events say why it makes no more",
        )


def _unschedulable(situation: Situation, found: bool) -> Iterator[Cause]:
    """What the scheduler wrote about the PodGroup; an older scheduler writes one reason only."""
    said: dict[str, None] = {}
    for condition in _conditions(situation):
        pool = condition.get("nodePool")
        where = f" on node pool {pool}" if pool and pool != "default" else ""
        for one in condition.get("reasons") or [condition]:
            words = REASONS.get(str(one.get("reason")), "the scheduler finds no place for it")
            message = one.get("message") or condition.get("message")
            said[f"{words}{where}" + (f": {message}" if message else "")] = None
    # The scheduler writes the same reason for the gang and for each of its pods.
    for problem in said:
        yield Cause("unschedulable", problem)


def _bound(situation: Situation, found: bool) -> Iterator[Cause]:
    request = situation.bind_request
    if request is None:
        return
    status, spec = request.get("status") or {}, request.get("spec") or {}
    node, attempts = spec.get("selectedNode"), status.get("failedAttempts") or 0
    reason = f": {status['reason']}" if status.get("reason") else ""
    if status.get("phase") == "Failed" or attempts:
        limit = f" of {spec['backoffLimit']}" if spec.get("backoffLimit") is not None else ""
        failed = status.get("phase") == "Failed"
        # The attempt after which it gives up is not counted.
        attempts = max(attempts, 1) if failed else attempts
        times = (
            f"{attempts}{limit} attempts" if attempts > 1 or limit else "its only attempt" if failed else "1 attempt"
        )
        yield Cause(
            "binder",
            f"the scheduler chose {node}, and the binder failed to bind it there in {times}"
            f"{' and has given up' if failed else ''}{reason}",
            "look at the end of the binder's log",
        )
        return
    since = seconds_since(request["metadata"].get("creationTimestamp"), situation.now)
    down = _down(situation, "binder")
    if down or since >= TURN_SECONDS:
        yield Cause(
            "binder",
            f"the scheduler chose {node} {duration(since)} ago, and the binder has not bound it"
            + (f": {down}" if down else ""),
            "look at the binder: does it run, is its client limit too low for the load?",
            certain=bool(down),
        )
    elif not found:
        told = f"the scheduler chose {node} {duration(since)} ago, and the binder has not had its turn yet"
        yield Cause("age", told, "ask again soon")


def _limits(situation: Situation, found: bool) -> Iterator[Cause]:
    """Arithmetic of our own only where the scheduler has not said it."""
    said = {one.get("reason") for condition in _conditions(situation) for one in condition.get("reasons") or ()}
    if not said & {"OverLimit", "NonPreemptibleOverQuota"}:
        yield from limits(situation)


def _conditions(situation: Situation) -> list[Object]:
    conditions = ((situation.pod_group or {}).get("status") or {}).get("schedulingConditions") or ()
    return [one for one in conditions if one.get("type") == UNSCHEDULABLE and one.get("status", "True") != "False"]


def _down(situation: Situation, name: str) -> str:
    """Why a Deployment of KAI runs nothing; empty when it does, or when KAI runs without Deployments."""
    for one in situation.deployments:
        if one["metadata"]["name"] == name:
            wanted = one["spec"].get("replicas", 1)
            available = (one.get("status") or {}).get("availableReplicas") or 0
            place = f"Deployment {one['metadata']['namespace']}/{name}"
            if not wanted:
                return f"{place} is scaled to 0"
            return "" if available else f"of the {wanted} pods of {place} none is available"
    if situation.deployments and situation.config is not None:
        names = ", ".join(sorted(one["metadata"]["name"] for one in situation.deployments))
        return f"there is no Deployment {name} (there is: {names})"
    return ""


RULES: tuple[Rule, ...] = (
    _installed, _grouped, _queue, _shard, _queue_pool, _gang, _unschedulable, _limits, _bound, _scheduler,
)  # fmt: skip
