# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_session as a whole: what the stages of a run know of each other."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.modules import bench_run, bench_session, bench_stage_failure

from tests.conftest import ModuleResult, RunModule
from tests.fakes.project import ended, sleeper, write_project
from tests.unit.modules.test_bench_run import OTHER, RUN, as_if_owner_died, files, put_module, read

Call = Callable[..., ModuleResult]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("NIGHTBENCH_OWNER_PID", str(os.getpid()))
    return {
        "results_dir": str(tmp_path / "results"),
        "state_dir": str(tmp_path / "state"),
        "project_dir": str(write_project(tmp_path / "project")),
    }


@pytest.fixture
def begin(run_module: RunModule, places: dict[str, str]) -> Call:
    def run(run_id: str = RUN, state: str = "started", **parameters: Any) -> ModuleResult:
        return run_module(bench_run, run_id=run_id, state=state, state_min_bytes=1, **{**places, **parameters}).ok()

    return run


@pytest.fixture
def call(run_module: RunModule, places: dict[str, str]) -> Call:
    return lambda **parameters: run_module(bench_session, **{**places, **parameters})


def session_of(result: ModuleResult) -> dict[str, Any]:
    return dict(result["ansible_facts"]["nightbench_session"])


def test_a_stage_begins_in_its_folder_with_what_the_plan_expects_of_it(begin: Call, call: Call, tmp_path: Path) -> None:
    begin()
    session = session_of(call(stage="scheduler_scale").ok())
    folder = tmp_path / "results" / RUN / "stages" / "03__scheduler_scale"
    assert {key: session[key] for key in ("run_id", "stage", "stage_dir", "progress", "planned", "failed_stages")} == {
        "run_id": RUN,
        "stage": "scheduler_scale",
        "stage_dir": str(folder),
        "progress": str(folder / "progress.jsonl"),
        "planned": [
            {"scenario": "fill_off", "subject": "one"},
            {"scenario": "fill_on", "subject": "one"},
        ],
        "failed_stages": {},
    }
    assert files(folder) == ["command.txt"]


def test_an_unknown_stage_is_told_with_the_nearest(begin: Call, call: Call) -> None:
    begin()
    assert call(stage="enviroment").failed().msg == "There is no stage 'enviroment'; the nearest is 'environment'."


def test_without_a_run_it_says_how_to_get_one(call: Call, tmp_path: Path) -> None:
    failed = call(stage="environment").failed()
    assert (failed["exit_code"], failed.msg) == (
        2,
        (
            "There is no session: no run has been started. "
            "Run playbooks/start.yml first, or give -e nightbench_run_id=RUN-ID of a run that has not ended."
        ),
    )
    assert not (tmp_path / "state").exists()


def test_a_run_that_never_was_is_told(begin: Call, call: Call) -> None:
    begin()
    assert f"There is no session of run {OTHER}, and no results in" in call(run_id=OTHER).failed().msg


def test_a_run_of_a_living_stranger_is_not_touched(
    begin: Call, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sleeper() as stranger:
        monkeypatch.setenv("NIGHTBENCH_OWNER_PID", str(stranger.pid))
        begin()
        before = files(tmp_path)
        monkeypatch.setenv("NIGHTBENCH_OWNER_PID", str(os.getpid()))
        for parameters in ({}, {"run_id": RUN}):
            failed = call(stage="environment", **parameters).failed()
            assert (failed["exit_code"], "This machine is taken" in failed.msg) == (3, True)
        assert files(tmp_path) == before


def test_a_run_left_by_its_process_has_to_be_named(begin: Call, call: Call, tmp_path: Path) -> None:
    begin()
    as_if_owner_died(tmp_path)
    assert f"Go on with -e nightbench_run_id={RUN}" in call(stage="environment").failed().msg


def test_a_named_run_left_by_its_process_is_adopted(begin: Call, call: Call, tmp_path: Path) -> None:
    begin()
    as_if_owner_died(tmp_path)
    call(stage="environment", run_id=RUN).ok()
    owners = [read(tmp_path / "state" / name)["owner"]["pid"] for name in ("machine.json", f"runs/{RUN}/session.json")]
    assert owners == [os.getpid(), os.getpid()]
    call(stage="scheduler_scale").ok()


def test_a_machine_that_another_dead_run_has_is_not_shared(begin: Call, call: Call, tmp_path: Path) -> None:
    begin()
    begin(state="ended", keep_environment=True)
    kept = tmp_path / "state" / "runs" / RUN
    other = kept.with_name(OTHER)
    kept.rename(other)
    begin(run_id="20260102T000000Z-0a1b")  # reaps what was kept
    assert not other.exists()


@pytest.mark.parametrize(("ended_too", "rc"), [(False, 1), (True, 0)])
def test_a_run_that_has_ended_will_only_do_when_asked(begin: Call, call: Call, ended_too: bool, rc: int) -> None:
    begin()
    begin(state="ended")
    result = call(stage="teardown", run_id=RUN, ended_too=ended_too)
    assert result.rc == rc
    if ended_too:
        assert {key: session_of(result)[key] for key in ("run_id", "state", "kubeconfig")} == {
            "run_id": RUN,
            "state": None,
            "kubeconfig": None,
        }
    else:
        assert f"Run {RUN} has ended" in result.msg


def test_a_module_that_an_earlier_stage_left_at_work_is_ended(begin: Call, call: Call, tmp_path: Path) -> None:
    begin()
    state = tmp_path / "state" / "runs" / RUN
    with sleeper() as module:
        put_module(state, module.pid)
        result = call(stage="scheduler_scale").ok()
        assert ended(module)
    assert [one["pid"] for one in result["ended"]] == [module.pid]
    assert files(state / "modules") == []


@pytest.mark.parametrize(("stage", "rc"), [("environment", 1), ("teardown", 0)])
def test_a_run_that_was_asked_to_stop_only_begins_what_ends_it(
    begin: Call, call: Call, tmp_path: Path, stage: str, rc: int
) -> None:
    begin()
    stop = tmp_path / "state" / "runs" / RUN / "stop"
    stop.write_text("")
    result = call(stage=stage)
    assert (result.rc, stop.exists(), result.json.get("exit_code")) == (rc, rc == 1, 130 if rc else None)


def test_a_failure_is_written_once_seen_by_later_stages_and_forgotten_when_its_stage_begins_again(
    begin: Call, call: Call, run_module: RunModule
) -> None:
    begin()
    session = session_of(call(stage="environment").ok())
    failed = {"msg": "etcd did not start: token=abc", "exit_code": 3}
    about = {"stage": "environment", "stage_dir": session["stage_dir"]}
    written = [
        run_module(bench_stage_failure, task="Run etcd", result=failed, check=True, **about).ok(),
        run_module(bench_stage_failure, task="Run etcd", result=failed, **about).ok(),
        run_module(bench_stage_failure, task="Later", result={"msg": "consequence"}, **about).ok(),
    ]
    assert [one["changed"] for one in written] == [True, True, False]
    assert read(Path(session["stage_dir"]) / "FAILURE") | {"at": ""} == {
        "stage": "environment",
        "reason": "etcd did not start: token=********",
        "task": "Run etcd",
        "at": "",
        "exit_code": 3,
    }
    later = session_of(call(stage="scheduler_scale").ok())
    assert later["failed_stages"] == {"environment": "etcd did not start: token=********"}
    assert session_of(call(stage="environment").ok())["failed_stages"] == {}


def test_a_damaged_failure_still_counts(begin: Call, call: Call, tmp_path: Path) -> None:
    begin()
    path = tmp_path / "results" / RUN / "stages" / "02__environment" / "FAILURE"
    path.write_text("{")
    assert session_of(call(stage="scheduler_scale").ok())["failed_stages"] == {"environment": f"{path} is damaged"}


def test_what_is_merged_goes_deep_and_is_changed_once(begin: Call, call: Call, tmp_path: Path) -> None:
    begin()
    session = session_of(call(stage="environment").ok())
    first = call(session=session, merge={"tools": {"etcd": {"version": "3"}}, "kubeconfig": "/k"}).ok()
    second = call(session=session, merge={"tools": {"kwok": {"version": "0"}}, "kubeconfig": "/k"}).ok()
    again = call(session=session, merge={"tools": {"etcd": {"version": "3"}}}).ok()
    assert [one["changed"] for one in (first, second, again)] == [True, True, False]
    stored = read(tmp_path / "state" / "runs" / RUN / "session.json")
    assert (stored["tools"], stored["kubeconfig"]) == ({"etcd": {"version": "3"}, "kwok": {"version": "0"}}, "/k")
    assert set(stored) & {"stage", "stage_dir", "progress", "planned", "failed_stages"} == set()
    assert session_of(again)["stage"] == "environment"


def test_the_session_is_for_its_user_only(begin: Call, tmp_path: Path) -> None:
    begin()
    assert oct((tmp_path / "state" / "runs" / RUN / "session.json").stat().st_mode & 0o777) == "0o600"
    assert oct((tmp_path / "state").stat().st_mode & 0o777) == "0o700"


def test_check_mode_predicts_a_session_merges_into_it_and_writes_nothing(call: Call, tmp_path: Path) -> None:
    session = session_of(call(stage="environment", check=True).ok())
    assert session["stage_dir"].endswith("/results/00000000T000000Z-0000/stages/02__environment")
    merged = call(session=session, merge={"kubeconfig": "/k"}, check=True, diff=True).ok()
    assert (merged["changed"], session_of(merged)["kubeconfig"]) == (True, "/k")
    assert session_of(call(session=session_of(merged), stage="scheduler_scale", check=True).ok())["kubeconfig"] == "/k"
    assert (files(tmp_path / "state"), files(tmp_path / "results")) == ([], [])


def test_check_mode_ends_and_removes_nothing(begin: Call, call: Call, tmp_path: Path) -> None:
    begin()
    state = tmp_path / "state" / "runs" / RUN
    failure = tmp_path / "results" / RUN / "stages" / "02__environment" / "FAILURE"
    failure.write_text('{"reason": "x"}')
    with sleeper() as module:
        put_module(state, module.pid)
        before = files(tmp_path)
        result = call(stage="environment", check=True).ok()
        assert module.poll() is None
    assert ([one["pid"] for one in result["ended"]], files(tmp_path)) == ([module.pid], before)


def test_a_flush_brings_run_json_up_to_date(begin: Call, call: Call, tmp_path: Path) -> None:
    begin()
    session = session_of(call(stage="environment", merge={"tools": {"etcd": {"version": "3"}}}).ok())
    assert [call(session=session, flush=True).ok()["changed"] for _ in range(2)] == [True, False]
    assert read(tmp_path / "results" / RUN / "run.json")["tools"] == {"etcd": {"version": "3"}}


def test_a_damaged_session_is_named(begin: Call, call: Call, tmp_path: Path) -> None:
    begin()
    path = tmp_path / "state" / "runs" / RUN / "session.json"
    path.write_text(json.dumps({})[:1])
    assert f"read {path}: it is not valid JSON" in call(stage="environment").failed().msg
