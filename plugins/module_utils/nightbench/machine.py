# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine did during a window: busy, steal, pressure, throttling, and which process used the CPU.

Sources: /proc/stat and /proc/PID/stat (proc(5)), /proc/pressure/* (kernel: Documentation/accounting/psi.rst),
cpu.stat of the cgroup (Documentation/admin-guide/cgroup-v2.rst; nr_throttled's time in v1 is in nanoseconds).
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICK = os.sysconf("SC_CLK_TCK")
SAMPLE_SECONDS = 0.25
_PRESSURES = ("cpu", "io", "memory")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Counters at one moment; times in seconds since boot or start."""

    at: float
    busy: float
    steal: float
    total: float
    pressure: tuple[float, ...]
    throttled: float | None
    processes: Mapping[str, float]


class MachineSampler:
    """Takes a snapshot a few times a second in a thread; window() gives the differences between two moments.

    ``processes`` maps names to {"pid", "start_time"}; those without a pid do not run. More can be added later.
    ``seconds`` lie between two snapshots.
    """

    def __init__(self, processes: Mapping[str, Mapping[str, Any]], seconds: float = SAMPLE_SECONDS) -> None:
        self._seconds = seconds
        running = {name: item for name, item in processes.items() if item.get("pid") is not None}
        self.processes = {name: (int(item["pid"]), int(item["start_time"])) for name, item in running.items()}
        self._snapshots: list[Snapshot] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> MachineSampler:
        self._snapshots.append(self._snapshot())
        self._thread.start()
        return self

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()
        self._snapshots.append(self._snapshot())

    def add(self, name: str, pid: int, start_time: int) -> None:
        self.processes = {**self.processes, name: (pid, start_time)}

    def window(self, begin: float, end: float) -> dict[str, Any]:
        """The machine between two moments of the monotonic clock, to the nearest snapshots around them."""
        moments = [snapshot.at for snapshot in self._snapshots]
        first = self._snapshots[max(0, bisect_right(moments, begin) - 1)]
        last = self._snapshots[min(len(moments) - 1, bisect_left(moments, end))]
        return difference(first, last)

    def whole(self) -> dict[str, Any]:
        """From start to stop."""
        return difference(self._snapshots[0], self._snapshots[-1])

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            self._snapshots.append(self._snapshot())

    def _snapshot(self) -> Snapshot:
        used = {name: seconds for name, key in self.processes.items() if (seconds := cpu_seconds(*key)) is not None}
        used["load generator"] = time.process_time()
        busy, steal, total = _cpu_line(Path("/proc/stat").read_text())
        return Snapshot(
            at=time.monotonic(),
            busy=busy,
            steal=steal,
            total=total,
            pressure=tuple(_pressure(name) for name in _PRESSURES),
            throttled=_throttled(),
            processes=used,
        )


def difference(first: Snapshot, last: Snapshot) -> dict[str, Any]:
    """Ratios between two snapshots; a process that is missing in one of them counts from zero or to its last value."""
    seconds = last.at - first.at
    total = last.total - first.total
    cpus = os.cpu_count() or 1
    used = {
        name: {
            "cpu_seconds": round(value - first.processes.get(name, 0.0), 3),
            "cpu_ratio_of_machine": _ratio(value - first.processes.get(name, 0.0), total),
        }
        for name, value in last.processes.items()
    }
    named = sum(item["cpu_seconds"] for item in used.values())
    throttled = None
    if first.throttled is not None and last.throttled is not None:
        throttled = round(last.throttled - first.throttled, 6)
    return {
        "seconds": round(seconds, 3),
        "cpus": cpus,
        "cpu_busy_ratio": _ratio(last.busy - first.busy, total),
        "steal_ratio": _ratio(last.steal - first.steal, total),
        "pressure": {
            name: _ratio(after - before, seconds)
            for name, before, after in zip(_PRESSURES, first.pressure, last.pressure, strict=True)
        },
        "throttled_seconds": throttled,
        "processes": used,
        "other_cpu_ratio": _ratio(max(0.0, last.busy - first.busy - named), total),
    }


def _ratio(part: float, whole: float) -> float:
    return round(part / whole, 4) if whole > 0 else 0.0


def _cpu_line(text: str) -> tuple[float, float, float]:
    """busy, steal and total seconds of all CPUs; the fields of proc(5) in their order."""
    user, nice, system, idle, iowait, irq, softirq, steal = (
        int(value) / TICK for value in text.split("\n", 1)[0].split()[1:9]
    )
    busy = user + nice + system + irq + softirq
    return busy, steal, busy + steal + idle + iowait


def cpu_seconds(pid: int, start_time: int) -> float | None:
    """User and system seconds of a process (all its threads), or None when it is gone or another one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    # proc(5) counts from 1 with pid and comm before these: utime is field 14, stime 15, starttime 22.
    if int(fields[19]) != start_time:
        return None
    return (int(fields[11]) + int(fields[12])) / TICK


def _pressure(name: str) -> float:
    """Seconds in which some task waited for the resource, since boot; 0 where the kernel has no PSI."""
    try:
        line = Path(f"/proc/pressure/{name}").read_text().split("\n", 1)[0]
    except OSError:
        return 0.0
    return int(line.rpartition("total=")[2]) / 1e6


def _throttled() -> float | None:
    """Seconds that our cgroup was held back by its CPU quota, or None where that is not told."""
    for path, key, unit in (
        ("/sys/fs/cgroup/cpu.stat", "throttled_usec", 1e6),
        ("/sys/fs/cgroup/cpu/cpu.stat", "throttled_time", 1e9),
    ):
        try:
            values = dict(line.split() for line in Path(path).read_text().splitlines())
        except (OSError, ValueError):
            continue
        if key in values:
            return int(values[key]) / unit
    return None
