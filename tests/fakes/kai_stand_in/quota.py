# SPDX-License-Identifier: GPL-3.0-or-later
"""Queues: what a group may still take, what each queue's fair share is, and whose turn it is."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fakes.kai_stand_in.model import RESOURCES, UNLIMITED, Amount, Cluster, Group, Queue, total, within_limit


@dataclass(frozen=True)
class Refusal:
    """Why a group is not scheduled: KAI's reason, and a sentence."""

    reason: str
    message: str


def refusal(cluster: Cluster, group: Group, wanted: Amount, *, limits: bool = True) -> Refusal | None:
    """Why a group may not have ``wanted`` beyond what it has; None if it may."""
    chain = cluster.ancestors(group.queue)
    if len(chain) < 2 or chain[-1].parent is not None:
        return Refusal("QueueDoesNotExist", f"queue {group.queue!r} doesn't exist or has no parent queue")
    if any(queue.parent == group.queue for queue in cluster.queues.values()):
        return Refusal("QueueDoesNotExist", f"queue {group.queue!r} has child queues: only a leaf schedules")
    for queue in chain:
        for name in RESOURCES:
            more, has = getattr(wanted, name), getattr(queue.allocated, name)
            limit, quota = getattr(queue.limit, name), getattr(queue.quota, name)
            if limits and more and not within_limit(has + more, limit):
                asked = f"{has:g} {name} allocated of its limit {limit:g}; {more:g} more are asked for"
                return Refusal("OverLimit", f"queue {queue.name!r} has {asked}")
            fixed = getattr(queue.allocated_non_preemptible, name)
            if more and not group.preemptible and not within_limit(fixed + more, quota):
                return Refusal(
                    "NonPreemptibleOverQuota",
                    f"queue {queue.name!r} has {fixed:g} {name} of its quota {quota:g} in workloads that are not "
                    f"preemptible; {more:g} more are asked for",
                )
    return None


def fair_shares(cluster: Cluster) -> dict[str, float]:
    """GPUs each queue may claim: its quota as far as it asks for it, then the rest by weight, level by level."""
    demand: dict[str, float] = dict.fromkeys(cluster.queues, 0.0)
    for group in cluster.groups.values():
        wanted = total(pod.request for pod in group.pods if not pod.leaving).gpu
        for queue in cluster.ancestors(group.queue):
            demand[queue.name] += wanted
    for name, queue in cluster.queues.items():
        if queue.limit.gpu != UNLIMITED:
            demand[name] = min(demand[name], queue.limit.gpu)
    shares: dict[str, float] = {}
    children: dict[str | None, list[Queue]] = {}
    for queue in cluster.queues.values():
        parent = queue.parent if queue.parent in cluster.queues else None
        children.setdefault(parent, []).append(queue)

    def divide(parent: str | None, available: float) -> None:
        level = children.get(parent, [])
        for queue in level:
            deserved = demand[queue.name] if queue.quota.gpu == UNLIMITED else queue.quota.gpu
            shares[queue.name] = min(demand[queue.name], deserved)
        rest = available - sum(shares[queue.name] for queue in level)
        while rest > 1e-6:
            hungry = [queue for queue in level if queue.weight > 0 and demand[queue.name] - shares[queue.name] > 1e-6]
            if not hungry:
                break
            weights = sum(queue.weight for queue in hungry)
            given = 0.0
            for queue in hungry:
                part = min(rest * queue.weight / weights, demand[queue.name] - shares[queue.name])
                shares[queue.name] += part
                given += part
            rest -= given
        for queue in level:
            divide(queue.name, min(shares[queue.name], available))

    divide(None, sum(node.allocatable.gpu for node in cluster.nodes.values()))
    return shares


def turn(queue: Queue, shares: dict[str, float]) -> tuple[float, float, str]:
    """Sorts queues: the one that has least of its share first; then by priority; then by name."""
    has, deserved = queue.allocated.gpu, shares.get(queue.name, 0.0)
    filled = has / deserved if deserved > 0 else (1e9 + has)
    return filled, -queue.priority, queue.name
