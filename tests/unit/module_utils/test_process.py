# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of the tests' own, started and ended for real; none outlives its test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible.module_utils.nightbench import process
from ansible.module_utils.nightbench.errors import ConfigurationError, ProcessError
from ansible.module_utils.nightbench.process import Identity, Record, Records, Spec
from ansible.module_utils.nightbench.process_start import start

from tests.conftest import eventually

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    folder = Records(tmp_path / "state")
    yield folder
    for record in folder.all():
        process.stop(replace(record, stop_signal="SIGKILL"), folder)


def sleeper(tmp_path: Path, name: str = "sleeper", **settings: object) -> Spec:
    return Spec(name=name, argv=["sleep", "60"], log=str(tmp_path / f"{name}.log"), **settings)  # type: ignore[arg-type]


def script(tmp_path: Path, text: str, **settings: object) -> Spec:
    argv = [sys.executable, "-c", textwrap.dedent(text)]
    return Spec(name="script", argv=argv, log=str(tmp_path / "script.log"), **settings)  # type: ignore[arg-type]


# --- start


def test_a_started_process_is_detached_recorded_and_marked(tmp_path: Path, records: Records) -> None:
    spec = sleeper(tmp_path, env={"COLOUR": "green"})
    record = start(spec, records, "run-1")
    assert records.get("sleeper") == record
    assert process.is_running(record.identity)
    eventually(lambda: process.environment_of(record.pid))  # the kernel sets it a moment after it has closed the pipe
    assert os.getsid(record.pid) == os.getpgid(record.pid) == record.pid
    assert os.readlink(f"/proc/{record.pid}/fd/0") == "/dev/null"
    eventually(lambda: sorted(os.listdir(f"/proc/{record.pid}/fd")) == ["0", "1", "2"])
    assert {
        b"NIGHTBENCH_RUN_ID=run-1",
        f"NIGHTBENCH_PROCESS={records.path('sleeper')}".encode(),
        b"COLOUR=green",
    } <= process.environment_of(record.pid)
    assert "green" not in records.path("sleeper").read_text()
    assert process.find_run("run-1") == [record.identity]


def test_standard_output_and_error_are_appended_to_the_log(tmp_path: Path, records: Records) -> None:
    Path(tmp_path / "script.log").write_text("before\n")
    record = start(script(tmp_path, "import os; os.write(1, b'out\\n'); os.write(2, b'err\\n')"), records, "run")
    eventually(lambda: not process.is_running(record.identity))
    assert Path(record.log).read_text() == "before\nout\nerr\n"


@pytest.mark.parametrize(
    ("argv", "cwd", "error", "message"),
    [
        (["no-such-program-here"], "/", ConfigurationError, "start bad: no-such-program-here is no executable file"),
        ([], "/", ConfigurationError, "argv is empty"),
        (["sleep", "1"], "/no/such/folder", ProcessError, r"execute .*/sleep in /no/such/folder: .*\(ENOENT\)"),
        (["{tmp}/not-a-binary"], "/", ProcessError, r"not-a-binary in /: Exec format error \(ENOEXEC\)"),
    ],
)
def test_a_program_that_cannot_run_leaves_no_record_and_no_process(
    tmp_path: Path, records: Records, argv: list[str], cwd: str, error: type[Exception], message: str
) -> None:
    (tmp_path / "not-a-binary").write_text("this is no program")
    (tmp_path / "not-a-binary").chmod(0o755)
    spec = Spec("bad", [word.format(tmp=tmp_path) for word in argv], str(tmp_path / "bad.log"), cwd=cwd)
    with pytest.raises(error, match=message):
        start(spec, records, "run-bad")
    assert records.all() == []
    assert process.find_run("run-bad") == []


def test_a_log_that_cannot_be_written_is_said(tmp_path: Path, records: Records) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"start a: open its log .*/file/a\.log: File exists"):
        start(Spec("a", ["sleep", "1"], str(tmp_path / "file" / "a.log")), records, "run")


def test_a_running_process_is_not_started_twice(tmp_path: Path, records: Records) -> None:
    record = start(sleeper(tmp_path), records, "run")
    with pytest.raises(ProcessError, match=f"it runs already, as pid {record.pid}"):
        start(sleeper(tmp_path), records, "run")
    assert records.all() == [record]


#: A module that gets SIGKILL at a given moment of start().
KILLED = """
    import os, signal, sys
    sys.path.insert(0, {path!r})
    from nightbench import process_start
    from nightbench.process_record import Records, Spec
    kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    if {moment!r} == "before the record":
        Records.put = kill
    process_start.start(Spec("victim", ["sleep", "60"], {log!r}), Records({state!r}), "run-killed", before_release=kill)
"""


@pytest.mark.parametrize(("moment", "recorded"), [("before the record", False), ("after the record", True)])
def test_a_module_killed_before_the_release_leaves_no_process(
    tmp_path: Path, records: Records, moment: str, recorded: bool
) -> None:
    text = KILLED.format(
        path=str(ROOT / "plugins" / "module_utils"),
        log=str(tmp_path / "victim.log"),
        state=str(records.folder.parent),
        moment=moment,
    )
    # The mark is given from outside, so that the forked child carries it too before its exec.
    environment = {**os.environ, process.RUN_VARIABLE: "run-killed", "PYTHONDONTWRITEBYTECODE": "1"}
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(text)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    eventually(lambda: process.find_run("run-killed") == [])
    left = records.get("victim")
    assert (left is not None) is recorded
    if left is not None:
        eventually(lambda: not process.is_running(left.identity))
    assert start(sleeper(tmp_path, "victim"), records, "run-killed").pid > 0  # a stale record is in nobody's way


# --- who is who


def test_a_zombie_counts_as_ended_and_is_reaped_with_its_exit_code(tmp_path: Path, records: Records) -> None:
    record = start(script(tmp_path, "raise SystemExit(7)"), records, "run")
    eventually(lambda: not process.is_running(record.identity))
    zombie = process.status(record.pid)
    assert zombie is not None
    assert (zombie.state, process.identity(record.pid)) == ("Z", None)
    assert process.members(record, records) == []
    assert process.reap(record.pid) == 7
    assert process.status(record.pid) is None


def test_a_pid_that_has_passed_on_is_never_signalled(tmp_path: Path, records: Records) -> None:
    stranger = start(sleeper(tmp_path, "stranger"), records, "run")
    stale = replace(stranger, name="stale", start_time=stranger.start_time - 1)
    records.put(stale)
    assert not process.is_running(stale.identity)
    assert process.send_signal(stale.identity, signal.SIGKILL) is False
    assert process.stop(stale, records) is False
    assert records.get("stale") is None
    assert process.is_running(stranger.identity)


def test_a_signal_to_nobody_is_no_error() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert process.send_signal(Identity(gone.pid, 1), signal.SIGTERM) is False


@pytest.mark.parametrize("name", ["plain", "with blank", "bra) ck (et", ") R 1 2 3"])
def test_the_start_time_is_read_whatever_the_command_is_called(tmp_path: Path, name: str) -> None:
    program = tmp_path / name
    program.symlink_to("/bin/sleep")
    running = subprocess.Popen([str(program), "60"])
    try:
        found = process.status(running.pid)
        assert found is not None
        assert found.running
        assert found.start_time >= process.own_identity().start_time
        assert found.group == os.getpgid(running.pid)
    finally:
        running.kill()
        running.wait()


# --- stop


def test_stopping_ends_the_process_and_takes_the_record(tmp_path: Path, records: Records) -> None:
    record = start(sleeper(tmp_path), records, "run")
    assert process.stop(record, records) is True
    assert process.status(record.pid) is None
    assert records.all() == []
    assert process.stop(record, records) is False


def test_a_process_that_ignores_the_signal_is_killed(tmp_path: Path, records: Records) -> None:
    text = """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("deaf", flush=True)
        time.sleep(60)
    """
    record = start(script(tmp_path, text, stop_seconds=0.1), records, "run")
    eventually(lambda: process.log_tail(record.log) == "deaf")
    assert process.stop(record, records) is True
    assert process.status(record.pid) is None


def test_the_signal_asked_for_is_the_one_sent(tmp_path: Path, records: Records) -> None:
    text = """
        import signal, sys, time
        signal.signal(signal.SIGINT, lambda *_: sys.exit(print("asked politely", flush=True)))
        print("up", flush=True)
        time.sleep(60)
    """
    record = start(script(tmp_path, text, stop_signal="SIGINT"), records, "run")
    eventually(lambda: process.log_tail(record.log) == "up")
    process.stop(record, records)
    assert process.log_tail(record.log) == "up\nasked politely"


#: A leader with a child in its group and one that has left for a session of its own.
FAMILY = """
    import subprocess, time
    a = subprocess.Popen(["sleep", "60"])
    b = subprocess.Popen(["sleep", "60"], start_new_session=True)
    print(a.pid, b.pid, flush=True)
    {then}
"""


@pytest.mark.parametrize("then", ["time.sleep(60)", "raise SystemExit(0)"], ids=["leader lives", "leader is gone"])
def test_descendants_go_with_the_process(tmp_path: Path, records: Records, then: str) -> None:
    record = start(script(tmp_path, FAMILY.format(then=then)), records, "run-family")
    eventually(lambda: process.log_tail(record.log).count(" "))
    children = [int(word) for word in process.log_tail(record.log).split()]
    if "SystemExit" in then:
        eventually(lambda: not process.is_running(record.identity))
    assert {who.pid for who in process.members(record, records)} - {record.pid} == set(children)
    assert process.stop(record, records) is True
    assert [process.identity(pid) for pid in children] == [None, None]
    assert process.find_run("run-family") == []


def test_a_child_born_while_stopping_is_found(tmp_path: Path, records: Records) -> None:
    text = """
        import signal, subprocess, sys, time
        def last_word(*_):
            print("born", subprocess.Popen(["sleep", "60"], start_new_session=True).pid, flush=True)
            sys.exit(0)
        signal.signal(signal.SIGTERM, last_word)
        print("up", flush=True)
        time.sleep(60)
    """
    record = start(script(tmp_path, text), records, "run-born")
    eventually(lambda: process.log_tail(record.log) == "up")
    process.stop(record, records)
    assert "born" in process.log_tail(record.log)
    assert process.find_run("run-born") == []


def test_a_record_written_anew_meanwhile_stays(tmp_path: Path, records: Records) -> None:
    record = start(sleeper(tmp_path), records, "run")
    older = replace(record, start_time=record.start_time - 5)
    records.remove(older)
    assert records.get("sleeper") == record


def test_all_that_is_found_is_killed_those_too_that_come_later(tmp_path: Path, records: Records) -> None:
    first = start(sleeper(tmp_path, "first"), records, "run")
    found = [[first.identity], [start(sleeper(tmp_path, "second"), records, "run").identity]]
    ended = process.kill_all(lambda: found.pop(0) if found else [], "end them", 10.0)
    assert ended == {record.identity for record in records.all()}
    assert not any(process.is_running(who) for who in ended)


def test_who_does_not_end_is_named(tmp_path: Path, records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    record = start(sleeper(tmp_path), records, "run")
    told = rf"end them: {record.pid} \(.*sleep 60\) did not end within 0 s of SIGKILL"
    with monkeypatch.context() as patched:
        patched.setattr(process, "send_signal", lambda who, number: True)
        with pytest.raises(ProcessError, match=told):
            process.kill_all(lambda: [record.identity], "end them", 0.0)


@pytest.mark.parametrize(
    ("name", "number"), [("SIGTERM", signal.SIGTERM), ("int", signal.SIGINT), ("KILL", signal.SIGKILL)]
)
def test_signals_by_name(name: str, number: int) -> None:
    assert process.signal_number(name) == number


def test_an_unknown_signal_is_said() -> None:
    with pytest.raises(ConfigurationError, match="There is no signal SIGNONE"):
        process.signal_number("SIGNONE")


# --- records


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "it is not valid JSON"), ("[]", "it is not the record of a process"), ('{"pid": 1}', "missing 5 required")],
)
def test_a_broken_record_is_said(records: Records, text: str, message: str) -> None:
    records.folder.mkdir(parents=True)
    records.path("broken").write_text(text)
    try:
        with pytest.raises(ConfigurationError, match=message):
            records.get("broken")
    finally:
        records.path("broken").unlink()


def test_a_record_of_a_later_version_is_read(records: Records) -> None:
    records.put(Record("a", 1, 2, ["x"], "/log", "2026-01-01T00:00:00Z"))
    path = records.path("a")
    path.write_text(path.read_text().replace("{", '{"new": 1,', 1))
    try:
        assert records.get("a") == Record("a", 1, 2, ["x"], "/log", "2026-01-01T00:00:00Z")
    finally:
        path.unlink()


@pytest.mark.parametrize(
    ("text", "since", "tail"),
    [
        ("a\nb\nc\n", 0, "b\nc"),
        ("a\nb\nc", 0, "b\nc"),
        ("a\nb\n", 2, "b"),
        ("x" * 200_000 + "\nb\nc\n", 0, "b\nc"),
        ("", 0, ""),
        (None, 0, ""),
    ],
)
def test_the_tail_of_a_log(tmp_path: Path, text: str | None, since: int, tail: str) -> None:
    if text is not None:
        (tmp_path / "log").write_text(text)
    assert process.log_tail(tmp_path / "log", lines=2, since=since) == tail
