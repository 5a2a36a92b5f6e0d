# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the pods of a group go: all that its minMember asks for or none, in one domain of its topology."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.fakes.kai_stand_in.model import Cluster, Group, Node, Pod

Domain = frozenset[str]


class TopologyUnknown(Exception):
    """A group names a topology or level that does not exist."""


@dataclass(frozen=True)
class Placed:
    """The pods that were placed, and whether some only fit when others have left."""

    pods: list[Pod]
    future: bool


def missing_members(group: Group) -> int:
    """How many more pods must be placed together."""
    return max(1, group.min_member - len(group.active))


def place_group(cluster: Cluster, group: Group, *, future: bool = False, within: Domain | None = None) -> Placed | None:
    """Place a group's pending pods in the cluster's journal; None, and nothing moved, where its minMember cannot be.

    The first pods together or not at all, the others one by one as far as there is room.
    """
    pending = group.pending
    together = missing_members(group)
    if len(pending) < together:
        return None
    for domain in domains(cluster, group, pending[:together], future):
        allowed = domain if within is None else within if domain is None else domain & within
        mark = len(cluster.journal)
        placed: list[Pod] = []
        for index, pod in enumerate(pending):
            node = cluster.find(pod, allowed, future)
            if node is None:
                if index < together:
                    break
                continue
            cluster.place(group, pod, node.name)
            placed.append(pod)
        if len(placed) >= together:
            return Placed(placed, future)
        cluster.rollback(mark)
    return None


def levels_of(cluster: Cluster, group: Group) -> tuple[list[str], int | None, int | None]:
    """The node labels of the group's topology, and the places of its required and preferred level in them."""
    if not (group.required or group.preferred):
        return [], None, None
    levels = cluster.topologies.get(group.topology or "")
    if levels is None:
        raise TopologyUnknown(f"topology {group.topology!r} does not exist")
    labels = [level["nodeLabel"] for level in levels]

    def place(level: str | None) -> int | None:
        if not level:
            return None
        for index, one in enumerate(levels):
            if level in (one["nodeLabel"], one.get("alias")):
                return index
        raise TopologyUnknown(f"topology {group.topology!r} has no level {level!r}; it has {', '.join(labels)}")

    return labels, place(group.required), place(group.preferred)


def domain_of(node: Node, labels: list[str]) -> tuple[str, ...] | None:
    """The node's domain at the last of the labels; None where it lacks one of them."""
    values = tuple(node.labels.get(label, "") for label in labels)
    return values if all(values) else None


def all_domains(cluster: Cluster, group: Group) -> Iterator[Domain | None]:
    """Every set of nodes that the group's required level allows, the one with the most free GPUs first."""
    labels, required, _ = levels_of(cluster, group)
    if required is None:
        yield None
        return
    active = [pod.node for pod in group.active]
    found: dict[tuple[str, ...], list[Node]] = {}
    for node in cluster.nodes.values():
        domain = domain_of(node, labels[: required + 1])
        if domain is not None:
            found.setdefault(domain, []).append(node)
    rooms = sorted((-sum(node.free(True).gpu for node in nodes), domain) for domain, nodes in found.items())
    for _, domain in rooms:
        names = frozenset(node.name for node in found[domain])
        if all(node in names for node in active):
            yield names


def domains(cluster: Cluster, group: Group, together: list[Pod], future: bool) -> Iterator[Domain | None]:
    """Sets of nodes to try in turn: the narrowest level first, there the domain with the least room that suffices.

    A required level ends the list; a preferred one widens level by level up to the whole cluster.
    """
    labels, required, preferred = levels_of(cluster, group)
    if required is None and preferred is None:
        yield None
        return
    narrowest = max(level for level in (required, preferred) if level is not None)
    widest = required if required is not None else -1
    active = [pod.node for pod in group.active]
    for level in range(narrowest, widest - 1, -1):
        if level < 0:
            yield None
            return
        found: dict[tuple[str, ...], list[Node]] = {}
        for node in cluster.nodes_for(together[0]):
            domain = domain_of(node, labels[: level + 1])
            if domain is not None:
                found.setdefault(domain, []).append(node)
        rooms = sorted((room(nodes, together[0], future), domain) for domain, nodes in found.items())
        for count, domain in rooms:
            names = frozenset(node.name for node in found[domain])
            if count >= len(together) and all(node in names for node in active):
                yield names


def room(nodes: list[Node], pod: Pod, future: bool) -> float:
    """How many pods like this one fit on the nodes, by their GPUs."""
    gpus = pod.request.gpu
    return sum(node.free(future).gpu // gpus if gpus else node.max_pods - len(node.pods) for node in nodes)
