# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster as one scheduling cycle sees it: nodes, pods in groups, queues. Knows nothing of an API server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

UNLIMITED = -1.0
RESOURCES = ("gpu", "cpu", "memory")


@dataclass(frozen=True, slots=True)
class Amount:
    """GPUs, millicores, and memory in MB (10^6), the units of a Queue."""

    gpu: float = 0.0
    cpu: float = 0.0
    memory: float = 0.0

    def plus(self, other: Amount) -> Amount:
        return Amount(self.gpu + other.gpu, self.cpu + other.cpu, self.memory + other.memory)

    def minus(self, other: Amount) -> Amount:
        return Amount(self.gpu - other.gpu, self.cpu - other.cpu, self.memory - other.memory)

    def fits(self, room: Amount) -> bool:
        return self.gpu <= room.gpu and self.cpu <= room.cpu and self.memory <= room.memory


def total(amounts: Iterable[Amount]) -> Amount:
    result = Amount()
    for amount in amounts:
        result = result.plus(amount)
    return result


@dataclass(slots=True, eq=False)
class Pod:
    """A pod: without a node it is pending; ``leaving`` is one whose resources come free."""

    uid: str
    name: str
    request: Amount
    node: str | None = None
    leaving: bool = False
    shape: str = ""  # what it asks of a node's labels and taints, as text; pods with equal text may use the same nodes
    created: float = 0.0


@dataclass(slots=True, eq=False)
class Group:
    """A PodGroup with its pods."""

    namespace: str
    name: str
    queue: str
    uid: str = ""
    min_member: int = 1
    priority: float = 50.0
    preemptible: bool = True
    required: str | None = None
    preferred: str | None = None
    topology: str | None = None
    created: float = 0.0
    pods: list[Pod] = field(default_factory=list, repr=False)

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name

    @property
    def pending(self) -> list[Pod]:
        return sorted((pod for pod in self.pods if pod.node is None and not pod.leaving), key=lambda pod: pod.name)

    @property
    def active(self) -> list[Pod]:
        return [pod for pod in self.pods if pod.node is not None and not pod.leaving]


@dataclass(slots=True, eq=False)
class Node:
    """A node with what is used of it; ``leaving`` is the part of ``used`` that comes free soon."""

    name: str
    allocatable: Amount
    max_pods: int = 110
    labels: dict[str, str] = field(default_factory=dict)
    used: Amount = Amount()
    leaving: Amount = Amount()
    pods: dict[str, tuple[Group, Pod]] = field(default_factory=dict, repr=False)

    def free(self, future: bool) -> Amount:
        """Room for another pod: now, or when those that leave have left."""
        room = self.allocatable.minus(self.used)
        return room.plus(self.leaving) if future else room

    def has_place(self, future: bool) -> bool:
        here = len(self.pods)
        return (here - sum(pod.leaving for _, pod in self.pods.values()) if future else here) < self.max_pods


@dataclass(slots=True, eq=False)
class Queue:
    """A Queue; a quota or limit of -1 is none, one that is not set is 0."""

    name: str
    parent: str | None = None
    priority: int = 100
    quota: Amount = Amount()
    limit: Amount = Amount()
    weight: float = 1.0
    allocated: Amount = Amount()
    allocated_non_preemptible: Amount = Amount()


@dataclass(repr=False)
class Cluster:
    """All of it, with moves that can be taken back.

    ``allowed`` maps the shape of a pod to the names of the nodes it may use; a shape that is not in it may use all.
    """

    nodes: dict[str, Node]
    groups: dict[tuple[str, str], Group]
    queues: dict[str, Queue]
    topologies: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    allowed: dict[str, frozenset[str]] = field(default_factory=dict)
    favourite: str | None = None  # a node that is taken before all others
    journal: list[tuple[str, Group, Pod, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rooms: dict[bool, dict[float, dict[str, Node]]] = {False: {}, True: {}}
        for group in self.groups.values():
            for pod in group.pods:
                if pod.node in self.nodes:
                    self._count(group, pod)
        for node in sorted(self.nodes.values(), key=lambda node: node.name):
            for future, rooms in self.rooms.items():
                rooms.setdefault(node.free(future).gpu, {})[node.name] = node

    def place(self, group: Group, pod: Pod, node: str) -> None:
        """Put a pending pod on a node."""
        self.journal.append(("place", group, pod, node))
        self._place(group, pod, node)

    def evict(self, group: Group, pod: Pod) -> None:
        """Have a pod leave its node: what it used comes free later."""
        assert pod.node is not None
        self.journal.append(("evict", group, pod, pod.node))
        self._leave(group, pod, True)

    def move(self, group: Group, pod: Pod, node: str) -> None:
        """Put a placed pod on another node; not to be taken back."""
        self._remove(group, pod)
        self._place(group, pod, node)

    def enlarge(self, node: Node, more: Amount) -> None:
        """Take a node for larger than it is."""
        for future, rooms in self.rooms.items():
            del rooms[node.free(future).gpu][node.name]
        node.allocatable = node.allocatable.plus(more)
        for future, rooms in self.rooms.items():
            rooms.setdefault(node.free(future).gpu, {})[node.name] = node

    def rollback(self, mark: int) -> None:
        """Take back every move after the first ``mark``."""
        while len(self.journal) > mark:
            move, group, pod, _ = self.journal.pop()
            if move == "place":
                self._remove(group, pod)
            else:
                self._leave(group, pod, False)

    def nodes_for(self, pod: Pod, within: frozenset[str] | None = None) -> list[Node]:
        """The nodes that a pod may use at all."""
        names = self.allowed.get(pod.shape)
        if names is None:
            names = within
        elif within is not None:
            names = names & within
        return [node for name, node in self.nodes.items() if names is None or name in names]

    def find(self, pod: Pod, within: frozenset[str] | None, future: bool) -> Node | None:
        """The fullest node that has room for the pod (GPUs are packed)."""
        allowed = self.allowed.get(pod.shape)
        rooms = self.rooms[future]
        if self.favourite in self.nodes and (allowed is None or self.favourite in allowed):
            favourite = self.nodes[self.favourite]
            if pod.request.fits(favourite.free(future)) and (within is None or self.favourite in within):
                return favourite
        for gpus in sorted(rooms):
            if gpus < pod.request.gpu:
                continue
            for name, node in rooms[gpus].items():
                if allowed is not None and name not in allowed:
                    continue
                if within is not None and name not in within:
                    continue
                if pod.request.fits(node.free(future)) and node.has_place(future):
                    return node
        return None

    def ancestors(self, queue: str) -> list[Queue]:
        """The queue and those above it, the leaf first; ends where a parent does not exist."""
        chain: list[Queue] = []
        name: str | None = queue
        while name is not None and name in self.queues and len(chain) < 16:
            chain.append(self.queues[name])
            name = chain[-1].parent
        return chain

    def _place(self, group: Group, pod: Pod, node: str) -> None:
        pod.node = node
        self._count(group, pod, moved=True)

    def _remove(self, group: Group, pod: Pod) -> None:
        assert pod.node is not None
        node = self.nodes[pod.node]
        self._moved(node, pod.request, Amount(), back=True)
        del node.pods[pod.uid]
        self._charge(group, pod, -1)
        pod.node = None

    def _leave(self, group: Group, pod: Pod, leaving: bool) -> None:
        assert pod.node is not None
        pod.leaving = leaving
        self._moved(self.nodes[pod.node], Amount(), pod.request, back=not leaving)
        self._charge(group, pod, -1 if leaving else 1)

    def _count(self, group: Group, pod: Pod, moved: bool = False) -> None:
        assert pod.node is not None
        node = self.nodes[pod.node]
        node.pods[pod.uid] = (group, pod)
        leaving = pod.request if pod.leaving else Amount()
        if moved:
            self._moved(node, pod.request, leaving)
        else:
            node.used = node.used.plus(pod.request)
            node.leaving = node.leaving.plus(leaving)
        if not pod.leaving:
            self._charge(group, pod, 1)

    def _moved(self, node: Node, used: Amount, leaving: Amount, back: bool = False) -> None:
        """Add to what a node uses, or take away from it, and keep it in the right rooms."""
        for future, rooms in self.rooms.items():
            del rooms[node.free(future).gpu][node.name]
        node.used = node.used.minus(used) if back else node.used.plus(used)
        node.leaving = node.leaving.minus(leaving) if back else node.leaving.plus(leaving)
        for future, rooms in self.rooms.items():
            rooms.setdefault(node.free(future).gpu, {})[node.name] = node

    def _charge(self, group: Group, pod: Pod, sign: int) -> None:
        amount = pod.request if sign > 0 else Amount().minus(pod.request)
        for queue in self.ancestors(group.queue):
            queue.allocated = queue.allocated.plus(amount)
            if not group.preemptible:
                queue.allocated_non_preemptible = queue.allocated_non_preemptible.plus(amount)


def share(spec: dict[str, Any], what: str) -> Amount:
    """A queue's quota or limit from its spec.resources."""
    return Amount(*(float((spec.get(name) or {}).get(what) or 0.0) for name in RESOURCES))


def within_limit(wanted: float, limit: float) -> bool:
    return limit == UNLIMITED or wanted <= limit + 1e-9
