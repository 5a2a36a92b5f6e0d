# SPDX-License-Identifier: GPL-3.0-or-later
"""When a started process counts as ready: it answers on a URL or a TCP port, or has written a file."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass

from .errors import ConfigurationError, DeadlineExceeded, ProcessError, Stopped
from .process import is_running, log_tail, reap
from .process_record import Record

PROBE_SECONDS = 2.0
POLL_SECONDS = (0.02, 0.25)  # the first pause and the longest
ALIVE_SECONDS = 0.2  # a process with no condition is ready when it has not died in this time


@dataclass(frozen=True)
class Ready:
    """One of url, tcp and file."""

    url: str | None = None
    tcp: str | None = None
    file: str | None = None
    timeout_seconds: float = 30.0
    client_cert: str | None = None
    client_key: str | None = None
    ca_cert: str | None = None
    validate_certs: bool = True

    def what(self) -> str:
        return self.url or (f"tcp {self.tcp}" if self.tcp else f"file {self.file}")


@dataclass(frozen=True)
class Waited:
    """A process, what makes it ready, and where in its log this start begins."""

    record: Record
    ready: Ready | None
    log_since: int = 0


def wait_ready(waited: list[Waited], stop_requested: Callable[[], bool] = lambda: False) -> None:
    """Return when all are ready; raise as soon as one has died, is too late, or the run is asked to stop."""
    started = time.monotonic()
    pause = POLL_SECONDS[0]
    pending = list(waited)
    while True:
        left = []
        for one in pending:
            check_alive(one)
            elapsed = time.monotonic() - started
            if one.ready is None:
                if elapsed < ALIVE_SECONDS:
                    left.append(one)
                continue
            reason = probe(one.ready)
            if reason is not None:
                if elapsed > one.ready.timeout_seconds:
                    raise _too_late(one, one.ready, reason)
                left.append(one)
        pending = left
        if not pending:
            break
        if stop_requested():
            raise Stopped(f"start {pending[0].record.name}: the run was asked to stop.")
        time.sleep(pause)
        pause = min(pause * 1.5, POLL_SECONDS[1])
    for one in waited:  # one that was ready early, or answered for by another's port, may have died meanwhile
        check_alive(one)


def check_alive(one: Waited) -> None:
    """Raise with the exit code and the end of the log when the process has died."""
    if is_running(one.record.identity):
        return
    code = reap(one.record.pid)
    tail = log_tail(one.record.log, since=one.log_since)
    raise ProcessError(
        f"start {one.record.name}: {' '.join(one.record.argv)} died before it was ready, {_how(code)}. "
        f"{_told(one, tail)}",
        exit_code=code,
        log_tail=tail,
    )


def check_ready(ready: Ready) -> None:
    """Raise when its url or address could never be asked."""
    if ready.url:
        url = urllib.parse.urlsplit(ready.url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ConfigurationError(f"ready: {ready.url!r} is not a http or https URL.")
    if ready.tcp:
        split_address(ready.tcp)


def probe(ready: Ready) -> str | None:
    """None when it is ready, else why it is not."""
    try:
        if ready.url:
            return _get(ready)
        if ready.tcp:
            socket.create_connection(split_address(ready.tcp), PROBE_SECONDS).close()
            return None
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    return None if os.path.exists(ready.file or "") else f"{ready.file} does not exist"


def split_address(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise ConfigurationError(f"ready: {address!r} is not HOST:PORT.")
    return host.strip("[]") or "127.0.0.1", int(port)


def _get(ready: Ready) -> str | None:
    url = urllib.parse.urlsplit(ready.url or "")
    host = url.hostname or ""
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(host, url.port or 443, timeout=PROBE_SECONDS, context=_tls(ready))
    else:
        connection = http.client.HTTPConnection(host, url.port or 80, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", (url.path or "/") + (f"?{url.query}" if url.query else ""))
        answer = connection.getresponse()
        body = answer.read(500).decode(errors="replace").strip()
    finally:
        connection.close()
    return None if answer.status == 200 else f"it answered {answer.status} {body}"


def _tls(ready: Ready) -> ssl.SSLContext:
    """Files that the process has yet to write are no error yet: OSError, and the probe is repeated."""
    context = ssl.create_default_context(cafile=ready.ca_cert)
    if not ready.validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if ready.client_cert:
        context.load_cert_chain(ready.client_cert, ready.client_key)
    return context


def _too_late(one: Waited, ready: Ready, reason: str) -> DeadlineExceeded:
    tail = log_tail(one.record.log, since=one.log_since)
    return DeadlineExceeded(
        f"start {one.record.name}: not ready within {ready.timeout_seconds:g} s, "
        f"{ready.what()}: {reason}. {_told(one, tail)}",
        log_tail=tail,
    )


def _how(code: int | None) -> str:
    if code is None:
        return "with an exit code that only its parent was told"
    return f"by signal {-code}" if code < 0 else f"with exit code {code}"


def _told(one: Waited, tail: str) -> str:
    return f"The end of {one.record.log}:\n{tail}" if tail else f"Its log {one.record.log} is empty."
