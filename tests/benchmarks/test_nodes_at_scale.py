# SPDX-License-Identifier: GPL-3.0-or-later
"""How long 3,000 and 14,000 fake nodes take until all are Ready, by the suite itself, and the memory of all of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.benchmark

#: Nodes → most seconds from the first create until the last one is Ready, on two processors.
SECONDS = {3_000: 60.0, 14_000: 240.0}
MOST_BYTES = 5e9


@pytest.mark.parametrize("count", SECONDS)
def test_fake_nodes_are_ready_in_time_and_in_memory(count: int, tmp_path: Path) -> None:
    given = {
        "nightbench_results_dir": str(tmp_path / "results"),
        "nightbench_state_dir": str(tmp_path / "state"),
        "calico_scale_nodes": count,
        "calico_scale_repeats": 1,
        "calico_scale_scenarios": ["nodes_at_scale"],
        "calico_bin_dir": "",
    }
    command = ["-m", "harness", "run", "nightly", "--tags", "environment,calico_scale", "-e", json.dumps(given)]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    (run,) = (tmp_path / "results").glob("*T*Z-*")
    assert (run / "observations.jsonl").exists(), done.stdout[-3000:] + done.stderr[-3000:]
    values = loads(run)
    ready = max(json.loads(line)["ready"] for line in samples(run).read_text().splitlines())
    memory = {name: each["max_bytes"] for name, each in values["memory"].items()}
    whole = sum(memory.values())
    told = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in sorted(memory.items(), key=lambda item: -item[1]))
    print(f"\n{count} nodes: created in {values['create_seconds']:.1f} s, all Ready after {ready:.1f} s, "
          f"ratio {ready / SECONDS[count]:.2f}")  # fmt: skip
    print(f"{whole / 1e9:.2f} GB in all, ratio {whole / MOST_BYTES:.2f}: {told}")
    print(f"other work took {values['machine']['other_cpu_ratio']:.0%} of the machine")
    assert values["ready"] == count
    assert ready <= SECONDS[count]
    assert whole <= MOST_BYTES


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def loads(run: Path) -> dict[str, Any]:
    (found,) = (item["values"] for item in lines(run / "observations.jsonl") if item["kind"] == "node_load")
    return dict(found)


def samples(run: Path) -> Path:
    return run / "samples" / "calico_scale" / "nodes_at_scale.1.jsonl"
