# SPDX-License-Identifier: GPL-3.0-or-later
"""iperf3 as processes of the agent: servers that are kept running, clients that end in time.

Python 3.9 and nothing but its standard library: this file travels into the pods.
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

import interfaces
import iperf3_result

#: A server that ends at once is not started again more often than this.
RESTART_SECONDS = 0.5


class Servers:
    """One iperf3 server for each address and port, started again when it ends: one that met an error exits."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._wanted: list[tuple[str, str, int]] = []
        self._running: dict[tuple[str, str, int], tuple[subprocess.Popen[bytes], float]] = {}
        self.restarts = 0

    def want(self, plan: dict[str, Any] | None) -> None:
        """Have the servers of a plan and no others."""
        self._wanted = [(name, plan["local"][name], port) for name, port in plan["servers"]] if plan else []
        for key in [key for key in self._running if key not in self._wanted]:
            end(self._running.pop(key)[0])
        self.attend()

    def attend(self) -> None:
        """Start what does not run; what ended only just now is left for the next time."""
        now = time.monotonic()
        for key in self._wanted:
            process, since = self._running.get(key, (None, 0.0))
            if process is not None and process.poll() is None:
                continue
            if process is not None:
                if now - since < RESTART_SECONDS:
                    continue
                self.restarts += 1
            name, address, port = key
            command = ["iperf3", "-s", "-p", str(port), "-B", address, "--bind-dev", name]
            self._running[key] = (self._start(command), now)

    def free(self) -> None:
        """Between two steps nobody is served: a server that still holds more than the socket it listens on hangs."""
        for key, (process, _) in self._running.items():
            if process.poll() is None and interfaces.sockets(process.pid) > 1:
                end(process)
                self._running[key] = (process, 0.0)
        self.attend()

    def listening(self) -> int:
        return sum(interfaces.sockets(process.pid) > 0 for process, _ in list(self._running.values()))

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=self._environment)


class Client:
    """One iperf3 client: a cell of a step."""

    def __init__(self, plan: dict[str, Any], cell: list[Any], folder: str, number: int) -> None:
        _, self.target, self.interface, address, port = cell
        self.path = os.path.join(folder, f"client.{number}")
        self.started, self.ended = time.time(), None
        with open(self.path, "wb") as output, open(self.path + ".error", "wb") as errors:
            self.process = subprocess.Popen(
                command(plan, self.interface, address, port),
                stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env={**os.environ, "TMPDIR": folder},
            )  # fmt: skip

    def over(self) -> bool:
        if self.ended is None and self.process.poll() is not None:
            self.ended = time.time()
        return self.ended is not None

    def cell(self, own: set[str], killed: bool) -> dict[str, Any]:
        with open(self.path, errors="replace") as stream:
            found = iperf3_result.read(stream.read())
        if killed:
            found["error"] = f"iperf3 had not ended after {time.time() - self.started:.1f} s and was killed"
        elif found["error"] == "iperf3 wrote nothing":
            with open(self.path + ".error", errors="replace") as stream:
                found["error"] += f" and exited with {self.process.returncode}: {stream.read(300).strip()}"
        if found["error"]:
            found["flows"] = {}
        remote = set((found["remote_address"] or "").split(","))
        return {
            **found,
            "target": self.target,
            "interface": self.interface,
            "started": self.started,
            "ended": self.ended or time.time(),
            "remote_is_local": bool(remote & own),
        }


def command(plan: dict[str, Any], interface: str, address: str, port: int) -> list[str]:
    words = ["iperf3", "-c", address, "-p", str(port), "-B", plan["local"][interface], "--bind-dev", interface, "-J"]
    words += ["-i", "0", "-t", str(plan["seconds"]), "-P", str(plan["streams"])]
    words += ["-b", str(plan["stream_bits_per_second"]), "--connect-timeout", str(plan["connect_milliseconds"])]
    # iperf3 looks this often whether a paced stream may send; at a low rate a thousand times a second is all it does.
    words += ["--pacing-timer", str(plan["pacing_microseconds"])] if plan["pacing_microseconds"] else []
    words += ["-u"] if plan["protocol"] == "udp" else []
    return words + {"forward": [], "reverse": ["-R"], "both": ["--bidir"]}[plan["direction"]]


def end(process: subprocess.Popen[bytes]) -> None:
    """iperf3 has nothing to put in order."""
    if process.poll() is None:
        process.kill()
    process.wait()


def iperf3_version() -> str | None:
    """The number in the first line of `iperf3 --version`."""
    try:
        told = subprocess.run(["iperf3", "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = told.split()
    return words[1] if len(words) > 1 else None
