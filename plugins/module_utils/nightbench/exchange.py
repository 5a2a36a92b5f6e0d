# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests and answers over one kept connection: HTTP/1.1 (RFC 9112) as far as an API server speaks it.

http.client parses the headers of each answer as an e-mail and sends head and body of a request one after the other.
That costs a load generator about a third of its time; here a request is one write, and of the head only what is used
is looked at. Streams (watches) are left to http.client.
"""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Mapping

#: Bounds of http.client (_MAXLINE, _MAXHEADERS): whatever sends more is no API server.
LONGEST_LINE = 65_536
MOST_HEADERS = 100

#: Answers without a body whatever their headers say (RFC 9112, section 6.3).
_WITHOUT_BODY = frozenset({204, 304})


class Exchange:
    """One connection, opened by the first request. After an exception it is closed and of no further use."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._reader: io.BufferedReader | None = None
        # Without the port, as http.client has it, when it is the scheme's own.
        port = "" if connection.port == connection.default_port else f":{connection.port}"
        host = f"[{connection.host}]" if ":" in connection.host else connection.host
        self._host = f"Host: {host}{port}\r\nAccept-Encoding: identity\r\n"
        self.keeps = True

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (names in small letters) and body of the answer.

        Raises ConnectionError, http.client.HTTPException or another OSError when there is no whole answer.
        """
        if self._reader is None:
            self._connection.connect()
            self._reader = self._socket().makefile("rb")
        self._socket().sendall(self._request(method, url, headers, body))
        status, found = _head(self._reader)
        while 100 <= status < 200:
            status, found = _head(self._reader)
        self.keeps = found.get("connection", "").lower() != "close"
        return status, found, self._body(status, found)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._connection.close()

    def _request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        if any(character in url for character in " \r\n") or any("\n" in value for value in headers.values()):
            raise http.client.InvalidURL(f"{url!r} holds a space or a line break, or a header does.")
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if body is not None:
            lines += f"Content-Length: {len(body)}\r\n"
        return f"{method} {url} HTTP/1.1\r\n{self._host}{lines}\r\n".encode("latin-1") + (body or b"")

    def _body(self, status: int, headers: Mapping[str, str]) -> bytes:
        assert self._reader is not None
        if status in _WITHOUT_BODY:
            return b""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(_chunks(self._reader))
        length = headers.get("content-length")
        if length is None:
            self.keeps = False
            return self._reader.read()
        return _exactly(self._reader, _number(length, 10))

    def _socket(self) -> socket.socket:
        return self._connection.sock


def _head(reader: io.BufferedReader) -> tuple[int, dict[str, str]]:
    line = reader.readline(LONGEST_LINE + 1)
    if not line:
        raise http.client.RemoteDisconnected("the connection was closed without an answer")
    version, _, rest = line.partition(b" ")
    status = rest[:3]
    if not version.startswith(b"HTTP/1.") or not status.isdigit():
        raise http.client.BadStatusLine(line[:80].decode("latin-1"))
    headers: dict[str, str] = {}
    for _ in range(MOST_HEADERS):
        line = reader.readline(LONGEST_LINE + 1)
        if line in (b"\r\n", b"\n"):
            # HTTP/1.0 closes unless told otherwise.
            if version == b"HTTP/1.0":
                headers.setdefault("connection", "close")
            return int(status), headers
        if not line.endswith(b"\n"):
            raise http.client.IncompleteRead(line)
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    raise http.client.HTTPException(f"more than {MOST_HEADERS} headers")


def _chunks(reader: io.BufferedReader) -> list[bytes]:
    found: list[bytes] = []
    while True:
        line = reader.readline(LONGEST_LINE + 1)
        if not line.endswith(b"\n"):
            raise http.client.IncompleteRead(b"".join(found))
        size = _number(line.partition(b";")[0].decode("latin-1"), 16)
        if size == 0:
            break
        found.append(_exactly(reader, size))
        _exactly(reader, 2)
    while (line := reader.readline(LONGEST_LINE + 1)) not in (b"\r\n", b"\n"):
        if not line:
            raise http.client.IncompleteRead(b"".join(found))
    return found


def _exactly(reader: io.BufferedReader, size: int) -> bytes:
    data = reader.read(size)
    if len(data) < size:
        raise http.client.IncompleteRead(data, size - len(data))
    return data


def _number(text: str, base: int) -> int:
    try:
        number = int(text.strip(), base)
    except ValueError:
        number = -1
    if number < 0:
        raise http.client.HTTPException(f"a length that is no number: {text[:40]!r}")
    return number
