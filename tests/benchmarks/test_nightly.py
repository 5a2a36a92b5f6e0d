# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the newest nightly of 500 nodes in results/ took, and how much of it was neither set-up nor measuring."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.benchmark

ROOT = Path(__file__).resolve().parents[2]
NODES = 500
LIMIT_SECONDS = 480.0
LIMIT_SHARE = 0.10
#: Stages that are set-up or teardown as a whole; get the tools and fake nodes, remove them again.
NOT_OURS = ("environment", "teardown")
#: Tasks that bring the subject into the state that a load begins with: they stop and start the scheduler.
PREPARING = ("bench_process",)
#: Tasks that measure: the loads with their deletion, and the load generator against the null server.
MEASURING = ("bench_pod_load",)


def test_the_nightly_keeps_its_time_and_spends_it_on_measuring() -> None:
    run = newest()
    if run is None:
        pytest.skip(f"no finished nightly of {NODES} nodes in results/: make nightly first")
    told = json.loads((run / "run.json").read_text())
    total = (moment(told["ended_at"]) - moment(told["started_at"])).total_seconds()
    windows, preparing = spent(run, MEASURING), spent(run, PREPARING)
    around = sum(span(run, stage) for stage in run.glob("stages/*") if stage.name.partition("__")[2] in NOT_OURS)
    share = (total - windows - around) / total
    print(f"\n{run.name}: {total:.0f} s of {LIMIT_SECONDS:.0f} s allowed, ratio {total / LIMIT_SECONDS:.2f}")
    print(f"measured windows {windows:.0f} s, set-up and teardown {around:.0f} s")
    print(f"the rest {share:.1%} of {LIMIT_SHARE:.0%} allowed, ratio {share / LIMIT_SHARE:.2f}")
    print(f"of it {preparing / total:.1%} stop and start the scheduler before each load")
    assert total <= LIMIT_SECONDS
    assert share <= LIMIT_SHARE


def newest() -> Path | None:
    """The newest finished run of the whole nightly at this size."""
    for run in sorted((ROOT / "results").glob("*T*Z-*"), reverse=True):
        try:
            told = json.loads((run / "run.json").read_text())
            observed = [json.loads(line) for line in (run / "observations.jsonl").read_text().splitlines()]
        except (OSError, ValueError):
            continue
        sizes = [item["values"].get("asked") for item in observed if item["kind"] == "nodes"]
        loads = [item for item in observed if item["kind"] == "pod_load"]
        if told.get("ended_at") and sizes == [NODES] and len(loads) == 6:
            return run
    return None


def spent(run: Path, actions: tuple[str, ...]) -> float:
    """Seconds of all tasks with one of these modules outside the stages that are set-up or teardown as a whole."""
    return sum(
        event["seconds"]
        for stage in run.glob("stages/*")
        if stage.name.partition("__")[2] not in NOT_OURS
        for event in events(stage)
        if event.get("action") in actions and "seconds" in event
    )


def events(stage: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (stage / "events.jsonl").read_text().splitlines()]


def span(run: Path, stage: Path) -> float:
    """Seconds from the first to the last event of a stage."""
    moments = [moment(event["at"]) for event in events(stage)]
    return (max(moments) - min(moments)).total_seconds()


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
