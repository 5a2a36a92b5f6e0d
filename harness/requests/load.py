# SPDX-License-Identifier: GPL-3.0-or-later
"""One repeat of a load of requests: a row for each that was due, and what each metric is of it."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.sampled import Sampled
from harness.samples import Columns

ANSWERED = "answered"
OUTCOMES = (ANSWERED, "failed", "not_sent")
LATENCY, FIRST, ITEM = "request_latency_seconds", "request_first_item_seconds", "request_item_seconds"
ADDED, DELAY = "request_added_seconds", "request_schedule_delay_seconds"
GOODPUT, FAILED, FAIRNESS = "request_goodput_per_second", "request_failure_ratio", "request_fairness_ratio"
#: Of models that share a place: their requests that found them in memory, and those that did not.
LOADED, SWAPPED = "request_loaded_added_seconds", "request_swap_added_seconds"
LOADED_SHARE, WAIT_FAIRNESS = "request_loaded_ratio", "request_wait_fairness_ratio"
DISTRIBUTIONS = (LATENCY, FIRST, ITEM, ADDED, LOADED, SWAPPED, DELAY)
#: Of what was answered alone: they mean nothing where much was not.
OF_ANSWERS = (LATENCY, FIRST, ITEM, ADDED, LOADED, SWAPPED, LOADED_SHARE, WAIT_FAIRNESS)
#: What is left of a latency without what was planted.
WITHOUT_SERVICE_TIME = (ADDED, LOADED, SWAPPED, WAIT_FAIRNESS)
OF_MODELS = (LOADED, SWAPPED, LOADED_SHARE)
#: What a service that sleeps has slept is in these.
WITH_SERVICE_TIME = (LATENCY, FIRST, ITEM)

_TEXT, _NUMBER, _COUNT = ("VARCHAR", (str,)), ("DOUBLE", (int, float)), ("BIGINT", (int,))
# Column → (DuckDB's type, Python's types, may be null).
COLUMNS: Columns = {
    **dict.fromkeys(("service", "generator", "outcome", "reason"), (*_TEXT, False)),
    "due_seconds": (*_NUMBER, False),
    **dict.fromkeys(
        ("delay_seconds", "first_item_seconds", "latency_seconds", "planted_seconds"),
        (*_NUMBER, True),
    ),
    **dict.fromkeys(("items", "input", "output"), (*_COUNT, False)),
    "status": (*_COUNT, True),
    "model_loaded": ("BOOLEAN", (bool,), True),
}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Requests(Sampled):
    @property
    def services(self) -> list[str]:
        found = self.value("plan", "services")
        return list(found) if isinstance(found, Mapping) else []

    def of(self, service: str) -> list[Row]:
        return [row for row in self.rows if row["service"] == service]

    def outcomes(self, service: str) -> Counter[str]:
        return Counter(str(row["outcome"]) for row in self.of(service))

    def objectives(self, service: str) -> Mapping[str, float]:
        found = self.value("plan", "services", service, "objectives")
        return found if isinstance(found, Mapping) else {}

    def values_of(self, metric: str) -> list[float]:
        """One of each request that has it."""
        found = (value_of(metric, row) for row in self.rows)
        return [value for value in found if value is not None]

    def one(self, metric: str) -> float | None:
        """The one value of this repeat: of a distribution its median."""
        if metric in DISTRIBUTIONS:
            values = self.values_of(metric)
            return statistics.median(values) if values else None
        if metric == GOODPUT:
            seconds = self.seconds
            return sum(self.good(name) for name in self.services) / seconds if seconds else None
        if metric == FAILED:
            bad = sum(1 for row in self.rows if row["outcome"] != ANSWERED)
            return bad / len(self.rows) if self.rows else None
        return OF_ALL[metric](self) if metric in OF_ALL else None

    @property
    def seconds(self) -> float:
        """In which requests were due."""
        due = [float(row["due_seconds"]) for row in self.rows]
        return max(due) - min(due) if due else 0.0

    def good(self, service: str) -> int:
        """Requests that kept every objective of their service."""
        objectives = self.objectives(service)
        return sum(1 for row in self.of(service) if kept(row, objectives))

    def fairness(self) -> float | None:
        """Jain's index over the services' shares of requests that kept their objectives; 1 where all fare alike."""
        return jain([self.good(name) / len(rows) for name in self.services if (rows := self.of(name))])

    def wait_fairness(self) -> float | None:
        """Jain's index over what the services' requests waited on average, but for what was planted."""
        waits = [self.added(name) for name in self.services]
        return jain([statistics.fmean(found) for found in waits]) if all(waits) else None

    def added(self, service: str) -> list[float]:
        found = (value_of(ADDED, row) for row in self.of(service))
        return [max(0.0, value) for value in found if value is not None]

    def loaded_share(self) -> float | None:
        """Of the answers of services with several models, those that found theirs in memory."""
        told = [row["model_loaded"] for row in self.rows if row["model_loaded"] is not None]
        return sum(told) / len(told) if told else None

    @property
    def planted(self) -> list[float]:
        return [float(row["planted_seconds"]) for row in self.rows if row["planted_seconds"] is not None]


def jain(shares: Sequence[float]) -> float | None:
    """1 where all are alike, one over their number where one has everything."""
    squares = sum(share**2 for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if len(shares) > 1 and squares else None


#: Metric → how it is computed of a repeat as a whole.
OF_ALL: Mapping[str, Callable[[Requests], float | None]] = {
    FAIRNESS: Requests.fairness,
    WAIT_FAIRNESS: Requests.wait_fairness,
    LOADED_SHARE: Requests.loaded_share,
}


def value_of(metric: str, row: Row) -> float | None:
    if metric == DELAY:
        return _number(row["delay_seconds"])
    if row["outcome"] != ANSWERED:
        return None
    latency, first = _number(row["latency_seconds"]), _number(row["first_item_seconds"])
    if metric == LATENCY:
        return latency
    if metric == FIRST:
        return first
    if metric in (ADDED, LOADED, SWAPPED):
        if metric != ADDED and row["model_loaded"] is not (metric == LOADED):
            return None
        planted = _number(row["planted_seconds"])
        return None if planted is None or latency is None else latency - planted
    # As inference-perf counts TPOT: what follows the first item, over the items that follow it.
    if latency is None or first is None or row["items"] < 2:
        return None
    return float((latency - first) / (row["items"] - 1))


def kept(row: Row, objectives: Mapping[str, float]) -> bool:
    """Whether it was answered, and in time by everything that was asked of it."""
    if row["outcome"] != ANSWERED:
        return False
    named = {"latency_seconds": LATENCY, "first_item_seconds": FIRST, "item_seconds": ITEM}
    found = ((value_of(metric, row), objectives.get(name)) for name, metric in named.items())
    return all(value is None or most is None or value <= most for value, most in found)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
