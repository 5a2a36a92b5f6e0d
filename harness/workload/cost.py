# SPDX-License-Identifier: GPL-3.0-or-later
"""What pods cost by what they asked for, at the run's price table: USD an hour of a GPU, a CPU and a GiB of memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

HOUR, UNITS, GIB = 3600.0, 1000.0, 2.0**30
Row = Mapping[str, Any]
#: USD a second of a pod.
Rate = Callable[[Row], float]


@dataclass(frozen=True)
class Prices:
    gpu_hour: float
    cpu_hour: float
    memory_gib_hour: float

    def idle_gpus(self, pod: Row) -> float:
        return float(pod["gpus"]) * self.gpu_hour / HOUR

    def whole(self, pod: Row) -> float:
        cpus, memory = float(pod["cpus"]) * self.cpu_hour, pod["memory_bytes"] / GIB * self.memory_gib_hour
        return self.idle_gpus(pod) + float(cpus + memory) / HOUR


def prices(parameters: Mapping[str, Any]) -> Prices | None:
    """None where one of them is not known: what is left out would be counted as free."""
    table = parameters.get("prices")
    found = [table.get(name) for name in Prices.__dataclass_fields__] if isinstance(table, Mapping) else [None]
    known = [float(one) for one in found if isinstance(one, (int, float)) and not isinstance(one, bool) and one >= 0]
    return Prices(*known) if len(known) == len(Prices.__dataclass_fields__) else None


def source(parameters: Mapping[str, Any]) -> str:
    """Where the prices are from."""
    table = parameters.get("prices")
    return str(table.get("source") or "") if isinstance(table, Mapping) else ""
