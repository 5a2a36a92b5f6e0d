# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load costs over time: CPU and memory of processes, of programs that tell it on their pages, etcd's storage.

One look a second in a thread, and one at each moment that a load wants told exactly (``look``).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from .errors import NightbenchError
from .kube import Kube
from .machine import MachineSampler, cpu_seconds
from .memory import resident
from .process_pages import OF_PROGRAM, Told, etcd_of, program, storage

LOOK_SECONDS = 1.0
AT_ONCE = 4  # pages that are asked for
#: Of a longer load every second, third … look is kept: what is said of it is a summary.
POINTS_MOST = 120


@dataclass(frozen=True)
class Look:
    at: float
    processes: Mapping[str, Told]
    programs: Mapping[str, Told]
    storage: Told


class ResourceSampler:
    """``pages``: name → URL of programs; ``etcd_url``: its metrics page, empty for what the API server knows.

    The processes are those of ``machine``, which may get more of them meanwhile.
    """

    def __init__(self, kube: Kube, machine: MachineSampler, pages: Mapping[str, str], etcd_url: str = "") -> None:
        self._kube, self._machine, self._pages = kube, machine, dict(pages)
        self._etcd = etcd_of(kube, etcd_url) if etcd_url else None
        self._open = contextlib.ExitStack()
        self._pool = self._open.enter_context(ThreadPoolExecutor(AT_ONCE))
        if self._etcd is not None:
            self._open.callback(self._etcd.close)
        self._looks: list[Look] = []
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> ResourceSampler:
        """Raises Unreachable for a page that nobody serves; later on such a page tells nothing."""
        try:
            for url in self._pages.values():
                program(url)
            self.look()
        except BaseException:
            self._open.close()
            raise
        self._thread.start()
        return self

    def stop(self) -> None:
        with self._open:
            self._ended.set()
            self._thread.join()
            self.look()

    def look(self, *, every: bool = True) -> None:
        """``every``: the API server too, of which the page is large to make; etcd is asked always."""
        with self._lock:
            asked = {name: self._pool.submit(_told, url) for name, url in self._pages.items()}
            stored = storage(self._kube, self._etcd) if every or self._etcd is not None else {}
            processes = {
                name: {"cpu": cpu_seconds(pid, start), "bytes": _resident(pid, start)}
                for name, (pid, start) in self._machine.processes.items()
            }
            self._looks.append(
                Look(time.monotonic(), processes, {name: told.result() for name, told in asked.items()}, stored)
            )

    def values(self, begin: float, end: float) -> dict[str, Any]:
        """CPU and storage between two moments, memory from ``begin`` until stop(), and all of it over time."""
        wall = time.time() - time.monotonic()
        window = {"seconds": round(end - begin, 3), "end": round(end + wall, 3)}
        return values(self._looks, begin, end) | {"window": window}

    def _run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self.look(every=False)


@contextlib.contextmanager
def measured(kube: Kube, params: Mapping[str, Any]) -> Iterator[tuple[MachineSampler, ResourceSampler]]:
    """The machine and what is named in a module's ``processes``, ``pages`` and ``etcd_url``, while the block runs."""
    machine = MachineSampler(params["processes"]).start()
    try:
        resources = ResourceSampler(kube, machine, params["pages"], params["etcd_url"]).start()
        try:
            yield machine, resources
        finally:
            resources.stop()
    finally:
        machine.stop()


def values(looks: Sequence[Look], begin: float, end: float) -> dict[str, Any]:
    """Pure. The looks around the window: the last one before it and the first one after it are of it."""
    since = max((number for number, look in enumerate(looks) if look.at <= begin), default=0)
    until = min((number for number, look in enumerate(looks) if look.at >= end), default=len(looks) - 1)
    own, rest = looks[since : until + 1], looks[since:]
    names = list(dict.fromkeys(name for look in rest for name in look.processes))
    programs = list(dict.fromkeys(name for look in rest for name in look.programs))
    return {
        "memory": {name: _memory(_column(rest, "processes", name, "bytes")) for name in names},
        "programs": {name: _of_program(own, rest, name) for name in programs},
        "storage": {
            "first_bytes": _first(_stored(own, "total")), "last_bytes": _last(_stored(own, "total")),
            "in_use_first_bytes": _first(_stored(own, "in_use")), "in_use_last_bytes": _last(_stored(own, "in_use")),
        },
        **{f"active_{what}": _active(rest, programs, what) for what in ("policies", "endpoints")},
        "series": _series(rest[:: -(-len(rest) // POINTS_MOST)], begin, names, programs),
    }  # fmt: skip


def _series(looks: Sequence[Look], begin: float, names: Sequence[str], programs: Sequence[str]) -> dict[str, Any]:
    moments = [look.at for look in looks]

    def lines(kind: str, name: str) -> dict[str, list[float | None]]:
        return {
            "cores": _cores(moments, _column(looks, kind, name, "cpu")),
            "bytes": _column(looks, kind, name, "bytes"),
        }

    return {
        "seconds": [round(at - begin, 2) for at in moments],
        "processes": {name: lines("processes", name) for name in names},
        "programs": {name: lines("programs", name) for name in programs},
        "storage": {"total_bytes": _stored(looks, "total"), "in_use_bytes": _stored(looks, "in_use")},
    }


def _cores(moments: Sequence[float], used: Sequence[float | None]) -> list[float | None]:
    """On average since the look before; None where one of both does not tell, or a program was started anew."""
    found: list[float | None] = [None]
    for number in range(1, len(moments)):
        before, after = used[number - 1], used[number]
        seconds = moments[number] - moments[number - 1]
        told = before is not None and after is not None and after >= before and seconds > 0
        found.append(round((after - before) / seconds, 4) if told else None)  # type: ignore[operator]
    return found


def _of_program(own: Sequence[Look], rest: Sequence[Look], name: str) -> dict[str, float | None]:
    used = _column(own, "programs", name, "cpu")
    first, last = used[0], used[-1]
    seconds = None if first is None or last is None or last < first else round(last - first, 3)
    return {"cpu_seconds": seconds, **_memory(_column(rest, "programs", name, "bytes"))}


def _active(looks: Sequence[Look], programs: Sequence[str], what: str) -> dict[str, dict[str, float]]:
    """What Felix says is at work on each node; of a program that tells no such thing nothing."""
    found = {}
    for name in programs:
        told = [value for value in _column(looks, "programs", name, what) if value is not None]
        if told:
            found[name] = {"first": told[0], "most": max(told)}
    return found


def _memory(sizes: Sequence[float | None]) -> dict[str, float | None]:
    most = max((size for size in sizes if size is not None), default=None)
    return {"first_bytes": _first(sizes), "max_bytes": most, "last_bytes": _last(sizes)}


def _column(looks: Sequence[Look], kind: str, name: str, what: str) -> list[float | None]:
    return [getattr(look, kind).get(name, {}).get(what) for look in looks]


def _stored(looks: Sequence[Look], what: str) -> list[float | None]:
    return [look.storage.get(what) for look in looks]


def _first(found: Sequence[float | None]) -> float | None:
    return next((value for value in found if value is not None), None)


def _last(found: Sequence[float | None]) -> float | None:
    return _first(list(reversed(found)))


def _told(url: str) -> Told:
    try:
        return program(url)
    except NightbenchError:
        return dict.fromkeys(OF_PROGRAM)


def _resident(pid: int, start_time: int) -> float | None:
    """Of another process with the same pid nothing is said."""
    return None if cpu_seconds(pid, start_time) is None else resident(pid)
