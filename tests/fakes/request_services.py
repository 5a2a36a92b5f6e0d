# SPDX-License-Identifier: GPL-3.0-or-later
"""Load generators and services as processes on loopback, and a small HTTP front in the API server's place that knows
two things, the list of pods by label and the pod proxy. The programs are the real ones."""

from __future__ import annotations

import contextlib
import http.client
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.conftest import ROOT, eventually

PODS = ROOT / "roles" / "workload_patterns" / "files" / "pods"
NAMESPACE = "serving"
TOKEN = "a token of the test"
GENERATOR = "nightbench.io/load-generator"


def pod_module(name: str) -> ModuleType:
    """A program's file; in a pod they are found beside each other."""
    sys.path.insert(0, str(PODS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(PODS))


@dataclass
class Program:
    process: subprocess.Popen[str]
    port: int

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@dataclass
class Services:
    """Pods by name; `labels` has the selector each of them answers to."""

    folder: Path
    host: str = ""
    programs: dict[str, Program] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    ready: dict[str, bool] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def start(self, name: str, program: str, *arguments: str, label: str = "") -> Program:
        """One program, when it listens."""
        if program == "load_agent.py":
            arguments = ("--folder", str(self.folder / name), *arguments)
        argv = [sys.executable, "-S", "-B", str(PODS / program), "--address", "127.0.0.1", "--port", "0", *arguments]
        environment = {"PATH": os.environ["PATH"], "NIGHTBENCH_TOKEN": TOKEN, "POD_NAME": name}
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment, text=True)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on port "), f"{program} ended: {process.poll()}"
        made = self.programs[name] = Program(process, int(line.split()[-1]))
        self.labels[name], self.ready[name] = label, True
        return made

    def worker(self, queue: Program, *arguments: str) -> None:
        argv = [sys.executable, "-S", "-B", str(PODS / "queue_worker.py"), "--queue", f"127.0.0.1:{queue.port}"]
        process = subprocess.Popen([*argv, *arguments], text=True)
        self.programs[f"worker-{len(self.programs)}"] = Program(process, 0)

    def ask(self, name: str, method: str, path: str, body: bytes = b"", token: str = TOKEN) -> tuple[int, bytes]:
        """One request to the program, as the API server would make it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.programs[name].port, timeout=20)
        try:
            connection.request(method, path, body=body or None, headers={"X-Nightbench-Token": token})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            return 503, json.dumps({"kind": "Status", "message": f"error trying to reach service: {error}"}).encode()
        finally:
            connection.close()

    def state(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.ask(name, "GET", "/state")[1]))

    def as_object(self, name: str) -> dict[str, Any]:
        conditions = [{"type": "Ready", "status": str(self.ready[name])}]
        return {"metadata": {"name": name}, "status": {"podIP": "127.0.0.1", "conditions": conditions}}


@contextlib.contextmanager
def services(folder: Path) -> Iterator[Services]:
    """No pod yet; nothing is left afterwards."""
    found = Services(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Front", (_Front,), {"services": found}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    found.host = f"http://127.0.0.1:{server.server_port}"
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        for program in found.programs.values():
            program.process.terminate()
        for program in found.programs.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.process.communicate(timeout=5)
            program.kill()


def settled(found: Services, name: str, **wanted: Any) -> None:
    """Until the program's state says so."""
    eventually(lambda: {key: found.state(name)[key] for key in wanted} == wanted)


class _Front(BaseHTTPRequestHandler):
    """What the API server does for a load."""

    protocol_version = "HTTP/1.1"
    services: Services

    def do_GET(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        path, query = urlsplit(self.path).path, urlsplit(self.path).query
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        base = f"/api/v1/namespaces/{NAMESPACE}/pods"
        self.services.requests.append(f"{self.command} {path}")
        if path == base:
            selector = parse_qs(query).get("labelSelector", [""])[0]
            names = [name for name, label in self.services.labels.items() if label == selector]
            items = [self.services.as_object(name) for name in names]
            self._answer(200, json.dumps({"kind": "PodList", "metadata": {}, "items": items}).encode())
            return
        name, _, rest = path.removeprefix(base + "/").partition("/proxy")
        name = name.partition(":")[0]
        if name not in self.services.labels:
            self._answer(404, json.dumps({"kind": "Status", "message": f'pods "{name}" not found'}).encode())
            return
        token = self.headers.get("X-Nightbench-Token") or ""
        self._answer(*self.services.ask(name, self.command, f"{rest}?{query}", body, token))

    def _answer(self, status: int, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""
