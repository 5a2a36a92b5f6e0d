# SPDX-License-Identifier: GPL-3.0-or-later
"""What every long module owes: its own deadline, a record of itself, a stop file it obeys, and visible progress.

Ansible cannot end a module that runs: a cancelled play leaves the process behind. So the module ends itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import DeadlineExceeded, Stopped
from .jsonfile import write_atomic
from .process import own_identity

#: One line a second is enough for a bar and keeps a night's file small.
PROGRESS_SECONDS = 1.0


class LongModule:
    """Context of one long module call.

    ``run_state`` is the run's state directory (stop file, modules/NAME.json), ``progress_path`` the stage's
    progress.jsonl; both may be None when a role is used alone. ``report`` is set by the caller and returns
    {done, asked, unit}.
    """

    def __init__(
        self,
        name: str,
        *,
        task: str,
        deadline_seconds: float,
        run_state: str | None = None,
        progress_path: str | None = None,
    ) -> None:
        self.name = name
        self.task = task
        self.deadline = time.monotonic() + deadline_seconds
        self.deadline_seconds = deadline_seconds
        self._run_state = Path(run_state) if run_state else None
        self._progress = Path(progress_path) if progress_path else None
        self.report: Callable[[], dict[str, Any]] = dict
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def of(
        cls,
        name: str,
        params: Mapping[str, Any],
        *,
        task: str | None = None,
        seconds: str = "deadline_seconds",
        check: bool = False,
    ) -> LongModule:
        """Of a module's arguments; ``seconds`` is the one that has its deadline. In check mode it writes nothing.

        Without ``task`` it is called as the caller says, else by the name of what it does.
        """
        return cls(
            name,
            task=(params["task"] or params["name"]) if task is None else task,
            deadline_seconds=params[seconds],
            run_state=None if check else params["run_state"],
            progress_path=None if check else params["progress_path"],
        )

    def __enter__(self) -> LongModule:
        if self._run_state is not None:
            record = {
                "name": self.name,
                "task": self.task,
                **vars(own_identity()),
                "deadline": time.time() + self.deadline_seconds,
                "started_at": time.time(),
            }
            write_atomic(self._record_path(), record)
        if self._progress is not None:
            self._thread = threading.Thread(target=self._write_progress, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._append()
        if self._run_state is not None:
            self._record_path().unlink(missing_ok=True)

    def stopped(self) -> bool:
        """Whether the run asked us to stop, or our time is over."""
        return self.stop_asked() or time.monotonic() >= self.deadline

    def stop_asked(self) -> bool:
        return self._run_state is not None and (self._run_state / "stop").exists()

    def check(self, what: str) -> None:
        """Raise Stopped or DeadlineExceeded when it is time to end; ``what`` says how far we are."""
        if self.stop_asked():
            raise Stopped(f"{self.task}: stopped on request; {what}.")
        if time.monotonic() >= self.deadline:
            raise DeadlineExceeded(
                f"{self.task}: not done within {self.deadline_seconds:g} s; {what}.",
                hint="Raise the deadline, or look at the component that should have done it.",
            )

    def _write_progress(self) -> None:
        while not self._ended.wait(PROGRESS_SECONDS):
            self._append()

    def _append(self) -> None:
        assert self._progress is not None
        line = {**self.report(), "at": time.time(), "task": self.task}
        # Progress is only a picture: a full disk is told by whoever has results to write.
        with contextlib.suppress(OSError), self._progress.open("a") as stream:
            stream.write(json.dumps(line) + "\n")

    def _record_path(self) -> Path:
        assert self._run_state is not None
        return self._run_state / "modules" / f"{self.name}.{os.getpid()}.json"
