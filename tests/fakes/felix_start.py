# SPDX-License-Identifier: GPL-3.0-or-later
"""What Felix shows of a start, each part after a planted delay: its lines of log, and its answer that it is ready.

felix_start.py PORT SYNC APPLY READY [silent]
"""

from __future__ import annotations

import http.server
import sys
import threading
import time
from datetime import UTC, datetime

LINES = (
    ("daemon.go 400", 'Felix starting up GOMAXPROCS=2 version="v3.32.1"'),
    ("async_calc_graph.go 166", "First time we've been in sync"),
    ("int_dataplane.go 2307", "Completed first update to dataplane. secsSinceStart=1.0"),
)


def line(number: int) -> str:
    where, text = LINES[number]
    now = datetime.now(UTC)
    return f"{now:%Y-%m-%d %H:%M:%S}.{now.microsecond // 1000:03d} [INFO][71] felix/{where}: {text}"


def main(port: int, delays: list[float], silent: bool) -> None:
    ready = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if ready.is_set() else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Its log is Felix's."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(line(0), flush=True)
    for number, delay in enumerate(delays[:2], start=1):
        time.sleep(delay)
        if not silent:
            print(line(number), flush=True)
    time.sleep(delays[2])
    ready.set()
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), [float(one) for one in sys.argv[2:5]], "silent" in sys.argv)
