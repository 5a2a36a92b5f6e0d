# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions that make room by having others leave: consolidation (who then finds another place) and reclaim.

reclaim takes from queues above their fair share for those below theirs. Whoever leaves, leaves as a whole gang, or
one by one down to its minMember.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from tests.fakes.kai_stand_in.allocate import Session, signature
from tests.fakes.kai_stand_in.model import Amount, Group, Node, Pod, total
from tests.fakes.kai_stand_in.placement import Domain, TopologyUnknown, all_domains, missing_members
from tests.fakes.kai_stand_in.quota import refusal

#: Pods that leave together, with their group.
Unit = tuple[Group, list[Pod]]
#: Whether a unit may leave, when these others already do.
MayLeave = Callable[[Unit, list[Unit]], bool]
SLACK = 1e-6


def reclaim(session: Session) -> None:
    """For each group that found no room: evict from queues above their share what it needs, or nothing."""
    for group in _tried(session, "reclaim"):
        together = group.pending[: missing_members(group)]
        wanted = total(pod.request for pod in together)
        mine = {queue.name for queue in session.cluster.ancestors(group.queue)}
        if not _below_share(session, group, wanted.gpu):
            continue

        def may_leave(unit: Unit, others: list[Unit], mine: set[str] = mine) -> bool:
            return _above_share(session, unit, others, mine)

        _try(session, group, together, may_leave, "reclaim", lambda _: True)


def consolidate(session: Session, most: int) -> None:
    """For each group for which enough is free, but scattered: move up to ``most`` others (-1: any number)."""
    if most == 0:
        return
    cluster = session.cluster

    def may_leave(unit: Unit, others: list[Unit]) -> bool:
        moved = sum(len(pods) for _, pods in [*others, unit])
        return most < 0 or moved <= most

    for group in _tried(session, "consolidation"):
        together = group.pending[: missing_members(group)]
        free = sum(node.free(True).gpu for node in cluster.nodes_for(together[0]))
        if free < total(pod.request for pod in together).gpu:
            continue
        _try(session, group, together, may_leave, "consolidation", lambda units: _find_places(session, units))


def _tried(session: Session, action: str) -> Iterator[Group]:
    """The groups an action looks at: those that may have what they ask for, each kind once."""
    for group in session.in_turn():
        together = group.pending[: missing_members(group)]
        alike = signature(group)
        if alike in session.failed.setdefault(action, set()):
            continue
        session.count("podgroups_acted_on_by_action", action)
        session.failed[action].add(alike)  # taken off again by one that succeeds
        if refusal(session.cluster, group, total(pod.request for pod in together), limits=session.limits) is None:
            yield group


def _try(
    session: Session,
    group: Group,
    together: list[Pod],
    may_leave: MayLeave,
    action: str,
    settle: Callable[[list[Unit]], bool],
) -> None:
    """Clear room for the pods in one of the group's domains; keep that only if ``settle`` agrees."""
    cluster = session.cluster
    session.count("total_preemption_attempts", "")
    try:
        choices = list(all_domains(cluster, group))
    except TopologyUnknown:
        return

    def others(unit: Unit, leaving: list[Unit]) -> bool:
        return unit[0] is not group and may_leave(unit, leaving)

    for within in choices:
        mark = len(cluster.journal)
        session.count("scenarios_simulation_by_action", action)
        units = make_room(session, group, together, within, others)
        if units and settle(units):
            nodes = {pod.uid: pod.node or "" for pod in together}
            session.waiting[group.key] = session.cleared[group.key] = nodes
            session.fresh.update(nodes)
            session.evictions += [(victims, pod, action) for victims, pods in units for pod in pods]
            session.refusals.pop(group.key, None)
            session.failed[action].discard(signature_before(group, together))
            session.count("podgroups_scheduled_by_action", action)
            return
        session.count("scenarios_filtered_by_action", action)
        cluster.rollback(mark)


def signature_before(group: Group, placed: list[Pod]) -> tuple[object, ...]:
    """The signature the group had while these pods were pending."""
    nodes = [pod.node for pod in placed]
    for pod in placed:
        pod.node = None
    result = signature(group)
    for pod, node in zip(placed, nodes, strict=True):
        pod.node = node
    return result


def make_room(
    session: Session, group: Group, pods: list[Pod], within: Domain | None, may_leave: MayLeave
) -> list[Unit] | None:
    """Place the pods where the fewest others must leave; who leaves, or None where they cannot all be placed."""
    cluster = session.cluster
    left: list[Unit] = []
    costs: list[tuple[int, str]] = []
    for node in cluster.nodes_for(pods[0], within):
        plan = plan_for(session, node, pods[0], left, may_leave)
        if plan is not None:
            costs.append((size(plan), node.name))
            if len(pods) == 1 and size(plan) <= 1:
                break
    heapq.heapify(costs)
    for pod in pods:
        while costs:
            cost, name = heapq.heappop(costs)
            plan = plan_for(session, cluster.nodes[name], pod, left, may_leave)
            if plan is None:
                continue
            if size(plan) > cost:
                heapq.heappush(costs, (size(plan), name))
                continue
            for victims, leaving in plan:
                for one in leaving:
                    cluster.evict(victims, one)
            left += plan
            cluster.place(group, pod, name)
            heapq.heappush(costs, (0, name))
            break
        else:
            return None
    return left


def plan_for(session: Session, node: Node, pod: Pod, left: list[Unit], may_leave: MayLeave) -> list[Unit] | None:
    """Who must leave this node for one more pod, as few as a simple search finds; None where none suffice."""
    need = pod.request
    if need.fits(node.free(True)) and node.has_place(True):
        return []
    chosen: list[Unit] = []
    gone: set[str] = set()
    room = node.free(True)
    there = _victims(session, node)
    # Those that can go alone first, then whole gangs.
    for alone, (victims, one) in [(True, each) for each in there] + [(False, each) for each in there]:
        if one.uid in gone:
            continue
        unit = (victims, unit_of(session, victims, one, gone))
        if alone and len(unit[1]) > 1:
            continue
        if not may_leave(unit, [*left, *chosen]):
            continue
        chosen.append(unit)
        gone.update(each.uid for each in unit[1])
        room = room.plus(_on(node, unit))
        if need.fits(room):
            break
    else:
        return None
    for unit in chosen[:-1]:
        without = room.minus(_on(node, unit))
        # A gang that was cut down to its minMember first must not keep the cut alone.
        if need.fits(without) and sum(one[0] is unit[0] for one in chosen) == 1:
            chosen.remove(unit)
            room = without
    return chosen


def unit_of(session: Session, group: Group, pod: Pod, gone: set[str]) -> list[Pod]:
    """What leaves when a pod leaves: it alone while its group stays at minMember, else the whole group."""
    active = [one for one in group.active if one.uid not in gone and one.uid not in session.fresh]
    return [pod] if session.below_minimum or len(active) > group.min_member else active


def _victims(session: Session, node: Node) -> list[tuple[Group, Pod]]:
    """Who could leave a node: lowest priority first, then the youngest."""
    there = [
        (group, pod)
        for group, pod in node.pods.values()
        if group.preemptible and not pod.leaving and pod.uid not in session.fresh
    ]
    return sorted(there, key=lambda one: (one[0].priority, -one[0].created, one[1].name))


def _on(node: Node, unit: Unit) -> Amount:
    return total(pod.request for pod in unit[1] if pod.node == node.name)


def size(units: list[Unit]) -> int:
    return sum(len(pods) for _, pods in units)


def _below_share(session: Session, group: Group, gpus: float) -> bool:
    """Whether the group's queue stays within its fair share with so many GPUs more."""
    queue = session.cluster.queues[group.queue]
    return queue.allocated.gpu + gpus <= session.shares[queue.name] + SLACK


def _above_share(session: Session, unit: Unit, others: list[Unit], mine: set[str]) -> bool:
    """Whether every queue above the victims, but not above the reclaimer, keeps its fair share without them."""
    group, pods = unit
    taken = total(pod.request for pod in pods).gpu
    for queue in session.cluster.ancestors(group.queue):
        if queue.name in mine:
            return queue.name != group.queue
        # Those of ``others`` that have left already are no longer in what the queue has.
        coming = sum(
            pod.request.gpu
            for victims, leaving in others
            for pod in leaving
            if not pod.leaving and queue in session.cluster.ancestors(victims.queue)
        )
        if queue.allocated.gpu - coming - taken < session.shares[queue.name] - SLACK:
            return False
    return bool(session.cluster.ancestors(group.queue))


def _find_places(session: Session, units: list[Unit]) -> bool:
    """Whether all that are moved find another place, the largest first; their places are kept free."""
    cluster = session.cluster
    moved = [(group, pod) for group, pods in units for pod in pods]
    for group, pod in sorted(moved, key=lambda one: -one[1].request.gpu):
        node = cluster.find(pod, None, True)
        if node is None:
            return False
        double = Pod(f"{pod.uid}/moved", pod.name, pod.request, shape=pod.shape)
        session.fresh.add(double.uid)
        cluster.place(group, double, node.name)
    return True
