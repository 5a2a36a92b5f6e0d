# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pair of pods talks in which round: every ordered pair on every interface once, without two on one server.

A cell is one ordered pair on one interface. Rounds run one after the other, the cells of a round at the same time.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from .errors import ConfigurationError
from .mesh_profile import Profile

#: Port of the only server of an interface; iperf3's own.
PORT = 5201
#: First of the ports where every peer has a server of its own: below the ephemeral ones of Linux (32768).
PEER_PORT = 10_000
MOST_PODS = 20_000

#: What may be busy with only so many cells at a time: the pod's interface by nature, the others when a limit says so.
Key = tuple[str, ...]


@dataclass(frozen=True)
class Pod:
    """One end of cells."""

    name: str
    group: str
    node: str


@dataclass(frozen=True)
class Cell:
    """Indexes of two pods, and the interface on which they talk."""

    source: int
    target: int
    interface: str


@dataclass(frozen=True)
class Plan:
    """The rounds of a mesh, and what they take."""

    pods: Sequence[Pod]
    profile: Profile
    rounds: Sequence[Sequence[Cell]]
    #: No plan within these limits has fewer rounds.
    rounds_at_least: int = field(default=1)

    @property
    def cells(self) -> int:
        return sum(len(cells) for cells in self.rounds)

    @property
    def lead_seconds(self) -> float:
        """From the last word to the agents until the first round: the servers listen by then."""
        return 1.0 + 0.02 * len(self.pods)

    @property
    def predicted_seconds(self) -> float:
        return self.lead_seconds + len(self.rounds) * self.profile.period_seconds

    def port(self, cell: Cell) -> int:
        return PEER_PORT + cell.source if self.profile.server_ports == "one_per_peer" else PORT

    def servers(self, pod: int) -> list[tuple[str, int]]:
        """(interface, port) of every server that the pod needs."""
        found = {(cell.interface, self.port(cell)) for cells in self.rounds for cell in cells if cell.target == pod}
        return sorted(found)

    def asked_rows(self, interface: str) -> int:
        """Rows that one slice has to give: a cell in both directions gives two."""
        cells = sum(cell.interface == interface for cells in self.rounds for cell in cells)
        return cells * len(self.profile.directions)


def make(pods: Sequence[Pod], profile: Profile) -> Plan:
    """The plan that the profile asks for; raises ConfigurationError where there is nothing to do."""
    if not 2 <= len(pods) <= MOST_PODS:
        raise ConfigurationError(f"A mesh of {len(pods)} pods cannot be planned: 2 to {MOST_PODS:,} can.")
    cells = list(all_cells(pods, profile))
    if not cells:
        wanted = ", ".join(f"{one.name}: {one.pairs}" for one in profile.interfaces)
        nodes = len({pod.node for pod in pods})
        raise ConfigurationError(f"No pair of the {len(pods)} pods on {nodes} nodes is wanted ({wanted}).")
    rounds = PLANS[profile.plan](cells, pods, profile)
    return Plan(pods, profile, rounds, at_least(cells, pods, profile))


def all_cells(pods: Sequence[Pod], profile: Profile) -> Iterable[Cell]:
    """Every wanted cell, in the order of rings: pod i to pod i + distance, interface by interface."""
    for distance in range(1, len(pods)):
        for source in range(len(pods)):
            target = (source + distance) % len(pods)
            same = pods[source].node == pods[target].node
            for interface in profile.interfaces:
                if interface.pairs == "all" or (interface.pairs == "within_node") is same:
                    yield Cell(source, target, interface.name)


def isolated(cells: Sequence[Cell], pods: Sequence[Pod], profile: Profile) -> list[list[Cell]]:
    """One cell at a time: what each pair can do when nobody else talks."""
    return [[cell] for cell in cells]


def rings(cells: Sequence[Cell], pods: Sequence[Pod], profile: Profile) -> list[list[Cell]]:
    """In round r every pod sends to the r-th after it, so each sends to one and receives from one."""
    found: dict[int, list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell.target - cell.source) % len(pods), []).append(cell)
    return [found[distance] for distance in sorted(found)]


def all_at_once(cells: Sequence[Cell], pods: Sequence[Pod], profile: Profile) -> list[list[Cell]]:
    return [list(cells)]


def coloured(cells: Sequence[Cell], pods: Sequence[Pod], profile: Profile) -> list[list[Cell]]:
    """An edge colouring within limits, round by round: what has most left comes first, as much of it as fits.

    Cells between the same nodes on the same interface meet the same limits, so they stand in one queue.
    """
    queues: dict[Key, deque[Cell]] = {}
    for cell in cells:
        queues.setdefault((pods[cell.source].node, pods[cell.target].node, cell.interface), deque()).append(cell)
    keys = [(queue, _shared(queue[0], pods, profile)) for queue in queues.values()]
    rounds = []
    while any(queues.values()):
        used: Counter[Key] = Counter()
        taken: list[Cell] = []
        for queue, shared in sorted(keys, key=lambda one: -len(one[0])):
            _take(queue, shared, profile.limits, used, taken)
        rounds.append(taken)
    return rounds


def at_least(cells: Sequence[Cell], pods: Sequence[Pod], profile: Profile) -> int:
    """The busiest of all limits decides how few rounds could do."""
    if profile.plan == "all_at_once":
        return 1
    if profile.plan == "isolated":
        return len(cells)
    load: Counter[Key] = Counter()
    for cell in cells:
        load.update(_ends(cell))
        load.update(_shared(cell, pods, profile))
    return max(math.ceil(count / profile.limits.get(key[0], 1)) for key, count in load.items())


def _take(queue: deque[Cell], shared: list[Key], limits: dict[str, int], used: Counter[Key], taken: list[Cell]) -> None:
    """Move the cells of a queue that fit into the round; those whose pods are busy keep their order."""
    waiting = []
    while queue and all(used[key] < limits[key[0]] for key in shared):
        cell = queue.popleft()
        ends = _ends(cell)
        if any(used[key] for key in ends):
            waiting.append(cell)
            continue
        used.update(ends)
        used.update(shared)
        taken.append(cell)
    queue.extendleft(reversed(waiting))


def _ends(cell: Cell) -> list[Key]:
    """A pod's interface sends one cell and serves one cell at a time."""
    return [("source", str(cell.source), cell.interface), ("target", str(cell.target), cell.interface)]


def _shared(cell: Cell, pods: Sequence[Pod], profile: Profile) -> list[Key]:
    """What the cell shares with others and a limit is given for."""
    nodes = sorted({pods[cell.source].node, pods[cell.target].node})
    known: dict[str, list[Key]] = {
        "node": [("node", node) for node in nodes],
        "nic": [("nic", node, cell.interface) for node in nodes],
        # A link joins two nodes; what stays within one does not use any.
        "link": [("link", *nodes, cell.interface)] if len(nodes) == 2 else [],
    }
    return [key for name in profile.limits for key in known[name]]


PLANS: dict[str, Callable[[Sequence[Cell], Sequence[Pod], Profile], list[list[Cell]]]] = {
    "isolated": isolated,
    "rings": rings,
    "all_at_once": all_at_once,
    "coloured": coloured,
}
