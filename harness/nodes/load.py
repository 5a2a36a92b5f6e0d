# SPDX-License-Identifier: GPL-3.0-or-later
"""One repeat of fake nodes that were added, awaited, counted and removed: a row for each of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness import resource_metrics
from harness.sampled import Sampled
from harness.samples import Columns

_NUMBER = ("DOUBLE", (int, float), True)
# Column → (DuckDB's type, Python's types, may be null). Moments are seconds since the first create.
COLUMNS: Columns = {
    "name": ("VARCHAR", (str,), False),
    **dict.fromkeys(("answered", "ready", "gone"), _NUMBER),
    "failure": ("VARCHAR", (str,), True),
}
CREATED_TO_READY = "node_created_to_ready_seconds"


@dataclass(frozen=True)
class Nodes(Sampled):
    def moments(self, name: str) -> list[float]:
        return [float(row[name]) for row in self.rows if row[name] is not None]

    def created_to_ready(self) -> list[float]:
        """A watch may tell of Ready before the create's answer has come back: that is no time."""
        both = (row for row in self.rows if row["answered"] is not None and row["ready"] is not None)
        return [max(0.0, float(row["ready"] - row["answered"])) for row in both]

    def _per_second(self, name: str) -> float | None:
        found = self.moments(name)
        return len(found) / max(found) if found and max(found) > 0 else None

    def value_of(self, metric: str) -> float | None:
        return (VALUES.get(metric) or resource_metrics.VALUES[metric])(self)


def _median(load: Nodes) -> float | None:
    found = load.created_to_ready()
    return statistics.median(found) if found else None


VALUES: Mapping[str, Callable[[Nodes], float | None]] = {
    "nodes_ready": lambda load: float(len(load.moments("ready"))),
    "nodes_ready_all_seconds": lambda load: max(load.moments("ready"), default=None),
    "nodes_created_per_second": lambda load: load._per_second("answered"),
    "nodes_ready_per_second": lambda load: load._per_second("ready"),
    CREATED_TO_READY: _median,
}
METRICS = (*VALUES, *resource_metrics.VALUES)
