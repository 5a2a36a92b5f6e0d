# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from harness.orphans import end_orphans, stage_mark
from harness.processes import Process, end, recorded, start_time, this_process, with_variables
from harness.runner import SCRATCH, remove_stale_scratch
from harness.sequence import broken_suites

DEAF = (
    "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (2, 15)]; print('on', flush=True); time.sleep(60)"
)
PLAIN = "import time; print('on', flush=True); time.sleep(60)"
RUN = f"test-{os.getpid()}"


@pytest.fixture
def spawn() -> Iterator[object]:
    started = []

    def start(program: str, **variables: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", program], env=os.environ | variables, stdout=subprocess.PIPE, text=True
        )
        started.append(child)
        assert child.stdout.readline() == "on\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def identity(child: subprocess.Popen[str]) -> Process:
    return Process(child.pid, start_time(child.pid))


def test_a_process_is_its_pid_and_its_start_time(spawn):
    child = spawn(PLAIN)
    process = identity(child)
    assert process.alive
    assert not Process(child.pid, process.start_time + 1).alive
    child.kill()
    child.wait()
    assert not process.alive


def test_processes_are_found_by_a_variable_and_by_its_beginning(spawn):
    child = identity(spawn(PLAIN, NIGHTBENCH_STAGE=f"{RUN}/03__x"))
    assert with_variables([f"NIGHTBENCH_STAGE={RUN}/03__x"]) == [child]
    assert with_variables([f"NIGHTBENCH_STAGE={RUN}/*"]) == [child]
    assert with_variables([f"NIGHTBENCH_STAGE={RUN}/03"]) == []
    assert with_variables([]) == []


def test_one_that_does_not_listen_is_forced_and_a_spared_one_lives(spawn):
    deaf, spared = (identity(spawn(program, NIGHTBENCH_STAGE=f"{RUN}/1")) for program in (DEAF, PLAIN))
    assert end(lambda: with_variables([f"NIGHTBENCH_STAGE={RUN}/1"]), {spared}, 0.4) == [deaf]
    assert (deaf.alive, spared.alive) == (False, True)


def test_orphans_of_a_stage_are_ended_and_its_daemons_stay(spawn, tmp_path):
    mark = stage_mark(RUN, "02__environment")
    orphan, daemon, other = (
        identity(spawn(PLAIN, NIGHTBENCH_STAGE=value)) for value in (mark, mark, stage_mark(RUN, "03__x"))
    )
    (tmp_path / "processes").mkdir()
    (tmp_path / "processes" / "etcd.json").write_text(json.dumps(vars(daemon)))
    assert end_orphans([mark], str(tmp_path)) == [orphan]
    assert [process.alive for process in (orphan, daemon, other)] == [False, True, True]
    assert end_orphans([], str(tmp_path)) == []
    assert end_orphans([mark], None) == [daemon]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "start_time": 1}', "null"])
def test_a_damaged_record_names_nobody(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    (tmp_path / "b.json").write_text('{"pid": 1, "start_time": 2}')
    assert recorded(tmp_path) == {Process(1, 2)}


def test_no_folder_has_no_records(tmp_path):
    assert recorded(tmp_path / "none") == set()


def test_scratch_of_a_killed_harness_is_removed_and_that_of_a_living_one_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    me = this_process()
    alive, dead = (f"{SCRATCH}{me.pid}.{ticks}-x" for ticks in (me.start_time, me.start_time + 1))
    for name in (alive, dead, f"{SCRATCH}odd", "other"):
        (tmp_path / name / "artifacts").mkdir(parents=True)
    assert remove_stale_scratch() == [tmp_path / dead]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([alive, f"{SCRATCH}odd", "other"])


@pytest.mark.parametrize(
    ("verdicts", "environment_failed", "broken"),
    [
        ({"one": "error", "two": "measured"}, False, {"one"}),
        ({"one": "not_runnable", "two": "fail"}, False, set()),
        ({"one": "not_runnable", "two": "invalid"}, True, {"one"}),
        ({}, True, set()),
    ],
)
def test_a_suite_whose_scenarios_broke_is_not_finished(verdicts, environment_failed, broken):
    records = [SimpleNamespace(suite=suite, verdict=verdict) for suite, verdict in verdicts.items()]
    assert broken_suites(records, environment_failed) == broken
