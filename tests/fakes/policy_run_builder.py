# SPDX-License-Identifier: GPL-3.0-or-later
"""The results folder of policy changes that never were; or of those that a test has measured."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.policy.changes import OF_METRIC, OUTCOMES, PROBE_CPU
from harness.results import RunFolder

RUN_ID = "20261122T183000Z-1a2b"
SUITE, SCENARIO, SUBJECT = "calico_scale", "policy_latency", "planted"
METRICS = (*OF_METRIC, PROBE_CPU)
Rows = list[dict[str, Any]]
#: Changes rows before they are counted, or values after it.
Edit = Callable[[Rows], None]
GAP = 0.005


def rows(latency: float = 0.2, cycles: int = 2, pairs: Sequence[str] = ("a",)) -> Rows:
    return [
        {
            "change": f"{action}-{cycle + 1}",
            "wanted": wanted,
            "pair": pair,
            "flow": flow,
            "outcome": "obeyed",
            "latency_seconds": latency,
            "low_seconds": round(latency - GAP, 6),
            "high_seconds": latency,
            "resolution_seconds": GAP,
            "below_resolution": latency <= GAP,
            "mixed_seconds": 0.0,
            "wrong_packets": 40,
            "reason": "",
            "answered": 1.0 + cycle,
            "request_seconds": 0.004,
            "legs": {"watched": {"seconds": -0.001, "resolution_seconds": 1e-6}},
        }
        for pair in pairs
        for flow in ("established", "new")
        for cycle in range(cycles)
        for action, wanted in (("create", "deny"), ("delete", "allow"))
    ]


def values(found: Rows, cycles: int = 2, pairs: Sequence[str] = ("a",)) -> dict[str, Any]:
    counted = {
        wanted: {
            flow: dict.fromkeys(OUTCOMES, 0)
            | Counter(row["outcome"] for row in found if (row["wanted"], row["flow"]) == (wanted, flow))
            for flow in ("established", "new")
        }
        for wanted in ("deny", "allow")
    }
    machine = {"cpus": 2, "cpu_busy_ratio": 0.3, "steal_ratio": 0.0, "other_cpu_ratio": 0.01, "processes": {}}
    return {
        "plan": {"pairs": list(pairs), "cycles": cycles, "changes": 2 * cycles, "creates": "deny", "hold_seconds": 2.0,
                 "interval_seconds": GAP},
        "asked": len(pairs) * cycles * 4,
        "done": len(found),
        "missing": len(pairs) * cycles * 4 - len(found),
        "changes": counted,
        "dataplane": {"asked": "nftables", "observed": "nftables", "holds": True, "reason": "nftables on all 2 nodes"},
        "probes": {"cpu_ratio_of_core_per_pair": 0.041},
        "machine": machine,
    }  # fmt: skip


def build(
    root: Path, repeats: Sequence[tuple[Mapping[str, Any], Rows]], run_id: str = RUN_ID, subject: str = SUBJECT
) -> RunFolder:
    """(values, rows) of each repeat."""
    folder = RunFolder(root / run_id)
    folder.path.mkdir(parents=True)
    base = {"schema_version": 1, "run_id": run_id}
    observations = []
    for number, (told, found) in enumerate(repeats, start=1):
        path = f"samples/{number}.jsonl"
        (folder.path / "samples").mkdir(exist_ok=True)
        data = "".join(json.dumps(row) + "\n" for row in found).encode()
        (folder.path / path).write_bytes(data)
        reference = {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "rows": len(found)}
        observations.append(
            {**base, "at": f"2026-11-22T18:3{number}:00.000000Z", "suite": SUITE, "scenario": SCENARIO,
             "subject": subject, "kind": "policy_latency", "repeat": number, "parameters": {}, "values": told,
             "samples": reference}
        )  # fmt: skip
    named = {"suite": SUITE, "scenario": SCENARIO, "subject": subject, "repeats": len(repeats)}
    plan = {**base, "created_at": "2026-11-22T18:30:00Z", "stages": [],
            "records": [{**named, "metric": metric} for metric in METRICS], "parameters": {}}  # fmt: skip
    (folder.path / "plan.json").write_text(json.dumps(plan))
    (folder.path / "run.json").write_text(json.dumps({**base, "started_at": "2026-11-22T18:30:00Z"}))
    (folder.path / "observations.jsonl").write_text("".join(json.dumps(one) + "\n" for one in observations))
    return folder
