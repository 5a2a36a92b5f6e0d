#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command of a load generator's pod: takes a plan, runs it at the moment it is told, keeps the result until asked.

The load itself is a process of its own (load_generator.py): whoever asks how far it is must not hold it up.
Python 3.9 and nothing but its standard library: this file travels into the pods.
"""

from __future__ import annotations

import argparse
import hmac
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from load_generator import PROGRESS

LONGEST_BODY = 64 << 20
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "load_generator.py")


class Agent:
    """One load at a time; what is asked of it may come in any order, from any thread."""

    def __init__(self, folder: str, pod: str) -> None:
        self.folder, self.pod = folder, pod
        self.lock = threading.Lock()
        self.plan: dict[str, Any] | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.handed_over: str | None = None
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        with open(self.path("progress"), "wb") as stream:
            stream.write(bytes(PROGRESS.size))
        with open(self.path("progress"), "r+b") as stream:
            self.told = mmap.mmap(stream.fileno(), PROGRESS.size)

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def take(self, plan: dict[str, Any]) -> bool:
        """Another plan ends the one before; the same again changes nothing."""
        with self.lock:
            if self.plan is not None and self.plan["id"] == plan["id"]:
                return True
            self._end()
            self.told[: PROGRESS.size] = bytes(PROGRESS.size)
            self.plan = plan
            return True

    def begin(self, identity: str, start: float) -> bool:
        with self.lock:
            if self.plan is None or self.plan["id"] != identity:
                return False
            if self.process is None:
                self.plan["start"] = start
                with open(self.path("plan"), "w") as stream:
                    json.dump(self.plan, stream)
                paths = [self.path(name) for name in ("plan", "result", "progress")]
                with open(self.path("log"), "wb") as log:
                    self.process = subprocess.Popen([sys.executable, PROGRAM, *paths], stdout=log, stderr=log)
            return True

    def stop(self, identity: str) -> bool:
        """It writes down what it has done so far."""
        with self.lock:
            known = self.plan is not None and self.plan["id"] == identity
            if known and self.process is not None and self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            return known

    def progress(self) -> dict[str, Any]:
        with self.lock:
            sent, over = PROGRESS.unpack(self.told[: PROGRESS.size])
            code = None if self.process is None else self.process.poll()
            return {
                "time": time.time(),
                "plan": None if self.plan is None else self.plan["id"],
                "start": None if self.plan is None else self.plan.get("start"),
                "sent": sent,
                "over": over,
                "finished": code is not None,
                "failed": self._log() if code else "",
            }

    def state(self) -> dict[str, Any]:
        return {**self.progress(), "pod": self.pod, "python": sys.version.split()[0], "handed_over": self.handed_over}

    def result(self, identity: str) -> bytes | None:
        with self.lock:
            if self.plan is None or self.plan["id"] != identity:
                return None
        try:
            with open(self.path("result"), "rb") as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    def hand_over(self, identity: str) -> bool:
        """Once: whoever has it says so, and it is gone."""
        with self.lock:
            if self.plan is None or self.plan["id"] != identity:
                return self.handed_over == identity
            self._end()
            self.plan, self.handed_over = None, identity
            return True

    def end(self) -> None:
        with self.lock:
            self._end()

    def _end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None
        for name in ("result", "plan"):
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))

    def _log(self) -> str:
        with open(self.path("log"), errors="replace") as stream:
            return stream.read()[-500:] or "it ended without a word"


class Handler(BaseHTTPRequestHandler):
    """What the control machine asks, through the API server's pod proxy."""

    protocol_version = "HTTP/1.1"
    timeout = 120
    agent: Agent
    token: str

    def do_GET(self) -> None:
        path, query = self._asked()
        if path == "/result":
            found = self.agent.result(query)
            self._answer(200 if found else 410, found or {"error": f"no results of load {query} are here"})
        elif path is not None:
            known = {"/state": self.agent.state, "/progress": self.agent.progress}.get(path)
            self._answer(200 if known else 404, known() if known else {"error": f"there is no {path}"})

    def do_PUT(self) -> None:
        path, _ = self._asked()
        length = int(self.headers.get("Content-Length") or 0)
        if path is None or length > LONGEST_BODY:
            self.close_connection = True
            return
        try:
            body = json.loads(self.rfile.read(length))
            if path == "/plan":
                good = self.agent.take(body)
            elif path == "/start":
                good = self.agent.begin(body["id"], float(body["start"]))
            else:
                good = path == "/stop" and self.agent.stop(body["id"])
        except (ValueError, KeyError, TypeError) as error:
            self._answer(400, {"error": f"{type(error).__name__}: {error}"})
            return
        self._answer(200 if good else 409, self.agent.progress())

    def do_DELETE(self) -> None:
        path, query = self._asked()
        if path is not None:
            good = path == "/result" and self.agent.hand_over(query)
            self._answer(200 if good else 409, {"handed_over": good})

    def _asked(self) -> tuple[str | None, str]:
        """Path and load; None after answering whoever lacks the token."""
        if not hmac.compare_digest(self.headers.get("X-Nightbench-Token") or "", self.token):
            self.close_connection = True
            self._answer(401, {"error": "the token of the run is missing"})
            return None, ""
        parts = urlsplit(self.path)
        return parts.path, parse_qs(parts.query).get("id", [""])[0]

    def _answer(self, status: int, value: Any) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


def main() -> None:
    known = argparse.ArgumentParser()
    known.add_argument("--folder", default="/tmp/nightbench-load")
    known.add_argument("--address", default=os.environ.get("POD_IP", ""))
    known.add_argument("--port", type=int, default=8791)
    given = known.parse_args()
    agent = Agent(given.folder, os.environ.get("POD_NAME", ""))
    handler = type("AgentHandler", (Handler,), {"agent": agent, "token": os.environ["NIGHTBENCH_TOKEN"]})
    server = ThreadingHTTPServer((given.address, given.port), handler)
    server.daemon_threads = True
    # In a pod we are process 1: without a handler a request to end would have no effect.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"listening on port {server.server_address[1]}", flush=True)
    try:
        server.serve_forever(3600)
    finally:
        agent.end()


if __name__ == "__main__":
    main()
