# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests from one pod to another, in one file without anything beside the standard library.

Each request is a TCP connection of its own: so many bytes there, so many back. They are due at fixed moments, whatever
became of the one before, and a request's time begins when it was due: one that had to wait for another is not a
quicker one. Both ends run in their pods' network namespaces and take the arguments of udp_probe.py.

    request_probe.py send    --address A --port P --source S --seconds N --interval 0.02 --token T --out FILE
    request_probe.py receive --address A --port P --seconds N --token T --out FILE
"""

from __future__ import annotations

import argparse
import errno
import gc
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

#: Of each request and of each answer.
BODY_BYTES = 16 * 1024
#: A request that has no answer by then has failed.
ANSWER_SECONDS = 1.0
BACKLOG = 128


class Stopping:
    """True once SIGTERM came or the time is over."""

    def __init__(self, seconds: float) -> None:
        self.ends = time.monotonic() + seconds
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def __bool__(self) -> bool:
        return self.asked or time.monotonic() >= self.ends

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True


def send(args: argparse.Namespace, stopping: Stopping) -> dict[str, Any]:
    """One after the other; one that is due while another is under way waits, and its time runs."""
    requests: list[list[Any]] = []
    body = os.urandom(BODY_BYTES)
    interval = int(args.interval * 1e9)
    due = time.monotonic_ns()
    print("ready", flush=True)
    while not stopping:
        failure = _request(args, body)
        requests.append([due, time.monotonic_ns() - due, failure])
        due += interval
        time.sleep(max(0, due - time.monotonic_ns()) / 1e9)
    return {"requests": requests, "bytes": BODY_BYTES}


def _request(args: argparse.Namespace, body: bytes) -> str:
    """Empty, or why it failed."""
    try:
        with socket.create_connection((args.address, args.port), ANSWER_SECONDS, (args.source, 0)) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(body)
            return "" if _read(connection) == body else "an answer that is not the request's"
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "unknown")


def receive(args: argparse.Namespace, stopping: Stopping) -> dict[str, Any]:
    """Sends back what it gets, once it has all of it."""
    answered = failed = 0
    with socket.create_server((args.address, args.port), backlog=BACKLOG) as server:
        server.settimeout(0.1)
        print("ready", flush=True)
        while not stopping:
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(ANSWER_SECONDS)
                try:
                    connection.sendall(_read(connection))
                    answered += 1
                except OSError:
                    failed += 1
    return {"answered": answered, "failed": failed}


def _read(connection: socket.socket) -> bytes:
    parts, left = [], BODY_BYTES
    while left:
        part = connection.recv(left)
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("end", choices=["send", "receive"])
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--source", default="0.0.0.0")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--interval", type=float, default=0.02)
    parser.add_argument("--token", required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    stopping = Stopping(args.seconds)
    gc.disable()  # nothing here makes cycles, and a collection is a gap
    used = time.process_time()
    found = (send if args.end == "send" else receive)(args, stopping)
    found |= {"end": args.end, "token": args.token, "cpu_seconds": time.process_time() - used}
    partial = args.out.with_name(args.out.name + ".partial")
    partial.write_text(json.dumps(found))
    partial.replace(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
