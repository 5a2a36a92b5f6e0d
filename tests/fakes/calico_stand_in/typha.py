# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for Typha: the environment, the health and the metrics of v3.32.1.

It tells its clients nothing, and counts those that are connected as clients of the syncer felix.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any

VERSION = "v3.32.1"
#: install.py writes it.
PAGES = Path(sys.argv[0]).with_name("pages.json")
CONNECTED: set[object] = set()


class Client(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        CONNECTED.add(self)
        while self.request.recv(1024):
            pass

    def finish(self) -> None:
        CONNECTED.discard(self)


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        text = {"/readiness": "ready\n", "/metrics": metrics()}.get(self.path)
        self.send_response(404 if text is None else 200)
        self.end_headers()
        self.wfile.write((text or "").encode())

    def log_message(self, *_: Any) -> None:
        """Nothing to say."""


def metrics() -> str:
    page = str(json.loads(PAGES.read_text(encoding="utf-8"))["typha"])
    return re.sub(r'(typha_connections_streaming\{syncer="felix"\}) \S+', rf"\1 {len(CONNECTED)}", page)


def main() -> None:
    if sys.argv[1:] == ["--version"]:
        print(f"Version:            {VERSION}")
        return
    told = {name.removeprefix("TYPHA_"): value for name, value in os.environ.items()}
    if told["DATASTORETYPE"] != "kubernetes" or not Path(told["KUBECONFIG"]).is_file():
        sys.exit(f"typha stand-in: it was told {told['DATASTORETYPE']}, {told['KUBECONFIG']}")
    socketserver.ThreadingTCPServer.daemon_threads = socketserver.ThreadingTCPServer.allow_reuse_address = True
    for host, port, handler in (
        (told["SERVERHOST"], told["SERVERPORT"], Client),
        (told["PROMETHEUSMETRICSHOST"], told["PROMETHEUSMETRICSPORT"], Pages),
        (told["HEALTHHOST"], told["HEALTHPORT"], Pages),
    ):
        server = socketserver.ThreadingTCPServer((host, int(port)), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
