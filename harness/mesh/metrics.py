# SPDX-License-Identifier: GPL-3.0-or-later
"""What each metric of a mesh is in one repeat. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.mesh.cells import Cell, Mesh, Round

CELL_CLOCK = "iperf3's own: bytes at the receiver over the receiver's seconds"
POD_CLOCK = "the pods' clocks, as the control machine sees them"
CPU_CLOCK = "the kernel's account of the control process"
STAMP = 1e-6  # seconds; iperf3 and the agents write microseconds
TICK = 0.01  # seconds; os.times() counts in ticks of USER_HZ

#: The mesh itself is made of these metrics of one repeat; None where it cannot be told.
Value = Callable[[Mesh], float | None]
Path = tuple[str, str, str]  # sender, receiver, direction

GOODPUT = "goodput_bytes_per_second"
ISOLATED_RATIO = "mesh_concurrent_to_isolated_ratio"


def goodputs(mesh: Mesh) -> list[float]:
    """Of every proven cell."""
    return [cell.goodput_bytes_per_second for cell in mesh.proof.proven if cell.goodput_bytes_per_second is not None]


def offered_ratio(mesh: Mesh) -> float | None:
    """What all proven cells achieved of what they were asked for."""
    cells = [(cell.goodput_bytes_per_second, cell.asked_bytes_per_second) for cell in mesh.proof.proven]
    asked = sum(rate or 0.0 for _, rate in cells)
    return sum(goodput or 0.0 for goodput, _ in cells) / asked if asked > 0 else None


def together(mesh: Mesh) -> dict[Round, float]:
    """Of each round: what arrived in it, over the time from its first start to its last end.

    Rounds run one after the other: their rates are never added up.
    """
    found = {}
    for round_, cells in _by_round(mesh.proof.proven).items():
        begins = [cell.started for cell in cells if cell.started is not None]
        ends = [cell.ended for cell in cells if cell.ended is not None]
        if begins and ends and max(ends) > min(begins):
            found[round_] = sum(cell.received_bytes or 0 for cell in cells) / (max(ends) - min(begins))
    return found


def capacity(cells: int, rate: float) -> float:
    """Bytes a second that so many connections carry at this rate, if all of them run at once."""
    return cells * rate


def most_at_a_time(mesh: Mesh) -> int:
    """Cells of the fullest round."""
    return max((len(cells) for cells in mesh.rounds.values()), default=0)


def by_path(meshes: Iterable[Mesh]) -> dict[Path, float]:
    """The goodput of each pair and direction: the median over repeats and slices."""
    found: dict[Path, list[float]] = {}
    for mesh in meshes:
        for cell in mesh.proof.proven:
            if cell.goodput_bytes_per_second is not None:
                key = (cell.sender, cell.receiver, cell.direction)
                found.setdefault(key, []).append(cell.goodput_bytes_per_second)
    return {key: statistics.median(values) for key, values in found.items()}


def to_isolated(mesh: Mesh, isolated: Sequence[Mesh]) -> list[float]:
    """Of each pair that is proven in both: what it achieves beside others, as a share of what it achieves alone."""
    alone = by_path(isolated)
    return [goodput / alone[path] for path, goodput in by_path([mesh]).items() if path in alone and alone[path] > 0]


VALUES: Mapping[str, Value] = {
    GOODPUT: lambda mesh: _median(goodputs(mesh)),
    "mesh_cells_proven": lambda mesh: float(len(mesh.proof.proven)),
    "mesh_wall_seconds": lambda mesh: mesh.number("wall_seconds"),
    "mesh_offered_ratio": offered_ratio,
    "mesh_concurrent_goodput_bytes_per_second": lambda mesh: _median(list(together(mesh).values())),
    "mesh_control_cpu_seconds": lambda mesh: mesh.number("control", "cpu_seconds"),
    "mesh_control_max_rss_bytes": lambda mesh: mesh.number("control", "max_rss_bytes"),
}


def value(metric: str, mesh: Mesh, isolated: Sequence[Mesh]) -> float | None:
    if metric == ISOLATED_RATIO:
        return _median(to_isolated(mesh, isolated))
    found = VALUES.get(metric)
    return found(mesh) if found is not None else None


def pooled(metric: str, meshes: Sequence[Mesh], isolated: Sequence[Mesh]) -> list[float] | None:
    """The samples of a distribution; None for what is one value a repeat."""
    if metric == GOODPUT:
        return [goodput for mesh in meshes for goodput in goodputs(mesh)]
    if metric == ISOLATED_RATIO:
        return [ratio for mesh in meshes for ratio in to_isolated(mesh, isolated)]
    return None


def clock(metric: str) -> str | None:
    known = {"mesh_wall_seconds": POD_CLOCK, "mesh_concurrent_goodput_bytes_per_second": POD_CLOCK}
    known |= {GOODPUT: CELL_CLOCK, "mesh_offered_ratio": CELL_CLOCK, ISOLATED_RATIO: CELL_CLOCK}
    return known.get(metric, CPU_CLOCK if metric == "mesh_control_cpu_seconds" else None)


def resolution(metric: str, meshes: Sequence[Mesh], value: float) -> float | None:
    """What the value changes by when its clock is off by what the clock cannot see."""
    if metric == "mesh_control_cpu_seconds":
        return TICK
    known = [mesh.number("clocks", "worst_uncertainty_seconds") for mesh in meshes]
    uncertainty = max((one for one in known if one is not None), default=None)
    if metric == "mesh_wall_seconds":
        return uncertainty
    cells = [cell for mesh in meshes for cell in mesh.proof.proven if cell.seconds]
    shortest = min((cell.seconds or 0.0 for cell in cells), default=0.0)
    if clock(metric) == CELL_CLOCK and shortest:
        return value * STAMP / shortest
    if metric == "mesh_concurrent_goodput_bytes_per_second" and uncertainty is not None and shortest:
        return value * uncertainty / shortest
    return None


def _by_round(cells: Iterable[Cell]) -> dict[Round, list[Cell]]:
    found: dict[Round, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.of_round, []).append(cell)
    return dict(sorted(found.items()))


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
