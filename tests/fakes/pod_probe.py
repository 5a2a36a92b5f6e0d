# SPDX-License-Identifier: GPL-3.0-or-later
"""The program of a pod in tests: says which addresses it has, and whether it can connect to others."""

from __future__ import annotations

import fcntl
import http.server
import json
import os
import socket
import struct
import urllib.parse

SIOCGIFADDR = 0x8915  # linux/sockios.h


class Handler(http.server.BaseHTTPRequestHandler):
    """GET /addresses, and GET /reach?address=A&source=B."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        asked = dict(urllib.parse.parse_qsl(query))
        body = json.dumps(
            reach(asked["address"], asked.get("source", "")) if path == "/reach" else addresses()
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing to say."""


def addresses() -> dict[str, str]:
    """Address by interface."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for name in sorted(os.listdir("/sys/class/net")):
            answer = fcntl.ioctl(asking.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()))
            found[name] = socket.inet_ntoa(answer[20:24])
    return found


def reach(address: str, source: str) -> dict[str, str]:
    """How a connection to port 8080 went, and which address it had here."""
    with socket.socket() as connecting:
        connecting.settimeout(3)
        try:
            connecting.bind((source, 0))
            connecting.connect((address, 8080))
        except OSError as error:
            return {"error": error.strerror or type(error).__name__}
        return {"error": "", "local": connecting.getsockname()[0]}


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
