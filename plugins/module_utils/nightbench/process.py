# SPDX-License-Identifier: GPL-3.0-or-later
"""Find and end processes, known by pid and start time; nothing else is ever signalled.

process_start.py starts them, process_record.py keeps their records.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigurationError, ProcessError
from .process_record import Identity, Record, Records, Spec

__all__ = [
    "Identity",
    "Record",
    "Records",
    "Spec",
    "Status",
    "all_processes",
    "command_of",
    "describe",
    "environment_of",
    "find_run",
    "identity",
    "is_running",
    "kill_all",
    "log_tail",
    "members",
    "own_identity",
    "reap",
    "send_signal",
    "signal_number",
    "status",
    "stop",
]

RUN_VARIABLE = "NIGHTBENCH_RUN_ID"  # carried by everything of a run, so that a reaper finds it
RECORD_VARIABLE = "NIGHTBENCH_PROCESS"  # the path of its record: a process's descendants are known by it
POLL_SECONDS = 0.02
LOOK_SECONDS = 0.05  # between looks at all processes of the machine
KILL_SECONDS = 10.0  # what the kernel gets to end a process after SIGKILL


@dataclass(frozen=True)
class Status:
    """What /proc/PID/stat says, as far as it is needed."""

    pid: int
    state: str
    group: int
    threads: int
    start_time: int

    @property
    def running(self) -> bool:
        """A zombie has ended and waits for its parent, unless threads of it still hold its files and ports."""
        return self.state not in "ZX" or self.threads > 1

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.start_time)


def status(pid: int) -> Status | None:
    """The process as /proc shows it, zombies included; None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the command's name may hold blanks and brackets
    return Status(pid, fields[0], group=int(fields[2]), threads=int(fields[17]), start_time=int(fields[19]))


def identity(pid: int) -> Identity | None:
    """Who has this pid now; None when nobody has it, or only a zombie."""
    found = status(pid)
    return found.identity if found and found.running else None


def own_identity() -> Identity:
    found = status(os.getpid())
    assert found is not None
    return found.identity


def is_running(who: Identity) -> bool:
    return identity(who.pid) == who


def reap(pid: int) -> int | None:
    """The exit code of a child of ours that has ended (-N for signal N), else None."""
    try:
        done, result = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(result) if done else None


def all_processes() -> Iterator[Status]:
    for name in os.listdir("/proc"):
        if name.isdigit() and (found := status(int(name))):
            yield found


def environment_of(pid: int) -> set[bytes]:
    """NAME=value as the process was started with; empty when it is gone or another user's."""
    try:
        return set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return set()


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def find_run(run_id: str) -> list[Identity]:
    """Every process of a run, by the environment variable that all of them carry; not the caller itself."""
    mark = f"{RUN_VARIABLE}={run_id}".encode()
    return [
        found.identity
        for found in all_processes()
        if found.running and found.pid != os.getpid() and mark in environment_of(found.pid)
    ]


def members(record: Record, records: Records) -> list[Identity]:
    """What is left of a process: itself, its group, and every descendant that carries its record."""
    mark = f"{RECORD_VARIABLE}={records.path(record.name)}".encode()
    leader = status(record.pid)
    ours = leader is None or leader.start_time == record.start_time
    return [
        found.identity
        for found in all_processes()
        if found.running
        and found.pid != os.getpid()
        and found.start_time >= record.start_time
        and ((ours and found.group == record.pid) or mark in environment_of(found.pid))
    ]


def stop(record: Record, records: Records) -> bool:
    """End the process and what it started; the record goes last. False when nothing of it was running."""
    number = signal_number(record.stop_signal)
    left = members(record, records)
    ran = bool(left)
    for sent, seconds in ((number, record.stop_seconds), (signal.SIGKILL, KILL_SECONDS)):
        deadline = time.monotonic() + seconds
        while left:  # again, for those that were born after the first look
            for who in left:
                send_signal(who, sent)
            gone = _wait_gone(left, deadline)
            left = members(record, records)
            if not gone or time.monotonic() > deadline:
                break
    if left:
        raise ProcessError(
            f"stop {record.name}: pid {', '.join(str(who.pid) for who in left)} did not end within "
            f"{KILL_SECONDS:g} s of SIGKILL.",
            hint="It hangs in the kernel, most likely on a disk or network file system.",
        )
    reap(record.pid)
    records.remove(record)
    return ran


def kill_all(find: Callable[[], Iterable[Identity]], what: str, seconds: float) -> set[Identity]:
    """Kill whom ``find`` names until nobody is left, also those that were born meanwhile; who it was.

    Raises ProcessError with who is still there after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    # A dying process gives up its environment before its ports: who was once found is known by pid.
    found: set[Identity] = set()
    while left := [who for who in found.union(find()) if is_running(who)]:
        if time.monotonic() > deadline:
            named = ", ".join(f"{who.pid} ({command_of(who.pid)[:60]})" for who in left)
            raise ProcessError(f"{what}: {named} did not end within {seconds:g} s of SIGKILL.")
        for who in left:
            send_signal(who, signal.SIGKILL)
        found.update(left)
        time.sleep(LOOK_SECONDS)
    return found


def send_signal(who: Identity, number: int) -> bool:
    """Signal this very process; a pid that has passed on to another one is left alone."""
    try:
        handle = os.pidfd_open(who.pid)
    except ProcessLookupError:
        return False
    try:
        if identity(who.pid) != who:
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise ProcessError(
            f"signal pid {who.pid} ({command_of(who.pid)}): it belongs to another user.",
            hint="Run as that user or root.",
        ) from error
    finally:
        os.close(handle)
    return True


def signal_number(name: str) -> int:
    try:
        return signal.Signals[name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"]
    except KeyError:
        raise ConfigurationError(f"There is no signal {name}.", hint="SIGTERM, SIGINT and SIGQUIT are some.") from None


def log_tail(path: str | Path, lines: int = 20, since: int = 0) -> str:
    """The last lines that were written to a log after the position `since`."""
    try:
        with open(path, "rb") as stream:
            end = stream.seek(0, os.SEEK_END)
            stream.seek(max(since, end - 65536))
            return "\n".join(stream.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def describe(record: Record) -> dict[str, Any]:
    """The record as modules return it."""
    shown = {key: getattr(record, key) for key in ("name", "pid", "start_time", "argv", "log", "started_at")}
    return {**shown, "running": is_running(record.identity)}


def _wait_gone(who: list[Identity], deadline: float) -> bool:
    """Whether all of them ended in time."""
    while any(is_running(one) for one in who):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
        for one in who:
            reap(one.pid)
    return True
