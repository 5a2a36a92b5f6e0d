# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for Felix: the environment, the health and the metrics of v3.32.1, and one rule of each dataplane.

It watches nothing and enforces nothing. Like Felix it removes what another dataplane has left, leaves its own rules
when it ends, and ends with 129 when its configuration changes (here: on SIGHUP).
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

VERSION = "v3.32.1"
CONFIGURATION_CHANGED = 129
NFTABLES = "add table ip calico; add chain ip calico filter-FORWARD; add rule ip calico filter-FORWARD accept"
#: Felix names its chains and its rules so.
IPTABLES = """\
*filter
:cali-FORWARD - [0:0]
-A FORWARD -m comment --comment "cali:stand-in" -j cali-FORWARD
-A cali-FORWARD -m comment --comment "cali:stand-in-2" -j ACCEPT
COMMIT
"""
#: What each of its names takes to state its version, and to run Felix (node/cmd/calico-node/main.go).
NAMES: dict[str, tuple[str, list[str]]] = {"calico-felix": ("--version", []), "calico-node": ("-v", ["-felix"])}
#: By dataplane; install.py writes it.
PAGES = Path(sys.argv[0]).with_name("pages.json")


def main() -> None:
    version, run_felix = NAMES[Path(sys.argv[0]).name]
    if sys.argv[1:] == [version]:
        print(f"Version:            {VERSION}" if version == "--version" else VERSION)
        return
    if sys.argv[1:] != run_felix:
        sys.exit(f"felix stand-in: {sys.argv} does not start a Felix")
    told = {name.removeprefix("FELIX_"): value for name, value in os.environ.items()}
    name = Path("/var/lib/calico/nodename").read_text(encoding="utf-8")
    if (told["FELIXHOSTNAME"], told["DATASTORETYPE"]) != (name, "kubernetes") or not Path(told["KUBECONFIG"]).is_file():
        sys.exit(f"felix stand-in: this is {name}, and it was told {told['FELIXHOSTNAME']}, {told['KUBECONFIG']}")
    if told["BPFENABLED"] != "false":
        sys.exit("felix stand-in: it knows no eBPF")
    typha = connected(told["TYPHAADDR"]) if "TYPHAADDR" in told else None
    nftables = told["NFTABLESMODE"] == "Enabled"
    say("daemon.go 400", f'Felix starting up GOMAXPROCS=2 version="{VERSION}"')
    say("async_calc_graph.go 166", "First time we've been in sync")
    program(nftables)
    page = json.loads(PAGES.read_text(encoding="utf-8"))["nftables" if nftables else "iptables"]
    serve(told["PROMETHEUSMETRICSHOST"], told["PROMETHEUSMETRICSPORT"], {"/metrics": page})
    print(f"felix stand-in: {name} runs {'nftables' if nftables else 'iptables'}", flush=True)
    say("int_dataplane.go 2307", "Completed first update to dataplane. secsSinceStart=1.0")
    # Ready when that was said, as Felix is.
    serve(told["HEALTHHOST"], told["HEALTHPORT"], {"/readiness": "ready\n", "/liveness": "live\n"})
    signal.signal(signal.SIGHUP, lambda *_: os._exit(CONFIGURATION_CHANGED))
    if typha is not None:
        typha.recv(1)
        sys.exit("felix stand-in: Typha has gone")
    signal.pause()


def connected(address: str) -> socket.socket:
    host, port = address.split(":")
    return socket.create_connection((host, int(port)))


def say(where: str, text: str) -> None:
    """A line as Felix logs it: felix/logutils writes UTC with milliseconds."""
    now = datetime.now(UTC)
    stamp = f"{now:%Y-%m-%d %H:%M:%S}.{now.microsecond // 1000:03d}"
    print(f"{stamp} [INFO][{os.getpid()}] felix/{where}: {text}", flush=True)


def program(nftables: bool) -> None:
    """The table of iptables is a node's alone here, so all of it may go."""
    run("iptables-restore", told="*filter\nCOMMIT\n")
    run("nft", "add table ip calico; delete table ip calico")
    if nftables:
        run("nft", NFTABLES)
    else:
        run("iptables-restore", "--noflush", told=IPTABLES)


def run(*argv: str, told: str = "") -> None:
    subprocess.run(argv, input=told, text=True, check=True)


def serve(host: str, port: str, pages: dict[str, str]) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = pages.get(self.path)
            self.send_response(404 if text is None else 200)
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, *_: Any) -> None:
            """Nothing to say."""

    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


if __name__ == "__main__":
    main()
