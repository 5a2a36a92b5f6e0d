# SPDX-License-Identifier: GPL-3.0-or-later
"""A program in a container, by the API server: exec over a WebSocket (RFC 6455), protocol v4.channel.k8s.io.

Every message is a byte that names its channel, and data: 1 is what the program says, 2 its errors, 3 how it ended (a
Status). Logs are no way to bring files: they are rotated and cut, and no checksum stands beside them.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import struct
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from .errors import ConfigurationError, NightbenchError, from_status
from .fetch_remote import Cut
from .kube import Kube

PROTOCOL = "v4.channel.k8s.io"
OUTPUT, ERRORS, ENDED = 1, 2, 3
CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FINAL, MASKED = 0x80, 0x80


@dataclass(frozen=True)
class Pod:
    """A running pod; without `container` the one that is its default."""

    kube: Kube
    namespace: str
    name: str
    container: str
    seconds: float

    def run(self, argv: Sequence[str], output: BinaryIO, given: bytes = b"") -> None:
        if given:
            raise ConfigurationError(f"pod {self.name}: nothing is given to programs in pods.")
        connection = self.kube.connect(self.seconds)
        try:
            connection.connect()
            with connection.sock.makefile("rb") as stream:
                self._open(connection, stream, argv)
                self._read(connection, stream, output)
        except (OSError, http.client.HTTPException, EOFError) as error:
            raise Cut(f"pod {self.name}: {str(error) or type(error).__name__}.") from error
        finally:
            connection.close()

    def _open(self, connection: http.client.HTTPConnection, stream: BinaryIO, argv: Sequence[str]) -> None:
        query = [("stdout", "1"), ("stderr", "1"), *(("command", word) for word in argv)]
        query += [("container", self.container)] if self.container else []
        path = f"/api/v1/namespaces/{urllib.parse.quote(self.namespace)}/pods/{urllib.parse.quote(self.name)}/exec"
        target = self.kube.target
        headers = {
            **target.headers(),
            "Accept": "*/*",  # the kubelet has no JSON to offer for a stream and answers 406
            "Host": f"{target.host}:{target.port}",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Protocol": PROTOCOL,
        }
        lines = [f"GET {target.base_path}{path}?{urllib.parse.urlencode(query)} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection.sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        first = stream.readline(65537).decode("latin-1").split(None, 2)
        if len(first) < 2 or not first[1].isdigit():
            raise http.client.BadStatusLine(" ".join(first))
        found = http.client.parse_headers(stream)
        if first[1] != "101":
            body = stream.read(int(found.get("Content-Length") or 0))
            raise from_status(int(first[1]), body, method="GET", path=path, where=target.where)

    def _read(self, connection: http.client.HTTPConnection, stream: BinaryIO, output: BinaryIO) -> None:
        errors, ended = b"", b""
        for channel, data in _messages(connection, stream):
            if channel == OUTPUT:
                output.write(data)
            elif channel == ERRORS:
                errors = (errors + data)[-2000:]
            elif channel == ENDED:
                ended += data
        output.flush()
        wrong = _how_it_ended(ended)
        if wrong:
            told = " ".join(errors.decode(errors="replace").split())[-300:]
            raise Cut(f"pod {self.name}: {wrong} {told}".rstrip())


def _messages(connection: http.client.HTTPConnection, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Channel and data until the other side closes."""
    whole = b""
    while True:
        first, second = _exactly(stream, 2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", _exactly(stream, 2))
        elif length == 127:
            (length,) = struct.unpack(">Q", _exactly(stream, 8))
        data, kind = _exactly(stream, length), first & 0x0F
        if kind == CLOSE:
            return
        if kind == PING:
            # What a client sends is masked; zeros are a mask too.
            connection.sock.sendall(bytes([FINAL | PONG, MASKED | len(data)]) + bytes(4) + data)
        elif kind in (CONTINUED, TEXT, BINARY):
            whole += data
            if first & FINAL:
                if whole:
                    yield whole[0], whole[1:]
                whole = b""


def _exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError("the connection ended")
    return data


def _how_it_ended(status: bytes) -> str:
    """Nothing for a program that was through and content."""
    if not status:
        return "the connection ended before the program did."
    try:
        found: dict[str, Any] = json.loads(status)
    except ValueError:
        return f"the answer is no Status: {status[:200]!r}."
    return "" if found.get("status") == "Success" else f"{found.get('message', 'failed')}."


def pod_of(kube: Kube, named: dict[str, Any], seconds: float) -> Pod:
    """The pod that a module's parameter names; raises where it does not run."""
    path = f"/api/v1/namespaces/{urllib.parse.quote(named['namespace'])}/pods/{urllib.parse.quote(named['name'])}"
    with contextlib.closing(kube):
        phase = kube.request("GET", path).json()["status"].get("phase")
    if phase != "Running":
        raise NightbenchError(
            f"pod {named['name']} in {named['namespace']} is {phase}: files are brought from a container that runs.",
            hint="Let it write its results and wait until they have been fetched.",
        )
    return Pod(kube, named["namespace"], named["name"], named["container"], seconds)
