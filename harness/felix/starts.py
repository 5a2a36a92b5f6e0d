# SPDX-License-Identifier: GPL-3.0-or-later
"""One repeat of starts: a row for each start of each node's Felix, its moments in seconds since its process began."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.sampled import Sampled
from harness.samples import Columns

_NUMBER = ("DOUBLE", (int, float), True)
#: In the order in which they come; the process's own start is the beginning of all.
MOMENTS = ("process_started", "in_sync", "first_apply", "answers_ready")
# Column → (DuckDB's type, Python's types, may be null).
COLUMNS: Columns = {
    "start": ("INTEGER", (int,), False),
    "node": ("VARCHAR", (str,), False),
    **dict.fromkeys((*MOMENTS, "resolution"), _NUMBER),
    "times_started": ("INTEGER", (int,), False),
    "failure": ("VARCHAR", (str,), True),
}
#: What each metric is: from one moment to another; None is the process's start.
LEGS: Mapping[str, tuple[str | None, str]] = {
    "felix_started_to_ready_seconds": (None, "answers_ready"),
    "felix_started_to_logged_seconds": (None, "process_started"),
    "felix_logged_to_in_sync_seconds": ("process_started", "in_sync"),
    "felix_in_sync_to_applied_seconds": ("in_sync", "first_apply"),
    "felix_applied_to_ready_seconds": ("first_apply", "answers_ready"),
}
#: The kernel counts a process's start in these; Felix's log has milliseconds.
TICK_SECONDS, LOG_SECONDS = 0.01, 0.001


@dataclass(frozen=True)
class Starts(Sampled):
    def seconds(self, metric: str) -> list[float]:
        """Of each start that has both moments; one that seems to end before it began is within the resolution."""
        return [max(0.0, length) for row in self.rows if (length := leg(row, metric)) is not None]

    def value_of(self, metric: str) -> float | None:
        found = self.seconds(metric)
        return statistics.median(found) if found else None

    def resolution(self, metric: str) -> float:
        """The coarser of a leg's two stamps, of all starts the worst."""
        begin, end = LEGS[metric]
        looks = [float(row["resolution"]) for row in self.rows if row["resolution"] is not None]
        look = max(looks, default=0.0) if end == "answers_ready" else LOG_SECONDS
        return max(look, TICK_SECONDS if begin is None else LOG_SECONDS)


def leg(row: Mapping[str, Any], metric: str) -> float | None:
    begin, end = LEGS[metric]
    first, last = 0.0 if begin is None else row[begin], row[end]
    return None if first is None or last is None else float(last) - float(first)


def by_probe(answered: float, period: float) -> float:
    """When a probe that looks at the start and every period after sees what is ready from then on."""
    return math.ceil(answered / period) * period
