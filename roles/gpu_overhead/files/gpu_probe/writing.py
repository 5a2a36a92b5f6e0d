# SPDX-License-Identifier: GPL-3.0-or-later
"""One JSON object a line, each written out at once: what a run has seen before it ends stays."""

from __future__ import annotations

import json
import os
import threading
from typing import Any, Callable, TextIO


class Writer:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def line(self, kind: str, **values: Any) -> None:
        with self._lock:
            self._stream.write(json.dumps({"kind": kind, **values}, sort_keys=True) + "\n")
            self._stream.flush()


class Watch:
    """Ends the process when one step takes too long: a kernel that hangs cannot be interrupted. Nothing is reset."""

    def __init__(self, writer: Writer, seconds: float, leave: Callable[[int], None] = os._exit) -> None:
        self._writer, self._seconds, self._leave = writer, seconds, leave
        self._step, self._beat, self._ended = "start", threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def step(self, name: str) -> None:
        self._step = name
        self._beat.set()

    def end(self) -> None:
        self._ended.set()
        self._beat.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.is_set():
            if self._beat.wait(self._seconds):
                self._beat.clear()
                continue
            reason = f"hung: {self._step} did not end within {self._seconds:g} s; the device was not reset"
            self._writer.line("end", status="error", reason=reason)
            self._leave(HUNG)


HUNG = 3
