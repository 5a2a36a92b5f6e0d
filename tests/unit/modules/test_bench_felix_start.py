# SPDX-License-Identifier: GPL-3.0-or-later
"""Each start of many Felixes is taken apart; whatever goes wrong is said, and they run in the end."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import calico_restart
from ansible.module_utils.nightbench.port_choice import free_port
from ansible.module_utils.nightbench.process_record import Records
from ansible.modules import bench_felix_start, bench_process

from tests.conftest import RunModule

PROGRAM = Path(__file__).parents[2] / "fakes/felix_start.py"
#: In sync, applied and ready so long after the moment before.
PLANTED = (0.3, 0.1, 0.2)
TAKEN: set[int] = set()
MOMENTS = ("process_started", "in_sync", "first_apply", "answers_ready")


def felix(name: str, *more: str, program: Path = PROGRAM) -> dict[str, Any]:
    port = free_port(TAKEN)
    TAKEN.add(port)
    argv = [sys.executable, str(program), str(port), *map(str, PLANTED), *more]
    ready = {"url": f"http://127.0.0.1:{port}/readiness", "timeout_seconds": 60}
    return {"process": {"name": f"felix-{name}", "argv": argv, "ready": ready, "stop_seconds": 1}}


@pytest.fixture
def state(tmp_path: Path, run_module: RunModule) -> Iterator[Path]:
    yield tmp_path
    run_module(bench_process, state="stopped", run_state=str(tmp_path)).ok()


def running(run_module: RunModule, state: Path) -> list[str]:
    found = run_module(bench_process, state="info", run_state=str(state)).ok()["processes"]
    return sorted(one["name"] for one in found if one["running"])


def test_planted_parts_of_every_start_are_found_again(run_module: RunModule, state: Path) -> None:
    given = {
        "felix": {name: felix(name) for name in ("a", "b")},
        "starts": 2,
        "run_state": str(state),
        "samples_path": str(state / "samples.jsonl"),
    }
    result = run_module(bench_felix_start, **given).ok()
    assert result["values"]["plan"] == {"starts": 2, "nodes": 2, "poll_seconds": 0.01}
    assert (result["values"]["asked"], result["values"]["done"], result["values"]["failures"]) == (4, 4, [])
    rows = [json.loads(line) for line in (state / "samples.jsonl").read_text().splitlines()]
    assert [(row["start"], row["node"], row["times_started"]) for row in rows] == [
        (1, "a", 1), (1, "b", 1), (2, "a", 1), (2, "b", 1)
    ]  # fmt: skip
    for row in rows:
        moments = [row[name] for name in MOMENTS]
        parts = [after - before for before, after in itertools.pairwise(moments)]
        seen = (0.001, 0.001, row["resolution"])
        # A sleep is never shorter than it was asked to be; how much longer is the machine's.
        assert [part >= planted - gap for part, planted, gap in zip(parts, PLANTED, seen, strict=True)] == [True] * 3
    assert running(run_module, state) == ["felix-a", "felix-b"]


def test_a_log_that_lacks_a_moment_is_no_whole_start(
    run_module: RunModule, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calico_restart, "LOG_SECONDS", 0.1)
    given = {"felix": {"a": felix("a"), "b": felix("b", "silent")}, "starts": 1, "run_state": str(state)}
    values = run_module(bench_felix_start, **given).ok()["values"]
    assert (values["asked"], values["done"]) == (2, 1)
    assert values["failures"] == ["in_sync, first_apply not seen"]


def test_one_that_dies_ends_the_measurement_with_its_log_and_the_looks_too(
    run_module: RunModule, state: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no datastore')\n")
    given = {"felix": {"a": felix("a"), "b": felix("b", program=broken)}, "starts": 1, "run_state": str(state)}
    failed = run_module(bench_felix_start, **given).failed()
    assert "felix-b" in failed.msg and "no datastore" in failed.msg


def test_a_run_that_is_asked_to_stop_stops_nothing_more(run_module: RunModule, state: Path) -> None:
    one = felix("a")
    run_module(bench_process, state="started", run_state=str(state), processes=[one["process"]]).ok()
    (state / "stop").touch()
    failed = run_module(bench_felix_start, felix={"a": one}, run_state=str(state)).failed()
    assert (failed["stopped"], running(run_module, state)) == (True, ["felix-a"])


def test_a_felix_stays_a_process_of_its_run(run_module: RunModule, state: Path) -> None:
    one = felix("a")
    run_module(bench_process, run_id="of-a-run", state="started", run_state=str(state), processes=[one["process"]]).ok()
    run_module(bench_felix_start, felix={"a": one}, starts=1, run_state=str(state)).ok()
    assert [record.run_id for record in Records(state).all()] == ["of-a-run"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"felix": {}}, "0 nodes"),
    ({"felix": {"a": {}}}, "a has no process"),
    ({"felix": {"a": "x"}}, "a has no process"),
    ({"felix": {"a": {"process": {"argv": ["x"]}}}}, "missing required arguments: name"),
    ({"felix": {"a": {"process": {"name": "x", "argv": ["x"]}}}}, "Each needs ready.url"),
    ({"felix": {"a": felix("a")}, "starts": 0}, "0 starts"),
    ({"felix": {"a": felix("a")}, "poll_seconds": 0.0}, "a look every 0 s"),
]


@pytest.mark.parametrize(("given", "words"), REFUSED)
def test_what_cannot_be_measured_is_refused_before_anything_stops(
    run_module: RunModule, tmp_path: Path, given: dict[str, Any], words: str
) -> None:
    for check in (True, False):
        assert words in run_module(bench_felix_start, check=check, run_state=str(tmp_path), **given).failed().msg
    assert os.listdir(tmp_path) == []


def test_check_mode_starts_nothing(run_module: RunModule, tmp_path: Path) -> None:
    given = {"felix": {"a": felix("a"), "b": felix("b")}, "run_state": str(tmp_path)}
    assert run_module(bench_felix_start, check=True, **given).ok()["asked"] == 6
    assert os.listdir(tmp_path) == []
