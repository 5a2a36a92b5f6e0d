# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxy that injects faults says nothing about clients that go away, and tells of anything else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import eventually
from tests.fakes.fault_proxy import FaultProxy, fault_proxy

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
DEADLINE_SECONDS = 20


@contextmanager
def upstream(ended: threading.Event) -> Iterator[int]:
    """An API server whose watch goes on until its client is gone."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(HEAD)
                while True:
                    connection.sendall(b"{}\n" * 1000)
            except OSError:
                ended.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(DEADLINE_SECONDS)


def test_a_client_that_goes_away_in_a_watch_is_no_news(capfd: pytest.CaptureFixture[str]) -> None:
    ended = threading.Event()
    with upstream(ended) as port, fault_proxy("127.0.0.1", port, None) as proxy:
        with socket.create_connection(address(proxy)) as client:
            client.sendall(b"GET /api/v1/pods?watch=true HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(100)
        assert ended.wait(DEADLINE_SECONDS), "the proxy still reads a watch that nobody wants"
        assert capfd.readouterr().err == ""


def test_any_other_error_is_told(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: FaultProxy, method: str, path: str) -> None:
        raise LookupError("a mistake of the proxy")

    monkeypatch.setattr(FaultProxy, "fault", broken)
    with fault_proxy("127.0.0.1", 1, None) as proxy, socket.create_connection(address(proxy)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(100) == b""
        eventually(lambda: "a mistake of the proxy" in capfd.readouterr().err)


def address(proxy: FaultProxy) -> tuple[str, int]:
    host, _, port = proxy.url.removeprefix("http://").partition(":")
    return host, int(port)
