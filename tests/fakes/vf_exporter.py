# SPDX-License-Identifier: GPL-3.0-or-later
"""A page of sriov-network-metrics-exporter over interfaces of this machine that stand for virtual functions."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextlib.contextmanager
def vf_exporter(address: str, cables: Mapping[str, str]) -> Iterator[int]:
    """``cables``: by PCI address the name of this machine's end of the cable. Gives the port it listens on."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = page(cables).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer((address, 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def page(cables: Mapping[str, str]) -> str:
    """What the pod sends is what this end receives."""
    lines = ["# HELP sriov_vf_tx_bytes Statistic tx_bytes.", "# TYPE sriov_vf_tx_bytes counter"]
    for number, (address, cable) in enumerate(cables.items()):
        labels = f'{{numa_node="0",pciAddr="{address}",pf="ens1",vf="{number}"}}'
        for way, here in (("tx", "rx"), ("rx", "tx")):
            moved = Path(f"/sys/class/net/{cable}/statistics/{here}_bytes").read_text().strip()
            lines.append(f"sriov_vf_{way}_bytes{labels} {moved}")
    return "\n".join(lines) + "\n"
