# SPDX-License-Identifier: GPL-3.0-or-later
"""A page in headless Chromium, driven over the DevTools protocol (chromedevtools.github.io/devtools-protocol)."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import websocket

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
SECONDS = 60  # for any one answer


def browser() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass
class Page:
    """What a page asked the network for and complained about, beside what it is asked here."""

    connection: websocket.WebSocket
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _session: str | None = None

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._ids)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self.connection.send(json.dumps(message))
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                found: dict[str, Any] = answer["result"]
                return found

    def wait_for(self, method: str) -> None:
        while self._receive().get("method") != method:
            pass

    def attach(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def open(self, path: Path) -> None:
        self.call("Page.navigate", url=path.as_uri())
        self.wait_for("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression; one that is a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def look(self, *, width: int = 1280, scheme: str = "light") -> None:
        """Resize the window and choose the reader's colours, and let the page follow."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def _receive(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.connection.recv())
        parameters = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"])[:500])
        elif event.get("method") == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(parameters["args"])[:500])
        elif event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(parameters["entry"]["text"])
        return event


@contextmanager
def opened_report(html: Path, profile: Path) -> Iterator[Page]:
    """The report as a reader sees it first."""
    executable = browser()
    assert executable is not None
    with page(executable, profile) as found:
        found.open(html)
        found.look()
        yield found


@contextmanager
def page(executable: str, profile: Path) -> Iterator[Page]:
    argv = [executable, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    # What it leaves in its folder for passing things goes with the profile.
    environment = os.environ | {"TMPDIR": str(profile)}
    with subprocess.Popen(
        argv, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        try:
            told = next(line for line in process.stderr if line.startswith("DevTools listening on "))
            address = told.removeprefix("DevTools listening on ").strip()
            connection = websocket.create_connection(address, timeout=SECONDS, suppress_origin=True)
            try:
                found = Page(connection)
                found.attach()
                yield found
            finally:
                connection.close()
        finally:
            process.terminate()
            # Read on to the end: a browser that cannot write does not end.
            process.communicate(timeout=SECONDS)
