# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs as the published Calico start-up test writes them; and where published ones lie, if they do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: Not in this repository; tests that want them have logs of their own beside them.
PUBLISHED = Path(
    os.environ.get("NIGHTBENCH_CALICO_LOGS") or Path(__file__).resolve().parents[3] / "shared/fixtures/calico_logs"
)
HEADINGS = "Type     Name      # reqs      # fails |    Avg     Min     Max    Med |   req/s  failures/s"


@dataclass(frozen=True)
class Log:
    """One test; its parts can be left out as they are in logs that were cut off."""

    label: str = "400-real-nodes-5000-fake-nodes-ebpf"
    dataplane: str = "BPF"
    nodes: int = 5404
    ready: bool = True
    policies: int = 10020
    start_up: int = 35
    told_start_up: int | None = None  # by the summary, where it is another
    limit: int = 60
    result: bool | None = None  # what the limit gives, unless said otherwise
    tables: Sequence[tuple[int, int, int, int, int]] = ((1598, 0, 21, 254, 14), (1661, 0, 21, 254, 14))
    medians: Sequence[int] = ()
    beginning: bool = True
    end: bool = True

    @property
    def text(self) -> str:
        parts = [self._beginning() if self.beginning else "", self._traffic(), self._end() if self.end else ""]
        return "".join(parts)

    def write(self, folder: Path, name: str = "") -> Path:
        path = folder / (name or f"default-calico-test-run-{self.label}-x1y2z-{len(list(folder.iterdir()))}.log")
        path.write_text(self.text)
        return path

    def _beginning(self) -> str:
        return f"""=== Calico Node Startup Time Measurement ===
Target Node: node-0.example
Acceptable Startup Time: {self.limit}s

=== Collecting Cluster Information ===
Kubernetes Version: v1.33.5
Provisioner: null

=== Calico Configuration ===
Dataplane Mode: {self.dataplane}
Encapsulation Type: IPIP
BGP Enabled: Enabled

=== Cluster Scale Metrics ===
Total NetworkPolicies: {self.policies}
Total Services: 1033
{self._count()}: {self.nodes}

=== Starting Calico Node Restart Test ===
Waiting for pod calico-node-a1b2c to become Ready...

========================================
DaemonSet pod calico-node-a1b2c became Ready in {self.start_up} seconds.
Calico-node startup time: {self.start_up}s
========================================

=== Waiting for Load Generator Statistics ===
"""

    def _traffic(self) -> str:
        return "".join(
            f"""{HEADINGS}
GET      /                       12     0(0.00%) |     19      13      54     19 |    0.80        0.00
         Aggregated {requests:>20} {failed:>6}({100 * failed / max(requests, 1):.2f}%) | \
{mean:>6} {9:>6} {most:>6} {median:>6} |   22.80        0.00

"""
            for requests, failed, mean, most, median in self.tables
        )

    def _end(self) -> str:
        said = self.start_up if self.told_start_up is None else self.told_start_up
        numbers = "\n".join(f"{value}" for value in self.medians)
        median = f"  Pod-to-Pod Median Latency (ms): {numbers}ms\n" if self.medians else ""
        good = self.start_up < self.limit if self.result is None else self.result
        result = (
            "✅ SUCCESS: calico-node-a1b2c startup time is within the acceptable range "
            f"({said} seconds < {self.limit}s)"
            if good
            else f"❌ FAILURE: calico-node-a1b2c startup took too long ({said} seconds) and failed to meet "
            f"{self.limit} second startup time requirement."
        )
        return f"""========================================
TEST RESULTS SUMMARY
========================================
Cluster Information:
  Kubernetes Version: v1.33.5
  {self._count()}: {self.nodes}

Calico Configuration:
  Dataplane Mode: {self.dataplane}
  Encapsulation: IPIP

Cluster Scale:
  Total NetworkPolicies: {self.policies}
  Total Services: 1033

Performance:
  Calico-node startup time: {said}s
{median}========================================

{result}
Stream closed EOF for default/calico-test-run-{self.label}-x1y2z (tester)
"""

    def _count(self) -> str:
        return "Total Ready Nodes" if self.ready else "Total Nodes"
