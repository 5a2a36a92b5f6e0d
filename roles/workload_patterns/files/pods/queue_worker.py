#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes events of a queue one after the other; what it does with each is to sleep for a time that is planted.

Python 3.9 and nothing but its standard library: this file travels into the pods.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import signal
import sys
import time
from typing import Any

TAKE_SECONDS = 20.0
ANSWER_SECONDS = 30.0
AGAIN_SECONDS = 0.5


def work(connection: http.client.HTTPConnection, service_seconds: float) -> None:
    """Until the queue does not answer any more."""
    while True:
        taken = ask(connection, "GET", f"/take?seconds={TAKE_SECONDS:g}")
        if taken.get("number") is not None:
            time.sleep(service_seconds)
            planted = int(service_seconds * 1e6)
            ask(connection, "POST", f"/done?number={taken['number']}&planted_microseconds={planted}")


def ask(connection: http.client.HTTPConnection, method: str, path: str) -> dict[str, Any]:
    connection.request(method, path)
    found = json.loads(connection.getresponse().read())
    if not isinstance(found, dict):
        raise ValueError(f"{method} {path} gave no object")
    return found


def main() -> None:
    known = argparse.ArgumentParser()
    known.add_argument("--queue", required=True, help="HOST:PORT")
    known.add_argument("--service-seconds", type=float, default=0.05)
    given = known.parse_args()
    # In a pod we are process 1: without a handler a request to end would have no effect.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    host, _, port = given.queue.rpartition(":")
    while True:
        connection = http.client.HTTPConnection(host, int(port), timeout=ANSWER_SECONDS)
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            work(connection, given.service_seconds)
        connection.close()
        # The queue may not be there yet, or not any more.
        time.sleep(AGAIN_SECONDS)


if __name__ == "__main__":
    main()
