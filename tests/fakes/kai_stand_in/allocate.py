# SPDX-License-Identifier: GPL-3.0-or-later
"""The action allocate, and what all actions share: the state of one cycle and the order of groups."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.fakes.kai_stand_in.model import Cluster, Group, Pod, total
from tests.fakes.kai_stand_in.placement import TopologyUnknown, missing_members, place_group
from tests.fakes.kai_stand_in.quota import Refusal, fair_shares, refusal, turn

Key = tuple[str, str]
#: What two groups share that are alike to the scheduler.
Signature = tuple[object, ...]


@dataclass(repr=False)
class Session:
    """One cycle: the cluster, and what was decided so far."""

    cluster: Cluster
    limits: bool = True
    below_minimum: bool = False
    binds: list[tuple[Group, Pod]] = field(default_factory=list)
    evictions: list[tuple[Group, Pod, str]] = field(default_factory=list)  # with the action
    #: Groups that wait for others to leave, with the node of each pod that waits.
    waiting: dict[Key, dict[str, str]] = field(default_factory=dict)
    #: Those of them for whom others were evicted in this cycle.
    cleared: dict[Key, dict[str, str]] = field(default_factory=dict)
    #: Pods that this cycle placed; nobody makes them leave again.
    fresh: set[str] = field(default_factory=set)
    refusals: dict[Key, Refusal] = field(default_factory=dict)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)  # (figure, action)

    def __post_init__(self) -> None:
        self.shares = fair_shares(self.cluster)
        self.failed: dict[str, set[Signature]] = {}

    def count(self, figure: str, action: str, amount: int = 1) -> None:
        self.counts[figure, action] = self.counts.get((figure, action), 0) + amount

    def in_turn(self) -> Iterator[Group]:
        """Groups whose pods are there and wait: each time the queue whose turn it is, there by priority and age."""
        waiting: dict[str, list[Group]] = {}
        taken = {group.key for group, _ in self.binds} | set(self.waiting)
        for group in self.cluster.groups.values():
            if group.key not in taken and len(group.pending) >= missing_members(group):
                waiting.setdefault(group.queue, []).append(group)
        for groups in waiting.values():
            groups.sort(key=lambda group: (-group.priority, group.created, group.key), reverse=True)
        known = [self.cluster.queues[name] for name in waiting if name in self.cluster.queues]
        for name in sorted(set(waiting) - set(self.cluster.queues)):
            yield from reversed(waiting[name])
        order = [turn(queue, self.shares) for queue in known]
        heapq.heapify(order)
        while order:
            name = heapq.heappop(order)[-1]
            yield waiting[name].pop()
            if waiting[name]:
                heapq.heappush(order, turn(self.cluster.queues[name], self.shares))


def allocate(session: Session, planned: dict[Key, dict[str, str]] | None = None) -> None:
    """Give groups what is free, and let those wait for whom enough is about to come free.

    ``planned``: groups for whom others were evicted, with the nodes chosen then; they come first.
    """
    for key, nodes in (planned or {}).items():
        group = session.cluster.groups.get(key)
        if group is not None and len(group.pending) >= missing_members(group):
            _give(session, group, frozenset(nodes.values()))
    for group in session.in_turn():
        session.count("podgroups_acted_on_by_action", "allocate")
        if not _give(session, group, None):
            session.failed.setdefault("allocate", set()).add(signature(group))


def _give(session: Session, group: Group, within: frozenset[str] | None) -> bool:
    """Place one group now or for later; say why it is refused."""
    if signature(group) in session.failed.get("allocate", ()):
        session.refusals[group.key] = _no_room(session, group)
        return False
    together = group.pending[: missing_members(group)]
    refused = refusal(session.cluster, group, total(pod.request for pod in together), limits=session.limits)
    if refused is not None:
        session.refusals[group.key] = refused
        return False
    mark = len(session.cluster.journal)
    try:
        for future in (False, True):
            placed = place_group(session.cluster, group, future=future, within=within)
            if placed is not None:
                break
        else:
            session.refusals[group.key] = _no_room(session, group)
            return False
    except TopologyUnknown as error:
        session.refusals[group.key] = Refusal("Unschedulable", str(error))
        return False
    pods = trim(session, group, placed.pods, len(together), mark)
    session.refusals.pop(group.key, None)
    session.fresh.update(pod.uid for pod in pods)
    if placed.future:
        session.waiting[group.key] = {pod.uid: pod.node or "" for pod in pods}
    else:
        session.binds += [(group, pod) for pod in pods]
        session.count("podgroups_scheduled_by_action", "allocate")
    return True


def trim(session: Session, group: Group, pods: list[Pod], together: int, mark: int) -> list[Pod]:
    """Take back those pods beyond the gang that would carry the queue over its limit."""
    cluster = session.cluster
    if not session.limits or len(pods) == together:
        return pods
    nodes = {pod.uid: pod.node or "" for pod in pods}
    cluster.rollback(mark)
    kept = []
    for index, pod in enumerate(pods):
        if index < together or refusal(cluster, group, pod.request) is None:
            cluster.place(group, pod, nodes[pod.uid])
            kept.append(pod)
    return kept


def signature(group: Group) -> Signature:
    """What decides whether a group fits; groups that share it need not be tried twice in one cycle."""
    shapes = sorted({(pod.request.gpu, pod.request.cpu, pod.request.memory, pod.shape) for pod in group.pending})
    constraint = (group.topology, group.required, group.preferred)
    pinned = group.key if group.active and group.required else None
    return group.queue, group.preemptible, missing_members(group), tuple(shapes), constraint, pinned


def _no_room(session: Session, group: Group) -> Refusal:
    pods = group.pending
    needed = missing_members(group)
    wanted = total(pod.request for pod in pods[:needed]).gpu
    free = sum(node.free(False).gpu for node in session.cluster.nodes.values())
    return Refusal(
        "Unschedulable",
        f"no nodes with enough resources for {needed} pods of {wanted:g} GPUs in all; {free:g} of "
        f"{sum(node.allocatable.gpu for node in session.cluster.nodes.values()):g} GPUs are free",
    )
