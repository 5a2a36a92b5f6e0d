# SPDX-License-Identifier: GPL-3.0-or-later
"""The selection guide is made of records: numbers, intervals, grades among the measured, what became of each claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.model import BoundBy
from harness.report import report
from harness.results import RunFolder
from harness.workload import guide
from tests.fakes.workload_run_builder import RUN_ID, Rows, build, pod, step, values

CLAIM = {"latency": "High", "throughput": "High", "resource_usage": "Sustained", "cost": "Low", "complexity": "Medium"}
METRICS = ["gang_start_seconds", "gpus_held_most", "usd_per_thousand_units", "manifest_fields"]


def gang(seconds: float, gpus: int) -> Rows:
    again = [step("restart", 5.0, 6.0), pod("restart", "a-1", 5.5, gpus=gpus)]
    return [step("start", 0.0, seconds), pod("start", "a-0", 0.1, 0.1, gpus=gpus, gone=5.0), *again]


def pattern(seconds: Sequence[float], gpus: int, fields: int, claim: dict[str, str] | None = None) -> Any:
    repeats = []
    for one in seconds:
        rows = gang(one, gpus)
        told = values(rows, pattern={"title": f"Gang of {gpus}", "simulated": ["x"], "seed": {"claim": claim or {}}})
        told["forms"]["plain"]["fields"] = fields
        repeats.append((told, rows))
    return METRICS, repeats


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = build(
        tmp_path,
        {
            "fast": pattern([0.9, 1.0, 1.1], 1, 10),
            "middle": pattern([2.0, 2.0, 2.0], 2, 20),
            "slow": pattern([3.0, 3.0, 3.0], 4, 30, CLAIM),
        },
    )
    report(folder)
    return folder


def cells(run: RunFolder, scenario: str) -> dict[str, tuple[str, str, str]]:
    lines = {line.scenario: line for line in guide.made(run.records(), run.observations())}
    return {name: (cell.text, cell.grade, cell.change) for name, cell in lines[scenario].cells.items()}


def test_each_cell_is_a_record_with_its_interval_its_grade_and_what_became_of_the_claim(run: RunFolder) -> None:
    assert cells(run, "slow") == {
        "latency": ("3 s ± 0 s", "High", "as claimed"),
        "throughput": ("simulated", "", "simulated"),
        "resource_usage": ("4 ± 0", "", "not comparable"),
        "cost": ("0.28 USD ± 0 USD", "High", "claimed Low, is High"),
        "complexity": ("30 ± 0", "High", "claimed Medium, is High"),
    }


def test_a_pattern_that_the_published_guide_lacks_has_no_claim(run: RunFolder) -> None:
    found = cells(run, "fast")
    assert {change for _, _, change in found.values()} == {"no claim"}
    assert found["latency"][1] == "Low"
    assert found["latency"][0].startswith("1 s ± 0.2")


def test_a_claim_is_undecided_where_the_interval_reaches_into_another_third(tmp_path: Path) -> None:
    folder = build(
        tmp_path,
        {
            "wide": pattern([0.5, 2.0, 5.0], 4, 30, CLAIM),
            "one": pattern([1.0, 1.0, 1.0], 1, 10),
            "once": pattern([3.0], 2, 20, CLAIM),
        },
    )
    report(folder)
    assert cells(folder, "wide")["latency"][1:] == ("Medium", "undecided")
    assert cells(folder, "once")["latency"] == ("3 s", "High", "undecided")
    assert "| Medium?: 2.5 s ± " in guide.markdown("r", guide.made(folder.records(), folder.observations()))


def test_a_claim_that_the_interval_does_not_reach_is_refuted_also_between_two_other_grades(tmp_path: Path) -> None:
    folder = build(
        tmp_path,
        {
            "between": pattern([0.5, 1.0, 1.5], 4, 30, CLAIM),
            "least": pattern([1.2, 1.2, 1.2], 1, 10),
            "most": pattern([30.0, 30.0, 30.0], 2, 20),
        },
    )
    report(folder)
    assert cells(folder, "between")["latency"][2] == "claimed High, is Low?"
    assert "| Low?: 1 s ± 1.2 s" in guide.markdown("r", guide.made(folder.records(), folder.observations()))


def test_what_is_counted_is_decided_by_one_repeat(tmp_path: Path) -> None:
    folder = build(
        tmp_path, {name: pattern([1.0], 1, fields, CLAIM) for name, fields in (("a", 1), ("b", 2), ("c", 3))}
    )
    report(folder)
    assert [cells(folder, name)["complexity"][2] for name in "abc"] == [
        "claimed Medium, is Low",
        "as claimed",
        "claimed Medium, is High",
    ]


def test_what_is_invalid_is_in_no_cell_and_leaves_too_few_for_grades(tmp_path: Path) -> None:
    metrics, repeats = pattern([3.0], 4, 30, CLAIM)
    told, rows = repeats[0]
    told["requests"]["failed"] = 1
    folder = build(tmp_path, {"bad": (metrics, [(told, rows)]), "good": pattern([1.0], 1, 10, CLAIM)})
    report(folder)
    assert cells(folder, "bad")["latency"] == ("not measured", "", "not measured")
    assert cells(folder, "good")["latency"] == ("1 s", "", "not comparable")


def test_the_command_prints_both_tables(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guide", RUN_ID, "--results-dir", str(run.path.parent)]) == 0
    out = capsys.readouterr().out
    assert "\nPrices: a price list.\n" in out
    assert "| Gang of 4 | High: 3 s ± 0 s (gang_start_seconds) | simulated |" in out
    became = "as claimed | simulated | not comparable | claimed Low, is High | claimed Medium, is High"
    assert f"| Gang of 4 | {became} |" in out


def test_who_asks_for_no_gpu_has_none_and_is_not_said_to_be_unmeasured(tmp_path: Path) -> None:
    folder = build(tmp_path, {name: pattern([1.0], gpus, 10) for name, gpus in (("cpus", 0), ("gpus", 1))})
    report(folder)
    records = [one for one in folder.records() if one.metric != "gpus_held_most"]
    observations = folder.observations()
    for one in observations:
        one.values["pattern"]["infrastructure"] = [{"need": "gpus" if one.scenario == "gpus" else "storage"}]
    told = {line.scenario: line.cells["resource_usage"].text for line in guide.made(records, observations)}
    assert told == {"cpus": "none", "gpus": "not measured"}


def test_a_latency_that_something_else_bounds_says_so(run: RunFolder) -> None:
    bound = BoundBy("load_generator", "load generator", {"p99_seconds": 0.005}, 0.005, 0.037)
    records = [replace(one, bound_by=bound) if one.metric == "gang_start_seconds" else one for one in run.records()]
    text = guide.markdown("r", guide.made(records, run.observations()))
    assert "| High: 3 s ± 0 s (gang_start_seconds, bound by the load generator) |" in text


def test_a_run_without_patterns_is_said_to_have_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = build(tmp_path, {})
    report(folder)
    assert main(["guide", RUN_ID, "--results-dir", str(folder.path.parent)]) != 0
    assert "has no records of workload patterns" in capsys.readouterr().err
