# SPDX-License-Identifier: GPL-3.0-or-later
"""The agents of a mesh, asked through the API server's pod proxy: a few kept connections, no process, no exec."""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import KubeError, NightbenchError
from .kube import Kube, run_threads

TOKEN_HEADER = "X-Nightbench-Token"
#: Readings of an agent's clock; the one with the shortest way counts.
CLOCK_READINGS = 2


@dataclass(frozen=True)
class Answer:
    """What an agent said, or why it did not; the moments are of the Unix clock of this machine."""

    value: Any
    error: str
    sent: float
    received: float


@dataclass(frozen=True)
class Clock:
    """An agent's clock minus ours, and how far off that may be."""

    offset: float
    uncertainty: float

    @property
    def correction(self) -> float:
        """A difference that the way of the question explains is none: most clocks agree better than that."""
        return self.offset if abs(self.offset) > self.uncertainty else 0.0


class Agents:
    """All agents of a mesh by the names of their pods."""

    def __init__(self, kube: Kube, namespace: str, port: int, token: str, connections: int = 4) -> None:
        self._kube = kube
        self._path = f"/api/v1/namespaces/{urllib.parse.quote(namespace)}/pods"
        self._port = port
        self._headers = {TOKEN_HEADER: token}
        self._connections = connections
        self._lock = threading.Lock()
        self.requests = 0

    def ask(
        self, method: str, path: str, names: Sequence[str], bodies: Mapping[str, Any] | None = None, identity: str = ""
    ) -> dict[str, Answer]:
        """One request to each of the named agents; who does not answer holds up only one connection."""
        answers: dict[str, Answer] = {}
        left = iter(list(names))

        def work() -> None:
            while True:
                with self._lock:
                    name = next(left, None)
                    self.requests += name is not None
                if name is None:
                    return
                answers[name] = self._one(method, path, name, (bodies or {}).get(name), identity)

        run_threads(work, min(self._connections, len(names)))
        return answers

    def states(self, names: Sequence[str]) -> tuple[dict[str, Answer], dict[str, Clock]]:
        """What every agent is, and how its clock differs from ours."""
        states = self.ask("GET", "state", names)
        readings = [states] + [self.ask("GET", "progress", names) for _ in range(CLOCK_READINGS - 1)]
        clocks = {}
        for name in names:
            known = [reading[name] for reading in readings if reading[name].value is not None]
            if known:
                best = min(known, key=lambda one: one.received - one.sent)
                way = (best.received - best.sent) / 2
                clocks[name] = Clock(float(best.value["time"]) - best.sent - way, way)
        return states, clocks

    def _one(self, method: str, path: str, name: str, body: Any, identity: str) -> Answer:
        url = f"{self._path}/{urllib.parse.quote(name)}:{self._port}/proxy/{path}"
        query = {"id": identity} if identity else None
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        sent = time.time()
        try:
            response = self._kube.request(method, url, query=query, body=data, headers=self._headers)
        except KubeError as error:
            return Answer(None, f"{error.status}: {error.message.rpartition(': ')[2][:200]}", sent, time.time())
        except NightbenchError as error:
            return Answer(None, error.message[-200:], sent, time.time())
        received = time.time()
        try:
            return Answer(response.json(), "", sent, received)
        except ValueError:
            return Answer(None, "the answer is not JSON", sent, received)
