# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients as Go's have them: a bucket of `burst` tokens that fills with `qps` a second, one token a request."""

from __future__ import annotations

import threading
import time
from typing import Any

from ansible.module_utils.nightbench.kube import Kube, Response
from ansible.module_utils.nightbench.target import Target


class TokenBucket:
    """qps below 0: no limit at all. qps or burst of 0: what Go takes then, 5 and 10."""

    def __init__(self, qps: float, burst: int) -> None:
        self.qps = qps or 5.0
        self.burst = burst or 10
        self._tokens = float(self.burst)
        self._at: float | None = None
        self._lock = threading.Lock()

    def reserve(self, now: float) -> float:
        """Take a token and say how long to wait until it is there."""
        if self.qps < 0:
            return 0.0
        with self._lock:
            if self._at is not None:
                self._tokens = min(float(self.burst), self._tokens + (now - self._at) * self.qps)
            self._at = now
            self._tokens -= 1.0
            return max(0.0, -self._tokens / self.qps)

    def take(self) -> None:
        wait = self.reserve(time.monotonic())
        if wait > 0:
            time.sleep(wait)


class Clients:
    """The buckets of one process.

    controller-runtime gives each client of each kind a bucket of its own; a clientset has one for all that it asks.
    So the name of a bucket says both: "pods", "pods of the manager", "kai".
    """

    def __init__(self, target: Target, qps: float, burst: int) -> None:
        self._target = target
        self._qps = qps
        self._burst = burst
        self._clients: dict[str, LimitedKube] = {}

    def client(self, name: str) -> LimitedKube:
        return self._clients.setdefault(name, LimitedKube(self._target, TokenBucket(self._qps, self._burst)))


class LimitedKube(Kube):
    """The lean client behind a bucket; the stream of a watch takes no token."""

    def __init__(self, target: Target, bucket: TokenBucket) -> None:
        super().__init__(target)
        self.bucket = bucket

    def request(self, method: str, path: str, **options: Any) -> Response:
        self.bucket.take()
        return super().request(method, path, **options)
