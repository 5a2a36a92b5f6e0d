# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the Felix of many nodes at once, again and again, and says of each start when it came how far.

The process's own start is the kernel's, three moments are Felix's log's, and its readiness is asked for every so often.
No kubelet takes part: what a probe of some period adds is arithmetic and not measured here.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .calico_startup import MILESTONES, SAID, Moment, Poll, decompose, moments_of_log, moments_of_polls
from .errors import ConfigurationError, NightbenchError
from .machine import TICK
from .process_plan import Wanted, carry_out, plan
from .process_record import Record, Records
from .readiness import probe

#: How long after Felix's own "ready" the log may still lack a line.
LOG_SECONDS = 10.0
LOOK_SECONDS = 0.05
MEASURED = MILESTONES[:-1]  # "ready" is a kubelet's


@dataclass(frozen=True)
class Start:
    """One start of one node's Felix."""

    number: int
    node: str
    moments: dict[str, Moment]
    times_started: int  # Felix ends and is started again where its configuration changes
    failure: str = ""

    def row(self) -> dict[str, Any]:
        """Moments in seconds since the process was started."""
        begin = self.moments["container_started"].at
        told = {name: self.moments[name] for name in MEASURED[1:] if name in self.moments}
        answered = told.get("answers_ready")
        return {
            "start": self.number,
            "node": self.node,
            **{name: round(told[name].at - begin, 6) if name in told else None for name in MEASURED[1:]},
            "resolution": round(answered.resolution, 6) if answered else None,
            "times_started": self.times_started,
            "failure": self.failure or None,
        }


class Restarts:
    """``felixes``: node → the process as bench_process takes it, with its log and the URL of its readiness."""

    def __init__(
        self,
        felixes: dict[str, Wanted],
        run_state: str,
        starts: int,
        poll_seconds: float,
        check: Callable[[str], None],
        stop_asked: Callable[[], bool],
    ) -> None:
        lacking = [node for node, wanted in felixes.items() if wanted.ready is None or not wanted.ready.url]
        if lacking or not felixes or starts < 1 or poll_seconds <= 0:
            raise ConfigurationError(
                f"felix: {', '.join(lacking) or 'it'} cannot be measured: {len(felixes)} nodes, {starts} starts, "
                f"a look every {poll_seconds:g} s.",
                hint="Each needs ready.url, where Felix says whether it is ready; numbers are above 0.",
            )
        self.felixes, self.starts, self.poll_seconds = felixes, starts, poll_seconds
        self._records = Records(run_state)
        # They stay processes of the run that they are of.
        known = [record.run_id for one in felixes.values() if (record := self._records.get(one.spec.name))]
        self._run_id = known[0] if known else os.path.basename(os.path.abspath(run_state))
        self._check, self._stop_asked = check, stop_asked
        self.found: list[Start] = []

    def progress(self) -> dict[str, Any]:
        return {"done": len(self.found), "asked": self.starts * len(self.felixes), "unit": "starts"}

    def run(self) -> None:
        """Whatever happens, every Felix runs in the end, where that is possible."""
        try:
            for number in range(1, self.starts + 1):
                self._check(f"{len(self.found)} starts seen")
                self.found += self._round(number)
        except BaseException:
            with contextlib.suppress(NightbenchError, OSError):
                self._carry_out("started")
            raise

    def _round(self, number: int) -> list[Start]:
        self._carry_out("stopped")
        sizes = {node: _size(wanted.spec.log) for node, wanted in self.felixes.items()}
        ended = threading.Event()
        with ThreadPoolExecutor(len(self.felixes)) as pool:
            looks = {node: pool.submit(self._look, wanted, ended) for node, wanted in self.felixes.items()}
            try:
                records = dict(zip(self.felixes, self._carry_out("started"), strict=True))
            except BaseException:
                ended.set()
                raise
        return [self._start(number, node, records[node], sizes[node], looks[node].result()) for node in self.felixes]

    def _carry_out(self, state: str) -> list[Record | None]:
        steps = plan(state, list(self.felixes.values()), self._records)
        return carry_out(steps, self._records, self._run_id, self._stop_asked)

    def _look(self, wanted: Wanted, ended: threading.Event) -> list[Poll]:
        """The last two looks: until the first that is answered with ready, or it is time to end."""
        assert wanted.ready is not None
        polls: list[Poll] = []
        while not polls or not (polls[-1].ready or ended.is_set() or self._stop_asked()):
            at = time.time()
            polls = [*polls[-1:], Poll(at, probe(wanted.ready) is None)]
            time.sleep(max(0.0, at + self.poll_seconds - time.time()))
        return polls

    def _start(self, number: int, node: str, record: Record | None, since: int, polls: Sequence[Poll]) -> Start:
        assert record is not None  # it was started just now
        log = self.felixes[node].spec.log
        text = _grown(log, since)
        started = Moment(_boot() + record.start_time / TICK, 1 / TICK, "the kernel")
        moments = {"container_started": started, **moments_of_log(text), **moments_of_polls(polls)}
        missing = [name for name in MEASURED if name not in moments]
        told = [f"{', '.join(missing)} not seen"] if missing else []
        told += decompose(moments).problems
        return Start(number, node, moments, text.count("Felix starting up"), "; ".join(told))


def _grown(log: str, since: int) -> str:
    """What the log has since this start, once it says everything; or what it has after some time."""
    end = time.monotonic() + LOG_SECONDS
    while True:
        with open(log, "rb") as stream:
            stream.seek(since)
            text = stream.read().decode(errors="replace")
        if set(SAID.values()) <= set(moments_of_log(text)) or time.monotonic() > end:
            return text
        time.sleep(LOOK_SECONDS)


def values(restarts: Restarts, machine: dict[str, Any]) -> dict[str, Any]:
    whole = [start for start in restarts.found if not start.failure]
    return {
        "plan": {"starts": restarts.starts, "nodes": len(restarts.felixes), "poll_seconds": restarts.poll_seconds},
        "asked": restarts.starts * len(restarts.felixes),
        "done": len(whole),
        "failures": sorted({start.failure for start in restarts.found if start.failure})[:5],
        "machine": machine,
    }


def _size(log: str) -> int:
    return Path(log).stat().st_size if Path(log).exists() else 0


def _boot() -> float:
    """The moment from which the kernel counts start times, on the wall clock."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
