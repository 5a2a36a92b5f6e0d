# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a process that outlives the module.

The record is on disk before the program runs: the child waits on a pipe and only then executes it. A module that
is killed before that leaves no process, one that is killed later leaves a process that has its record.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from .errors import ConfigurationError, ProcessError
from .process import RECORD_VARIABLE, RUN_VARIABLE, is_running, status
from .process_record import Record, Records, Spec

_GO = b"+"


def start(
    spec: Spec, records: Records, run_id: str, *, before_release: Callable[[Record], None] | None = None
) -> Record:
    """Start `spec` in a session of its own; its program runs when this returns. `before_release` is for tests."""
    program = find_program(spec)
    variables = {RUN_VARIABLE: run_id, RECORD_VARIABLE: str(records.path(spec.name))}
    log = open_log(spec)
    gate_read, gate_write = os.pipe()
    outcome_read, outcome_write = os.pipe()
    with os.fdopen(outcome_read, "rb") as outcome:
        try:
            with records.lock():
                current = records.get(spec.name)
                if current and is_running(current.identity):
                    raise ProcessError(f"start {spec.name}: it runs already, as pid {current.pid}.")
                pid = os.fork()
                if pid == 0:
                    os.close(gate_write)
                    _become(program, spec, {**os.environ, **spec.env, **variables}, log, gate_read, outcome_write)
                record = _record(spec, pid, run_id)
                records.put(record)
            if before_release:
                before_release(record)
            with contextlib.suppress(BrokenPipeError):  # somebody ended it already: seen by whoever waits for it
                os.write(gate_write, _GO)
        finally:
            for descriptor in (log, gate_read, gate_write, outcome_write):
                os.close(descriptor)  # a gate that is closed without the word ends the child
        problem = outcome.read().decode()
    if problem:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        records.remove(record)
        raise ProcessError(f"start {spec.name}: execute {program} in {spec.cwd}: {problem}.", exit_code=127)
    return record


def find_program(spec: Spec) -> str:
    if not spec.argv:
        raise ConfigurationError(f"start {spec.name}: argv is empty.")
    program = shutil.which(spec.argv[0], path=spec.env.get("PATH"))
    if program is None:
        raise ConfigurationError(
            f"start {spec.name}: {spec.argv[0]} is no executable file.", hint="Give its full path, or install it."
        )
    return os.path.abspath(program)


def open_log(spec: Spec) -> int:
    try:
        Path(spec.log).parent.mkdir(parents=True, exist_ok=True)
        return os.open(spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigurationError(f"start {spec.name}: open its log {spec.log}: {error.strerror}.") from error


def _record(spec: Spec, pid: int, run_id: str) -> Record:
    born = status(pid)
    if born is None:
        raise ProcessError(f"start {spec.name}: pid {pid} was gone before it ran.")
    return Record(
        name=spec.name,
        pid=pid,
        start_time=born.start_time,
        argv=list(spec.argv),
        log=spec.log,
        started_at=datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        run_id=run_id,
        cwd=spec.cwd,
        digest=spec.digest(),
        stop_signal=spec.stop_signal,
        stop_seconds=spec.stop_seconds,
    )


def _become(program: str, spec: Spec, environment: dict[str, str], log: int, gate: int, outcome: int) -> NoReturn:
    """Between fork and exec: nothing may return into, or write to, what belongs to the module."""
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        for source, descriptor in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, descriptor)
        # Before the wait: nothing of the module's may be held open by a child that is still waiting.
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) not in (gate, outcome):
                with contextlib.suppress(OSError):
                    os.close(int(name))
        if os.read(gate, 1) != _GO:
            os._exit(126)
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.chdir(spec.cwd)
        os.execve(program, spec.argv, environment)  # closes gate and outcome, which tells the module that it ran
    except OSError as error:
        os.write(outcome, f"{error.strerror} ({errno.errorcode.get(error.errno or 0, error.errno)})".encode())
    except BaseException as error:  # noqa: BLE001 - whatever it is, the module has to hear of it
        os.write(outcome, repr(error).encode())
    finally:
        os._exit(127)
