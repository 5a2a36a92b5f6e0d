# SPDX-License-Identifier: GPL-3.0-or-later
"""What the records of a mesh say: their values, what they are the limit of, and nothing that did not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import judge, units
from harness.mesh import limits, metrics
from harness.mesh.cells import Mesh
from harness.model import Record
from harness.presentation import bound, bound_in_words
from harness.results import RunFolder
from tests.fakes.mesh_run_builder import (
    FULL,
    ISOLATED,
    METRICS,
    RINGS,
    SUITE,
    MeshShape,
    build,
    cells,
    fail,
    mesh,
    recount,
)
from tests.fakes.run_builder import Run

GROUPS = (("mesh", 2), ("mg", 8))
BOTH = (ISOLATED, RINGS)
RATIO = "mesh_concurrent_to_isolated_ratio"


def records(run: RunFolder, scenario: str = RINGS, subject: str = "eth0") -> dict[str, Record]:
    found = judge.records(judge.gather(run), {})
    return {record.metric: record for record in found if (record.scenario, record.subject) == (scenario, subject)}


def meshes(run: RunFolder, scenario: str = RINGS, subject: str = "eth0") -> list[Mesh]:
    return [one for one in judge.gather(run).loads[SUITE, scenario, subject] if isinstance(one, Mesh)]


def test_there_is_a_record_for_each_interface_with_its_proven_cells(tmp_path: Path) -> None:
    run = build(tmp_path, MeshShape(groups=GROUPS, repeats=3))
    found = {(r.subject, r.n, len(r.repeats)) for r in judge.records(judge.gather(run), {}) if r.quantiles}
    assert found == {("eth0", 3 * 90, 3), ("net1", 3 * 90, 3)}
    goodput = records(run)["goodput_bytes_per_second"]
    assert (goodput.unit, goodput.direction, goodput.clock) == ("bytes/s", "higher", metrics.CELL_CLOCK)
    assert goodput.value == pytest.approx(0.998 * 1.25e6, rel=0.002)
    assert goodput.ci is not None
    assert goodput.quantiles is not None
    assert goodput.quantiles["p99"] is None
    assert goodput.quantiles["p90"] is not None
    assert goodput.parameters["plan"] == {
        "kind": "rings",
        "pods": 10,
        "rounds": 9,
        "cells": 180,
        "interfaces": ["eth0", "net1"],
        "endless": False,
    }


def test_the_values_of_the_whole_mesh(tmp_path: Path) -> None:
    found = records(build(tmp_path, MeshShape(groups=GROUPS)))
    assert {name: found[name].value for name in ("mesh_cells_proven", "mesh_control_cpu_seconds")} == {
        "mesh_cells_proven": 90.0,
        "mesh_control_cpu_seconds": 0.61,
    }
    assert found["mesh_control_max_rss_bytes"].value == 41e6
    assert found["mesh_offered_ratio"].value == pytest.approx(0.998, abs=0.001)
    assert found["mesh_wall_seconds"].value == pytest.approx(8 * 1.5 + 1.02, abs=0.02)
    assert [found[name].verdict for name in METRICS] == ["measured"] * len(METRICS)


def test_what_runs_together_is_counted_over_the_time_it_took_and_rounds_are_not_added_up(tmp_path: Path) -> None:
    """Ten cells of 10 Mb/s at a time are 100 Mb/s less the time in which not all of them run; not 900."""
    found = records(build(tmp_path, MeshShape(groups=GROUPS)))["mesh_concurrent_goodput_bytes_per_second"]
    assert found.value == pytest.approx(10 * 1.25e6, rel=0.05)
    assert found.value is not None and found.value < 10 * 1.25e6


def test_the_capacity_of_the_full_mesh_is_pairs_times_rate() -> None:
    """4,704 connections of 10 Gb/s are 47 Tb/s, if all run at once; five times that was printed elsewhere."""
    assert units.show(metrics.capacity(4704, 1.25e9), "bytes/s") == "47.04 Tb/s"


def test_what_was_offered_at_a_time_is_that_of_one_round(tmp_path: Path) -> None:
    run = build(tmp_path, MeshShape(groups=FULL, asked=1.25e9, seconds=1.0))
    told = limits.offered(meshes(run), [])
    assert (told.cells, told.at_a_time, meshes(run)[0].rows_of_all) == (2352, 49, 4704)
    assert (units.show(told.offered_at_a_time, "bytes/s"), units.show(told.offered_by_all, "bytes/s")) == (
        "490 Gb/s",
        "23.52 Tb/s",
    )


BOUNDS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "load generator: 10 Mb/s offered", "The load: 10 Mb/s were asked of each connection, 9.979 Mb/s came about."),
    (
        {"reached": 0.6, "busy": 0.97},
        "machine: processors",
        "The machine: its processors were 97 % busy during the mesh.",
    ),
    (
        {"reached": 0.6, "cpu": 0.96},
        "load generator: iperf3's threads",
        "The load: iperf3 can use 1 cores for a connection, it used 0.96.",
    ),
    (
        {"reached": 0.6, "cpu": 0.96, "streams": 16, "version": "3.16"},
        "subject: eth0",
        "eth0 itself: no limit outside it was found.",
    ),
    ({"reached": 0.6}, "subject: eth0", "eth0 itself: no limit outside it was found."),
    ({"asked": None, "reached": 0.6}, "subject: eth0", "eth0 itself: no limit outside it was found."),
]


@pytest.mark.parametrize(("shape", "short", "sentence"), BOUNDS)
def test_what_the_goodput_is_the_limit_of(tmp_path: Path, shape: dict[str, Any], short: str, sentence: str) -> None:
    found = records(build(tmp_path, MeshShape(groups=GROUPS, metrics=("goodput_bytes_per_second",), **shape)))
    goodput = found["goodput_bytes_per_second"]
    assert bound(goodput.bound_by) == short
    assert bound_in_words(goodput).startswith(sentence)


def test_repeats_that_are_bound_by_different_things_say_so(tmp_path: Path) -> None:
    def busy(run: Run) -> None:
        mesh(run, repeat=2)["values"]["machine"]["cpu_busy_ratio"] = 0.99

    found = records(build(tmp_path, MeshShape(groups=GROUPS, repeats=3, reached=0.5), edits=[busy]))
    goodput = found["goodput_bytes_per_second"]
    assert goodput.bound_by is not None and goodput.bound_by.kind == "subject"
    assert "2 of 3 repeats were bound by subject (eth0)." in goodput.reason


@pytest.mark.parametrize(
    ("wall", "kind"), [(13.02, "load_generator"), (40.0, None), (5.0, None)], ids=["as planned", "late", "impossible"]
)
def test_the_time_of_a_mesh_is_that_of_its_plan(tmp_path: Path, wall: float, kind: str | None) -> None:
    def took(run: Run) -> None:
        mesh(run)["values"]["wall_seconds"] = wall

    found = records(build(tmp_path, MeshShape(groups=GROUPS), edits=[took]))["mesh_wall_seconds"]
    assert (found.bound_by.kind if found.bound_by else None) == kind
    if kind:
        assert bound_in_words(found) == "The load: 9 rounds of 1.5 s take 13.5 s, 13.02 s were seen."


POSSIBLE: list[tuple[dict[str, Any], dict[str, Any], bool | None, str]] = [
    ({}, {}, True, "It came about: 99.7"),
    ({"reached": 0.5, "alone": 0.8}, {}, False, "One connection alone reaches 8."),
    ({"reached": 0.5}, {"nic_bytes_per_second": 1.0e6}, False, "10 Mb/s were offered to one interface of 8 Mb/s."),
    ({"reached": 0.5, "busy": 0.95}, {}, False, "The machine's processors were 95 % busy with it."),
    ({"reached": 0.5, "cpu": 0.99}, {}, False, "iperf3 kept its 1 cores busy in most cells."),
    ({"reached": 0.5}, {}, None, "Nothing outside the interface was found"),
    ({"asked": None}, {}, None, "No rate was asked for"),
]


@pytest.mark.parametrize(("shape", "values", "possible", "why"), POSSIBLE)
def test_whether_what_was_offered_was_possible_at_all(
    tmp_path: Path, shape: dict[str, Any], values: dict[str, Any], possible: bool | None, why: str
) -> None:
    wanted = MeshShape(groups=GROUPS, scenarios=BOTH, **shape)
    run = build(tmp_path, wanted, edits=[lambda run: mesh(run)["values"].update(values)])
    told = limits.offered(meshes(run), meshes(run, ISOLATED))
    assert (told.possible, told.why[: len(why)]) == (possible, why)


def test_most_cells_may_come_to_it_and_some_not(tmp_path: Path) -> None:
    slow = MeshShape(groups=GROUPS, slow=lambda s, r, here, there: 0.2 if s == "mg-1" else 1.0)
    told = limits.offered(meshes(build(tmp_path, slow)), [])
    assert (told.possible, told.why) == (True, "Most cells came to it, all of them together to 91.8 % of it.")


def test_beside_others_against_alone(tmp_path: Path) -> None:
    shape = MeshShape(groups=GROUPS, scenarios=BOTH, reached=0.5, alone=1.0, metrics=(*METRICS, RATIO))
    run = build(tmp_path, shape)
    found = records(run)[RATIO]
    assert (found.verdict, found.n) == ("measured", 90)
    assert found.value == pytest.approx(0.5, rel=0.01)
    assert RATIO not in records(run, ISOLATED)


def test_without_the_mesh_of_single_pairs_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    found = records(build(tmp_path, MeshShape(groups=GROUPS, metrics=(RATIO,))))[RATIO]
    assert (found.verdict, found.value) == ("invalid", None)
    assert "1 of 1 repeats give no mesh_concurrent_to_isolated_ratio" in found.reason


@pytest.mark.parametrize("other", [{"streams": 4}, {"protocol": "udp"}, {"direction": "reverse"}])
def test_connections_of_another_kind_are_nothing_to_compare_with(tmp_path: Path, other: dict[str, Any]) -> None:
    shape = MeshShape(groups=GROUPS, scenarios=BOTH, metrics=(RATIO,))
    run = build(tmp_path, shape, edits=[lambda run: mesh(run, scenario=ISOLATED)["values"].update(other)])
    assert records(run)[RATIO].verdict == "invalid"


def test_a_mesh_in_which_nothing_was_done_has_no_goodput(tmp_path: Path) -> None:
    def all_fail(run: Run) -> None:
        for row in cells(run):
            fail(row, "unable to connect to server")
        recount(run)

    found = records(build(tmp_path, MeshShape(groups=GROUPS), edits=[all_fail]))
    assert (found["goodput_bytes_per_second"].verdict, found["mesh_cells_proven"].value) == ("invalid", 0.0)
    assert found["mesh_cells_proven"].reason == "0 of 90 cells are proven, 90 failed."


def test_one_server_for_all_at_once_is_told_by_its_count(tmp_path: Path) -> None:
    """One server a port serves one test at a time: of the others nobody may speak as if they had run."""

    def most_are_busy(run: Run) -> None:
        for row in cells(run)[10:]:
            fail(row, "the server is busy running a test. try again later")
        recount(run)

    shape = MeshShape(groups=GROUPS, objectives=(("mesh_cells_proven", {"min": 90}),))
    found = records(build(tmp_path, shape, edits=[most_are_busy]))
    assert (found["mesh_cells_proven"].value, found["mesh_cells_proven"].n) == (10.0, 1)
    assert found["mesh_cells_proven"].verdict == "fail"
    assert found["goodput_bytes_per_second"].verdict == "invalid"
    assert "no_server_busy: 80 of 90 by the samples" in found["goodput_bytes_per_second"].reason


@pytest.mark.parametrize(
    ("objective", "verdict", "reason"),
    [
        ({"min": 90}, "pass", "Objective ≥ 90: 90, 90 were proven. 180 of 180 cells are proven."),
        ({"min": 91}, "fail", "Objective ≥ 91: 90, 90 were proven. 180 of 180 cells are proven."),
        ({"max": 89}, "fail", "Objective ≤ 89: 90, 90 were proven. 180 of 180 cells are proven."),
    ],
)
def test_a_count_needs_no_interval_to_be_enough(
    tmp_path: Path, objective: dict[str, float], verdict: str, reason: str
) -> None:
    shape = MeshShape(groups=GROUPS, repeats=2, objectives=(("mesh_cells_proven", objective),))
    found = records(build(tmp_path, shape))["mesh_cells_proven"]
    assert (found.verdict, found.reason) == (verdict, reason)


def test_one_repeat_with_too_few_is_enough_to_fail(tmp_path: Path) -> None:
    def one_fails(run: Run) -> None:
        fail(cells(run, repeat=2)[0], "its pod is gone")
        recount(run, repeat=2)

    shape = MeshShape(groups=GROUPS, repeats=3, objectives=(("mesh_cells_proven", {"min": 90}),))
    assert records(build(tmp_path, shape, edits=[one_fails]))["mesh_cells_proven"].verdict == "fail"


def test_what_is_slow_is_said_in_the_reason(tmp_path: Path) -> None:
    shape = MeshShape(groups=GROUPS, slow=lambda s, r, here, there: 0.5 if r == "mg-3" else 1.0)
    found = records(build(tmp_path, shape))["goodput_bytes_per_second"]
    assert "Slow: receiver mg-3: 50% slower than the others (9 cells)." in found.reason


def test_a_mesh_without_an_observation_is_invalid(tmp_path: Path) -> None:
    run = build(tmp_path, MeshShape(groups=GROUPS), edits=[lambda run: run.observations.clear()])
    assert {(r.verdict, r.reason) for r in judge.records(judge.gather(run), {})} == {
        ("invalid", "never finished: it was planned and nothing was observed")
    }


def test_repeats_of_different_meshes_are_not_one(tmp_path: Path) -> None:
    def other(run: Run) -> None:
        mesh(run, repeat=2)["parameters"] = {"profile": "another"}

    found = records(build(tmp_path, MeshShape(groups=GROUPS, repeats=3), edits=[other]))
    assert {record.verdict for record in found.values()} == {"invalid"}
    assert "profile is 'another', not 'rings_local'" in found["mesh_cells_proven"].reason


def test_a_repeat_that_is_not_there_is_missed(tmp_path: Path) -> None:
    def lost(run: Run) -> None:
        run.observations.remove(mesh(run, repeat=2))

    found = records(build(tmp_path, MeshShape(groups=GROUPS, repeats=3), edits=[lost]))
    assert "all_repeats_present: repeats 1, 3 (expected repeats 1, 2, 3)" in found["mesh_cells_proven"].reason
