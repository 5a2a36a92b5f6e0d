# SPDX-License-Identifier: GPL-3.0-or-later
"""One repeat of policy changes: a row for each change, pair and flow, and what the observation says of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.sampled import Sampled
from harness.samples import Columns

OBEYED = "obeyed"
OUTCOMES = (OBEYED, "never", "unsettled", "not_in_force_before")
_TEXT, _NUMBER = ("VARCHAR", (str,)), ("DOUBLE", (int, float))
# Column → (DuckDB's type, Python's types, may be null).
COLUMNS: Columns = {
    **dict.fromkeys(("change", "wanted", "pair", "flow", "outcome", "reason"), (*_TEXT, False)),
    **dict.fromkeys(("latency_seconds", "low_seconds", "high_seconds", "resolution_seconds"), (*_NUMBER, True)),
    "below_resolution": ("BOOLEAN", (bool,), False),
    **dict.fromkeys(("mixed_seconds", "answered", "request_seconds"), (*_NUMBER, False)),
    "wrong_packets": ("INTEGER", (int,), False),
    "legs": ("JSON", (dict,), False),
}
#: What each metric is of: the behaviour that was wanted, and the flow.
OF_METRIC: Mapping[str, tuple[str, str]] = {
    "policy_deny_new_flow_seconds": ("deny", "new"),
    "policy_deny_established_flow_seconds": ("deny", "established"),
    "policy_allow_new_flow_seconds": ("allow", "new"),
    "policy_allow_established_flow_seconds": ("allow", "established"),
}
PROBE_CPU = "policy_probe_cpu_ratio"


@dataclass(frozen=True)
class Changes(Sampled):
    def of(self, metric: str) -> list[Mapping[str, Any]]:
        wanted = OF_METRIC.get(metric)
        return [row for row in self.rows if wanted is None or (row["wanted"], row["flow"]) == wanted]

    def latencies(self, metric: str) -> list[float]:
        return [float(row["latency_seconds"]) for row in self.of(metric) if row["latency_seconds"] is not None]

    def resolution(self, metric: str) -> float | None:
        """The largest gap at a change: what all of them together can tell."""
        found = [float(row["resolution_seconds"]) for row in self.of(metric) if row["resolution_seconds"] is not None]
        return max(found, default=None)

    def outcomes(self, metric: str) -> Counter[str]:
        return Counter(str(row["outcome"]) for row in self.of(metric))
