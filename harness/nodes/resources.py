# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodes cost: CPU and memory of each process and the API server's storage, and by a line over sizes per 1,000."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness import stats, units
from harness.model import Observation, Record
from harness.nodes.load import Nodes
from harness.reader import Table

KIND, SCENARIO = "node_load", "nodes_at_scale"
HEADINGS = ("subject", "of", "what", "sizes", "per 1,000 nodes", "95 % interval")
#: What is said of a process → how it is called, and its unit.
CPU, MEMORY, STORAGE = "CPU until all are Ready", "most memory", "storage"
UNITS = {CPU: "s", MEMORY: "bytes", STORAGE: "bytes"}


@dataclass(frozen=True)
class Use:
    """Of one process in one repeat; what nobody told is None."""

    cpu_seconds: float | None = None
    first_bytes: float | None = None
    most_bytes: float | None = None
    last_bytes: float | None = None


def uses(load: Nodes) -> dict[str, Use]:
    """By process: of this machine's by the kernel, of others by their own metrics pages (which know no most)."""
    found: dict[str, Use] = {}
    for name in dict.fromkeys((*(load.value("machine", "processes") or ()), *(load.value("memory") or ()))):
        cpu = load.number("machine", "processes", name, "cpu_seconds")
        found[name] = Use(cpu, *(load.number("memory", name, f"{which}_bytes") for which in ("first", "max", "last")))
    for name in load.value("programs") or ():
        first, last, cpu = (load.number("programs", name, key) for key in ("first_bytes", "last_bytes", "cpu_seconds"))
        most = None if first is None or last is None else max(first, last)
        found[f"Felix of {name}"] = Use(cpu, first, most, last)
    return found


def table(loads: Sequence[Nodes]) -> Table:
    rows = []
    for load in loads:
        for name, use in uses(load).items():
            rows.append(
                (
                    str(load.repeat),
                    name,
                    units.show(use.cpu_seconds, "s"),
                    *(units.show(size, "bytes") for size in (use.first_bytes, use.most_bytes, use.last_bytes)),
                )
            )
        first, last = (load.number("storage", f"{which}_bytes") for which in ("first", "last"))
        rows.append((str(load.repeat), "etcd's storage", units.MISSING, units.show(first, "bytes"), units.MISSING,
                     units.show(last, "bytes")))  # fmt: skip
    return Table(
        "What it cost",
        "CPU from the first create until all nodes are Ready; memory of processes once a second until all are gone. "
        "Felix and the storage are looked at before the first create and when all are Ready; the storage is the "
        "database's whole size, with what is freed and not given back.",
        ("repeat", "process", "CPU", "before", "most", "after"),
        rows,
    )


def fitted(observations: Iterable[Observation], records: Iterable[Record]) -> list[tuple[str, ...]]:
    """A row for each process and cost of which repeats of three sizes tell; of repeats whose records hold alone."""
    valid = {(record.run_id, record.subject) for record in records if _counts(record)}
    points: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for item in observations:
        if item.kind == KIND and (item.run_id, item.subject) in valid:
            for (process, what), cost in costs(Nodes(item)).items():
                points.setdefault((str(item.subject), process, what), []).append(cost)
    rows: list[tuple[str, ...]] = []
    for (subject, process, what), found in points.items():
        line = stats.slope([size for size, _ in found], [cost for _, cost in found])
        if line is not None:
            shown = [units.show(1000 * value, UNITS[what]) for value in (line[0], line[1].low, line[1].high)]
            sizes = ", ".join(f"{size:,.0f}" for size in sorted({size for size, _ in found}))
            rows.append((subject, process, what, sizes, shown[0], f"{shown[1]} to {shown[2]}"))
    return rows


def costs(load: Nodes) -> dict[tuple[str, str], tuple[float, float]]:
    """(process, what) → (nodes, cost): CPU over the nodes that were added, memory and storage over all there are."""
    added, there = load.number("asked"), load.number("columns", "existing", "all")
    told: dict[tuple[str, str], tuple[float | None, float | None]] = {
        ("etcd's storage", STORAGE): (there, load.number("storage", "last_bytes"))
    }
    for name, use in uses(load).items():
        told |= {(name, CPU): (added, use.cpu_seconds), (name, MEMORY): (there, use.most_bytes)}
    return {name: (size, cost) for name, (size, cost) in told.items() if size is not None and cost is not None}


def _counts(record: Record) -> bool:
    return record.scenario == SCENARIO and record.metric == "nodes_ready" and record.value is not None
