# SPDX-License-Identifier: GPL-3.0-or-later
"""What a long module does when it can no longer write."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench.errors import of_system
from ansible.module_utils.nightbench.jsonfile import append_line
from ansible.module_utils.nightbench.long_module import LongModule
from ansible.modules import bench_kwok_cluster, bench_process, bench_tool

from tests.conftest import RunModule


def test_progress_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    with LongModule("load", task="load", deadline_seconds=60, run_state=str(tmp_path), progress_path="/dev/full"):
        assert len(list((tmp_path / "modules").iterdir())) == 1
    assert list((tmp_path / "modules").iterdir()) == []


ARGUMENTS = {"name": "pods", "task": None, "deadline_seconds": 60.0, "timeout_seconds": 5.0}


@pytest.mark.parametrize(
    ("arguments", "given", "task", "seconds"),
    [
        ({}, {}, "pods", 60),
        ({"task": "load pods"}, {}, "load pods", 60),
        ({"task": "load pods"}, {"task": "reap", "seconds": "timeout_seconds"}, "reap", 5),
    ],
    ids=["named by what it does", "named by the caller", "named by the module"],
)
def test_a_modules_arguments_say_what_it_is_called_and_how_long_it_may_take(
    tmp_path: Path, arguments: dict[str, Any], given: dict[str, Any], task: str, seconds: float
) -> None:
    state, progress = tmp_path / "state", tmp_path / "progress.jsonl"
    params = {**ARGUMENTS, **arguments, "run_state": str(state), "progress_path": str(progress)}
    with LongModule.of("load", params, **given) as long:
        (record,) = (state / "modules").iterdir()
        found = json.loads(record.read_text())
    assert (found["name"], found["task"], long.deadline_seconds) == ("load", task, seconds)
    assert json.loads(progress.read_text().splitlines()[-1])["task"] == task


def test_a_full_disk_is_told_with_the_file_and_what_to_do() -> None:
    with pytest.raises(OSError, match="No space left") as raised:
        append_line("/dev/full", {})
    assert raised.value.errno == errno.ENOSPC
    assert of_system(raised.value) == "/dev/full: No space left on device. Free some room there, then resume the run."


def test_what_the_system_refuses_is_one_message_and_no_traceback(run_module: RunModule, tmp_path: Path) -> None:
    under_a_file = str(tmp_path / "file" / "state")
    (tmp_path / "file").write_text("")
    process = {"name": "sleeper", "argv": ["sleep", "1"]}
    cache = str(tmp_path / "cache")
    for failed in (
        run_module(bench_tool, table=[], cache_dir=cache, run_state=under_a_file).failed(),
        run_module(bench_process, run_state=under_a_file, run_id="", processes=[process]).failed(),
        run_module(bench_kwok_cluster, state="info", directory=under_a_file).failed(),
    ):
        assert failed.msg.startswith(under_a_file)
        assert failed.msg.endswith(": Not a directory.")
        assert failed["exit_code"] == 3
