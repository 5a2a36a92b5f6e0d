# SPDX-License-Identifier: GPL-3.0-or-later
"""What a layer needs beside the measured process: up before one run and gone after it, so that native has it never.

A daemon that holds a context between the runs would be one more process on the device of everybody else.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import ConfigurationError, ProcessError

KEYS = {"argv", "environment", "log", "ready", "seconds", "stop"}
#: How long it may take to be ready, and to end once it was told to.
READY_SECONDS, END_SECONDS = 30.0, 10.0
POLL_SECONDS = 0.02
LOG_TAIL = 300


class ServiceError(ProcessError):
    """The run that needs it cannot be; the others can."""


def check(name: str, service: Mapping[str, Any]) -> None:
    """`ready` is a file that appears, or a pattern in the log; `stop` a program and what it reads."""
    if not service:
        return
    stray = sorted(service.keys() - KEYS)
    ready, stop = service.get("ready") or {}, service.get("stop") or {}
    if stray or not service.get("argv") or not service.get("log"):
        raise ConfigurationError(
            f"variant {name}: a service has argv and log, maybe environment, ready, seconds and stop;"
            f" this one has {', '.join(sorted(service)) or 'nothing'}."
        )
    if len(ready) != 1 or not ready.keys() <= {"file", "log"}:
        raise ConfigurationError(f"variant {name}: its service is ready by one of file and log.")
    if not stop.keys() <= {"argv", "input"}:
        raise ConfigurationError(f"variant {name}: what ends its service has argv and input, nothing else.")


class Service:
    """One that runs. Its processes are those of the session that it was started in."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pids(self) -> list[int]:
        return session(self._process.pid)

    def alive(self) -> bool:
        return self._process.poll() is None


@contextlib.contextmanager
def running(
    name: str, given: Mapping[str, Any], check_stop: Callable[[], None] = lambda: None
) -> Iterator[Service | None]:
    """None where the variant has no service."""
    if not given:
        yield None
        return
    log, ready = Path(given["log"]), given["ready"]
    if "file" in ready and Path(ready["file"]).exists():
        raise ServiceError(f"start the service of {name}: {ready['file']} is there already, so another one runs.")
    environment = {**os.environ, **{key: str(value) for key, value in given.get("environment", {}).items()}}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        try:
            process = subprocess.Popen(
                given["argv"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        except OSError as error:
            raise ServiceError(f"start the service of {name}: {given['argv'][0]}: {error.strerror}.") from error
    try:
        _wait(name, process, given, check_stop)
        yield Service(process)
    finally:
        _end(process, given.get("stop") or {}, environment)


def _wait(
    name: str, process: subprocess.Popen[bytes], given: Mapping[str, Any], check_stop: Callable[[], None]
) -> None:
    seconds = float(given.get("seconds") or READY_SECONDS)
    until = time.monotonic() + seconds
    while not _is_ready(given):
        check_stop()
        said = _text(given["log"])[-LOG_TAIL:].strip() or "nothing"
        if process.poll() is not None:
            raise ServiceError(f"the service of {name} ended with exit code {process.returncode}; it said: {said}")
        if time.monotonic() >= until:
            raise ServiceError(f"the service of {name} was not ready within {seconds:g} s; it said: {said}")
        time.sleep(POLL_SECONDS)


def _is_ready(given: Mapping[str, Any]) -> bool:
    ready = given["ready"]
    if "file" in ready:
        return Path(ready["file"]).exists()
    return re.search(ready["log"], _text(given["log"])) is not None


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _end(process: subprocess.Popen[bytes], stop: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """As it asks to be ended where it says how; then by signals, with all of its session."""
    if stop.get("argv") and process.poll() is None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                stop["argv"],
                input=str(stop.get("input", "")).encode(),
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=END_SECONDS,
                check=False,
            )
            process.wait(timeout=END_SECONDS)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in session(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if _gone(process):
            return


def _gone(process: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + END_SECONDS
    while process.poll() is None or session(process.pid):
        if time.monotonic() >= until:
            return False
        time.sleep(POLL_SECONDS)
    return True


def session(leader: int) -> list[int]:
    """Pids of the session, without those that only wait to be collected."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            # After the name, which may hold anything: state, parent, group, session (proc(5)).
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if fields[0] != "Z" and int(fields[3]) == leader:
                found.append(int(path.parent.name))
    return sorted(found)
