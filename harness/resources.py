# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load cost: CPU and memory of each process over time, and etcd's storage with what of it is in use.

Of processes by the kernel, of others by their own metrics pages, of a cluster's pods by its Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness import units
from harness.figures import DASHES
from harness.reader import Chart, Table
from harness.repeat import Repeat

FELIX, PODS = "Felix of ", "pods of "
#: Pages of programs are those of Felix, called after their nodes, and of Typha (no node has a name with a capital).
TYPHA = "Typha"
STORAGE, IN_USE = "etcd's storage", "of it in use"
#: Lines beyond these cannot be told apart.
LINES_MOST = 8
Points = tuple[Sequence[float], Sequence[float | None]]


@dataclass(frozen=True)
class Use:
    """Of one process in one repeat; what nobody told is None."""

    cpu_seconds: float | None = None
    first_bytes: float | None = None
    most_bytes: float | None = None
    last_bytes: float | None = None


def uses(load: Repeat) -> dict[str, Use]:
    found: dict[str, Use] = {}
    for name in dict.fromkeys((*(load.value("machine", "processes") or ()), *(load.value("memory") or ()))):
        cpu = load.number("machine", "processes", name, "cpu_seconds")
        found[name] = Use(cpu, *(load.number("memory", name, f"{which}_bytes") for which in ("first", "max", "last")))
    for name in load.value("programs") or ():
        told = (load.number("programs", name, f"{which}_bytes") for which in ("first", "max", "last"))
        found[_program(name)] = Use(load.number("programs", name, "cpu_seconds"), *told)
    for name in load.value("pods", "cpu_seconds") or ():
        sizes = [size for size in _of_pods(load, f"bytes {name}")[1] if size is not None]
        cpu = load.number("pods", "cpu_seconds", name)
        if cpu is not None or sizes:
            found[PODS + name] = Use(cpu, *((sizes[0], max(sizes), sizes[-1]) if sizes else ()))
    return found


def storage(load: Repeat) -> tuple[Use, Use]:
    """Of the whole, and of what is in use: by etcd or the API server, on clusters by Prometheus."""
    found = []
    for own, asked in (("", "total_bytes"), ("in_use_", "in_use_bytes")):
        first, last = (load.number("storage", f"{own}{which}_bytes") for which in ("first", "last"))
        told = [size for size in _of_pods(load, f"storage {asked}")[1] if size is not None]
        if first is None and last is None and told:
            first, last = told[0], told[-1]
        found.append(Use(None, first, None, last))
    return found[0], found[1]


def table(loads: Sequence[Repeat], window: str) -> Table:
    """``window``: from when to when the CPU is counted."""
    rows = []
    for load in loads:
        of = {**uses(load), **dict(zip((STORAGE, IN_USE), storage(load), strict=True))}
        for name, use in of.items():
            sizes = (units.show(size, "bytes") for size in (use.first_bytes, use.most_bytes, use.last_bytes))
            rows.append((str(load.repeat), name, units.show(use.cpu_seconds, "s"), *sizes))
    return Table(
        "What it cost",
        f"CPU {window}; memory once a second until all is gone again. The storage is the database's whole size; what "
        "is not in use was freed and waits to be used again or given back by a defragmentation.",
        ("repeat", "process", "CPU", "before", "most", "after"),
        rows,
    )


def charts(loads: Sequence[Repeat]) -> list[Chart]:
    """Over the seconds since the load began; a line for each process and repeat, of those that used most."""
    found = []
    for what, title, unit in (("cores", "Processors over time", "cores"), ("bytes", "Memory over time", "MiB")):
        lines = [(load, dict(_lines(load, what))) for load in loads]
        most: dict[str, float] = {}
        for _, named in lines:
            for name, (_, values) in named.items():
                most[name] = max([most.get(name, 0.0), *(value for value in values if value is not None)])
        shown = sorted((name for name in most if most[name] > 0), key=lambda name: -most[name])[:LINES_MOST]
        scale = 2**20 if what == "bytes" else 1
        traces = [
            {
                "type": "scatter", "mode": "lines", "name": name, "x": list(named[name][0]), "legendgroup": name,
                "y": [None if value is None else round(value / scale, 4) for value in named[name][1]],
                "showlegend": number == 0, "line": {"width": 1.75, "dash": DASHES[number % len(DASHES)]},
            }
            for number, (_, named) in enumerate(lines) for name in shown if name in named
        ]  # fmt: skip
        if traces:
            data = {"kind": "figure", "x": "seconds since the load began", "y": unit, "data": traces,
                    "layout": {"yaxis": {"rangemode": "tozero"}}}  # fmt: skip
            caption = f"Of the {len(shown)} that used most; each repeat has its own dash."
            found.append(Chart(f"over-time-{what}", title, caption, data, wide=True))
    return found


def _lines(load: Repeat, what: str) -> Iterator[tuple[str, Points]]:
    seconds = load.value("series", "seconds") or ()
    for kind, called in (("processes", str), ("programs", _program)):
        for name, line in (load.value("series", kind) or {}).items():
            yield called(name), (seconds, line.get(what) or ())
    for name in load.value("pods", "cpu_seconds") or ():
        at, values = _of_pods(load, f"{what} {name}")
        if values:
            yield PODS + name, (at, values)


def _of_pods(load: Repeat, name: str) -> Points:
    """A series of Prometheus, in seconds since the load began."""
    series: Mapping[str, Any] = load.value("pods", "series") or {}
    end, seconds = load.number("window", "end"), load.number("window", "seconds")
    begin = (end or 0.0) - (seconds or 0.0)
    points = series.get(name) or ()
    return [round(at - begin, 1) for at, _ in points], [value for _, value in points]


def _program(name: str) -> str:
    return name if name.startswith(TYPHA) else FELIX + name
