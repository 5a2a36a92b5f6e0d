# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds and ends processes by pid and start time, and by the variables in their environment (Linux /proc)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
# After which share of the grace which signal is sent, the last one first.
FORCE = ((1.0, signal.SIGKILL), (0.5, signal.SIGTERM), (0.0, signal.SIGINT))


@dataclass(frozen=True)
class Process:
    """A pid alone may be reused; with its start time it is one process for ever."""

    pid: int
    start_time: int

    @property
    def alive(self) -> bool:
        return start_time(self.pid) == self.start_time


def start_time(pid: int) -> int | None:
    """Clock ticks since boot at which the process began; None when there is none, or only its zombie."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def this_process() -> Process:
    return Process(os.getpid(), start_time(os.getpid()) or 0)


def with_variables(wanted: Sequence[str]) -> list[Process]:
    """Every process whose environment has one of these, each `NAME=VALUE` (a VALUE ending in * matches a beginning)."""
    found = []
    for folder in PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            entries = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        begun = start_time(int(folder.name))
        if begun is not None and any(_matches(entries, pattern.encode()) for pattern in wanted):
            found.append(Process(int(folder.name), begun))
    return found


def recorded(folder: Path) -> set[Process]:
    """The processes that records `{pid, start_time}` in this folder name; half-written ones are passed over."""
    found = set()
    for path in folder.glob("*.json"):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            found.add(Process(int(record["pid"]), int(record["start_time"])))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def end(find: Callable[[], Iterable[Process]], spare: Collection[Process], grace_seconds: float) -> list[Process]:
    """Interrupt, ask, force whatever find() still finds outside spare; asked again because children are born late.

    An interrupted Python program removes its temporary files, one that is asked or forced does not.
    """
    sent: dict[Process, signal.Signals] = {}
    began = time.monotonic()
    while left := [process for process in find() if process not in spare and process.pid != os.getpid()]:
        waited = time.monotonic() - began
        number = next(number for share, number in FORCE if waited >= share * grace_seconds)
        for process in left:
            if sent.get(process) != number:
                _send(process, number)
                sent[process] = number
        if waited >= 2 * grace_seconds:
            break
        time.sleep(0.05)
    return sorted(sent, key=lambda process: process.pid)


def command_of(pid: int) -> str:
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _send(process: Process, number: signal.Signals) -> None:
    if not process.alive:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process.pid, number)


def _matches(entries: list[bytes], pattern: bytes) -> bool:
    if pattern.endswith(b"*"):
        return any(entry.startswith(pattern[:-1]) for entry in entries)
    return pattern in entries
