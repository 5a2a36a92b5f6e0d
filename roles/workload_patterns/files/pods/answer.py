# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP/1.1 answer as it comes in, as far as a load generator has to know it.

Python 3.9 and nothing but its standard library: this file travels into the pods.
"""

from __future__ import annotations

NONE = -1
#: A head that is longer is none.
HEAD = 65536
#: What a model server of ours says of itself: how long it sleeps for this request when there is no other.
PLANTED = b"\r\nnightbench-planted-microseconds:"
#: And, where it has several models, whether the one that was asked for was in memory (1) or not (0).
LOADED = b"\r\nnightbench-model-loaded:"


class Answer:
    """An HTTP/1.1 answer as it comes in: status, when its body began, lines of the body, whether it is whole."""

    __slots__ = ("buffer", "chunked", "first", "items", "keep", "left", "loaded", "planted", "status", "whole")

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.buffer = b""
        self.status = 0
        self.first = 0.0
        self.items = 0
        self.planted = self.loaded = NONE
        self.left = NONE
        self.chunked = self.whole = False
        self.keep = True

    def feed(self, data: bytes, now: float) -> None:
        """Raises ValueError for what is no HTTP."""
        if self.status == 0:
            self.buffer += data
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self.buffer) > HEAD:
                    raise ValueError("its head does not end")
                return
            head, data, self.buffer = self.buffer[:end].lower(), self.buffer[end + 4 :], b""
            self._head(head)
        if self.chunked:
            self._chunks(data, now)
        else:
            self._body(data, now)
            self.whole = self.left == 0

    def _head(self, head: bytes) -> None:
        if not head.startswith(b"http/1."):
            raise ValueError("it does not begin with HTTP/1")
        self.status = int(head[9:12])
        self.keep = head.startswith(b"http/1.1") and b"\r\nconnection: close" not in head
        self.planted = field(head, PLANTED)
        self.loaded = field(head, LOADED)
        if b"\r\ntransfer-encoding: chunked" in head:
            self.chunked = True
            self.left = 0
            return
        self.left = 0 if self.status == 204 else field(head, b"\r\ncontent-length:")
        if self.left == NONE:
            raise ValueError("it has no length and no chunks")

    def _body(self, data: bytes, now: float) -> None:
        taken = data[: self.left]
        self._count(taken, now)
        self.left -= len(taken)

    def _count(self, taken: bytes, now: float) -> None:
        if taken:
            self.first = self.first or now
            self.items += taken.count(b"\n")

    def _chunks(self, data: bytes, now: float) -> None:
        """Chunks of RFC 9112, 7.1; left counts what is missing of the one that has begun, with its line end."""
        data = self.buffer + data
        while True:
            if self.left > 2:
                self._count(data[: self.left - 2], now)
            gone = min(self.left, len(data))
            self.left -= gone
            data = data[gone:]
            end = data.find(b"\r\n")
            if self.left or end < 0:
                break
            size = int(data[:end].split(b";")[0], 16)
            if size == 0:
                # Nobody here sends trailers: an empty line ends the answer.
                self.whole = data[end : end + 4] == b"\r\n\r\n"
                break
            self.left = size + 2
            data = data[end + 2 :]
        self.buffer = data


def field(head: bytes, name: bytes) -> int:
    at = head.find(name)
    return NONE if at < 0 else int(head[at + len(name) :].split(b"\r\n", 1)[0])
