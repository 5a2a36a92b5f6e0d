# SPDX-License-Identifier: GPL-3.0-or-later
"""What 1,000 nodes, policies and endpoints cost: a line over runs that differ in their number and in nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness import stats, units
from harness.model import Observation, Record
from harness.repeat import Repeat
from harness.resources import IN_USE, STORAGE, storage, uses

HEADINGS = ("subject", "1,000 of", "cost", "in", "sizes", "each 1,000", "95 % interval")
COST = HEADINGS.index("each 1,000")
CPU, MEMORY, SIZE = "CPU", "most memory", "storage"
UNITS = {CPU: "s", MEMORY: "bytes", SIZE: "bytes"}


@dataclass(frozen=True)
class Thing:
    """What is counted, in which kind of load; the repeats of a line are equal in the plan but for ``varied``.

    size: how many there were, for a cost of this name. metric: of which the record has to hold.
    """

    name: str
    kind: str
    metric: str
    varied: Sequence[str]
    size: Callable[[Repeat, str], float | None]


def _on_all_nodes(key: str) -> Callable[[Repeat, str], float | None]:
    """What Felix said was active on its node, at most, over all nodes; one that is not told makes no sum."""

    def found(load: Repeat, cost: str) -> float | None:
        most = [load.number(key, name, "most") for name in load.value(key) or ()]
        return sum(value for value in most if value is not None) if most and None not in most else None

    return found


def _nodes(load: Repeat, cost: str) -> float | None:
    """CPU goes with the nodes that were added, memory and storage with all that there are."""
    return load.number("asked") if cost == CPU else load.number("columns", "existing", "all")


THINGS = (
    Thing("nodes", "node_load", "nodes_ready", ("nodes", "clients"), _nodes),
    Thing("policies active on a node", "churn", "pod_created_to_running_seconds", ("policies_per_gang",),
          _on_all_nodes("active_policies")),
    Thing("policies in the background", "churn", "pod_created_to_running_seconds", ("background_policies",),
          lambda load, cost: load.number("background_policies")),
    Thing("endpoints on a node", "churn", "pod_created_to_running_seconds", ("pods_per_gang", "pods"),
          _on_all_nodes("active_endpoints")),
)  # fmt: skip


def fitted(observations: Iterable[Observation], records: Iterable[Record]) -> list[tuple[str, ...]]:
    """A row for each thing, process and cost of which repeats of three sizes tell; of those whose records hold."""
    valid = {(record.run_id, record.scenario, record.subject, record.metric) for record in records
             if record.value is not None}  # fmt: skip
    repeats = [Repeat(item) for item in observations if item.repeat is not None]
    rows: list[tuple[str, ...]] = []
    for thing in THINGS:
        lines: dict[tuple[str, str, str, str], list[tuple[float, float]]] = {}
        for load in repeats:
            item = load.observation
            if item.kind == thing.kind and (item.run_id, item.scenario, item.subject, thing.metric) in valid:
                for (what, cost), used in costs(load).items():
                    size = thing.size(load, cost)
                    if size is not None:
                        key = (_subject(load), _equal(load, thing.varied), what, cost)
                        lines.setdefault(key, []).append((size, used))
        for (subject, _, what, cost), points in lines.items():
            rows += _row(subject, thing.name, what, cost, points)
    return rows


def document(observations: Iterable[Observation], records: Iterable[Record]) -> list[dict[str, str]]:
    return [dict(zip(HEADINGS, row, strict=True)) for row in fitted(observations, records)]


def costs(load: Repeat) -> dict[tuple[str, str], float]:
    """(process, cost) → how much of it."""
    whole, in_use = storage(load)
    told: dict[tuple[str, str], float | None] = {(STORAGE, SIZE): whole.last_bytes}
    told[f"{STORAGE}, {IN_USE}", SIZE] = in_use.last_bytes
    for name, use in uses(load).items():
        told |= {(name, CPU): use.cpu_seconds, (name, MEMORY): use.most_bytes}
    return {name: value for name, value in told.items() if value is not None}


def _row(
    subject: str, thing: str, what: str, cost: str, points: Sequence[tuple[float, float]]
) -> list[tuple[str, ...]]:
    line = stats.slope([size for size, _ in points], [used for _, used in points])
    if line is None:
        return []
    shown = [units.show(1000 * value, UNITS[cost]) for value in (line[0], line[1].low, line[1].high)]
    sizes = ", ".join(f"{size:,.0f}" for size in sorted({size for size, _ in points}))
    return [(subject, thing, cost, what, sizes, shown[0], f"{shown[1]} to {shown[2]}")]


def _subject(load: Repeat) -> str:
    release = load.value("dataplane", "release")
    return " ".join(filter(None, (str(load.observation.subject), str(release or ""))))


def _equal(load: Repeat, varied: Sequence[str]) -> str:
    plan: Mapping[str, object] = load.value("plan") or {}
    return json.dumps({key: plan[key] for key in sorted(plan) if key not in varied}, default=str)
