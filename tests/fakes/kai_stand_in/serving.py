# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP side of a component: metrics, health, and the scheduler's snapshot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: Path: what answers it, as (content type, body).
Pages = Mapping[str, Callable[[], tuple[str, bytes]]]


def serve(address: str, pages: Pages) -> ThreadingHTTPServer | None:
    """Answer on HOST:PORT, or on every address of the machine for :PORT as Go does; "0" is off. OSError if taken."""
    if address in ("", "0"):
        return None
    host, _, port = address.rpartition(":")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = pages.get(self.path.split("?")[0])
            kind, body = answer() if answer else ("text/plain", b"404 page not found\n")
            self.send_response(200 if answer else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Nothing: the log is for what the component does."""

    try:
        server = ThreadingHTTPServer((host.strip("[]"), int(port)), Handler)
    except OSError as error:
        raise OSError(f"listen tcp {address}: {error.strerror}") from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name=f"http {address}", daemon=True).start()
    return server


def healthy() -> tuple[str, bytes]:
    return "text/plain", b"ok"
