# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures in the text form that Prometheus reads, with those of the process itself."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable

Labels = tuple[tuple[str, str], ...]
#: KAI's histograms: 5 ms, doubled, ten buckets.
BUCKETS = tuple(5.0 * 2**power for power in range(10))


class Metrics:
    """Counters, gauges and histograms by name and labels."""

    def __init__(self) -> None:
        self._kinds: dict[str, str] = {}
        self._values: dict[str, dict[Labels, float]] = {}
        self._observed: dict[str, list[float]] = {}
        self._gauges: dict[str, Callable[[], float]] = {}
        self._lock = threading.Lock()
        self._started = time.time()

    def add(self, name: str, amount: float = 1.0, /, **labels: str) -> None:
        with self._lock:
            self._kinds[name] = "counter"
            series = self._values.setdefault(name, {})
            key = tuple(sorted(labels.items()))
            series[key] = series.get(key, 0.0) + amount

    def set(self, name: str, value: float, /, **labels: str) -> None:
        with self._lock:
            self._kinds[name] = "gauge"
            self._values.setdefault(name, {})[tuple(sorted(labels.items()))] = value

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """A gauge that is read when somebody asks."""
        self._gauges[name] = read

    def clear(self, name: str) -> None:
        """Forget the series of a gauge whose objects come and go."""
        with self._lock:
            self._values.pop(name, None)

    def observe(self, name: str, milliseconds: float) -> None:
        with self._lock:
            counts = self._observed.setdefault(name, [0.0] * (len(BUCKETS) + 2))
            for index, bound in enumerate(BUCKETS):
                counts[index] += milliseconds <= bound
            counts[-2] += 1
            counts[-1] += milliseconds

    def text(self) -> bytes:
        lines: list[str] = []
        with self._lock:
            for name, series in sorted(self._values.items()):
                lines.append(f"# TYPE {name} {self._kinds[name]}")
                lines += [f"{name}{_braces(labels)} {value:.17g}" for labels, value in sorted(series.items())]
            for name, counts in sorted(self._observed.items()):
                lines.append(f"# TYPE {name} histogram")
                bounds = [f"{bound:g}" for bound in BUCKETS] + ["+Inf"]
                lines += [f'{name}_bucket{{le="{le}"}} {count:g}' for le, count in zip(bounds, counts, strict=False)]
                lines += [f"{name}_sum {counts[-1]:.17g}", f"{name}_count {counts[-2]:g}"]
        own = {**{name: read() for name, read in self._gauges.items()}, **self._process()}
        for name, value in own.items():
            lines += [f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}", f"{name} {value:.17g}"]
        return ("\n".join(lines) + "\n").encode()

    def _process(self) -> dict[str, float]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        with open("/proc/self/statm", encoding="ascii") as stream:
            resident = int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return {
            "process_cpu_seconds_total": used.ru_utime + used.ru_stime,
            "process_resident_memory_bytes": float(resident),
            "process_start_time_seconds": self._started,
        }


def _braces(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}" if labels else ""
