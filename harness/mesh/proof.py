# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cell has to show before its number counts: one table, one check a row. Pure.

A cell is proven when it is done and every check holds. Each check says in a few words what it saw instead, and nothing
where it holds; what was not observed cannot hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness import units
from harness.mesh.cells import Cell, Mesh, Place, Proof

COUNTERS_LEAST, COUNTERS_MOST = 0.95, 1.15  # of what the cells say; above lie headers, acknowledgements, retransmits
IDLE_MOST = 0.01  # of what the pod's own cells of the round moved
#: Bytes of a round that are nobody's cell: neighbours asked for, what the agent is told and asked, iperf3's own talk.
CHATTER = 16 * 1024
FIGURES_DIFFER = 0.01
SECONDS_LEAST = 0.9  # of the seconds asked for
#: --bind-dev came with 3.10 (RELNOTES.md of esnet/iperf), a thread for each stream with 3.16.
BIND_DEVICE, THREADS = (3, 10), (3, 16)
#: As iperf3 says it (IEACCESS in src/iperf_error.c): one server serves one test at a time.
BUSY = "the server is busy"


@dataclass(frozen=True)
class Check:
    """`expected` completes "every cell that is done …"."""

    name: str
    expected: str
    look: Callable[[Cell, Mesh], str]


def told_no_error(cell: Cell, mesh: Mesh) -> str:
    return f"done, but says: {cell.error}" if cell.error else ""


def iperf3_new_enough(cell: Cell, mesh: Mesh) -> str:
    wanted = THREADS if cell.streams > 1 else BIND_DEVICE
    if _version(cell.iperf3_version) >= wanted:
        return ""
    why = " (a thread for each stream)" if wanted == THREADS else " (bound to a device)"
    return f"iperf3 {cell.iperf3_version or 'of an unknown version'}, {wanted[0]}.{wanted[1]} is needed{why}"


def addresses_as_wanted(cell: Cell, mesh: Mesh) -> str:
    ends = (
        ("local", cell.local_address, cell.expected_local, cell.source),
        ("remote", cell.remote_address, cell.expected_remote, cell.target),
    )
    for end, seen, expected, pod in ends:
        if expected is None:
            return f"nobody knows the address of {pod} on {cell.interface}"
        if seen != expected:
            whose = ", ".join(f"{name} of {owner}" for owner, name in sorted(mesh.owners.get(seen or "", ())))
            belongs = f", which is {whose}" if whose else ""
            return f"{end} address {seen or 'unknown'}{belongs}, not {expected} ({cell.interface} of {pod})"
    return ""


def addresses_unique(cell: Cell, mesh: Mesh) -> str:
    for address in (cell.expected_local, cell.expected_remote):
        owners = mesh.owners.get(address or "", frozenset())
        if len(owners) > 1:
            whose = sorted(f"{name} of {pod}" for pod, name in owners)
            more = f" and {len(whose) - 3} more" if len(whose) > 3 else ""
            return f"{address} is the address of {', '.join(whose[:3])}{more}"
    return ""


def remote_not_local(cell: Cell, mesh: Mesh) -> str:
    if cell.remote_is_local is False:
        return ""
    if cell.remote_is_local is None:
        return "nobody saw whether the remote address is local"
    return f"the remote address {cell.remote_address} is one of the source's own"


def figures_agree(cell: Cell, mesh: Mesh) -> str:
    """iperf3's sums against its own sockets, and against each other."""
    sent, received, seconds, goodput = (
        cell.sent_bytes,
        cell.received_bytes,
        cell.seconds,
        cell.goodput_bytes_per_second,
    )
    if sent is None or received is None or not seconds or goodput is None:
        return "bytes, seconds or goodput are not told"
    if received <= 0:
        return "nothing arrived"
    if received > sent * (1 + FIGURES_DIFFER):
        return f"{_bytes(received)} arrived of {_bytes(sent)} sent"
    if not _near(goodput * seconds, received):
        return f"{_bytes(received)} in {units.show(seconds, 's')} are not {units.show(goodput, 'bytes/s')}"
    own = received if cell.direction == "reverse" else sent
    if cell.socket_bytes is None:
        return "the bytes of its sockets were not seen"
    if not _near(cell.socket_bytes, own):
        return f"{_bytes(cell.socket_bytes)} on its sockets, {_bytes(own)} reported"
    return ""


def ran_its_time(cell: Cell, mesh: Mesh) -> str:
    asked = mesh.number("seconds")
    if asked is None or cell.seconds is None or cell.seconds >= SECONDS_LEAST * asked:
        return ""
    return f"ran {units.show(cell.seconds, 's')} of {units.show(asked, 's')}"


def counters_agree(cell: Cell, mesh: Mesh) -> str:
    """What left the sender's interface and what reached the receiver's, against the cells of both in that round."""
    for pod, way in ((cell.sender, "tx"), (cell.receiver, "rx")):
        place = (cell.slice, cell.round, pod, cell.interface)
        moved, cells = mesh.moved.get(place, (None, None))[way == "rx"], mesh.carried.get(place)
        if moved is None or cells is None:
            return f"no {way} counter of {cell.interface} of {pod}"
        low, high = (cells.tx_low, cells.tx_high) if way == "tx" else (cells.rx_low, cells.rx_high)
        open_ = cells.open_tx if way == "tx" else cells.open_rx
        if moved < COUNTERS_LEAST * low or (not open_ and moved > COUNTERS_MOST * high + CHATTER):
            return f"{way} of {cell.interface} of {pod} moved by {_bytes(moved)}, its cells say {_bytes(high)}"
    return ""


def idle_interfaces_idle(cell: Cell, mesh: Mesh) -> str:
    for pod in (cell.sender, cell.receiver):
        at = (cell.slice, cell.round, pod)
        there = mesh.interfaces_of.get(at, ())
        most = IDLE_MOST * _own(mesh, at, there) + CHATTER
        for interface in there:
            if (*at, interface) in mesh.carried:
                continue
            for way, moved in zip(("tx", "rx"), mesh.moved[*at, interface], strict=True):
                if moved is None:
                    return f"{interface} of {pod} came or went"
                if moved > most:
                    return f"{interface} of {pod} has no cells, and its {way} moved by {_bytes(moved)}"
    return ""


def no_loopback(cell: Cell, mesh: Mesh) -> str:
    if cell.loopback_bytes is None:
        return "the counter of lo was not seen"
    if cell.loopback_bytes == 0:
        return ""
    return f"{_bytes(cell.loopback_bytes)} over lo of {cell.source}"


TABLE: tuple[Check, ...] = (
    Check("cells_tell_no_error", "told no error", told_no_error),
    Check("iperf3_new_enough", "was made by an iperf3 that can do what was asked", iperf3_new_enough),
    Check("addresses_as_wanted", "ran between the addresses of the wanted interface", addresses_as_wanted),
    Check("addresses_unique", "has addresses that only one interface has", addresses_unique),
    Check("remote_not_local", "had a remote address that is not local", remote_not_local),
    Check("cell_figures_agree", "reports as many bytes as its sockets moved", figures_agree),
    Check("cells_ran_their_time", "ran its seconds", ran_its_time),
    Check(
        "interface_counters_agree",
        f"moved the counters of both interfaces by {COUNTERS_LEAST:g} to {COUNTERS_MOST:g} times its bytes",
        counters_agree,
    ),
    Check(
        "idle_interfaces_idle",
        f"left interfaces without cells alone (< {IDLE_MOST:.0%} of the pod's cells)",
        idle_interfaces_idle,
    ),
    Check("nothing_over_loopback", "left lo alone", no_loopback),
)


def of(mesh: Mesh) -> Proof:
    proven, unproven = [], []
    for cell in mesh.cells:
        if cell.done:
            said = {check.name: text for check in TABLE if (text := check.look(cell, mesh))}
            if said:
                unproven.append((cell, said))
            else:
                proven.append(cell)
    return Proof(proven, unproven)


def _own(mesh: Mesh, at: tuple[int, int, str], interfaces: Sequence[str]) -> int:
    """What the pod's own cells of the round moved, the larger of both ways."""
    cells = [found for name in interfaces if (found := mesh.carried.get((*at, name))) is not None]
    return max(sum(one.tx_high for one in cells), sum(one.rx_high for one in cells))


def counters_claim(mesh: Mesh) -> list[tuple[Place, str]]:
    """Counter rows whose own account of the cells is not what the cells say."""
    found = []
    for row in mesh.counters:
        place = (row["slice"], row["round"], row["pod"], row["interface"])
        cells = mesh.carried.get(place)
        sent, received = (cells.sent, cells.received) if cells else (0, 0)
        if (row["cells_tx_bytes"], row["cells_rx_bytes"]) != (sent, received):
            told = f"{row['cells_tx_bytes']} and {row['cells_rx_bytes']} bytes, the cells give {sent} and {received}"
            found.append((place, told))
    return found


def _version(text: str | None) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", text or "")
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _near(value: float, other: float) -> bool:
    return abs(value - other) <= FIGURES_DIFFER * other


def _bytes(value: float) -> str:
    return units.show(float(value), "bytes")
