# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_process as Ansible calls it, with real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import process
from ansible.modules import bench_process

from tests.conftest import ModuleResult, RunModule, eventually

SLEEP = ["sleep", "60"]


class Bench:
    """One run's processes."""

    def __init__(self, run_module: RunModule, state: Path) -> None:
        self.run_module = run_module
        self.state = state

    def __call__(self, *processes: dict[str, Any], state: str = "started", **more: Any) -> ModuleResult:
        more = {"processes": list(processes), **more} if processes else more
        return self.run_module(bench_process, run_state=str(self.state), state=state, **more)

    def records(self) -> list[str]:
        return sorted(path.name for path in (self.state / "processes").glob("*"))


@pytest.fixture
def bench(run_module: RunModule, tmp_path: Path) -> Iterator[Bench]:
    state = tmp_path / f"20260101T000000Z-{os.getpid()}"  # tests of another checkout may run beside
    yield Bench(run_module, state)
    records = process.Records(state)
    for record in records.all():
        process.stop(record, records)
    assert process.find_run(state.name) == []


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one.getsockname()[1]


def told(result: ModuleResult) -> dict[str, tuple[bool, bool]]:
    return {one["name"]: (one["running"], one["changed"]) for one in result["processes"]}


def python(name: str, text: str, **settings: Any) -> dict[str, Any]:
    return {"name": name, "argv": [sys.executable, "-c", text], **settings}


# --- life


def test_start_again_look_and_stop(bench: Bench) -> None:
    wanted = ({"name": "a", "argv": SLEEP}, {"name": "b", "argv": SLEEP, "env": {"X": 1, "Y": True}})

    first = bench(*wanted).ok()
    assert (first["changed"], told(first)) == (True, {"a": (True, True), "b": (True, True)})
    assert first["processes"][0]["log"] == str(bench.state / "logs" / "a.log")
    environment = process.environment_of(first["processes"][1]["pid"])
    assert {b"X=1", b"Y=true", f"NIGHTBENCH_RUN_ID=20260101T000000Z-{os.getpid()}".encode()} <= environment

    again = bench(*wanted).ok()
    assert (again["changed"], told(again)) == (False, {"a": (True, False), "b": (True, False)})
    assert [one["pid"] for one in again["processes"]] == [one["pid"] for one in first["processes"]]

    assert bench(state="info").ok()["processes"] == again["processes"]

    stopped = bench(state="stopped").ok()
    assert (stopped["changed"], told(stopped)) == (True, {"a": (False, True), "b": (False, True)})
    assert bench.records() == []

    nothing = bench({"name": "a"}, state="stopped").ok()
    assert (nothing["changed"], told(nothing)) == (False, {"a": (False, False)})


@pytest.mark.parametrize(
    ("settings", "restarted"),
    [
        ({"argv": SLEEP}, False),
        ({"argv": SLEEP, "stop_seconds": 3, "stop_signal": "SIGINT", "ports": [1]}, False),
        ({"argv": ["sleep", "61"]}, True),
        ({"argv": SLEEP, "env": {"X": "1"}}, True),
        ({"argv": SLEEP, "cwd": "/tmp"}, True),
        ({"argv": SLEEP, "log": "{state}/other.log"}, True),
    ],
)
def test_other_settings_restart_a_process(bench: Bench, settings: dict[str, Any], restarted: bool) -> None:
    before = bench({"name": "a", "argv": SLEEP}).ok()["processes"][0]
    settings = {key: value.format(state=bench.state) if key == "log" else value for key, value in settings.items()}
    predicted = bench({"name": "a", **settings}, check=True, diff=True).ok()
    after = bench({"name": "a", **settings}, diff=True).ok()
    assert predicted["changed"] is after["changed"] is restarted
    assert predicted["diff"] == after["diff"]
    assert (after["processes"][0]["pid"] != before["pid"]) is restarted
    assert process.is_running(process.Identity(before["pid"], before["start_time"])) is not restarted


def test_restarted_restarts_what_has_not_changed(bench: Bench) -> None:
    before = bench({"name": "a", "argv": SLEEP}).ok()["processes"][0]
    after = bench({"name": "a", "argv": SLEEP}, state="restarted").ok()
    assert after["changed"] is True
    assert after["processes"][0]["pid"] != before["pid"]


def test_a_process_that_was_killed_is_started_anew(bench: Bench) -> None:
    before = bench({"name": "a", "argv": SLEEP}).ok()["processes"][0]
    os.kill(before["pid"], signal.SIGKILL)
    os.waitpid(before["pid"], 0)
    looked = bench(state="info").ok()
    assert (looked["changed"], told(looked)) == (False, {"a": (False, False)})
    assert told(bench({"name": "a", "argv": SLEEP}).ok()) == {"a": (True, True)}


def test_children_of_a_dead_leader_go_before_it_comes_back(bench: Bench) -> None:
    text = "import subprocess, time; subprocess.Popen(['sleep', '60'], start_new_session=True); print('up', flush=True)"
    leader = bench(python("a", f"{text}; time.sleep(60)")).ok()["processes"][0]
    eventually(lambda: Path(leader["log"]).read_text() == "up\n")
    os.kill(leader["pid"], signal.SIGKILL)
    os.waitpid(leader["pid"], 0)
    left = process.find_run(bench.state.name)
    bench({"name": "a", "argv": SLEEP}).ok()
    assert (len(left), [who for who in left if process.is_running(who)]) == (1, [])
    assert len(process.find_run(bench.state.name)) == 1


# --- check mode and diff


def test_check_mode_says_what_would_be_started_and_starts_nothing(bench: Bench) -> None:
    predicted = bench({"name": "a", "argv": SLEEP}, check=True, diff=True).ok()
    assert (predicted["changed"], told(predicted)) == (True, {"a": (True, True)})
    assert (bench.state.exists(), process.find_run(bench.state.name)) == (False, [])
    really = bench({"name": "a", "argv": SLEEP}, diff=True).ok()
    assert really["diff"] == predicted["diff"]
    assert really["diff"]["before"] == {"a": {}}
    assert really["diff"]["after"]["a"]["argv"] == SLEEP


def test_check_mode_says_what_would_be_stopped_and_stops_nothing(bench: Bench) -> None:
    bench({"name": "a", "argv": SLEEP}).ok()
    predicted = bench(state="stopped", check=True, diff=True).ok()
    assert (predicted["changed"], told(predicted)) == (True, {"a": (False, True)})
    assert predicted["diff"]["after"] == {"a": {}}
    assert told(bench(state="info").ok()) == {"a": (True, False)}


def test_the_environment_is_in_no_record_and_no_diff(bench: Bench) -> None:
    result = bench({"name": "a", "argv": SLEEP, "env": {"TOKEN": "s3cret"}}, diff=True).ok()
    told_by_us = {key: value for key, value in result.json.items() if key != "invocation"}
    assert "s3cret" not in str(told_by_us) + (bench.state / "processes" / "a.json").read_text()


# --- failures


def test_a_process_that_dies_is_told_with_its_exit_code_and_the_end_of_its_log(bench: Bench) -> None:
    text = "import sys; print(*range(30), sep='\\n'); sys.exit(3)"
    result = bench({"name": "good", "argv": SLEEP}, python("bad", text)).failed()
    tail = "\n".join(str(number) for number in range(10, 30))
    assert (result["exit_code"], result["log_tail"], result["changed"]) == (3, tail, False)
    assert result.msg.startswith(f"start bad: {sys.executable} -c ")
    assert result.msg.endswith(f"with exit code 3. The end of {bench.state}/logs/bad.log:\n{tail}")
    assert told(result) == {"good": (False, False), "bad": (False, False)}
    assert (bench.records(), process.find_run(bench.state.name)) == ([], [])


def test_a_process_that_dies_silently_by_a_signal(bench: Bench) -> None:
    result = bench(python("bad", "import os; os.kill(os.getpid(), 9)", ready={"tcp": "127.0.0.1:1"})).failed()
    assert result["exit_code"] == -9
    assert "died before it was ready, by signal 9. Its log " in result.msg


def test_only_what_was_written_since_the_start_is_told(bench: Bench) -> None:
    log = bench.state / "logs" / "bad.log"
    log.parent.mkdir(parents=True)
    log.write_text("of an earlier run\n")
    assert bench(python("bad", "raise SystemExit('now')")).failed()["log_tail"] == "now"


def test_a_process_that_is_never_ready_is_ended_with_what_was_seen_last(bench: Bench) -> None:
    ready = {"file": "/no/such/file", "timeout_seconds": 0.1}
    result = bench(python("slow", "import time; print('up', flush=True); time.sleep(60)", ready=ready)).failed()
    assert "start slow: not ready within 0.1 s, file /no/such/file: /no/such/file does not exist. " in result.msg
    assert (bench.records(), process.find_run(bench.state.name)) == ([], [])


def test_a_failed_restart_says_that_the_old_process_is_gone(bench: Bench) -> None:
    bench({"name": "a", "argv": SLEEP}).ok()
    result = bench(python("a", "raise SystemExit(1)")).failed()
    assert (result["changed"], told(result)) == (True, {"a": (False, False)})


def test_a_taken_port_is_told_before_anything_is_touched(bench: Bench, listening: int) -> None:
    bench({"name": "a", "argv": SLEEP}).ok()
    before = bench(state="info").ok()["processes"]
    for check in (True, False):
        result = bench(
            {"name": "a", "argv": ["sleep", "61"]}, {"name": "b", "argv": SLEEP, "ports": [listening]}, check=check
        ).failed()
        assert result.msg.startswith(f"start b: port {listening} is taken by pid {os.getpid()} (")
        assert [(one["port"], one["pid"]) for one in result["ports"]] == [(listening, os.getpid())]
        assert result["changed"] is False
    assert bench(state="info").ok()["processes"] == before


def test_a_port_held_by_the_process_that_is_restarted_is_free(bench: Bench) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    argv = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    server = {
        "name": "a",
        "argv": argv,
        "ports": [port],
        "ready": {"url": f"http://127.0.0.1:{port}/"},
        "cwd": "/proc/self",
    }
    bench(server).ok()
    assert bench(server, state="restarted").ok()["changed"] is True


@pytest.mark.parametrize(
    ("processes", "message"),
    [
        ([{"name": "a"}], "processes: a has no argv, which starting it needs"),
        ([{"name": "a", "argv": []}], "processes: a has no argv"),
        ([{"name": "a", "argv": SLEEP}, {"name": "a", "argv": SLEEP}], "processes: a is named more than once"),
        ([{"name": "../a", "argv": SLEEP}], "processes: '../a' cannot be a process's name"),
        ([{"name": "", "argv": SLEEP}], "processes: '' cannot be a process's name"),
        ([{"name": "a", "argv": ["no-such-program"]}], "start a: no-such-program is no executable file"),
        ([{"name": "a", "argv": SLEEP, "stop_signal": "SIGNO"}], "There is no signal SIGNO"),
        ([{"name": "a", "argv": SLEEP, "env": {"X": [1]}}], "processes: a: env X is neither text nor a number"),
        ([{"name": "a", "argv": SLEEP, "ready": {"tcp": "nowhere"}}], "ready: 'nowhere' is not HOST:PORT"),
        ([{"name": "a", "argv": SLEEP, "ready": {"url": "x", "tcp": "y"}}], "mutually exclusive"),
        ([{"name": "a", "argv": SLEEP, "ready": {"timeout_seconds": 1}}], "one of the following is required"),
        (
            [{"name": "a", "argv": SLEEP, "ports": [7]}, {"name": "b", "argv": SLEEP, "ports": [7]}],
            "start: port 7 is asked for by more than one process",
        ),
    ],
)
@pytest.mark.parametrize("check", [False, True])
def test_what_cannot_be_meant_is_refused(
    bench: Bench, processes: list[dict[str, Any]], message: str, check: bool
) -> None:
    assert message in bench(*processes, check=check).failed().msg
    assert process.find_run(bench.state.name) == []


def test_nothing_is_started_for_a_run_that_is_asked_to_stop(bench: Bench) -> None:
    bench.state.mkdir()
    (bench.state / "stop").touch()
    assert "the run was asked to stop" in bench({"name": "a", "argv": SLEEP}).failed().msg
    assert bench(state="stopped").ok()["changed"] is False


def test_a_stop_file_ends_the_wait_and_what_was_started(bench: Bench) -> None:
    text = f"import time; open({str(bench.state / 'stop')!r}, 'w').close(); time.sleep(60)"
    result = bench(python("a", text, ready={"file": "/no/such/file"})).failed()
    assert result.msg == "start a: the run was asked to stop."
    assert (bench.records(), process.find_run(bench.state.name)) == ([], [])


def test_a_half_written_record_is_told(bench: Bench) -> None:
    (bench.state / "processes").mkdir(parents=True)
    path = bench.state / "processes" / "a.json"
    path.write_text('{"name": "a", "pi')
    assert f"read {path}: it is not valid JSON" in bench({"name": "a", "argv": SLEEP}).failed().msg
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
