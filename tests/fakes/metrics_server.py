#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes metrics-server's arguments and serves metrics.k8s.io without a single metric: for the role, not for a suite."""

from __future__ import annotations

import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GROUP = "metrics.k8s.io/v1beta1"
RESOURCES = [{"name": name, "singularName": "", "kind": kind, "namespaced": name == "pods", "verbs": ["get", "list"]}
             for name, kind in (("pods", "PodMetrics"), ("nodes", "NodeMetrics"))]  # fmt: skip
ANSWERS = {
    "/livez": "ok",
    f"/apis/{GROUP}": {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP, "resources": RESOURCES},
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = ANSWERS.get(self.path.partition("?")[0])
        body = json.dumps(found or {"kind": "Status", "status": "Failure", "code": 404}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(arguments: list[str]) -> None:
    given = dict(one.removeprefix("--").split("=", 1) for one in arguments)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(given["tls-cert-file"], given["tls-private-key-file"])
    server = ThreadingHTTPServer((given["bind-address"], int(given["secure-port"])), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
