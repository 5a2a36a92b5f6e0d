# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes that a load depends on: one that is held back until every pod exists, and those that must not die."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ConfigurationError, ProcessError
from .long_module import LongModule
from .machine import MachineSampler
from .process import Identity, is_running, log_tail
from .process_item import wanted_process
from .process_plan import Wanted, carry_out, check_start, plan
from .process_record import Record, Records

ALIVE_SECONDS = 1.0


class Release:
    """The process that is held back until every pod exists."""

    def __init__(self, item: dict[str, Any], run_state: str, validate: Callable[[dict[str, Any]], Any]) -> None:
        """``validate`` checks an item against PROCESS_SPEC (ArgumentSpecValidator.validate)."""
        validated = validate(item)
        if validated.error_messages:
            raise ConfigurationError(f"release: {'; '.join(validated.error_messages)}.")
        self.wanted: Wanted = wanted_process(validated.validated_parameters, run_state)
        self.records = Records(run_state)
        self.record: Record | None = None
        self._run_id = os.path.basename(os.path.abspath(run_state))
        current = self.records.get(self.wanted.spec.name)
        if current is not None and is_running(current.identity):
            raise ConfigurationError(
                f"release: {self.wanted.spec.name} is running already (pid {current.pid}).",
                hint="Stop it first: the pods would be bound before all of them exist.",
            )
        check_start(plan("started", [self.wanted], self.records), self.records)

    def start(self, machine: MachineSampler) -> None:
        """Start the process and wait until it is ready."""
        (self.record,) = carry_out(plan("started", [self.wanted], self.records), self.records, self._run_id)
        assert self.record is not None
        machine.add(self.record.name, self.record.pid, self.record.start_time)

    def part(self) -> dict[str, Part]:
        """The process, once it runs."""
        return {} if self.record is None else {self.record.name: Part(self.record.identity, str(self.record.log))}


@dataclass(frozen=True)
class Part:
    """A process without which the load goes nowhere."""

    identity: Identity
    log: str | None


def watched(
    long: LongModule, release: Release | None, processes: Mapping[str, Mapping[str, Any]]
) -> Callable[[str], None]:
    """The load's check: stop file and deadline always, once a second every process that ran when the load began."""
    next_look = 0.0
    parts = parts_of(processes)

    def check(state: str) -> None:
        nonlocal next_look
        long.check(state)
        if time.monotonic() > next_look:
            next_look = time.monotonic() + ALIVE_SECONDS
            refuse_dead(parts | (release.part() if release is not None else {}))

    return check


def parts_of(processes: Mapping[str, Mapping[str, Any]]) -> dict[str, Part]:
    """Those that run now: a scheduler that is held back does not, and is nobody's death."""
    found = {
        name: Part(Identity(int(item["pid"]), int(item["start_time"])), item.get("log"))
        for name, item in processes.items()
        if item.get("pid") is not None
    }
    return {name: part for name, part in found.items() if is_running(part.identity)}


def refuse_dead(parts: Mapping[str, Part]) -> None:
    """Raise ProcessError for those that have died, each with the end of its log."""
    dead = {name: part for name, part in parts.items() if not is_running(part.identity)}
    if dead:
        raise ProcessError(
            "\n".join(
                f"{name} (pid {part.identity.pid}) died during the load."
                + (f" The end of {part.log}:\n{log_tail(part.log)}" if part.log else " It has no log here.")
                for name, part in dead.items()
            )
        )
