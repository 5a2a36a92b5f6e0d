# SPDX-License-Identifier: GPL-3.0-or-later
"""One repeat of a mesh on one interface: its cells, the counters of all interfaces, and what was asked for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Self

from harness.repeat import Repeat
from harness.samples import Columns

_TEXT, _NUMBER, _BYTES = ("VARCHAR", (str,)), ("DOUBLE", (int, float)), ("BIGINT", (int,))
_WHOLE = ("INTEGER", (int,))

# Column → (DuckDB's type, Python's types, may be null).
CELLS: Columns = {
    **dict.fromkeys(("slice", "round"), (*_WHOLE, False)),
    **dict.fromkeys(("source", "target"), (*_TEXT, False)),
    **dict.fromkeys(("source_group", "target_group", "source_node", "target_node"), (*_TEXT, True)),
    **dict.fromkeys(("interface", "direction", "protocol"), (*_TEXT, False)),
    "streams": (*_WHOLE, False),
    "state": (*_TEXT, False),
    "error": (*_TEXT, True),
    **dict.fromkeys(("started", "ended", "seconds", "asked_bytes_per_second"), (*_NUMBER, True)),
    **dict.fromkeys(("sent_bytes", "received_bytes"), (*_BYTES, True)),
    "goodput_bytes_per_second": (*_NUMBER, True),
    "retransmits": (*_BYTES, True),
    **dict.fromkeys(
        ("rtt_seconds", "jitter_seconds", "lost_ratio", "sender_cpu_ratio", "receiver_cpu_ratio"), (*_NUMBER, True)
    ),
    **dict.fromkeys(("local_address", "remote_address", "expected_local", "expected_remote"), (*_TEXT, True)),
    "remote_is_local": ("BOOLEAN", (bool,), True),
    "socket_bytes": (*_BYTES, True),
    "iperf3_version": (*_TEXT, True),
    "loopback_bytes": (*_BYTES, True),
}
COUNTERS: Columns = {
    **dict.fromkeys(("slice", "round"), (*_WHOLE, False)),
    **dict.fromkeys(("pod", "interface", "source"), (*_TEXT, False)),
    "node": (*_TEXT, True),
    **dict.fromkeys(("tx_bytes", "rx_bytes"), (*_BYTES, True)),
    **dict.fromkeys(("cells_tx_bytes", "cells_rx_bytes"), (*_BYTES, False)),
}

Round = tuple[int, int]  # slice, round
Place = tuple[int, int, str, str]  # slice, round, pod, interface


@dataclass(frozen=True, slots=True)
class Cell:
    """One direction of one connection; `source` is the client. What was not seen is None."""

    slice: int
    round: int
    source: str
    target: str
    source_group: str | None
    target_group: str | None
    source_node: str | None
    target_node: str | None
    interface: str
    direction: str
    protocol: str
    streams: int
    state: str
    error: str | None
    started: float | None
    ended: float | None
    seconds: float | None
    asked_bytes_per_second: float | None
    sent_bytes: int | None
    received_bytes: int | None
    goodput_bytes_per_second: float | None
    retransmits: int | None
    rtt_seconds: float | None
    jitter_seconds: float | None
    lost_ratio: float | None
    sender_cpu_ratio: float | None
    receiver_cpu_ratio: float | None
    local_address: str | None
    remote_address: str | None
    expected_local: str | None
    expected_remote: str | None
    remote_is_local: bool | None
    socket_bytes: int | None
    iperf3_version: str | None
    loopback_bytes: int | None

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        return cls(**{name: document[name] for name in _CELL_FIELDS})

    @property
    def done(self) -> bool:
        return self.state == "done"

    @property
    def sender(self) -> str:
        return self.target if self.direction == "reverse" else self.source

    @property
    def receiver(self) -> str:
        return self.source if self.direction == "reverse" else self.target

    @property
    def sender_node(self) -> str:
        return (self.target_node if self.direction == "reverse" else self.source_node) or ""

    @property
    def receiver_node(self) -> str:
        return (self.source_node if self.direction == "reverse" else self.target_node) or ""

    @property
    def of_round(self) -> Round:
        return self.slice, self.round

    @property
    def name(self) -> str:
        back = " (reverse)" if self.direction == "reverse" else ""
        return f"{self.source} → {self.target}{back} in round {self.round}"


@dataclass
class Carried:
    """What the cells of one place say they moved, each way; `open`: cells that failed moved bytes that nobody told."""

    sent: int = 0
    received: int = 0
    tx_low: int = 0
    tx_high: int = 0
    rx_low: int = 0
    rx_high: int = 0
    open_tx: bool = False
    open_rx: bool = False


@dataclass(frozen=True)
class Proof:
    """Cells that are proven, and of the others that are done what speaks against them (check → what was seen)."""

    proven: Sequence[Cell] = ()
    unproven: Sequence[tuple[Cell, Mapping[str, str]]] = ()

    def failing(self, check: str) -> list[tuple[Cell, str]]:
        return [(cell, said[check]) for cell, said in self.unproven if check in said]


@dataclass(frozen=True)
class Mesh(Repeat):
    """The cells of one interface; `carried`, `owners` and `rows_of_all` are of all interfaces of the same mesh."""

    cells: Sequence[Cell]
    counters: Sequence[Mapping[str, Any]]
    samples_problem: str = ""
    carried: Mapping[Place, Carried] = field(default_factory=dict)
    owners: Mapping[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    rows_of_all: int = 0
    counters_path: str = ""
    proof: Proof = field(default_factory=Proof)

    @property
    def interface(self) -> str:
        return self.observation.subject or ""

    @property
    def kind(self) -> str:
        return str(self.value("plan", "kind") or "")

    @cached_property
    def states(self) -> Counter[str]:
        return Counter(cell.state for cell in self.cells)

    @cached_property
    def moved(self) -> Mapping[Place, tuple[int | None, int | None]]:
        """Bytes that each interface sent and received in each round, by its own counters."""
        return {place_of(row): (row["tx_bytes"], row["rx_bytes"]) for row in self.counters}

    @cached_property
    def interfaces_of(self) -> Mapping[tuple[int, int, str], Sequence[str]]:
        found: dict[tuple[int, int, str], list[str]] = defaultdict(list)
        for slice_, round_, pod, interface in self.moved:
            found[slice_, round_, pod].append(interface)
        return found

    @cached_property
    def asked_rate(self) -> float | None:
        """Bytes a second asked of one connection, over all of its streams; None for as much as goes."""
        return self.number("offered_bytes_per_second_per_connection") or None

    @cached_property
    def rounds(self) -> Mapping[Round, Sequence[Cell]]:
        found: dict[Round, list[Cell]] = defaultdict(list)
        for cell in self.cells:
            found[cell.of_round].append(cell)
        return dict(sorted(found.items()))


def carried_by(cells: Iterable[Cell]) -> dict[Place, Carried]:
    """What the cells of each pod's interface and round moved, by their own account.

    What arrived must have left: of what was sent, the last bytes may never have come out of the socket.
    """
    found: dict[Place, Carried] = defaultdict(Carried)
    for cell in cells:
        at = [(cell.slice, cell.round, pod, cell.interface) for pod in (cell.sender, cell.receiver)]
        sender, receiver = found[at[0]], found[at[1]]
        if not cell.done:
            sender.open_tx = receiver.open_rx = True
            continue
        sent, received = cell.sent_bytes or 0, cell.received_bytes or 0
        sender.sent += sent
        sender.tx_low += received
        sender.tx_high += max(sent, received)
        receiver.received += received
        receiver.rx_low += received
        receiver.rx_high += max(sent, received)
    return dict(found)


def owners_of(cells: Iterable[Cell]) -> dict[str, frozenset[tuple[str, str]]]:
    """Address → the pods' interfaces that are said to have it."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for cell in cells:
        for pod, address in ((cell.source, cell.expected_local), (cell.target, cell.expected_remote)):
            if address is not None:
                found[address].add((pod, cell.interface))
    return {address: frozenset(places) for address, places in found.items()}


def place_of(row: Mapping[str, Any]) -> Place:
    return row["slice"], row["round"], row["pod"], row["interface"]


_CELL_FIELDS = tuple(f.name for f in fields(Cell))
