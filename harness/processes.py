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
    """Ask, then force, whatever find() still finds outside spare; it is asked again because children are born late."""
    ended: set[Process] = set()
    deadline = time.monotonic() + grace_seconds
    while True:
        left = [process for process in find() if process not in spare and process.pid != os.getpid()]
        if not left:
            return sorted(ended, key=lambda process: process.pid)
        forced = time.monotonic() >= deadline
        for process in left:
            if forced or process not in ended:
                _send(process, signal.SIGKILL if forced else signal.SIGTERM)
                ended.add(process)
        if forced and time.monotonic() >= deadline + grace_seconds:
            return sorted(ended, key=lambda process: process.pid)
        time.sleep(0.1)


def _send(process: Process, number: signal.Signals) -> None:
    if not process.alive:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process.pid, number)


def _matches(entries: list[bytes], pattern: bytes) -> bool:
    if pattern.endswith(b"*"):
        return any(entry.startswith(pattern[:-1]) for entry in entries)
    return pattern in entries
