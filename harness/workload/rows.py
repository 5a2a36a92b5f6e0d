# SPDX-License-Identifier: GPL-3.0-or-later
"""One repeat of a workload: a row for each step, request, pod and Job, and for each change that an autoscaler was told
or made."""

from __future__ import annotations

from dataclasses import dataclass

from harness.sampled import Sampled
from harness.samples import Columns
from harness.workload.cost import Row

_TEXT, _NUMBER = ("VARCHAR", (str,)), ("DOUBLE", (int, float))
MOMENTS = ("due", "sent", "answered", "created", "bound", "running", "ready", "completed", "failed", "gone", "reached")
#: Column → (DuckDB's type, Python's types, may be null).
COLUMNS: Columns = {
    **dict.fromkeys(("row", "step", "name"), (*_TEXT, False)),
    **dict.fromkeys(("node", "failure"), (*_TEXT, True)),
    **dict.fromkeys(("copy", "replicas"), ("INTEGER", (int,), True)),
    "gpus": ("INTEGER", (int,), False),
    "cpus": (*_NUMBER, False),
    "memory_bytes": ("BIGINT", (int,), False),
    **dict.fromkeys(MOMENTS, (*_NUMBER, True)),
}


@dataclass(frozen=True)
class WorkloadRows(Sampled):
    def of(self, kind: str, step: str | None = None) -> list[Row]:
        return [row for row in self.rows if row["row"] == kind and (step is None or row["step"] == step)]

    def moment(self, step: str, name: str) -> float | None:
        """When a step began (sent) or got what it waits for (reached)."""
        return next((row[name] for row in self.of("step", step)), None)

    def span(self, begin: str, end: str = "") -> float | None:
        """From the beginning of one step to the end of it or of another."""
        first, last = self.moment(begin, "sent"), self.moment(end or begin, "reached")
        return last - first if first is not None and last is not None else None

    @property
    def resolution(self) -> float | None:
        """The most by which the watch's word of an object and the answer to its request lay apart."""
        answered = {row["name"]: row["answered"] for row in self.of("request") if row["answered"] is not None}
        found = [
            abs(row["created"] - answered[key])
            for kind, word in (("pod", "Pod"), ("job", "Job"))
            for row in self.of(kind)
            if (key := f"{word}/{row['name']}") in answered and row["created"] is not None
        ]
        return max(found, default=None)


def ended(pod: Row) -> float | None:
    return min((pod[name] for name in ("completed", "failed", "gone") if pod[name] is not None), default=None)
