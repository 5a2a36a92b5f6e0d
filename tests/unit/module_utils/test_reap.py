# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dead run left is ended and removed; what lives, and what is not a run's, is left alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import lease, process, reap
from ansible.module_utils.nightbench.errors import NightbenchError
from ansible.module_utils.nightbench.process import Identity

from tests.fakes.project import ended, sleeper

RUN, OTHER = "20260101T000000Z-0a1b", "20260101T000000Z-ffff"
ME = process.identity(os.getpid())
assert ME is not None
GONE = Identity(os.getpid(), ME.start_time - 1)


def put_run(state_root: Path, run_id: str = RUN, owner: Identity = GONE, **session: Any) -> Path:
    state = state_root / "runs" / run_id
    state.mkdir(parents=True)
    content = {"run_id": run_id, "owner": lease.as_json(owner), **session}
    (state / "session.json").write_text(json.dumps(content))
    return state


def put_record(state: Path, kind: str, pid: int) -> None:
    who = process.identity(pid)
    assert who is not None
    (state / kind).mkdir(exist_ok=True)
    (state / kind / f"{pid}.json").write_text(json.dumps(lease.as_json(who)))


def hold(state_root: Path, run_id: str, owner: Identity) -> None:
    lease.write(state_root, lease.Lease(run_id, owner, "2026-01-01T00:00:00Z", "/results"))


@pytest.mark.parametrize("stubborn", [False, True])
def test_processes_go_by_record_and_by_run_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stubborn: bool) -> None:
    monkeypatch.setattr(reap, "GRACE_SECONDS", 0.2)
    state = put_run(tmp_path)
    hold(tmp_path, RUN, GONE)
    marked = {"NIGHTBENCH_RUN_ID": RUN}
    with sleeper(stubborn=stubborn) as recorded, sleeper(stubborn=stubborn) as module, sleeper(marked) as carrying:
        put_record(state, "processes", recorded.pid)
        put_record(state, "modules", module.pid)
        done = reap.reap(tmp_path, RUN)
        assert all(ended(one) for one in (recorded, module, carrying))
    assert {one["pid"] for one in done.processes} == {recorded.pid, module.pid, carrying.pid}
    assert (done.removed, done.lease_freed, sorted(path.name for path in tmp_path.iterdir())) == (
        [str(state)],
        True,
        ["runs"],
    )


def test_a_pid_that_has_passed_on_to_another_process_is_left_alone(tmp_path: Path) -> None:
    state = put_run(tmp_path)
    with sleeper() as stranger:
        put_record(state, "processes", stranger.pid)
        path = state / "processes" / f"{stranger.pid}.json"
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, "start_time": record["start_time"] - 1}))
        assert reap.reap(tmp_path, RUN).processes == []
        assert stranger.poll() is None


def test_processes_of_another_run_are_left_alone(tmp_path: Path) -> None:
    put_run(tmp_path)
    with sleeper({"NIGHTBENCH_RUN_ID": OTHER}) as stranger:
        assert reap.reap(tmp_path, RUN).processes == []
        assert stranger.poll() is None


def test_it_never_ends_itself_or_its_parents(tmp_path: Path) -> None:
    """Whoever reaps may carry the run-id too."""
    state = put_run(tmp_path)
    put_record(state, "processes", os.getpid())
    put_record(state, "processes", os.getppid())
    assert reap.reap(tmp_path, RUN).processes == []


def test_check_mode_lists_and_leaves(tmp_path: Path) -> None:
    state = put_run(tmp_path)
    hold(tmp_path, RUN, GONE)
    with sleeper({"NIGHTBENCH_RUN_ID": RUN}) as carrying:
        done = reap.reap(tmp_path, RUN, check=True)
        assert [one["pid"] for one in done.processes] == [carrying.pid]
        assert carrying.poll() is None
    assert (done.removed, done.lease_freed, state.is_dir(), lease.path(tmp_path).exists()) == (
        [str(state)],
        True,
        True,
        True,
    )


def test_a_second_time_there_is_nothing_left(tmp_path: Path) -> None:
    put_run(tmp_path)
    assert (reap.reap(tmp_path, RUN).changed, reap.reap(tmp_path, RUN).changed) == (True, False)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"owner": {"pid": "x"}}', '{"owner": null}'])
def test_a_damaged_session_or_record_does_not_stop_it(tmp_path: Path, content: str) -> None:
    state = put_run(tmp_path)
    (state / "processes").mkdir()
    for path in (state / "session.json", state / "processes" / "a.json"):
        path.write_text(content)
    assert reap.dead_runs(tmp_path, ME) == [RUN]
    assert reap.reap(tmp_path, RUN).removed == [str(state)]


@pytest.mark.parametrize(
    ("holder", "owner", "kept", "dead"),
    [
        (RUN, GONE, False, [RUN]),
        (RUN, ME, False, []),
        (None, GONE, False, [RUN]),
        (None, GONE, True, [RUN]),
        (OTHER, ME, False, [RUN]),
        (OTHER, GONE, False, [RUN, OTHER]),
    ],
)
def test_a_run_is_dead_when_it_has_lost_the_machine_or_its_owner_is_gone(
    tmp_path: Path, holder: str | None, owner: Identity, kept: bool, dead: list[str]
) -> None:
    put_run(tmp_path, owner=owner, kept=kept)
    if holder:
        hold(tmp_path, holder, owner)
    assert reap.dead_runs(tmp_path, ME) == dead


def test_a_living_run_without_a_lease_is_spared(tmp_path: Path) -> None:
    """Somebody removed the lease by hand."""
    with sleeper() as somebody:
        owner = process.identity(somebody.pid)
        assert owner is not None
        put_run(tmp_path, owner=owner)
        assert reap.dead_runs(tmp_path, ME) == []


def test_a_run_that_lives_is_refused_by_name(tmp_path: Path) -> None:
    with sleeper() as somebody:
        owner = process.identity(somebody.pid)
        assert owner is not None
        hold(tmp_path, RUN, owner)
        with pytest.raises(NightbenchError, match=f"Run {RUN} is alive: it belongs to pid {somebody.pid}"):
            reap.refuse_living(tmp_path, RUN, ME)


@pytest.mark.parametrize(
    ("files", "removed"),
    [
        ([], True),
        (["plan.json", "stages/01__start/command.txt"], True),
        (["plan.json", "run.json"], False),
        (["plan.json", "observations.jsonl"], False),
        (["stages/02__environment/stdout"], False),
    ],
)
def test_results_are_only_removed_when_their_start_was_cut_short(
    tmp_path: Path, files: list[str], removed: bool
) -> None:
    results = tmp_path / "results" / RUN
    for name in files:
        path = results / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    results.mkdir(parents=True, exist_ok=True)
    put_run(tmp_path / "state", results=str(results))
    reap.reap(tmp_path / "state", RUN)
    assert results.exists() is not removed


@pytest.mark.parametrize("results", ["/", "/tmp", "relative", 5])
def test_a_session_cannot_point_it_at_a_folder_that_is_no_results(tmp_path: Path, results: Any) -> None:
    state = put_run(tmp_path, results=results)
    assert reap.reap(tmp_path, RUN).removed == [str(state)]


@pytest.mark.parametrize(("inside", "told"), [(True, False), (False, True)])
def test_a_cluster_that_was_there_before_is_named(tmp_path: Path, inside: bool, told: bool) -> None:
    state = tmp_path / "runs" / RUN
    path = str(state / "kubeconfig") if inside else "/home/me/.kube/config"
    put_run(tmp_path, kubeconfig=path)
    assert reap.reap(tmp_path, RUN).kubeconfig == (path if told else None)
