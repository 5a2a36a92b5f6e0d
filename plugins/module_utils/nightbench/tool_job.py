# SPDX-License-Identifier: GPL-3.0-or-later
"""The running job: it says how far it is, stops when told to, and takes its child processes with it."""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .long_module import LongModule

Result = TypeVar("Result")

TAIL_LINES = 12
POLL_SECONDS = 0.2


class Job:
    """One module call over many tools: how far it is, and whether it may go on."""

    def __init__(
        self, *, deadline_seconds: float, run_state: str | None = None, progress_path: str | None = None
    ) -> None:
        self._progress: dict[str, Any] = {"done": 0, "asked": 0, "unit": "tools"}
        self._long = LongModule(
            "bench_tool",
            task="toolchain",
            deadline_seconds=deadline_seconds,
            run_state=run_state,
            progress_path=progress_path,
        )
        self._long.report = lambda: self._progress

    def __enter__(self) -> Job:
        self._long.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._long.__exit__(*error)

    @property
    def task(self) -> str:
        return self._long.task

    @task.setter
    def task(self, text: str) -> None:
        self._long.task = text

    def progress(self, done: int, asked: int, unit: str) -> None:
        """What the next progress line says."""
        self._progress = {"done": done, "asked": asked, "unit": unit}

    def attend(self, work: Callable[[], Result]) -> Result:
        """Do work that may block for long, such as a request, and still end soon when told to."""
        outcome: Future[Result] = Future()

        def do() -> None:
            try:
                outcome.set_result(work())
            except BaseException as error:  # noqa: BLE001 the caller gets it, whatever it is
                outcome.set_exception(error)

        threading.Thread(target=do, daemon=True).start()
        while not wait([outcome], timeout=POLL_SECONDS).done:
            self.check()
        return outcome.result()

    def check(self) -> None:
        """Raise Stopped or DeadlineExceeded when the job must not go on."""
        self._long.check("what was finished stays in the cache")


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    argv: Sequence[str]
    returncode: int
    tail: str

    @property
    def command(self) -> str:
        return shlex.join(self.argv)


def run(
    argv: Sequence[str],
    job: Job,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
    tail_lines: int = TAIL_LINES,
    on_line: Callable[[str], bool] | None = None,
) -> Finished:
    """Run a command to its end; `on_line` sees each output line and says whether it was only progress.

    The command dies with this process, even by kill -9, and with its whole process group when the job is stopped.
    """
    tail: deque[str] = deque(maxlen=tail_lines)
    started = time.monotonic()
    with subprocess.Popen(
        [*_dying_with_parent(), *argv],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout
            for line in _lines(process.stdout.fileno()):
                job.check()
                if timeout_seconds and time.monotonic() - started > timeout_seconds:
                    tail.append(f"no end after {timeout_seconds:g} s, killed")
                    _kill_group(process.pid)
                    break
                if line and not (on_line and on_line(line)):
                    tail.append(line)
        except BaseException:
            _kill_group(process.pid)
            raise
    return Finished(argv, process.returncode, "\n".join(tail))


def _lines(descriptor: int) -> Iterator[str]:
    """Lines as they come, and an empty string whenever nothing came for a moment."""
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not selector.select(POLL_SECONDS):
                yield ""
                continue
            chunk = os.read(descriptor, 65536)
            if not chunk:
                break
            *whole, pending = (pending + chunk).split(b"\n")
            yield from (line.decode("utf-8", "replace").rstrip() for line in whole)
    if pending:
        yield pending.decode("utf-8", "replace").rstrip()


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _dying_with_parent() -> list[str]:
    """A prefix that has the kernel kill the command when we die; of util-linux, so nearly everywhere."""
    return ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
