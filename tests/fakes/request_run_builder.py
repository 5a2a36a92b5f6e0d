# SPDX-License-Identifier: GPL-3.0-or-later
"""The results folder of requests that never were."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.requests.load import DISTRIBUTIONS, FAILED, FAIRNESS, GOODPUT, LOADED_SHARE, OUTCOMES, WAIT_FAIRNESS
from harness.results import RunFolder

RUN_ID = "20261123T090000Z-1a2b"
SUITE, SCENARIO, SUBJECT = "workload_patterns", "low_latency_inference", "real_nodes"
METRICS = (*DISTRIBUTIONS, GOODPUT, FAILED, FAIRNESS, LOADED_SHARE, WAIT_FAIRNESS)
Rows = list[dict[str, Any]]
SERVICES = ("chat", "code")


def rows(count: int = 800, latency: float = 0.1, seed: int = 1) -> Rows:
    """Of two services, each by chance alone at 40 a second; every answer of 5 items took `latency`.

    Every fourth did not find its model in memory.
    """
    found = []
    for service in SERVICES:
        source, at = random.Random(f"{seed}/{service}"), 0.0
        for number in range(count // len(SERVICES)):
            found.append(
                {
                    "service": service,
                    "generator": "generator-0",
                    "due_seconds": round(at, 6),
                    "outcome": "answered",
                    "delay_seconds": 0.0002,
                    "first_item_seconds": round(latency / 5, 6),
                    "latency_seconds": latency,
                    "planted_seconds": 0.06,
                    "items": 5,
                    "status": 200,
                    "input": 10,
                    "output": 5,
                    "model_loaded": number % 4 > 0,
                    "reason": "",
                }
            )
            at += source.expovariate(40)
    return found


def values(found: Rows) -> dict[str, Any]:
    """What the module says of these rows."""
    counts = {name: Counter(row["outcome"] for row in found if row["service"] == name) for name in SERVICES}
    arrivals = {"kind": "poisson", "planned": {"rate": 40.0, "stride": 1}, "distance": 0.02, "distance_most": 0.1}
    service = {"requests": len(found) // 2, "objectives": {"latency_seconds": 0.2}, "arrivals": arrivals}
    return {
        "plan": {"services": {name: json.loads(json.dumps(service)) for name in SERVICES}, "requests": len(found)},
        "asked": len(found),
        "done": len(found),
        "services": {name: {outcome: counts[name][outcome] for outcome in OUTCOMES} for name in SERVICES},
        "generators": {"generator-0": {"cpu_ratio_of_core": 0.2}},
        "clock": {"name": "each load generator's monotonic clock"},
        "machine": {"cpus": 2, "cpu_busy_ratio": 0.3, "steal_ratio": 0.0, "other_cpu_ratio": 0.3, "processes": {}},
    }


def build(root: Path, repeats: Sequence[tuple[Mapping[str, Any], Rows]]) -> RunFolder:
    """(values, rows) of each repeat."""
    folder = RunFolder(root / RUN_ID)
    (folder.path / "samples").mkdir(parents=True)
    base = {"schema_version": 1, "run_id": RUN_ID}
    observations = []
    for number, (told, found) in enumerate(repeats, start=1):
        path = f"samples/{number}.jsonl"
        data = "".join(json.dumps(row) + "\n" for row in found).encode()
        (folder.path / path).write_bytes(data)
        reference = {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "rows": len(found)}
        observations.append(
            {**base, "at": f"2026-11-23T09:0{number}:00.000000Z", "suite": SUITE, "scenario": SCENARIO,
             "subject": SUBJECT, "kind": "request_load", "repeat": number, "parameters": {}, "values": told,
             "samples": reference}
        )  # fmt: skip
    named = {"suite": SUITE, "scenario": SCENARIO, "subject": SUBJECT, "repeats": len(repeats)}
    plan = {**base, "created_at": "2026-11-23T09:00:00Z", "stages": [],
            "records": [{**named, "metric": metric} for metric in METRICS], "parameters": {}}  # fmt: skip
    (folder.path / "plan.json").write_text(json.dumps(plan))
    (folder.path / "run.json").write_text(json.dumps({**base, "started_at": "2026-11-23T09:00:00Z"}))
    (folder.path / "observations.jsonl").write_text("".join(json.dumps(one) + "\n" for one in observations))
    return folder
