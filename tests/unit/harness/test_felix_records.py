# SPDX-License-Identifier: GPL-3.0-or-later
"""A start of Felix is published in its parts, and what only a probe's period adds is no part of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.felix.starts import by_probe
from harness.model import Record
from harness.report import report
from tests.fakes.felix_run_builder import Rows, build, rows, values

Edit = Callable[[Rows, dict[str, Any]], None]


def records(root: Path, *edits: Edit, repeats: int = 1) -> dict[str, Record]:
    made = []
    for number in range(repeats):
        found, told = rows(number / 100), values()
        for edit in edits:
            edit(found, told)
        made.append((told, found))
    return {record.metric: record for record in report(build(root, made)).records}


def test_each_part_is_the_median_over_starts_and_nodes_with_an_interval_over_repeats(tmp_path: Path) -> None:
    found = records(tmp_path, repeats=3)
    assert {metric: record.value for metric, record in found.items()} == pytest.approx(
        {
            "felix_started_to_ready_seconds": 1.26,
            "felix_started_to_logged_seconds": 0.11,
            "felix_logged_to_in_sync_seconds": 0.4,
            "felix_in_sync_to_applied_seconds": 0.4,
            "felix_applied_to_ready_seconds": 0.35,
        }
    )
    whole = found["felix_started_to_ready_seconds"]
    assert ({record.verdict for record in found.values()}, whole.n, len(whole.repeats)) == ({"measured"}, 12, 3)
    assert whole.ci is not None and whole.ci.low < 1.26 < whole.ci.high
    assert {metric: record.resolution for metric, record in found.items()} == {
        "felix_started_to_ready_seconds": 0.012,
        "felix_started_to_logged_seconds": 0.01,
        "felix_logged_to_in_sync_seconds": 0.001,
        "felix_in_sync_to_applied_seconds": 0.001,
        "felix_applied_to_ready_seconds": 0.012,
    }


def test_the_probes_share_is_calculated_beside_the_records_and_is_none(tmp_path: Path) -> None:
    found = records(tmp_path)
    assert not [metric for metric in found if "probe" in metric]
    page = " ".join((tmp_path / "20261122T183000Z-1a2b/report.html").read_text().split())
    assert "Calculated, not measured" in page
    # 1.25 s in the middle: a probe of 10 s makes 10 s of it, of which it is seven eighths.
    assert '<th scope="row">10 s</th><td>10 s</td><td>87.5 %</td>' in page


@pytest.mark.parametrize(
    ("answered", "period", "ready"), [(1.2, 1.0, 2.0), (0.4, 10.0, 10.0), (10.0, 10.0, 10.0), (31.0, 30.0, 60.0)]
)
def test_a_probe_sees_what_is_ready_when_it_looks_next(answered: float, period: float, ready: float) -> None:
    assert by_probe(answered, period) == ready


def row(**changes: Any) -> Edit:
    return lambda found, told: found[0].update(changes)


def tell(**changes: Any) -> Edit:
    return lambda found, told: told.update(changes)


BROKEN: list[tuple[Edit, str]] = [
    (row(first_apply=None, failure="first_apply not seen"), "starts_accounted_for: 4 seen whole of 4 asked"),
    (lambda found, told: found.pop(), "starts_accounted_for: 4 seen whole of 4 asked, 3 rows"),
    (row(start=2), "starts_accounted_for: 4 seen whole of 4 asked, 4 rows, 3 of them different"),
    (tell(done=3), "starts_accounted_for: 3 seen whole of 4 asked"),
    (tell(plan={"starts": 3, "nodes": 2}), "starts_accounted_for"),
    (row(times_started=2), "started_once: 1 with others, e.g. real-0 2 times"),
    (row(in_sync=0.05), "moments_in_order: felix_logged_to_in_sync_seconds of real-0, start 1"),
    (row(resolution=0.4), "looked_often: 400 ms"),
    (tell(dataplane={"asked": "nftables", "observed": "iptables", "holds": False, "reason": "iptables"}),
     "dataplane_as_asked: iptables"),
    (tell(machine={"cpus": 2, "steal_ratio": 0.3}), "cpu_not_stolen"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "reason"), BROKEN)
def test_a_start_that_is_not_what_it_claims_is_invalid(tmp_path: Path, edit: Edit, reason: str) -> None:
    found = records(tmp_path, edit)
    assert {record.verdict for record in found.values()} == {"invalid"}
    assert reason in found["felix_started_to_ready_seconds"].reason


def test_moments_that_differ_by_less_than_can_be_seen_are_no_contradiction(tmp_path: Path) -> None:
    found = records(tmp_path, lambda found, told: [one.update(answers_ready=0.895) for one in found] and None)
    assert found["felix_applied_to_ready_seconds"].verdict == "measured"
    assert found["felix_applied_to_ready_seconds"].value == 0
