# SPDX-License-Identifier: GPL-3.0-or-later
"""The results folder of starts of Felix that never were."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.felix.starts import LEGS
from harness.results import RunFolder

RUN_ID, STARTS, NODES = "20261122T183000Z-1a2b", 2, ("real-0", "real-1")
NAMED = {"suite": "calico_scale", "scenario": "felix_start", "subject": "calico_nftables"}
Rows = list[dict[str, Any]]


def rows(shift: float = 0.0) -> Rows:
    """Ready after 1.2 s on the first node, and 1.3 s on the second."""
    return [
        {"start": start, "node": node, "process_started": 0.1 + shift, "in_sync": 0.5 + shift,
         "first_apply": 0.9 + shift, "answers_ready": 1.2 + number / 10 + shift, "resolution": 0.012,
         "times_started": 1, "failure": None}
        for start in range(1, STARTS + 1) for number, node in enumerate(NODES)
    ]  # fmt: skip


def values() -> dict[str, Any]:
    asked = STARTS * len(NODES)
    return {
        "plan": {"starts": STARTS, "nodes": len(NODES), "poll_seconds": 0.01},
        "asked": asked,
        "done": asked,
        "failures": [],
        "dataplane": {"asked": "nftables", "observed": "nftables", "holds": True, "reason": "nftables on all 2 nodes"},
        "machine": {"cpus": 2, "cpu_busy_ratio": 0.4, "steal_ratio": 0.0, "other_cpu_ratio": 0.02, "processes": {}},
    }


def build(root: Path, repeats: list[tuple[Mapping[str, Any], Rows]]) -> RunFolder:
    folder = RunFolder(root / RUN_ID)
    (folder.path / "samples").mkdir(parents=True)
    base = {"schema_version": 1, "run_id": RUN_ID}
    parameters = {"load": {"starts": STARTS, "probe_periods": [1, 10]}}
    observations = []
    for number, (told, found) in enumerate(repeats, start=1):
        data = "".join(json.dumps(row) + "\n" for row in found).encode()
        (folder.path / f"samples/{number}.jsonl").write_bytes(data)
        samples = {"path": f"samples/{number}.jsonl", "sha256": hashlib.sha256(data).hexdigest(), "rows": len(found)}
        observations.append(
            {**base, **NAMED, "at": f"2026-11-22T18:3{number}:00.000000Z", "kind": "felix_start", "repeat": number,
             "parameters": parameters, "values": told, "samples": samples}
        )  # fmt: skip
    records = [{**NAMED, "metric": metric, "repeats": len(repeats)} for metric in LEGS]
    plan = {**base, "created_at": "2026-11-22T18:30:00Z", "stages": [], "records": records, "parameters": {}}
    (folder.path / "plan.json").write_text(json.dumps(plan))
    (folder.path / "run.json").write_text(json.dumps({**base, "started_at": "2026-11-22T18:30:00Z"}))
    (folder.path / "observations.jsonl").write_text("".join(json.dumps(one) + "\n" for one in observations))
    return folder
