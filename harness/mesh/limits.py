# SPDX-License-Identifier: GPL-3.0-or-later
"""What the numbers of a mesh are the limit of, and whether what was offered was possible at all. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness import units
from harness.bound_by import FITS, SATURATED, Finding
from harness.mesh import metrics
from harness.mesh.cells import Mesh
from harness.mesh.proof import THREADS
from harness.model import BoundBy
from harness.reader import Words

OFFERED, THREAD, BUSY, ROUND = "offered_bytes_per_second", "iperf3_cores", "mesh_cpu_busy_ratio", "round_seconds"
RATES = frozenset(
    {
        metrics.GOODPUT,
        "mesh_offered_ratio",
        "mesh_concurrent_goodput_bytes_per_second",
    }
)


@dataclass(frozen=True)
class Offered:
    """What was asked for against what came about; rates in bytes a second, of the repeat in the middle."""

    rate: float | None  # of one connection
    cells: int
    at_a_time: int
    achieved: float | None  # of one connection
    together: float | None  # of all that run at a time
    ratio: float | None
    possible: bool | None  # None where nobody can tell
    why: str

    @property
    def offered_at_a_time(self) -> float | None:
        return None if self.rate is None else metrics.capacity(self.at_a_time, self.rate)

    @property
    def offered_by_all(self) -> float | None:
        """Were every connection to run at once; they do so in the plan all_at_once only."""
        return None if self.rate is None else metrics.capacity(self.cells, self.rate)


def bound_by(metric: str, meshes: Sequence[Mesh]) -> Finding:
    """Over all repeats: what most of them are bound by."""
    if metric == "mesh_wall_seconds":
        return Finding(_by_plan(meshes), "")
    if metric not in RATES:
        return Finding(None, "")
    found = [_of_one(mesh) for mesh in meshes]
    (kind, component), times = Counter((one.kind, one.component) for one in found).most_common(1)[0]
    chosen = [one for one in found if (one.kind, one.component) == (kind, component)]
    reason = "" if times == len(found) else f"{times} of {len(found)} repeats were bound by {kind} ({component})."
    return Finding(sorted(chosen, key=lambda one: one.observed or 0.0)[len(chosen) // 2], reason)


def offered(meshes: Sequence[Mesh], isolated: Sequence[Mesh]) -> Offered:
    rates = [mesh.asked_rate for mesh in meshes if mesh.asked_rate]
    rate = rates[0] if rates else None
    ratios = [one for mesh in meshes if (one := metrics.offered_ratio(mesh)) is not None]
    ratio = statistics.median(ratios) if ratios else None
    possible, why = _possible(rate, ratio, meshes, isolated)
    every = [goodput for mesh in meshes for goodput in metrics.goodputs(mesh)]
    rounds = [one for mesh in meshes for one in metrics.together(mesh).values()]
    return Offered(
        rate=rate,
        cells=max((len(mesh.cells) for mesh in meshes), default=0),
        at_a_time=max((metrics.most_at_a_time(mesh) for mesh in meshes), default=0),
        achieved=statistics.median(every) if every else None,
        together=statistics.median(rounds) if rounds else None,
        ratio=ratio,
        possible=possible,
        why=why,
    )


def _possible(
    rate: float | None, ratio: float | None, meshes: Sequence[Mesh], isolated: Sequence[Mesh]
) -> tuple[bool | None, str]:
    """The first of these that decides: it came about, one alone does not reach it, the NIC, the machine, iperf3."""
    if rate is None or ratio is None:
        return None, "No rate was asked for: each connection took what it got."
    if ratio >= 1 - FITS:
        return True, f"It came about: {units.show(ratio, 'ratio')} of what was offered arrived."
    every = [goodput for mesh in meshes for goodput in metrics.goodputs(mesh)]
    if statistics.median(every) >= (1 - FITS) * rate:
        return True, f"Most cells came to it, all of them together to {units.show(ratio, 'ratio')} of it."
    alone = list(metrics.by_path(isolated).values())
    if alone and statistics.median(alone) < (1 - FITS) * rate:
        return False, f"One connection alone reaches {units.show(statistics.median(alone), 'bytes/s')}."
    nic, most = meshes[0].number("nic_bytes_per_second"), max(_most_of_a_pod(mesh) for mesh in meshes)
    if nic and most * rate > nic:
        offered_there = units.show(most * rate, "bytes/s")
        return False, f"{offered_there} were offered to one interface of {units.show(nic, 'bytes/s')}."
    busy = statistics.median([mesh.number("machine", "cpu_busy_ratio") or 0.0 for mesh in meshes])
    if busy >= SATURATED:
        return False, f"The machine's processors were {units.show(busy, 'ratio')} busy with it."
    cores = [thread for mesh in meshes if (thread := _saturated(mesh)) is not None]
    if len(cores) == len(meshes):
        return False, f"iperf3 kept its {units.digits(cores[0][1])} cores busy in most cells."
    return None, "Nothing outside the interface was found that would not let it through."


def _of_one(mesh: Mesh) -> BoundBy:
    """What was asked for is a limit of the load; then the machine, iperf3 itself, and last the interface."""
    achieved = metrics.value(metrics.GOODPUT, mesh, ())
    if mesh.asked_rate and achieved is not None and achieved >= (1 - FITS) * mesh.asked_rate:
        return BoundBy("load_generator", "iperf3", {OFFERED: mesh.asked_rate}, mesh.asked_rate, achieved)
    busy = mesh.number("machine", "cpu_busy_ratio")
    if busy is not None and busy >= SATURATED:
        return BoundBy("machine", "processors", {BUSY: SATURATED}, None, busy)
    threads = _saturated(mesh)
    if threads is not None:
        return BoundBy("load_generator", "iperf3", {THREAD: threads[1]}, threads[1], threads[0])
    return BoundBy("subject", mesh.interface, None, None, None)


def _saturated(mesh: Mesh) -> tuple[float, float] | None:
    """(cores used by the busier end of the cell in the middle, cores it can use), when those are nearly all."""
    used = [
        max(cell.sender_cpu_ratio, cell.receiver_cpu_ratio)
        for cell in mesh.proof.proven
        if cell.sender_cpu_ratio is not None and cell.receiver_cpu_ratio is not None
    ]
    if not used:
        return None
    # All streams of a cell share one thread in versions that are proven for one stream only.
    cell = mesh.proof.proven[0]
    version = tuple(int(part) for part in (cell.iperf3_version or "0").split(".") if part.isdigit())
    cores = float(cell.streams if version >= THREADS else 1)
    middle = statistics.median(used)
    return (middle, cores) if middle >= SATURATED * cores else None


def _by_plan(meshes: Sequence[Mesh]) -> BoundBy | None:
    rounds, period = meshes[0].number("plan", "rounds"), meshes[0].number("plan", "period_seconds")
    wall = [seconds for mesh in meshes if (seconds := mesh.number("wall_seconds")) is not None]
    if rounds is None or period is None or not wall:
        return None
    predicted, observed = rounds * period, statistics.fmean(wall)
    # The last round ends with its cells, not with its period.
    if not predicted - period <= observed <= (1 + FITS) * predicted:
        return None
    return BoundBy("load_generator", "plan", {ROUND: period, "rounds": rounds}, predicted, observed)


def _most_of_a_pod(mesh: Mesh) -> int:
    """Cells that one pod's interface sends or receives at a time."""
    ends = Counter(
        key for cell in mesh.cells for key in ((cell.of_round, "tx", cell.sender), (cell.of_round, "rx", cell.receiver))
    )
    return max(ends.values(), default=0)


def _rate(bound: BoundBy) -> tuple[str, str]:
    return units.show(bound.predicted, "bytes/s"), units.show(bound.observed, "bytes/s")


def _limit(bound: BoundBy, name: str) -> float:
    return (bound.limit or {}).get(name, 0.0)


WORDS: Mapping[tuple[str, str], Words] = {
    ("load_generator", OFFERED): Words(
        lambda bound: f"load generator: {_rate(bound)[0]} offered",
        lambda bound: f"The load: {_rate(bound)[0]} were asked of each connection, {_rate(bound)[1]} came about.",
    ),
    ("load_generator", THREAD): Words(
        lambda bound: "load generator: iperf3's threads",
        lambda bound: (
            f"The load: iperf3 can use {units.digits(_limit(bound, THREAD))} cores for a connection, "
            f"it used {units.digits(bound.observed or 0.0)}."
        ),
    ),
    ("machine", BUSY): Words(
        lambda bound: "machine: processors",
        lambda bound: f"The machine: its processors were {units.show(bound.observed, 'ratio')} busy during the mesh.",
    ),
    ("load_generator", ROUND): Words(
        lambda bound: "load generator: the plan",
        lambda bound: (
            f"The load: {units.digits(_limit(bound, 'rounds'))} rounds of {units.show(_limit(bound, ROUND), 's')} "
            f"take {units.show(bound.predicted, 's')}, {units.show(bound.observed, 's')} were seen."
        ),
    ),
}
