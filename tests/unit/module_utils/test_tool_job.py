# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest
from ansible.module_utils.nightbench import jsonfile
from ansible.module_utils.nightbench.errors import DeadlineExceeded, Stopped
from ansible.module_utils.nightbench.tool_job import Job, run


@pytest.fixture
def job() -> Job:
    return Job(deadline_seconds=30)


@pytest.mark.parametrize(
    ("program", "returncode", "tail"),
    [
        ("print('one'); print('two', end='')", 0, "one\ntwo"),
        ("import sys; print('out', flush=True); sys.exit('err')", 1, "err"),
        ("import sys; sys.stdout.buffer.write(b'\\xff\\n')", 0, "\ufffd"),
        ("for n in range(50): print(n)", 0, "\n".join(str(n) for n in range(38, 50))),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -15, ""),
    ],
    ids=["lines", "failure", "not UTF-8", "long", "signal"],
)
def test_a_command_gives_its_exit_code_and_the_end_of_its_output(
    job: Job, program: str, returncode: int, tail: str
) -> None:
    finished = run([sys.executable, "-c", program], job)
    assert (finished.returncode, finished.tail.splitlines()[-1:]) == (returncode, tail.splitlines()[-1:])
    assert len(finished.tail.splitlines()) <= 12


def test_lines_that_are_progress_are_kept_out_of_the_tail(job: Job) -> None:
    seen: list[str] = []

    def on_line(line: str) -> bool:
        seen.append(line)
        return line.startswith("k8s.io")

    finished = run([sys.executable, "-c", "print('k8s.io/a'); print('boom')"], job, on_line=on_line)
    assert (seen, finished.tail) == (["k8s.io/a", "boom"], "boom")


def test_a_command_that_is_not_there_answers_like_one_that_failed(job: Job) -> None:
    finished = run(["/no/such/command"], job)
    assert finished.returncode != 0
    assert "/no/such/command" in finished.tail


def test_a_command_that_takes_too_long_is_killed(job: Job) -> None:
    finished = run(["sleep", "60"], job, timeout_seconds=0.1)
    assert finished.returncode == -9
    assert "no end after 0.1 s" in finished.tail


@pytest.mark.parametrize(("deadline", "error"), [(0.3, DeadlineExceeded), (30, Stopped)])
def test_deadline_and_stop_file_end_a_command_with_all_its_children(
    tmp_path: Path, deadline: float, error: type[Exception]
) -> None:
    job = Job(deadline_seconds=deadline, run_state=str(tmp_path))
    if error is Stopped:
        (tmp_path / "stop").touch()
    pid_file = tmp_path / "pid"
    with pytest.raises(error):
        run(["sh", "-c", f"sleep 60 & echo $! > {pid_file}; echo started; wait"], job)
    if pid_file.exists() and pid_file.read_text().strip():
        assert not _lives(int(pid_file.read_text()))


def test_work_that_blocks_is_left_when_the_job_is_stopped(tmp_path: Path) -> None:
    never = threading.Event()
    (tmp_path / "stop").touch()
    with pytest.raises(Stopped):
        Job(deadline_seconds=30, run_state=str(tmp_path)).attend(never.wait)
    never.set()


def test_what_attended_work_returns_or_raises_reaches_the_caller(job: Job) -> None:
    assert job.attend(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        job.attend(lambda: 1 // 0)


def test_progress_names_the_tool_and_ends_with_the_last_figure(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    with Job(deadline_seconds=30, progress_path=str(path)) as job:
        job.task = "toolchain 1/1: hello"
        job.progress(3, 8, "packages built")
    lines = [{name: line[name] for name in ("done", "asked", "unit", "task")} for line in jsonfile.read_lines(path)]
    assert lines[-1] == {"done": 3, "asked": 8, "unit": "packages built", "task": "toolchain 1/1: hello"}


def _lives(pid: int) -> bool:
    for _ in range(50):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        except (ProcessLookupError, FileNotFoundError):
            return False
        time.sleep(0.02)
    return True
