# SPDX-License-Identifier: GPL-3.0-or-later
"""Resident memory of processes over a load: first, last, most, and how fast it grows. Source: proc_pid_statm(5)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .process import Identity, is_running

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SAMPLE_SECONDS = 1.0
#: A line through fewer samples says nothing.
SAMPLES_LEAST = 10
_HOUR = 3600.0


@dataclass(slots=True)
class Growth:
    """Sums of a least-squares line through (seconds, bytes): samples of a long load need no memory of ours."""

    begin: float
    first: int
    last: int = 0
    most: int = 0
    count: int = 0
    end: float = 0.0
    seconds: float = 0.0
    squares: float = 0.0
    bytes: float = 0.0
    products: float = 0.0

    def add(self, at: float, size: int) -> None:
        x, y = at - self.begin, float(size - self.first)
        self.last, self.most, self.end = size, max(self.most, size), at
        self.count += 1
        self.seconds += x
        self.squares += x * x
        self.bytes += y
        self.products += x * y

    def slope(self) -> float | None:
        """Bytes a second, or None while there are too few samples."""
        spread = self.count * self.squares - self.seconds * self.seconds
        if self.count < SAMPLES_LEAST or spread <= 0:
            return None
        return (self.count * self.products - self.seconds * self.bytes) / spread

    def values(self) -> dict[str, Any]:
        slope = self.slope()
        return {
            "first_bytes": self.first,
            "last_bytes": self.last,
            "max_bytes": self.most,
            "samples": self.count,
            "seconds": round(self.end - self.begin, 3),
            "growth_bytes_per_hour": None if slope is None else round(slope * _HOUR, 1),
        }


class MemorySampler:
    """Looks once a second at what ``running`` names (name → pid and start time), until stop()."""

    def __init__(self, running: Callable[[], Mapping[str, tuple[int, int]]]) -> None:
        self._running = running
        self._growth: dict[tuple[str, int], Growth] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> MemorySampler:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def values(self) -> dict[str, dict[str, Any]]:
        """By name; of a process that was started anew the last one counts."""
        return {name: growth.values() for (name, _), growth in self._growth.items()}

    def look(self, now: float) -> None:
        for name, (pid, start_time) in self._running().items():
            size = resident(pid) if is_running(Identity(pid, start_time)) else None
            if size is not None:
                self._growth.setdefault((name, pid), Growth(now, size)).add(now, size)

    def _run(self) -> None:
        self.look(time.monotonic())
        while not self._ended.wait(SAMPLE_SECONDS):
            self.look(time.monotonic())


def resident(pid: int) -> int | None:
    """Bytes in memory, or None when the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return None
