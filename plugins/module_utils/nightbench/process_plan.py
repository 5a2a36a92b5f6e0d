# SPDX-License-Identifier: GPL-3.0-or-later
"""From the processes that are wanted and the records of those that run: what is to be done, and doing it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import ConfigurationError
from .ports import Holder, holders
from .process import describe, is_running, members, stop
from .process_record import Record, Records, Spec
from .process_start import find_program, start
from .readiness import Ready, Waited, wait_ready


@dataclass(frozen=True)
class Wanted:
    """A process as the caller describes it; to stop or to look at one its name is enough."""

    spec: Spec
    ready: Ready | None = None
    ports: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Step:
    """One process: what runs now, and what becomes of it."""

    wanted: Wanted
    record: Record | None  # None: there is no record
    running: bool
    stops: bool
    starts: bool

    @property
    def changes(self) -> bool:
        return self.stops or self.starts


def plan(state: str, wanted: Sequence[Wanted], records: Records) -> list[Step]:
    """The steps in the caller's order."""
    check_names([one.spec.name for one in wanted])
    steps = []
    for one in wanted:
        record = records.get(one.spec.name)
        running = record is not None and is_running(record.identity)
        # A leader may be gone and its children still run, or only its record is left: both go before a new one comes.
        remains = record is not None and (running or bool(members(record, records)))
        same = running and record is not None and record.digest == one.spec.digest()
        starts = state == "restarted" or (state == "started" and not same)
        stops = (starts and remains) or (state == "stopped" and record is not None)
        steps.append(Step(one, record, running, stops, starts))
    return steps


def check_names(names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigurationError(f"processes: {', '.join(twice)} is named more than once.")
    for name in names:
        if not name or name.startswith(".") or "/" in name or "\0" in name:
            raise ConfigurationError(
                f"processes: {name!r} cannot be a process's name.", hint="It becomes a file's name."
            )


def check_start(steps: Sequence[Step], records: Records) -> None:
    """Everything that can be known to fail before anything is started or stopped."""
    starting = [step for step in steps if step.starts]
    asked = Counter(port for step in starting for port in step.wanted.ports)
    twice = [str(port) for port, count in asked.items() if count > 1]
    if twice:
        raise ConfigurationError(f"start: port {', '.join(twice)} is asked for by more than one process.")
    for step in starting:
        find_program(step.wanted.spec)
    ending = {who.pid for step in steps if step.stops and step.record for who in members(step.record, records)}
    taken = [holder for holder in holders(asked) if holder.pid not in ending]
    if taken:
        raise ConfigurationError(
            f"start {', '.join(_askers(starting, taken))}: {'; '.join(str(holder) for holder in taken)}.",
            hint="End that process, or choose other ports.",
            ports=[{"port": holder.port, "pid": holder.pid, "command": holder.command} for holder in taken],
        )


def carry_out(
    steps: Sequence[Step], records: Records, run_id: str, stop_requested: Callable[[], bool] = lambda: False
) -> list[Record | None]:
    """Stop (the last first), start (in order), wait for all; if that fails, end again what this call started."""
    for step in reversed(steps):
        if step.stops and step.record:
            stop(step.record, records)
    started: list[Record] = []
    result: list[Record | None] = []
    waited: list[Waited] = []
    try:
        for step in steps:
            spec = step.wanted.spec
            record = records.get(spec.name)
            since = 0
            if step.starts:
                since = os.path.getsize(spec.log) if os.path.exists(spec.log) else 0
                record = start(spec, records, run_id)
                started.append(record)
            result.append(record)
            if record and (step.starts or step.wanted.ready):
                waited.append(Waited(record, step.wanted.ready, since))
        wait_ready(waited, stop_requested)
    except BaseException:
        for record in reversed(started):
            stop(record, records)
        raise
    return result


def outcome(step: Step, record: Record | None) -> dict[str, Any]:
    """One item of what the module returns; without a record (check mode, stopped) what is known."""
    spec = step.wanted.spec
    if record is not None:
        return {**describe(record), "changed": step.changes}
    known = step.record
    return {
        "name": spec.name,
        "pid": None,
        "start_time": None,
        "argv": spec.argv or (known.argv if known else []),
        "log": spec.log or (known.log if known else ""),
        "started_at": None,
        "running": step.starts,
        "changed": step.changes,
    }


def shown(step: Step, *, after: bool) -> dict[str, Any]:
    """The process in a diff; of its environment only whether it is another one (it may hold secrets)."""
    settings: Spec | Record | None = step.record
    running = step.running
    if after and step.starts:
        settings, running = step.wanted.spec, True
    elif after and step.stops:
        settings = None
    if settings is None:
        return {}
    digest = settings.digest() if isinstance(settings, Spec) else settings.digest
    return {
        "running": running,
        "argv": settings.argv,
        "cwd": settings.cwd,
        "log": settings.log,
        "settings_sha256": digest,
    }


def _askers(starting: Sequence[Step], taken: Sequence[Holder]) -> list[str]:
    ports = {holder.port for holder in taken}
    return [step.wanted.spec.name for step in starting if ports & set(step.wanted.ports)]
