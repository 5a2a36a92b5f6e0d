# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests and answers as bytes: what is sent, and what becomes of every kind of answer."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from ansible.module_utils.nightbench.exchange import MOST_HEADERS, Exchange


class Connection(http.client.HTTPConnection):
    """An http.client connection whose other end the test holds."""

    def __init__(self, sock: socket.socket, host: str = "127.0.0.1", port: int = 6443) -> None:
        super().__init__(host, port)
        self.end = sock

    def connect(self) -> None:
        self.sock = self.end


@contextmanager
def answering(*answers: bytes, host: str = "127.0.0.1", port: int = 6443) -> Iterator[tuple[Exchange, list[bytes]]]:
    """An exchange whose server gives these answers, one a request, then closes; and what the server has read."""
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    seen: list[bytes] = []

    def serve() -> None:
        with theirs:
            for answer in answers:
                seen.append(theirs.recv(65_536))
                theirs.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    exchange = Exchange(Connection(ours, host, port))
    try:
        yield exchange, seen
    finally:
        exchange.close()
        thread.join(5)


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    ("host", "port", "name"),
    [("127.0.0.1", 6443, b"127.0.0.1:6443"), ("api.example", 80, b"api.example"), ("::1", 6443, b"[::1]:6443")],
)
def test_a_request_is_one_write(host: str, port: int, name: bytes) -> None:
    with answering(OK, host=host, port=port) as (exchange, seen):
        exchange.send("POST", "/api/v1/pods?a=b", {"Accept": "application/json", "X": "y"}, b'{"a": 1}')
    assert seen == [
        b"POST /api/v1/pods?a=b HTTP/1.1\r\nHost: " + name + b"\r\nAccept-Encoding: identity\r\n"
        b'Accept: application/json\r\nX: y\r\nContent-Length: 8\r\n\r\n{"a": 1}'
    ]


@pytest.mark.parametrize(
    ("answer", "status", "body", "keeps"),
    [
        (OK, 200, b"{}", True),
        (b"HTTP/1.1 201 Created\r\ncontent-length:3\r\n\r\nabc", 201, b"abc", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", 429, b"", False),
        (
            b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
            200,
            b"abc0123456789",
            True,
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n", 200, b"", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"{}", True),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"until the end", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, b"{}", False),
    ],
)
def test_what_an_answer_says(answer: bytes, status: int, body: bytes, keeps: bool) -> None:
    with answering(answer) as (exchange, _):
        found, _, data = exchange.send("GET", "/", {}, None)
        assert (found, data, exchange.keeps) == (status, body, keeps)


def test_a_connection_serves_many_requests() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    with answering(OK, chunked, OK) as (exchange, _):
        bodies = [exchange.send("GET", "/", {}, None)[2] for _ in range(3)]
    assert bodies == [b"{}", b"x", b"{}"]


def test_the_names_of_headers_are_small() -> None:
    with answering(b"HTTP/1.1 429 x\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n") as (exchange, _):
        assert exchange.send("GET", "/", {}, None)[1] == {"retry-after": "3", "content-length": "0"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", http.client.RemoteDisconnected),
        (b"SSH-2.0-OpenSSH\r\n", http.client.BadStatusLine),
        (b"HTTP/1.1 abc\r\n\r\n", http.client.BadStatusLine),
        (b"HTTP/1.1 200 OK\r\nContent-Le", http.client.IncompleteRead),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", http.client.IncompleteRead),
        (b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n", http.client.HTTPException),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", http.client.HTTPException),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", http.client.IncompleteRead),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", http.client.IncompleteRead),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", http.client.HTTPException),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", http.client.IncompleteRead),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * (MOST_HEADERS + 1) + b"\r\n", http.client.HTTPException),
    ],
)
def test_half_an_answer_is_none(answer: bytes, error: type[Exception]) -> None:
    with answering(answer) as (exchange, _), pytest.raises(error):
        exchange.send("GET", "/", {}, None)


@pytest.mark.parametrize(
    ("url", "headers"), [("/a b", {}), ("/a\r\nHost: b", {}), ("/", {"Authorization": "Bearer a\r\nX: y"})]
)
def test_nothing_can_be_smuggled_into_a_request(url: str, headers: dict[str, str]) -> None:
    with answering() as (exchange, seen), pytest.raises(http.client.InvalidURL):
        exchange.send("GET", url, headers, None)
    assert seen == []
