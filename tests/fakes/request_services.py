# SPDX-License-Identifier: GPL-3.0-or-later
"""Load generators and services as processes on loopback, and the pod proxy before them. The programs are the real
ones."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.conftest import ROOT, eventually
from tests.fakes.pod_proxy import PodProxy, relayed
from tests.fakes.serving import serving

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
        return relayed(("127.0.0.1", self.programs[name].port), method, path, body, token)

    def state(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.ask(name, "GET", "/state")[1]))

    def as_object(self, name: str) -> dict[str, Any]:
        conditions = [{"type": "Ready", "status": str(self.ready[name])}]
        return {"metadata": {"name": name}, "status": {"podIP": "127.0.0.1", "conditions": conditions}}

    def listed(self, selector: str) -> list[dict[str, Any]]:
        return [self.as_object(name) for name, label in self.labels.items() if label == selector]

    def address(self, name: str, port: str) -> tuple[str, int] | None:
        """All share one machine, so each has a port of its own."""
        return ("127.0.0.1", self.programs[name].port) if name in self.labels else None


@contextlib.contextmanager
def services(folder: Path) -> Iterator[Services]:
    """No pod yet; nothing is left afterwards."""
    found = Services(folder)
    try:
        with serving(PodProxy, namespace=NAMESPACE, pods=found) as server:
            found.host = server.url
            yield found
    finally:
        for program in found.programs.values():
            program.process.terminate()
        for program in found.programs.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.process.communicate(timeout=5)
            program.kill()


def settled(found: Services, name: str, **wanted: Any) -> None:
    """Until the program's state says so."""
    eventually(lambda: {key: found.state(name)[key] for key in wanted} == wanted)
