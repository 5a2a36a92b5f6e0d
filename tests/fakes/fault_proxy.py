# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP(S) proxy in front of an API server that injects faults: latency, 429, 500, a reset, 410 on a watch.

Faults are a list of Fault; the first one that matches a request and is not used up is carried out. What matches none
goes through. A watch is passed on line by line, so that it can be cut or answered with 410 in the middle.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.fakes.serving import QuietHandler, serving

GONE = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}


@dataclass
class Fault:
    """One fault: what it does to which requests, and how often.

    kind: latency (seconds), status (code), answer (body, in the API server's place), reset (the connection, before
    anything is sent on), lost (the request is carried out and its answer lost), gone (a watch ends with 410 after
    ``after`` lines), cut (a watch ends after them).
    """

    kind: str
    method: str = ".*"
    path: str = ".*"
    times: int = 1
    seconds: float = 0.0
    code: int = 500
    after: int = 0
    retry_after: int | None = None
    body: str = ""

    def matches(self, method: str, path: str) -> bool:
        watching = "watch=true" in path
        if (self.kind in ("gone", "cut")) != watching and self.kind in ("gone", "cut"):
            return False
        return self.times > 0 and bool(re.fullmatch(self.method, method) and re.search(self.path, path))


@dataclass
class FaultProxy:
    """The proxy: give ``url`` to the client; ``seen`` are the requests that came, ``carried_out`` the faults."""

    host: str
    port: int
    context: ssl.SSLContext | None = None
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)
    carried_out: list[Fault] = field(default_factory=list)
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.seen.append((method, path))
            for fault in self.faults:
                if fault.matches(method, path):
                    fault.times -= 1
                    self.carried_out.append(fault)
                    return fault
        return None

    def upstream(self) -> http.client.HTTPConnection:
        if self.context is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=60)
        return http.client.HTTPSConnection(self.host, self.port, timeout=60, context=self.context)


@contextlib.contextmanager
def fault_proxy(host: str, port: int, context: ssl.SSLContext | None, *faults: Fault) -> Iterator[FaultProxy]:
    """A proxy on a free loopback port, gone when the context is left."""
    proxy = FaultProxy(host, port, context, list(faults))
    with serving(_Handler, proxy=proxy) as server:
        proxy.url = server.url
        yield proxy


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    proxy: FaultProxy

    def handle_any(self) -> None:
        body = self.body()
        fault = self.proxy.fault(self.command, self.path)
        if fault is not None and fault.kind == "latency":
            time.sleep(fault.seconds)
        elif fault is not None and fault.kind == "status":
            self._status(fault)
            return
        elif fault is not None and fault.kind == "answer":
            self.answer(200, fault.body.encode(), {"Content-Type": "application/json"})
            return
        elif fault is not None and fault.kind == "reset":
            self._reset()
            return
        upstream = self.proxy.upstream()
        try:
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
            }
            upstream.request(self.command, self.path, body=body or None, headers=headers)
            answer = upstream.getresponse()
            if "watch=true" in self.path and answer.status == 200:
                self._watch(answer, fault)
                return
            data = answer.read()
            if fault is not None and fault.kind == "lost":
                self._reset()
                return
            passed_on = ("Content-Type", "Retry-After")
            self.answer(answer.status, data, {name: answer.headers[name] for name in passed_on if answer.headers[name]})
        finally:
            upstream.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def _status(self, fault: Fault) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "injected", "code": fault.code}
        self.answer_json(
            fault.code, status, {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        )

    def _watch(self, answer: http.client.HTTPResponse, fault: Fault | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        lines = 0
        while True:
            if fault is not None and fault.kind in ("gone", "cut") and lines >= fault.after:
                if fault.kind == "gone":
                    self.wfile.write(json.dumps({"type": "ERROR", "object": GONE}).encode() + b"\n")
                return
            line = answer.readline()
            if not line:
                return
            self.wfile.write(line)
            self.wfile.flush()
            lines += 1

    def _reset(self) -> None:
        """End the connection with RST instead of FIN (socket(7), SO_LINGER of zero seconds)."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
