# SPDX-License-Identifier: GPL-3.0-or-later
"""What the reports show of a mesh: every cell, grey without proof, and no text that is more than a text."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import duckdb
import pytest

from harness import judge, report
from harness.errors import ResultsError
from harness.mesh import figures, section
from harness.mesh.cells import CELLS, COUNTERS, Mesh
from harness.results import RunFolder
from tests.fakes.mesh_run_builder import FULL, ISOLATED, RINGS, SUITE, MeshShape, build, cells, fail, mesh, recount
from tests.fakes.run_builder import Run

GROUPS = (("mesh", 2), ("mg", 8))
SMALL = MeshShape(groups=GROUPS)
HOSTILE = '</script><script>alert(1)</script> | `x` "z" <img src=x>'


def meshes(run: RunFolder, scenario: str = RINGS) -> list[Mesh]:
    return [one for one in judge.gather(run).loads[SUITE, scenario, "eth0"] if isinstance(one, Mesh)]


def one_fails_one_is_unproven(run: Run) -> None:
    fail(cells(run)[0], HOSTILE)
    cells(run)[1]["remote_is_local"] = True
    recount(run)


def charts_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def test_the_page_of_the_full_mesh_is_light_and_needs_nothing_else(tmp_path: Path) -> None:
    page = report.report(build(tmp_path, MeshShape(groups=FULL))).html.read_text()
    assert len(page.encode()) < 7_000_000
    assert len(json.dumps(charts_of(page))) < 1_500_000
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert re.findall(r"""(?:src|href)=["']?(?!#|data:)[^"'> ]+""", markup) == []


def test_a_cell_without_proof_has_no_colour_and_says_why(tmp_path: Path) -> None:
    run = build(tmp_path, SMALL, edits=[one_fails_one_is_unproven])
    drawn = figures.heatmap(meshes(run))
    heat, failed, unproven = drawn["data"]
    pods = figures.pods_of(meshes(run))
    grey = {(row, column) for row in range(10) for column in range(10) if heat["z"][row][column] is None}
    places = [(pods.names.index(row["source"]), pods.names.index(row["target"])) for row in run_rows(run)[:2]]
    assert grey == {(place, place) for place in range(10)} | set(places)
    assert [(failed["y"], failed["x"]), (unproven["y"], unproven["x"])] == [([row], [column]) for row, column in places]
    assert unproven["text"] == [
        "mesh-1 → mg-0<br>not proven: the remote address 198.18.0.12 is one of the source's own"
    ]
    assert heat["text"][2][3].startswith("mg-0 → mg-1<br>198.18.0.12 → 198.18.0.13, 1 proven<br>1.193 MiB in 1 s")


def run_rows(run: RunFolder) -> list[dict[str, Any]]:
    path = run.path / f"samples/{SUITE}/{RINGS}.1.eth0.cells.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_pods_stand_by_group_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    pods = figures.pods_of(meshes(build(tmp_path, MeshShape(groups=(("mesh", 2), ("mg", 12))))))
    assert pods.names == ["mesh-0", "mesh-1", *(f"mg-{number}" for number in range(12))]
    assert pods.groups == [("mesh", 0, 1), ("mg", 2, 13)]


def test_both_directions_of_a_connection_are_two_cells_of_the_map(tmp_path: Path) -> None:
    half = MeshShape(groups=GROUPS, direction="both", slow=lambda s, r, here, there: 0.5 if s == "mg-2" else 1.0)
    run = build(tmp_path, half)
    rows = figures.heatmap(meshes(run))["data"][0]["z"]
    assert max(value for value in rows[4] if value is not None) < 6
    assert min(value for value in rows[3] if value is not None) > 9


@pytest.mark.parametrize("shape", [SMALL, MeshShape(groups=GROUPS, asked=None), MeshShape(groups=GROUPS, repeats=3)])
def test_every_chart_has_something_to_show(tmp_path: Path, shape: MeshShape) -> None:
    found = section.of(meshes(build(tmp_path, shape)), [])
    assert [chart.name for chart in found.charts] == ["heatmap", "distribution", "rounds", "retransmits", "processors"]
    rounds = next(chart for chart in found.charts if chart.name == "rounds").data["data"]
    assert len(rounds) == shape.repeats + (shape.asked is not None)
    assert all(len(trace["x"]) == len(trace["y"]) == 9 for trace in rounds)


def test_a_mesh_in_which_nothing_was_done_is_shown_all_the_same(tmp_path: Path) -> None:
    def all_fail(run: Run) -> None:
        for row in cells(run):
            fail(row, "unable to connect to server")
        recount(run)

    found = section.of(meshes(build(tmp_path, SMALL, edits=[all_fail])), [])
    assert [chart.name for chart in found.charts] == ["heatmap"]
    assert ("failed", "unable to connect to server", "90", "mesh-0 → mesh-1 in round 0") in found.tables[-1].rows
    assert found.remarks[0] == "0 of 90 cells are proven."


def test_what_was_offered_stands_beside_what_came_about(tmp_path: Path) -> None:
    found = section.of(meshes(build(tmp_path, MeshShape(groups=FULL, asked=1.25e9))), [])
    offered = found.tables[0]
    assert [row[:2] for row in offered.rows] == [
        ("one connection", "10 Gb/s"),
        ("49 cells at a time", "490 Gb/s"),
        ("all 2,352 cells", "23.52 Tb/s"),
        ("all 4,704 cells of all interfaces", "47.04 Tb/s"),
        ("possible at all", "yes"),
    ]
    assert [row[2] for row in offered.rows][2:4] == ["–", "–"]
    assert found.remarks[1] == (
        "At most 49 cells ran at a time, which offered 490 Gb/s; "
        "all 2,352 at once would be 23.52 Tb/s, and did not run."
    )


def test_alone_and_beside_others_stand_side_by_side(tmp_path: Path) -> None:
    run = build(tmp_path, MeshShape(groups=GROUPS, scenarios=(ISOLATED, RINGS), reached=0.5))
    found = section.of(meshes(run), meshes(run, ISOLATED))
    beside = next(table for table in found.tables if table.title == "Alone and beside others")
    assert [row[0] for row in beside.rows] == ["alone", "beside others", "ratio, pair by pair"]
    assert beside.rows[0][2] == "90 pairs, one at a time"
    assert beside.rows[2][1].startswith("49.9") or beside.rows[2][1].startswith("50")


def test_what_is_slow_stands_in_every_report(tmp_path: Path) -> None:
    shape = MeshShape(groups=GROUPS, slow=lambda s, r, here, there: 0.5 if s == "mg-3" else 1.0)
    run = build(tmp_path, shape)
    page = report.report(run).html.read_text()
    text = "sender mg-3: 50% slower than the others (9 cells)"
    assert f"Slow: {text}." in page
    assert f"* Slow: {text}." in (run.path / "summary.md").read_text()
    assert text in (run.path / "junit.xml").read_text()
    assert "No sender" not in page


def test_where_nothing_is_slow_the_reports_say_so(tmp_path: Path) -> None:
    run = build(tmp_path, SMALL)
    report.report(run)
    assert "* No sender, receiver, node or link is slower than chance explains" in (run.path / "summary.md").read_text()


def test_a_hostile_reason_stays_a_text(tmp_path: Path) -> None:
    run = build(tmp_path, SMALL, edits=[one_fails_one_is_unproven])
    page = report.report(run).html.read_text()
    assert "<script>alert(1)" not in page
    assert "<img src=x>" not in page
    charts = charts_of(page)
    shown = charts[f"{SUITE}-{RINGS}-eth0-heatmap"]["data"][1]["text"][0]
    # Plotly makes markup of a few tags in its texts: only our own line break is one.
    assert shown == 'mesh-0 → mesh-1<br>failed: &lt;/script>&lt;script>alert(1)&lt;/script> | `x` "z" &lt;img src=x>'
    assert ET.parse(run.path / "junit.xml").getroot().find(".//error") is not None


def test_the_pods_are_not_called_other_work(tmp_path: Path) -> None:
    """Nobody names their processes, and most of the machine is theirs."""
    page = report.report(build(tmp_path, SMALL)).html.read_text()
    assert "Pods and other work" in page
    assert ">Other work" not in page
    assert "Other work took" not in page


def test_cells_and_counters_become_parquet(tmp_path: Path) -> None:
    run = build(tmp_path, MeshShape(groups=GROUPS, repeats=2))
    record = report.report(run).records[0]
    assert record.samples is not None
    assert record.samples.path == f"samples/{SUITE}/{RINGS}.eth0.parquet"
    found = {}
    for name in (".parquet", ".counters.parquet"):
        path = str(run.path / f"samples/{SUITE}/{RINGS}.eth0{name}")
        with duckdb.connect() as connection:
            table = connection.execute("SELECT * FROM read_parquet(?)", [path])
            found[name] = ([column[0] for column in table.description], len(table.fetchall()))
    assert found == {
        ".parquet": (["repeat", *CELLS], 2 * 90),
        ".counters.parquet": (["repeat", *COUNTERS], 2 * 9 * 10 * 3),
    }


def test_samples_that_were_altered_leave_no_parquet_file(tmp_path: Path) -> None:
    run = build(tmp_path, SMALL)
    report.report(run)
    with (run.path / f"samples/{SUITE}/{RINGS}.1.eth0.counters.jsonl").open("a") as file:
        file.write("{}\n")
    report.report(run)
    left = sorted(path.name for path in run.path.rglob("*.parquet"))
    assert left == [f"{RINGS}.net1.counters.parquet", f"{RINGS}.net1.parquet"]


def test_reporting_again_writes_the_same(tmp_path: Path) -> None:
    run = build(tmp_path, SMALL, edits=[one_fails_one_is_unproven])
    report.report(run)
    first = {path.name: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    report.report(run)
    assert {path.name: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == first


def test_an_observation_of_another_shape_is_refused_where_it_stands(tmp_path: Path) -> None:
    def broken(run: Run) -> None:
        del mesh(run)["values"]["plan"]

    run = build(tmp_path, SMALL, edits=[broken])
    with pytest.raises(ResultsError, match="'plan' is a required property"):
        report.report(run)
