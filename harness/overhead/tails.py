# SPDX-License-Identifier: GPL-3.0-or-later
"""Tails of single calls, of the samples of all runs of one environment.

They describe and judge nothing, for the samples of one run hang together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness import units
from harness.overhead import statistics
from harness.overhead.runs import Parameters, Run
from harness.stats import FEWEST_SAMPLES, QUANTILES


@dataclass(frozen=True)
class Tail:
    """Seconds. Of p99 what it does not exceed: it is of few samples, and an estimate would be as often too small."""

    name: str
    samples: int
    p50: float
    p90: float | None
    p99_at_most: float | None

    def __str__(self) -> str:
        values = {"p50": self.p50, "p90": self.p90, "p99 at most": self.p99_at_most}
        shown = [f"{name} {units.show(value, 's')}" for name, value in values.items() if value is not None]
        return f"{self.name}: {', '.join(shown)}, of {self.samples:,} calls"


def of(runs: Sequence[Run]) -> list[Tail]:
    """One for every call that was timed by itself; of a batch only the mean of its calls is known."""
    pooled: dict[tuple[str, Parameters], list[float]] = {}
    for run in runs:
        for metric, groups in run.series.items():
            for parameters, series in groups.items():
                if series.calls == 1:
                    pooled.setdefault((metric, parameters), []).extend(series.host)
    return [
        _tail(_name(metric, parameters), values)
        for (metric, parameters), values in pooled.items()
        if len(values) >= FEWEST_SAMPLES["p50"]
    ]


def _tail(name: str, values: Sequence[float]) -> Tail:
    p90 = statistics.harrell_davis(values, QUANTILES["p90"]) if len(values) >= FEWEST_SAMPLES["p90"] else None
    p50 = statistics.harrell_davis(values, QUANTILES["p50"])
    return Tail(name, len(values), p50, p90, statistics.order_statistic(values, QUANTILES["p99"]))


def _name(metric: str, parameters: Parameters) -> str:
    return " ".join([metric, *(_word(name, value) for name, value in parameters)])


def _word(name: str, value: Any) -> str:
    if name == "bytes":
        return units.show(value, "bytes")
    return value if isinstance(value, str) else f"{name} {value}"
