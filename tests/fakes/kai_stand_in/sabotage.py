# SPDX-License-Identifier: GPL-3.0-or-later
"""The planted faults of the scheduler's decisions: what it is made to overlook, and what it is made to spoil."""

from __future__ import annotations

from tests.fakes.kai_stand_in.allocate import Session
from tests.fakes.kai_stand_in.model import Amount, Cluster, Group, Node
from tests.fakes.kai_stand_in.placement import domain_of, levels_of

Key = tuple[str, str]


class Sabotage:
    """Remembers over the cycles what it spoiled, so that it stays spoiled and nothing else is."""

    def __init__(self, faults: frozenset[str]) -> None:
        self.faults = faults
        self.dropped: str | None = None  # uid of a pod
        self.broken: tuple[Key, str] | None = None  # a gang, and the uid of the pod it never gets
        self.overfilled: str | None = None

    def cluster(self, cluster: Cluster) -> None:
        """Spoil what the cycle sees."""
        waiting = sorted(
            (group for group in cluster.groups.values() if group.pending), key=lambda group: (group.created, group.key)
        )
        if "drop_pod" in self.faults:
            self._drop_pod(cluster, [group for group in waiting if group.min_member == 1])
        if "break_gang" in self.faults:
            self._break_gang(cluster, [group for group in waiting if group.min_member > 1])
        if "overfill_node" in self.faults and (waiting or self.overfilled):
            self._overfill_node(cluster, waiting)

    def decisions(self, session: Session) -> None:
        """Spoil what the cycle decided."""
        if "split_domain" not in self.faults:
            return
        for group in {group.key: group for group, _ in session.binds}.values():
            self._split_domain(session, group)

    def _drop_pod(self, cluster: Cluster, waiting: list[Group]) -> None:
        if self.dropped is None and waiting:
            self.dropped = waiting[0].pending[0].uid
        for group in cluster.groups.values():
            group.pods = [pod for pod in group.pods if pod.uid != self.dropped]

    def _break_gang(self, cluster: Cluster, waiting: list[Group]) -> None:
        whole = [group for group in waiting if len(group.pods) >= group.min_member and not group.active]
        if self.broken is None and whole:
            self.broken = (whole[0].key, whole[0].pending[-1].uid)
        if self.broken is not None and self.broken[0] in cluster.groups:
            group = cluster.groups[self.broken[0]]
            group.min_member -= 1
            group.pods = [pod for pod in group.pods if pod.uid != self.broken[1]]

    def _overfill_node(self, cluster: Cluster, waiting: list[Group]) -> None:
        if self.overfilled is None:
            usable = [node.name for node in cluster.nodes_for(waiting[0].pending[0]) if node.allocatable.gpu]
            self.overfilled = min(usable, default=None)
        node = cluster.nodes.get(self.overfilled or "")
        if node is not None:
            cluster.enlarge(node, Amount(gpu=1))
            cluster.favourite = node.name

    def _split_domain(self, session: Session, group: Group) -> None:
        cluster = session.cluster
        labels, required, preferred = levels_of(cluster, group)
        placed = [pod for one, pod in session.binds if one is group]
        active = [cluster.nodes[pod.node or ""] for pod in group.active]
        if not labels or len(active) < 2:
            return
        narrowest = max(level for level in (required, preferred) if level is not None)
        for level in range(narrowest, -1, -1):
            within = {domain_of(node, labels[: level + 1]) for node in active}
            if len(within) == 1:
                outside = [node for node in cluster.nodes_for(placed[-1])
                           if domain_of(node, labels[: level + 1]) not in within]  # fmt: skip
                self._send_away(session, group, outside)
                return

    def _send_away(self, session: Session, group: Group, outside: list[Node]) -> None:
        pod = [pod for one, pod in session.binds if one is group][-1]
        for node in outside:
            if pod.request.fits(node.free(False)):
                session.cluster.move(group, pod, node.name)
                return
