# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stage has done so far, as text: pure functions over the lines of progress.jsonl."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# The rate is that of the last seconds: an average since the start would hide a stall.
RATE_WINDOW_SECONDS = 15.0
BAR_WIDTHS = (24, 16, 8, 0)


@dataclass(frozen=True)
class Step:
    """One line of progress.jsonl."""

    done: float
    asked: float
    unit: str
    at: float
    task: str


@dataclass
class Progress:
    """The steps of the task a stage is at now."""

    steps: deque[Step] = field(default_factory=deque)

    def add(self, step: Step) -> None:
        if self.steps and (step.task != self.steps[-1].task or step.done < self.steps[-1].done):
            self.steps.clear()
        self.steps.append(step)
        while len(self.steps) > 2 and self.steps[1].at <= step.at - RATE_WINDOW_SECONDS:
            self.steps.popleft()

    @property
    def last(self) -> Step | None:
        return self.steps[-1] if self.steps else None

    @property
    def rate(self) -> float | None:
        """Units per second over the window; None until two different moments are known."""
        if len(self.steps) < 2 or self.steps[-1].at <= self.steps[0].at:
            return None
        return (self.steps[-1].done - self.steps[0].done) / (self.steps[-1].at - self.steps[0].at)

    @property
    def seconds_left(self) -> float | None:
        last, rate = self.last, self.rate
        return (last.asked - last.done) / rate if last and rate and last.asked > 0 and last.asked >= last.done else None


@dataclass
class Tail:
    """Reads the whole lines that were appended since the last look."""

    path: Path
    offset: int = 0
    rest: bytes = b""

    def lines(self) -> list[bytes]:
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                chunk = file.read()
        except OSError:
            return []
        self.offset += len(chunk)
        *whole, self.rest = (self.rest + chunk).split(b"\n")
        return whole


def parse_steps(lines: Iterable[bytes]) -> list[Step]:
    """Lines that are no progress (a half-written one after a kill) are passed over."""
    steps = []
    for line in lines:
        try:
            entry: Any = json.loads(line)
            steps.append(
                Step(
                    float(entry["done"]),
                    float(entry["asked"] or 0),
                    str(entry.get("unit", "")),
                    float(entry["at"]),
                    str(entry.get("task", "")),
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return steps


def plain_line(stage: str, progress: Progress) -> str:
    """`scheduler_scale: fill 1/3: 1,234 of 4,000 pods bound, 210/s, 13 s left`."""
    step = progress.last
    if step is None:
        return f"{stage}: working"
    head = f"{stage}: {step.task}: " if step.task else f"{stage}: "
    counts = f"{number(step.done)} of {number(step.asked)}" if step.asked > 0 else number(step.done)
    return head + ", ".join([f"{counts} {step.unit}".rstrip(), *_speed(progress)])


def bar_line(progress: Progress, width: int) -> str:
    """The same as a bar in at most `width` columns: what helps least goes first."""
    step = progress.last
    if step is None:
        return ""
    # How many are asked for may not be known yet: then there is nothing to draw a share of.
    known = step.asked > 0
    share = min(1.0, max(0.0, step.done / step.asked)) if known else 0.0
    counts = f"{number(step.done)}/{number(step.asked)}" if known else number(step.done)
    speed = "  ".join(_speed(progress))
    for cells in BAR_WIDTHS if known else (0,):
        bar = f"[{'#' * round(share * cells)}{'.' * (cells - round(share * cells))}] " if cells else ""
        for parts in ((step.task, step.unit, speed), ("", step.unit, speed), ("", "", speed)):
            task, unit, tempo = parts
            line = "  ".join(part for part in (task, f"{bar}{counts} {unit}".rstrip(), tempo) if part)
            if len(line) <= width:
                return line
    return counts[: max(0, width)]


def number(value: float) -> str:
    """1,234 for counts; one decimal only below ten."""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 10 else f"{value:,.1f}"


def duration(seconds: float) -> str:
    """9.3 s, 75 s, 4 min 05 s, 2 h 03 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _speed(progress: Progress) -> list[str]:
    rate, left = progress.rate, progress.seconds_left
    parts = [] if rate is None else [f"{number(rate)}/s"]
    return parts if left is None else [*parts, f"{duration(left)} left"]
