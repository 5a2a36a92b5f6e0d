# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_configuration reads the command lines of processes, and fails only when it cannot read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import process
from ansible.modules import bench_configuration

from tests.conftest import RunModule

HELP = "print('  --qps int\\n  --max-consolidation-preemptees int')"


@pytest.fixture
def running() -> Iterator[process.Identity]:
    """A process whose command line has flags that its interpreter leaves alone."""
    argv = [sys.executable, "-c", "input()", "--qps=20", "--max-number-consolidation-preemptees", "0"]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE)
    found = process.identity(child.pid)
    assert found is not None
    yield found
    child.communicate()


def asked(who: process.Identity, **more: Any) -> dict[str, Any]:
    return {"component": "scheduler", "pid": who.pid, "start_time": who.start_time, **more}


def shown(result: Any) -> list[tuple[str, Any, Any, str]]:
    return [(one["key"], one["asked"], one["observed"], one["reason"]) for one in result["checks"]]


UNKNOWN = (
    "there is no flag max-number-consolidation-preemptees, so it is ignored or refused; "
    "the nearest is max-consolidation-preemptees"
)


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    "known",
    [
        {"known_flags": ["qps", "max-consolidation-preemptees"]},
        {"help_argv": [sys.executable, "-c", HELP]},
        {"help_argv": ["/no/such/program"], "known_flags": ["qps", "max-consolidation-preemptees"]},
    ],
    ids=["given", "asked for", "given, for nobody answers"],
)
def test_a_process_runs_with_what_its_command_line_says(
    run_module: RunModule, running: process.Identity, known: dict[str, Any], check: bool
) -> None:
    processes = [asked(running, arguments={"qps": 20, "burst": 100}, **known)]
    result = run_module(bench_configuration, check=check, processes=processes).ok()
    no_burst = "there is no flag burst, so it is ignored or refused"
    assert shown(result) == [
        ("qps", 20, "20", ""),
        ("burst", 100, None, no_burst),
        ("max-number-consolidation-preemptees", "0", "0", UNKNOWN),
    ]
    assert (result["changed"], result["holds"]) == (False, False)
    assert result["problems"] == [
        f"scheduler: burst: {no_burst}",
        f"scheduler: max-number-consolidation-preemptees: {UNKNOWN}",
    ]


def test_what_was_asked_and_runs_holds(run_module: RunModule, running: process.Identity) -> None:
    result = run_module(bench_configuration, processes=[asked(running, arguments={"qps": "20"})]).ok()
    assert (result["holds"], result["problems"]) == (True, [])


def test_a_help_that_is_none_is_noted_and_the_arguments_are_compared(
    run_module: RunModule, running: process.Identity
) -> None:
    one = asked(running, help_argv=["/bin/true"], arguments={"qps": 20})
    result = run_module(bench_configuration, processes=[one]).ok()
    answer = "/bin/true: its answer names no flag (exit code 0)."
    assert shown(result) == [
        ("help", ["/bin/true"], None, f"which flags scheduler knows could not be learned: {answer}"),
        ("qps", 20, "20", ""),
    ]
    assert result["holds"] is True


@pytest.mark.parametrize(
    ("pid", "start_time", "reason"),
    [(2**22 + 1, 1, "no process with pid {pid} runs"), (None, 1, "pid {pid} is another process now (start time ")],
    ids=["ended", "another one"],
)
def test_a_process_that_is_not_there_is_told(
    run_module: RunModule, running: process.Identity, pid: int | None, start_time: int, reason: str
) -> None:
    who = process.Identity(pid or running.pid, start_time)
    result = run_module(bench_configuration, processes=[asked(who, arguments={"qps": 1})]).ok()
    (check,) = result["checks"]
    assert (check["key"], check["holds"]) == ("process", False)
    assert check["reason"].startswith(reason.format(pid=who.pid))


def test_nothing_asked_holds_and_needs_no_cluster(run_module: RunModule) -> None:
    result = run_module(bench_configuration).ok()
    assert (result["checks"], result["holds"], result["problems"]) == ([], True, [])


MANIFEST = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}}
WRONG = [
    ({"objects": [{"manifest": {}}]}, "objects[0].manifest[0]: the object has no apiVersion."),
    ({"objects": [{"manifest": {**MANIFEST, "kind": ""}}]}, "objects[0].manifest[0]: the object has no kind."),
    (
        {"objects": [{"manifest": MANIFEST, "flag_fields": {"data": "qps"}}]},
        "objects[0].flag_fields: data has str, not a list of flags.",
    ),
    ({"objects": [{}]}, "missing required arguments: manifest found in objects"),
    ({"deployments": [{"name": "x"}]}, "missing required arguments: namespace found in deployments"),
    ({"processes": [{"component": "x", "pid": "y", "start_time": 1}]}, "argument 'pid' is of type"),
]


@pytest.mark.parametrize(("parameters", "why"), WRONG)
def test_a_wrong_question_is_told(run_module: RunModule, parameters: dict[str, Any], why: str) -> None:
    assert why in run_module(bench_configuration, **parameters).failed().msg


@pytest.mark.parametrize(("predict", "check"), [(True, True), (False, True), (True, False)])
def test_a_cluster_that_is_still_to_come_is_predicted_in_check_mode_only(
    run_module: RunModule, tmp_path: Path, predict: bool, check: bool
) -> None:
    parameters = {"objects": [{"manifest": MANIFEST}], "kubeconfig": str(tmp_path / "none"), "predict_cluster": predict}
    result = run_module(bench_configuration, check=check, **parameters)
    if predict and check:
        assert result.ok()["checks"] == []
    else:
        assert (result.failed()["exit_code"], result["checks"]) == (2, [])
        assert "does not exist" in result.msg
