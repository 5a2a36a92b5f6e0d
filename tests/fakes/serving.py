# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP servers in threads of the test: on a free port, and gone when the context is left."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: How soon a server notices that it is to end; http.server's own half second would be added to every test.
POLL_SECONDS = 0.02


class QuietHandler(BaseHTTPRequestHandler):
    """Says nothing of its requests."""

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """``headers`` may lie about the length."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def answer_json(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        self.answer(status, json.dumps(body).encode(), headers)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


class Server(ThreadingHTTPServer):
    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that went away is what many a test is about; anything else is told.
        if not isinstance(sys.exception(), (BrokenPipeError, ConnectionResetError, ConnectionAbortedError)):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def serving(
    handler: type[BaseHTTPRequestHandler], address: str = "127.0.0.1", **known: Any
) -> contextlib.AbstractContextManager[Server]:
    """A server of this handler; ``known`` are attributes that every one of its handlers has."""
    return running(Server((address, 0), type(handler.__name__, (handler,), known)))
