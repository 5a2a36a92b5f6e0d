# SPDX-License-Identifier: GPL-3.0-or-later
"""The one process that sends the packets of all gangs: started, told of pods, ended, read back."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import job_probe
from .errors import ProcessError
from .policy_pairs import START_SECONDS, STOP_SECONDS, write_program

PORT = 7332


class JobProbe:
    def __init__(self, folder: Path, *, interval: float, seconds: float) -> None:
        self._folder, self._interval, self._seconds = folder, interval, seconds
        self._out = folder / "jobs.json"
        self._errors = folder / "jobs.log"
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        try:
            self._start()
            yield
        finally:
            self._stop()

    def tell(self, **told: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(told).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ProcessError(f"the probe of the jobs ended early: {self._words()}") from error

    def check(self) -> None:
        """Raise ProcessError when it has died."""
        if self._process is not None and self._process.poll() is not None:
            raise ProcessError(f"the probe of the jobs ended early: {self._words()}")

    def result(self) -> Mapping[str, Any]:
        """Its file, once it has ended."""
        try:
            document: Mapping[str, Any] = json.loads(self._out.read_text())
        except (OSError, ValueError) as error:
            raise ProcessError(f"the probe of the jobs left no result: {self._words() or error}") from error
        return document

    def _start(self) -> None:
        script = write_program(job_probe, self._folder)
        argv = [
            *(sys.executable, "-I", os.fspath(script), "--port", str(PORT), "--interval", f"{self._interval:g}"),
            *("--seconds", f"{self._seconds:g}", "--out", os.fspath(self._out)),
        ]
        with self._errors.open("wb") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
        if not ready or self._process.stdout.readline().strip() != b"ready":
            raise ProcessError(f"the probe of the jobs did not start: {self._words()}")

    def _stop(self) -> None:
        """It writes its file when its input ends."""
        if self._process is None:
            return
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        deadline = time.monotonic() + STOP_SECONDS
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _words(self) -> str:
        with contextlib.suppress(OSError):
            return self._errors.read_text(errors="replace").strip()[-500:]
        return ""
