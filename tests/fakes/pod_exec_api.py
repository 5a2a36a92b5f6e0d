# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of an API server as exec needs: a pod that runs, and programs in it over WebSockets, cut where it is told.

The programs run here. Messages come in two frames with a ping between, and frames of every kind of length.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.serving import QuietHandler, serving

#: RFC 6455, section 1.3.
MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BINARY, CLOSE, PING, FINAL = 2, 8, 9, 0x80


@dataclass
class PodApi:
    """`faults`: bytes of output that go through before the connection ends, one a call; None is a good call."""

    url: str = ""
    phase: str = "Running"
    token: str = "good"
    faults: list[int | None] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)
    pongs: int = 0
    answer: tuple[int, dict[str, Any]] | None = None


class Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    api: PodApi

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if self.headers.get("Authorization") != f"Bearer {self.api.token}":
            self.answer_json(401, {"kind": "Status", "message": "Unauthorized", "reason": "Unauthorized"})
        elif url.path == "/api/v1/namespaces/gpu/pods/probe-0":
            self.answer_json(200, {"metadata": {"name": "probe-0"}, "status": {"phase": self.api.phase}})
        elif url.path != "/api/v1/namespaces/gpu/pods/probe-0/exec":
            self.answer_json(404, {"kind": "Status", "message": f"{url.path} not found", "reason": "NotFound"})
        elif self.headers.get("Accept") != "*/*":
            self.answer_json(406, {"kind": "Status", "message": "406: Not Acceptable"})
        elif self.api.answer is not None:
            self.answer_json(*self.api.answer)
        else:
            self._exec(parse_qs(url.query))

    def _exec(self, query: dict[str, list[str]]) -> None:
        assert self.headers["Sec-WebSocket-Protocol"] == "v4.channel.k8s.io"
        self.api.containers += query.get("container", [""])
        accept = base64.b64encode(hashlib.sha1((self.headers["Sec-WebSocket-Key"] + MAGIC).encode()).digest())
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept.decode())
        self.end_headers()
        limit = self.api.faults.pop(0) if self.api.faults else None
        done = subprocess.run(query["command"], capture_output=True, check=False)
        output = done.stdout if limit is None else done.stdout[:limit]
        for at in range(0, len(output), 70000):
            self._message(1, output[at : at + 70000])
        if limit is None:
            self._message(2, done.stderr)
            self._message(3, json.dumps(_status(done.returncode)).encode())
            self._frame(FINAL | CLOSE, struct.pack(">H", 1000))
        self.close_connection = True

    def _message(self, channel: int, data: bytes) -> None:
        self._frame(BINARY, bytes([channel]) + data[:100])
        self._frame(FINAL | PING, b"still there?")
        head = self.rfile.read(2)
        assert head[0] == 0x8A and head[1] & 0x80, "a client masks what it sends"
        mask, text = self.rfile.read(4), self.rfile.read(head[1] & 0x7F)
        assert bytes(byte ^ mask[at % 4] for at, byte in enumerate(text)) == b"still there?"
        self.api.pongs += 1
        self._frame(FINAL, data[100:])

    def _frame(self, first: int, data: bytes) -> None:
        size = len(data)
        if size < 126:
            head = bytes([first, size])
        elif size < 65536:
            head = bytes([first, 126]) + struct.pack(">H", size)
        else:
            head = bytes([first, 127]) + struct.pack(">Q", size)
        self.wfile.write(head + data)


def _status(code: int) -> dict[str, Any]:
    """As the kubelet tells it (k8s.io/kubelet/pkg/cri/streaming/remotecommand)."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


@contextlib.contextmanager
def pod_api() -> Iterator[PodApi]:
    api = PodApi()
    with serving(Handler, api=api) as server:
        api.url = server.url
        yield api
