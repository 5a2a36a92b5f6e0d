# SPDX-License-Identifier: GPL-3.0-or-later
"""What 1,000 nodes, policies and endpoints cost: a line over runs that differ in their number and in nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness import stats, units
from harness.model import Observation, Record
from harness.repeat import Repeat
from harness.resources import IN_USE, STORAGE, storage, uses

HEADINGS = ("subject", "1,000 of", "cost", "in", "sizes", "each 1,000", "95 % interval")
COST = HEADINGS.index("each 1,000")
CPU, MEMORY, SIZE = "CPU", "memory", "storage"
UNITS = {CPU: "s", MEMORY: "bytes", SIZE: "bytes"}


@dataclass(frozen=True)
class Thing:
    """What is counted, in which kind of load; the repeats of a line are equal in the plan but for ``varied``.

    size: how many there were. metric: of which the record has to hold. made_before: they are there before the load
    begins, so memory and storage count as they are; of others it counts by how much the load made them grow, for what
    ran before leaves both larger.
    """

    name: str
    kind: str
    metric: str
    varied: Sequence[str]  # the first of them is the number that was asked for
    size: Callable[[Repeat], float | None]
    made_before: bool = False


def _on_all_nodes(key: str) -> Callable[[Repeat], float | None]:
    """What Felix said was active on its node, at most, over all nodes; one that is not told makes no sum."""

    def found(load: Repeat) -> float | None:
        most = [load.number(key, name, "most") for name in load.value(key) or ()]
        return sum(value for value in most if value is not None) if most and None not in most else None

    return found


THINGS = (
    Thing("nodes", "node_load", "nodes_ready", ("nodes", "clients"), lambda load: load.number("asked")),
    Thing("policies active on a node", "churn", "pod_created_to_running_seconds", ("policies_per_gang",),
          _on_all_nodes("active_policies")),
    Thing("policies in the background", "churn", "pod_created_to_running_seconds", ("background_policies",),
          lambda load: load.number("background_policies"), made_before=True),
    Thing("endpoints on a node", "churn", "pod_created_to_running_seconds", ("pods_per_gang", "pods"),
          _on_all_nodes("active_endpoints")),
)  # fmt: skip


def fitted(observations: Iterable[Observation], records: Iterable[Record]) -> list[tuple[str, ...]]:
    """A row for each thing, process and cost of which repeats of three sizes tell; of those whose records hold."""
    valid = {(record.run_id, record.scenario, record.subject, record.metric) for record in records
             if record.value is not None}  # fmt: skip
    repeats = [Repeat(item) for item in observations if item.repeat is not None]
    return [
        row for thing in THINGS for row in _of_thing(thing, [load for load in repeats if _holds(load, thing, valid)])
    ]


def _holds(load: Repeat, thing: Thing, valid: Container[tuple[str, str | None, str | None, str]]) -> bool:
    item = load.observation
    return item.kind == thing.kind and (item.run_id, item.scenario, item.subject, thing.metric) in valid


def _of_thing(thing: Thing, loads: Iterable[Repeat]) -> Iterator[tuple[str, ...]]:
    lines: dict[tuple[str, str, str, str], list[tuple[float, float]]] = {}
    asked: dict[tuple[str, str, str, str], set[object]] = {}
    for load in loads:
        size = thing.size(load)
        if size is None:
            continue
        subject, equal, number = _subject(load), _equal(load, thing.varied), load.value("plan", thing.varied[0])
        for (what, cost), used in costs(load, thing.made_before).items():
            key = (subject, equal, what, cost)
            lines.setdefault(key, []).append((size, used))
            asked.setdefault(key, set()).add(number)
    for key, points in lines.items():
        subject, _, what, cost = key
        # What differs between repeats of one load is chance and no size.
        if len(asked[key]) >= stats.FEWEST_REPEATS:
            yield from _row(subject, thing.name, what, cost, points)


def document(observations: Iterable[Observation], records: Iterable[Record]) -> list[dict[str, str]]:
    return [dict(zip(HEADINGS, row, strict=True)) for row in fitted(observations, records)]


def costs(load: Repeat, whole: bool = False) -> dict[tuple[str, str], float]:
    """(process, cost) → how much of it: memory and storage as they are, or what they grew by."""

    def size(first: float | None, last: float | None) -> float | None:
        return last if whole else None if first is None or last is None else last - first

    all_of_it, in_use = storage(load)
    told = {
        (STORAGE, SIZE): size(all_of_it.first_bytes, all_of_it.last_bytes),
        (f"{STORAGE}, {IN_USE}", SIZE): size(in_use.first_bytes, in_use.last_bytes),
    }
    for name, use in uses(load).items():
        told |= {(name, CPU): use.cpu_seconds, (name, MEMORY): size(use.first_bytes, use.most_bytes)}
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
