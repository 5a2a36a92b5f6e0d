# SPDX-License-Identifier: GPL-3.0-or-later
"""Ctrl-C and its relatives: the first signal stops the run in order, the second is explained, the third forces."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

# The terminal may be closed (HUP) or a supervisor may end the run (TERM): the order of ending is the same.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Some senders (timeout, make) deliver one wish twice.
ONE_WISH_SECONDS = 0.5

FIRST_TEXT = "{name}: stopping what runs, then report and teardown; the exit code will be 130"
FIRST_LATE_TEXT = "{name}: the run is being torn down already; it ends in a moment with exit code 130"
SECOND_TEXT = (
    "{name}: {doing}; ending it here would leave processes behind. "
    "Once more forces that; 'python -m harness clean' then ends what is left"
)
THIRD_TEXT = "{name}: forced. 'python -m harness clean' ends what is left behind"


class Interrupt:
    """Counts the signals while it is entered; the sequencer asks it, nothing happens inside the handler."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.reason = ""
        self.tearing_down = False
        self._say, self._clock = say, clock
        self._count, self._last = 0, float("-inf")
        self._said = 0
        self._before: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        return self._count > 0

    @property
    def forced(self) -> bool:
        return self._count >= 3

    def receive(self, number: int) -> None:
        """One signal; what it means is said at the next tick, because a handler must not draw."""
        now = self._clock()
        if now - self._last < ONE_WISH_SECONDS:
            return
        self._last = now
        self._count += 1
        self.reason = f"interrupted by {signal.Signals(number).name}"

    def tick(self) -> None:
        """Say what the signals since the last tick mean."""
        while self._said < min(self._count, 3):
            self._said += 1
            self._say(self._text(self._said))

    def _text(self, count: int) -> str:
        name = self.reason.rpartition(" ")[2]
        doing = "teardown is under way" if self.tearing_down else "the stage is still stopping, teardown comes next"
        first = FIRST_LATE_TEXT if self.tearing_down else FIRST_TEXT
        return (first, SECOND_TEXT, THIRD_TEXT)[count - 1].format(name=name, doing=doing)

    def __enter__(self) -> Interrupt:
        self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.receive(number)
