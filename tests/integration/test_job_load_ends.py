# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_job_load where something is in the way: refusals, deadlines, stops, strangers, broken watches, what stays."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import job_load, job_remove, process
from ansible.module_utils.nightbench.kube import Kube
from ansible.module_utils.nightbench.process import Records
from ansible.module_utils.nightbench.target import load_target

from tests.conftest import eventually
from tests.control_plane import ControlPlane
from tests.fakes.fault_proxy import Fault, fault_proxy
from tests.fakes.job_load import GROUP, job, names, pod, rows_of, some

pytestmark = pytest.mark.integration


def test_an_open_loop_sends_when_objects_are_due(load_parts: Any) -> None:
    trace = {"name": "t", "count": 4, "arrivals": "trace", "moments": [0, 0.1, 0.1, 0.4], "until": "created"}
    values = load_parts(trace, {"name": "r", "form": "jobs", "count": 10, "rate": 50, "until": "created"}).ok()[
        "values"
    ]
    assert (values["rate_asked"], values["created"]) == (50, 10)
    assert values["create_ended"] - values["create_started"] >= 0.18
    assert values["parts"]["r"]["start"] - values["parts"]["t"]["start"] >= 0.4


@pytest.mark.parametrize("form", ["pods", "jobs"])
def test_refused_objects_are_counted_with_the_reason(load_parts: Any, kube: Kube, namespace: str, form: str) -> None:
    resource = "pods" if form == "pods" else "count/jobs.batch"
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {resource: "2"}}}
    kube.request("POST", f"/api/v1/namespaces/{namespace}/resourcequotas", body=quota)
    path = f"/api/v1/namespaces/{namespace}/resourcequotas/few"
    eventually(lambda: kube.request("GET", path).json().get("status", {}).get("hard") == {resource: "2"})
    pods = 1 if form == "pods" else 3
    values = load_parts({"name": "p", "form": form, "count": 5, "pods_per_job": pods, "until": "bound"}).ok()["values"]
    assert some(values, "asked", "bound", "failed", "missing") == {
        "asked": 5 * pods, "bound": 2 * pods, "failed": 3 * pods, "missing": 0,
    }  # fmt: skip
    assert any("exceeded quota: few" in reason for reason in values["failures"])


def test_a_deadline_is_a_result_and_parts_after_it_are_missing(load_parts: Any, kube: Kube, namespace: str) -> None:
    nowhere = pod(nodeSelector={"job-load": "no"})
    result = load_parts(
        {"name": "stuck", "count": 2, "template": nowhere}, {"name": "never", "form": "jobs", "count": 3},
        deadline_seconds=1,
    ).ok()  # fmt: skip
    values = result["values"]
    assert result["timed_out"] is True
    assert {name: (part["created"], part["missing"]) for name, part in values["parts"].items()} == {
        "stuck": (2, 2), "never": (0, 3),
    }  # fmt: skip
    assert some(values, "asked", "created", "missing") == {"asked": 3, "created": 0, "missing": 3}
    assert values["unaccounted"] == [f"load-never-{index}" for index in range(3)]
    assert names(kube, namespace) == []


@pytest.mark.parametrize("form", ["pods", "jobs"])
def test_the_stop_file_ends_the_load_and_removes_what_it_made(
    load_parts: Any, kube: Kube, namespace: str, tmp_path: Path, form: str
) -> None:
    timer = threading.Timer(0.5, (tmp_path / "stop").touch)
    timer.start()
    progress = tmp_path / "progress.jsonl"
    result = load_parts(
        {"name": "p", "form": form, "count": 200, "rate": 20}, run_state=str(tmp_path), progress_path=str(progress)
    ).failed()
    timer.join()
    assert result["stopped"] is True
    assert "stopped on request; p: " in result.msg
    assert names(kube, namespace) == []
    assert rows_of(progress)[-1]["unit"] == "pods deleted"
    assert list((tmp_path / "modules").iterdir()) == []


def test_what_an_earlier_load_left_is_removed_first(load_parts: Any, kube: Kube, namespace: str) -> None:
    labels = {"nightbench.io/load": "load"}
    made = job()
    made["spec"]["parallelism"] = made["spec"]["completions"] = 3
    made["spec"]["template"]["metadata"] = {"labels": labels}
    made["spec"]["template"]["spec"] |= {"restartPolicy": "Never", "schedulerName": "nobody"}
    body = {"metadata": {"name": "load-p-0", "labels": labels}, **made}
    kube.request("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", body=body)
    eventually(lambda: len(names(kube, namespace)) == 4)
    values = load_parts({"name": "p", "form": "jobs", "count": 1, "until": "bound"}).ok()["values"]
    assert some(values, "created", "foreign", "replaced", "evicted") == {
        "created": 1, "foreign": 0, "replaced": 0, "evicted": 0,
    }  # fmt: skip
    assert names(kube, namespace) == []


def test_a_pod_that_somebody_will_not_let_go_is_let_go_after_a_while(
    load_parts: Any, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_remove, "AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(job_remove, "FINALIZER_SECONDS", 0.5)
    held = pod() | {"metadata": {"finalizers": ["test.nightbench.io/held"]}}
    values = load_parts({"name": "p", "count": 3, "template": held}).ok()["values"]
    assert (values["deleted"], values["evicted"]) == (3, 0)
    assert names(kube, namespace) == []


def test_a_deletion_that_does_not_end_is_an_error(
    load_parts: Any, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_load, "DELETE_SECONDS", 0.5)
    monkeypatch.setattr(job_load, "FORCED_SECONDS", 0.1)
    held = pod() | {"metadata": {"finalizers": ["test.nightbench.io/held"]}}
    result = load_parts({"name": "p", "count": 3, "template": held}).failed()
    assert "Deletion of load load: not done within 0.56 s; 3 pods have not gone yet" in result.msg
    monkeypatch.undo()
    monkeypatch.setattr(job_remove, "AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(job_remove, "FINALIZER_SECONDS", 0.1)
    load_parts({"name": "p", "count": 1}).ok()  # clears what is left of the one before
    assert names(kube, namespace) == []


def test_somebody_elses_pod_under_our_label_is_told_and_removed(load_parts: Any, kube: Kube, namespace: str) -> None:
    stranger = {"metadata": {"name": "stranger", "labels": {"nightbench.io/load": "load"}}, **pod()}
    path = f"/api/v1/namespaces/{namespace}/pods"
    timer = threading.Timer(0.7, lambda: kube.request("POST", path, body=stranger))
    timer.start()
    values = load_parts({"name": "p", "count": 10, "rate": 5}).ok()["values"]
    timer.join()
    assert values["foreign"] == 1
    assert names(kube, namespace) == []


@pytest.mark.parametrize(("after", "kind"), [(3, "gone"), (10, "cut")])
def test_a_broken_watch_loses_no_pod(load_parts: Any, control_plane: ControlPlane, after: int, kind: str) -> None:
    target = load_target(kubeconfig=control_plane.kubeconfig)
    with fault_proxy(target.host, target.port, target.context, Fault(kind, after=after)) as proxy:
        values = load_parts(
            {"name": "p", "form": "jobs", "count": 6, "pods_per_job": 2, "until": "bound"},
            kubeconfig=None, host=proxy.url,
        ).ok()["values"]  # fmt: skip
    assert some(values, "created", "bound", "deleted", "missing") == {
        "created": 12, "bound": 12, "deleted": 12, "missing": 0,
    }  # fmt: skip
    assert (values["relists"] > 0) == (kind == "gone")


def test_what_is_held_back_is_started_when_every_measured_pod_exists(load_parts: Any, tmp_path: Path) -> None:
    sleeper = {"name": "sleeper", "argv": ["sleep", "60"]}
    unbound = job(schedulerName="nobody")
    values = load_parts(
        {"name": "before", "count": 1},
        {"name": "p", "form": "jobs", "count": 2, "pods_per_job": 3, "until": "created", "template": unbound},
        run_state=str(tmp_path), release=sleeper,
    ).ok()["values"]  # fmt: skip
    records = Records(tmp_path)
    record = records.get("sleeper")
    assert record is not None
    assert process.stop(record, records) is True
    assert values["parts"]["before"]["ended"] <= values["create_ended"] <= values["released"]
    assert values["released"] <= values["release_ready"]
    assert "sleeper" in values["machine"]["processes"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"observed": {"group": {**GROUP, "kind": "Nothing"}}}, "knows no kind Nothing in test.nightbench.io/v1"),
        ({"observed": {"group": {**GROUP, "api_version": "no/v1"}}}, "does not serve no/v1"),
        ({"kubeconfig": "/not/there"}, "kubeconfig /not/there does not exist"),
        ({"release": {"name": "x", "argv": ["true"]}}, "release needs run_state"),
        ({"parts": []}, "parts: there is none"),
    ],
)
def test_what_cannot_be_done_is_said(load_parts: Any, changes: dict[str, Any], text: str) -> None:
    assert text in load_parts({"name": "p", "count": 1}, **changes).failed().msg


def test_samples_that_have_no_place_are_told_and_nothing_is_left(
    load_parts: Any, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "taken").touch()
    samples = str(tmp_path / "taken" / "samples.jsonl")
    failed = load_parts({"name": "p", "count": 2, "until": "created"}, samples_path=samples).failed()
    assert (failed["exit_code"], f"{tmp_path / 'taken'}" in failed.msg) == (3, True)
    assert names(kube, namespace) == []


def test_who_may_not_watch_is_told_and_nothing_is_left(
    load_parts: Any, control_plane: ControlPlane, kube: Kube, namespace: str
) -> None:
    result = load_parts({"name": "p", "count": 1}, kubeconfig=control_plane.service_account(namespace)).failed()
    assert "403" in result.msg
    assert names(kube, namespace) == []


def test_check_mode_tells_the_plan_and_creates_nothing(load_parts: Any, kube: Kube, namespace: str) -> None:
    result = load_parts({"name": "p", "count": 100, "rate": 10}, check=True).ok()
    assert result["plan"]["pods"] == 100
    assert result["plan"]["parts"][0]["seconds_to_send"] == 10.0
    assert result["changed"] is False
    assert names(kube, namespace) == []


def test_progress_is_written_and_without_an_audit_log_that_is_said(load_parts: Any, tmp_path: Path) -> None:
    progress = tmp_path / "progress.jsonl"
    values = load_parts(
        {"name": "p", "count": 4, "until": "bound"}, progress_path=str(progress), audit_log=str(tmp_path / "none"),
        task="burst 1",
    ).ok()["values"]  # fmt: skip
    last = rows_of(progress)[-1]
    assert some(last, "task", "done", "asked", "unit") == {
        "task": "burst 1", "done": 4, "asked": 4, "unit": "pods deleted",
    }  # fmt: skip
    reason = f"{tmp_path / 'none'} cannot be read: No such file or directory"
    assert values["audit"] == {"available": False, "reason": reason}
