# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_run as a whole: a run begins whole or not at all, one at a time, and ends without a trace but its results."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import jsonfile
from ansible.modules import bench_run

from tests.conftest import ModuleResult, RunModule
from tests.fakes.project import ended, sleeper, write_project

RUN, OTHER = "20260101T000000Z-0a1b", "20260101T000000Z-ffff"
Call = Callable[..., ModuleResult]


@pytest.fixture
def call(run_module: RunModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """bench_run on a small project; this test is the owner."""
    project = write_project(tmp_path / "project")
    monkeypatch.setenv("NIGHTBENCH_OWNER_PID", str(os.getpid()))

    def run(state: str = "started", **parameters: Any) -> ModuleResult:
        places = {"results_dir": str(tmp_path / "results"), "state_dir": str(tmp_path / "state")}
        if state == "started":
            places |= {"project_dir": str(project), "state_min_bytes": 1, "results_min_bytes": 1}
        return run_module(bench_run, state=state, **{**places, **parameters})

    return run


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def as_if_owner_died(tmp_path: Path, run_id: str = RUN) -> None:
    """The lease and the session as a killed process leaves them."""
    for path in (tmp_path / "state" / "machine.json", tmp_path / "state" / "runs" / run_id / "session.json"):
        content = read(path)
        content["owner"]["start_time"] -= 1
        path.write_text(json.dumps(content))


def test_a_run_begins_with_plan_run_session_lease_and_the_folders_of_its_stages(call: Call, tmp_path: Path) -> None:
    began = call(run_id=RUN, run_tags=["environment"], kubeconfig="/k").ok()
    assert files(tmp_path / "state") == ["machine.json", "machine.lock", f"runs/{RUN}/session.json"]
    results = tmp_path / "results" / RUN
    assert files(results) == ["plan.json", "run.json", "stages/01__start/command.txt"]
    assert sorted(path.name for path in (results / "stages").iterdir()) == [
        "01__start",
        "02__environment",
        "04__teardown",
    ]
    assert began["ansible_facts"]["nightbench_session"] | {"owner": None} == {
        "schema_version": 1,
        "run_id": RUN,
        "results": str(results),
        "state": str(tmp_path / "state" / "runs" / RUN),
        "owner": None,
        "kubeconfig": "/k",
        "audit_log": None,
        "tools": {},
        "components": {},
        "failed_stages": {},
        "stage": "start",
        "stage_dir": str(results / "stages" / "01__start"),
        "progress": str(results / "stages" / "01__start" / "progress.jsonl"),
        "planned": [],
    }
    assert began["plan"] == {"stages": ["start", "environment", "teardown"], "records": 0}


def test_the_plan_has_every_record_that_is_expected(call: Call, tmp_path: Path) -> None:
    objectives = [{"metric": "bind_seconds", "scenario": "fill_on", "max": "60"}]
    settings = {"scheduler_scale_repeats": "2", "scheduler_scale_objectives": objectives}
    call(run_id=RUN, settings=settings, counts={"kwok_nodes_count": "7"}).ok()
    plan = read(tmp_path / "results" / RUN / "plan.json")
    common = {"suite": "scheduler_scale", "subject": "one", "repeats": 2}
    assert plan["records"] == [
        {**common, "scenario": "fill_off", "metric": "bind_seconds", "objective": None},
        {**common, "scenario": "fill_off", "metric": "start_seconds", "objective": None},
        {**common, "scenario": "fill_on", "metric": "bind_seconds", "objective": {"max": 60.0}},
    ]
    assert plan["parameters"] == {
        "kwok_nodes_count": 7,
        "scheduler_scale_scenarios": ["fill_off", "fill_on"],
        "scheduler_scale_subjects": ["one"],
        "scheduler_scale_repeats": 2,
    }


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"run_id": "tonight"}, "nightbench_run_id is 'tonight'"),
        ({"run_tags": ["enviroment"]}, "There is no tag 'enviroment'; the nearest is 'environment'."),
        ({"suites": ["scheduler_scal"]}, "There is no suite 'scheduler_scal'; the nearest is 'scheduler_scale'."),
        ({"settings": {"scheduler_scale_scenarios": "fill_of"}}, "the nearest is 'fill_off'."),
        ({"variable_names": ["kwok_nodes_cuont"]}, "the nearest is 'kwok_nodes_count'."),
        ({"counts": {"kwok_nodes_count": "abc"}}, "kwok_nodes_count (NODE_COUNT) is 'abc'"),
        ({"keep": "forever"}, "nightbench_keep is 'forever'; it is one of: never, on_failure, always."),
        ({"keep_runs": "many"}, "nightbench_results_keep is 'many'"),
        ({"environment_roles": ["kwok_node"]}, "There is no role 'kwok_node'; the nearest is 'kwok_nodes'."),
        ({"results_min_bytes": 2**60}, "has too little room: needed 1,099,511,627,776.0 MiB, free"),
        ({"results_dir": "/proc/1/x"}, "/proc/1/x cannot be written to"),
        ({"run_id": RUN, "resume": True}, "There is nothing to resume"),
        ({"resume": True}, "nightbench_resume needs nightbench_run_id"),
    ],
)
@pytest.mark.parametrize("check", [False, True])
def test_a_request_that_cannot_be_carried_out_writes_nothing(
    call: Call, tmp_path: Path, parameters: dict[str, Any], told: str, check: bool
) -> None:
    failed = call(check=check, **parameters).failed()
    assert told in failed.msg
    assert (failed["exit_code"], files(tmp_path / "results"), files(tmp_path / "state")) == (2, [], [])


def test_everything_that_is_wrong_is_told_at_once(call: Call) -> None:
    failed = call(run_tags=["enviroment"], counts={"kwok_nodes_count": "0"}).failed()
    assert [line.split(";")[0] for line in failed.msg.splitlines()] == [
        "There is no tag 'enviroment'",
        "kwok_nodes_count (NODE_COUNT) is '0'",
    ]


def test_check_mode_takes_no_lease_and_writes_nothing(call: Call, tmp_path: Path) -> None:
    began = call(run_id=RUN, check=True, diff=True).ok()
    assert (files(tmp_path / "results"), files(tmp_path / "state")) == ([], [])
    assert began["changed"] is True
    assert began["ansible_facts"]["nightbench_session"]["results"] == str(tmp_path / "results" / RUN)
    assert began["diff"]["after"]["records"] == 3


def test_the_difference_at_the_end_is_a_mapping_because_ansible_cannot_show_a_list(call: Call) -> None:
    call(run_id=RUN).ok()
    ended = call(state="ended", run_id=RUN, diff=True).ok()
    assert ended["diff"] == {"before": {"runs": ended["runs"]}, "after": {"runs": []}}
    assert [one["run_id"] for one in ended["runs"]] == [RUN]


def test_a_second_run_is_told_who_has_the_machine_and_writes_nothing(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sleeper() as first:
        monkeypatch.setenv("NIGHTBENCH_OWNER_PID", str(first.pid))
        call(run_id=RUN).ok()
        before = files(tmp_path)
        monkeypatch.setenv("NIGHTBENCH_OWNER_PID", str(os.getpid()))
        failed = call(run_id=OTHER).failed()
        assert failed["exit_code"] == 3
        assert f"run {RUN} (pid {first.pid}) has had it since 2" in failed.msg
        assert f"kill -INT {first.pid}" in failed.msg
        assert files(tmp_path) == before


def test_what_a_killed_run_left_is_ended_before_the_next_begins(call: Call, tmp_path: Path) -> None:
    call(run_id=RUN).ok()
    as_if_owner_died(tmp_path)
    with sleeper({"NIGHTBENCH_RUN_ID": RUN}) as load:
        began = call(run_id=OTHER).ok()
        assert ended(load)
    (reaped,) = began["runs"]
    assert (reaped["run_id"], [one["pid"] for one in reaped["processes"]], reaped["lease_freed"]) == (
        RUN,
        [load.pid],
        True,
    )
    assert [path.name for path in (tmp_path / "state" / "runs").iterdir()] == [OTHER]
    assert (tmp_path / "results" / RUN / "run.json").exists(), "results of a killed run stay"


@pytest.mark.parametrize("content", ["{", "[]", '{"run_id": "x"}'])
def test_a_damaged_lease_is_told_and_not_overwritten(call: Call, tmp_path: Path, content: str) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "machine.json").write_text(content)
    assert f"read {tmp_path}/state/machine.json" in call(run_id=RUN).failed().msg
    assert (tmp_path / "state" / "machine.json").read_text() == content


def test_an_existing_run_is_only_gone_on_with_when_asked(call: Call, tmp_path: Path) -> None:
    call(run_id=RUN).ok()
    call("ended", run_id=RUN).ok()
    plan = (tmp_path / "results" / RUN / "plan.json").read_text()
    assert "There are results of run" in call(run_id=RUN).failed().msg
    resumed = call(run_id=RUN, resume=True, settings={"scheduler_scale_repeats": 9}).ok()
    assert (tmp_path / "results" / RUN / "plan.json").read_text() == plan
    assert resumed["plan"]["records"] == 3
    assert read(tmp_path / "results" / RUN / "run.json")["ended_at"] is None


def test_a_killed_run_is_resumed_with_its_state_and_without_its_loads(call: Call, tmp_path: Path) -> None:
    call(run_id=RUN, kubeconfig="/k").ok()
    as_if_owner_died(tmp_path)
    state = tmp_path / "state" / "runs" / RUN
    (state / "stop").write_text("")
    with sleeper({"NIGHTBENCH_RUN_ID": RUN}) as daemon, sleeper() as module:
        put_module(state, module.pid)
        resumed = call(run_id=RUN, resume=True).ok()
        assert ended(module)
        assert daemon.poll() is None
    assert resumed["ansible_facts"]["nightbench_session"]["kubeconfig"] == "/k"
    assert files(state) == ["session.json"]


def put_module(state: Path, pid: int) -> None:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    jsonfile.write_atomic(state / "modules" / "load.json", {"pid": pid, "start_time": int(fields[19])})


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("run.json", None, "it has no run.json"),
        ("run.json", "{", "it is not valid JSON"),
        ("plan.json", "", "it is not valid JSON"),
        ("run.json", '{"run_id": "another"}', "its run.json is of another run"),
    ],
)
def test_a_half_written_results_folder_is_neither_used_nor_removed(
    call: Call, tmp_path: Path, name: str, content: str | None, told: str
) -> None:
    call(run_id=RUN).ok()
    call("ended", run_id=RUN).ok()
    path = tmp_path / "results" / RUN / name
    path.unlink() if content is None else path.write_text(content)
    before = files(tmp_path / "results" / RUN)
    assert told in call(run_id=RUN, resume=True).failed().msg
    began = call(run_id=OTHER, keep_runs=1).ok()
    (damaged,) = began["damaged"]
    assert told in damaged
    assert files(tmp_path / "results" / RUN) == before


def test_the_harness_may_have_put_its_files_into_the_folder_before(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "results" / RUN / "stages" / "01__start"
    folder.mkdir(parents=True)
    (folder / "command.txt").write_text("exact\n")
    call(run_id=RUN).ok()
    assert (folder / "command.txt").read_text() == "exact\n"


def test_a_disk_that_fills_up_while_beginning_leaves_nothing(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = jsonfile.write_atomic

    def full(path: Path, value: Any, **options: Any) -> None:
        if path.name == "run.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, value, **options)

    monkeypatch.setattr(jsonfile, "write_atomic", full)
    failed = call(run_id=RUN).failed()
    assert (failed["exit_code"], failed.msg) == (
        3,
        f"begin run {RUN}: write {tmp_path}/results/{RUN}/run.json: No space left on device. Nothing is left of it.",
    )
    assert files(tmp_path) == [*[name for name in files(tmp_path) if name.startswith("project/")], "state/machine.lock"]


def test_old_finished_runs_are_pruned_and_unfinished_ones_stay(call: Call, tmp_path: Path) -> None:
    runs = [f"2026010{day}T000000Z-0a1b" for day in range(2, 6)]
    for run_id in runs:
        call(run_id=run_id).ok()
        call("ended", run_id=run_id).ok()
    document = tmp_path / "results" / runs[1] / "run.json"
    document.write_text(json.dumps(read(document) | {"ended_at": None}))
    (tmp_path / "results" / "notes").mkdir()
    began = call(run_id=RUN, keep_runs="2").ok()
    assert began["pruned"] == [str(tmp_path / "results" / runs[0])]
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == sorted([*runs[1:], RUN, "notes"])


def test_an_ended_run_leaves_its_results_only(call: Call, tmp_path: Path) -> None:
    call(run_id=RUN).ok()
    with sleeper({"NIGHTBENCH_RUN_ID": RUN}) as left:
        done = call("ended", run_id=RUN).ok()
        assert ended(left)
    assert done["changed"] is True
    assert files(tmp_path / "state") == ["machine.lock"]
    assert read(tmp_path / "results" / RUN / "run.json")["ended_at"] is not None
    assert call("ended", run_id=RUN).ok()["changed"] is False


def test_a_run_is_ended_though_its_results_cannot_be_written(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(run_id=RUN).ok()

    def full(path: Path, *_arguments: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(jsonfile, "write_atomic", full)
    failed = call("ended", run_id=RUN).failed()
    assert failed.msg.endswith(f"{RUN}/run.json: No space left on device.")
    assert failed["exit_code"] == 3
    assert [str(path) for path in tmp_path.rglob("session.json")] == []
    assert [str(path) for path in tmp_path.rglob("machine.json")] == []


def test_the_end_notes_tools_and_the_configuration_that_was_read_back(call: Call, tmp_path: Path) -> None:
    call(run_id=RUN).ok()
    session = tmp_path / "state" / "runs" / RUN / "session.json"
    session.write_text(json.dumps(read(session) | {"tools": {"etcd": {"version": "3.6.16"}}}))
    observation = {"kind": "subject", "subject": "kube-scheduler", "values": {"qps": 20}}
    jsonfile.append_line(tmp_path / "results" / RUN / "observations.jsonl", observation)
    call("ended", run_id=RUN).ok()
    document = read(tmp_path / "results" / RUN / "run.json")
    assert (document["tools"], document["effective_configuration"]) == (
        {"etcd": {"version": "3.6.16"}},
        {"kube-scheduler": {"qps": 20}},
    )


def test_a_kept_environment_lives_until_the_next_start(call: Call, tmp_path: Path) -> None:
    call(run_id=RUN).ok()
    with sleeper({"NIGHTBENCH_RUN_ID": RUN}) as kept:
        call("ended", run_id=RUN, keep_environment=True).ok()
        assert kept.poll() is None
        assert not (tmp_path / "state" / "machine.json").exists()
        began = call(run_id=OTHER).ok()
        assert ended(kept)
    assert [one["run_id"] for one in began["runs"]] == [RUN]


def test_absent_reaps_dead_runs_and_says_what_it_did(call: Call, tmp_path: Path) -> None:
    call(run_id=RUN).ok()
    as_if_owner_died(tmp_path)
    with sleeper({"NIGHTBENCH_RUN_ID": RUN}) as load:
        listed = call("absent", check=True).ok()
        assert load.poll() is None
        reaped = call("absent").ok()
        assert ended(load)
    assert listed["runs"] == reaped["runs"]
    assert (reaped["changed"], call("absent").ok()["changed"]) == (True, False)


def test_absent_refuses_a_run_that_lives(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    with sleeper() as first:
        monkeypatch.setenv("NIGHTBENCH_OWNER_PID", str(first.pid))
        call(run_id=RUN).ok()
        monkeypatch.setenv("NIGHTBENCH_OWNER_PID", str(os.getpid()))
        failed = call("absent", run_id=RUN).failed()
        assert (failed["exit_code"], f"Run {RUN} is alive" in failed.msg) == (3, True)
        assert call("absent").ok()["changed"] is False


def test_absent_on_a_machine_without_runs_does_nothing(call: Call, tmp_path: Path) -> None:
    assert call("absent").ok()["runs"] == []
    assert not (tmp_path / "state").exists()
