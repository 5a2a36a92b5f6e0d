# SPDX-License-Identifier: GPL-3.0-or-later
"""One repeat of churn: a row for each pod and for each request, and what becomes a metric of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness import resource_metrics
from harness.sampled import Sampled
from harness.samples import Columns

_TEXT, _NUMBER, _COUNT = ("VARCHAR", (str,), True), ("DOUBLE", (int, float), True), ("INTEGER", (int,), True)
# Column → (DuckDB's type, Python's types, may be null). Columns of pods are null in requests, and the reverse.
COLUMNS: Columns = {
    "row": ("VARCHAR", (str,), False),
    **dict.fromkeys(("pod", "node", "phase", "failure"), _TEXT),
    **dict.fromkeys(("gang", "job_sent", "job_arrived", "stranger_sent", "stranger_arrived"), _COUNT),
    **dict.fromkeys(("posted", "answered", "running", "opened", "deleted", "gone", "job_first"), _NUMBER),
    **dict.fromkeys(("false_deny", "false_allow", "gap", "due", "seconds"), _NUMBER),
    "stranger_settled": ("BOOLEAN", (bool,), True),
}
QUIET, CHURN = "quiet", "churn"
FALSE_ALLOW, FALSE_DENY = "gang_false_allow_seconds", "gang_false_deny_seconds"
#: They mean something only where somebody enforces policies.
OF_POLICIES = (FALSE_ALLOW, FALSE_DENY)
FAILURE_RATIO = "request_failure_ratio"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Gangs(Sampled):
    @cached_property
    def pods(self) -> list[Row]:
        return [row for row in self.rows if row["row"] == "pod"]

    @cached_property
    def gangs(self) -> dict[int, list[Row]]:
        found: dict[int, list[Row]] = {}
        for row in self.pods:
            found.setdefault(int(row["gang"]), []).append(row)
        return found

    def requests(self, phase: str) -> list[Row]:
        return [row for row in self.rows if row["row"] == "request" and row["phase"] == phase]

    def seconds(self, phase: str) -> list[float]:
        """Of all requests, those that failed among them."""
        return [float(row["seconds"]) for row in self.requests(phase)]

    def distribution(self, metric: str) -> list[float] | None:
        """The samples of a metric that has some; None for what is one value a repeat."""
        maker = DISTRIBUTIONS.get(metric)
        return maker(self) if maker is not None else None

    def value_of(self, metric: str) -> float | None:
        found = self.distribution(metric)
        if found is not None:
            return _SUMMARY.get(metric, statistics.median)(found) if found else None
        return (_VALUES.get(metric) or resource_metrics.VALUES[metric])(self)

    def failure_ratio(self, phase: str = CHURN) -> float | None:
        found = self.requests(phase)
        return sum(1 for row in found if row["failure"]) / len(found) if found else None


def _between(begin: str, end: str) -> Callable[[Gangs], list[float]]:
    def found(load: Gangs) -> list[float]:
        return [float(row[end] - row[begin]) for row in load.pods if row[begin] is not None and row[end] is not None]

    return found


def reachable(load: Gangs) -> list[float]:
    """Of each gang: from its first create to the packet after which each of its pods had got one of its neighbour."""
    found = []
    for rows in load.gangs.values():
        posted, first = ([row[name] for row in rows] for name in ("posted", "job_first"))
        if None not in posted and None not in first:
            found.append(float(max(first) - min(posted)))
    return found


def reached_once_running(load: Gangs) -> list[float]:
    """Of each pod: from when it and the pod that sends to it were seen to run to the first packet that arrived."""
    found = []
    for rows in load.gangs.values():
        for number, row in enumerate(rows):
            moments = (row["running"], rows[number - 1]["running"], row["job_first"])
            if None not in moments:
                found.append(float(moments[2] - max(moments[:2])))
    return found


def windows(column: str) -> Callable[[Gangs], list[float]]:
    """Of each gang the longest of its pods; one of which a pod has none, has none."""

    def found(load: Gangs) -> list[float]:
        gangs = ([row[column] for row in rows] for rows in load.gangs.values())
        return [float(max(values)) for values in gangs if None not in values]

    return found


DISTRIBUTIONS: Mapping[str, Callable[[Gangs], list[float]]] = {
    "pod_created_to_running_seconds": _between("answered", "running"),
    "gang_created_to_reachable_seconds": reachable,
    "pod_running_to_reachable_seconds": reached_once_running,
    "pod_deleted_to_gone_seconds": _between("deleted", "gone"),
    "request_median_seconds": lambda load: load.seconds(CHURN),
    "request_max_seconds": lambda load: load.seconds(CHURN),
    "request_quiet_median_seconds": lambda load: load.seconds(QUIET),
    FALSE_ALLOW: windows("false_allow"),
    FALSE_DENY: windows("false_deny"),
}
_SUMMARY: Mapping[str, Callable[[Sequence[float]], float]] = {
    "request_max_seconds": max,
    FALSE_ALLOW: max,
    FALSE_DENY: max,
}
_VALUES: Mapping[str, Callable[[Gangs], float | None]] = {
    "churn_pods_created_per_second": lambda load: load.number("rates", "created_per_second"),
    "churn_pods_running_per_second": lambda load: load.number("rates", "running_per_second"),
    "churn_pods_gone_per_second": lambda load: load.number("rates", "gone_per_second"),
    "churn_cpu_seconds_per_pod": lambda load: load.number("cpu_seconds_per_pod"),
    "request_goodput_bytes_per_second": lambda load: load.number("requests", CHURN, "goodput_bytes_per_second"),
    FAILURE_RATIO: Gangs.failure_ratio,
}
METRICS = (*DISTRIBUTIONS, *_VALUES, *resource_metrics.VALUES)
