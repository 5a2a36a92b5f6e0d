# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows a run while it runs: a block of bars redrawn in place on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from harness.progress import Progress, bar_line, duration, plain_line

PLAIN_EVERY_SECONDS = 10.0
# Ansible's own colours: green ok, yellow running, red failed, cyan skipped.
LOOKS = {
    "waiting": (" ", ""),
    "running": (">", "33"),
    "finished": ("+", "32"),
    "kept": ("=", "32"),
    "failed": ("!", "31"),
    "interrupted": ("!", "31"),
    "skipped": ("-", "36"),
}
TIMED = ("running", "finished", "failed", "interrupted")


@dataclass
class Row:
    """One stage as the screen knows it."""

    name: str
    state: str = "waiting"
    seconds: float = 0.0
    activity: str = ""
    progress: Progress = field(default_factory=Progress)


class Screen(Protocol):
    """What the sequencer tells whoever looks on."""

    def started(self, row: Row) -> None: ...

    def ended(self, row: Row) -> None: ...

    def tick(self) -> None: ...

    def note(self, text: str) -> None: ...

    def output(self, text: str) -> None: ...

    def close(self) -> None: ...


class PlainScreen:
    """A line when a stage begins and ends, and every ten seconds between."""

    def __init__(self, out: TextIO, rows: list[Row]) -> None:
        self.out, self.rows = out, rows
        self._last = time.monotonic()

    def started(self, row: Row) -> None:
        self._last = time.monotonic()
        self.note(f"{row.name}: started")

    def ended(self, row: Row) -> None:
        after = f" after {duration(row.seconds)}" if row.seconds else ""
        # Why a stage failed is told in full by a note of its own.
        why = f": {row.activity}" if row.activity and row.state != "failed" else ""
        self.note(f"{row.name}: {row.state}{after}{why}")

    def tick(self) -> None:
        if time.monotonic() - self._last < PLAIN_EVERY_SECONDS:
            return
        self._last = time.monotonic()
        for row in self.rows:
            if row.state == "running":
                doing = f"{row.name}: {row.activity or 'working'}"
                self.note(plain_line(row.name, row.progress) if row.progress.last else doing)

    def note(self, text: str) -> None:
        write(self.out, f"{time.strftime('%H:%M:%S')} {text}\n")

    def output(self, text: str) -> None:
        """Somebody else's lines, as they are."""
        write(self.out, f"{text}\n")

    def close(self) -> None:
        pass


class TerminalScreen:
    """Every redraw is one write that overwrites line by line, so nothing flickers."""

    def __init__(self, out: TextIO, rows: list[Row], colour: bool) -> None:
        self.out, self.rows, self.colour = out, rows, colour
        self._drawn = 0

    def started(self, row: Row) -> None:
        self.tick()

    def ended(self, row: Row) -> None:
        self.tick()

    def tick(self) -> None:
        self._draw(render(self.rows, _columns(), self.colour))

    def note(self, text: str) -> None:
        """A line that stays, above the block."""
        self._draw([*text.splitlines(), *render(self.rows, _columns(), self.colour)], keep=len(text.splitlines()))

    output = note

    def close(self) -> None:
        self.tick()

    def _draw(self, lines: list[str], keep: int = 0) -> None:
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        write(self.out, up + "\r" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        self._drawn = len(lines) - keep


def open_screen(out: TextIO, rows: list[Row]) -> Screen:
    """The one that fits where the output goes."""
    if out.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return TerminalScreen(out, rows, colour="NO_COLOR" not in os.environ)
    return PlainScreen(out, rows)


def render(rows: list[Row], width: int, colour: bool = False) -> list[str]:
    """One line a stage, none longer than `width` columns."""
    names = max((len(row.name) for row in rows), default=0)
    return [_row_line(row, names, width, colour) for row in rows]


def _row_line(row: Row, names: int, width: int, colour: bool) -> str:
    mark, code = LOOKS[row.state]
    head = f"{mark} {row.name:<{names}}"
    took = f"{duration(row.seconds):>13}  " if row.state in TIMED else " " * 15
    room = width - len(head) - len(took)
    text = bar_line(row.progress, room) if row.state == "running" and row.progress.last else row.activity
    line = f"{head}{took}{text}".rstrip()[: max(0, width)]
    return f"\x1b[{code}m{line}\x1b[0m" if colour and code else line


def _columns() -> int:
    return shutil.get_terminal_size().columns - 1


def write(out: TextIO, text: str) -> None:
    # The terminal may be gone (closed window, ended ssh): the run still has to be torn down.
    with contextlib.suppress(OSError, ValueError):
        out.write(text)
        out.flush()
