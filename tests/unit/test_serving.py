# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of tests are gone with their context, and say nothing but what is wrong."""

from __future__ import annotations

import http.client

import pytest

from tests.conftest import eventually
from tests.fakes.serving import QuietHandler, Server, serving


class Asked(QuietHandler):
    seen: list[bytes]

    def do_PUT(self) -> None:
        self.seen.append(self.body())
        self.answer_json(200, {"n": len(self.seen)}, {"X-More": "yes"})

    def do_GET(self) -> None:
        raise LookupError("a mistake of the test")


def ask(server: Server, method: str, body: bytes | None = None) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    try:
        connection.request(method, "/", body)
        answer = connection.getresponse()
        return answer.status, answer.headers["X-More"], answer.read()
    finally:
        connection.close()


def test_every_server_has_a_port_and_a_state_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    one: list[bytes] = []
    with serving(Asked, seen=one) as first, serving(Asked, seen=[b"before"]) as second:
        assert ask(first, "PUT", b"x") == (200, "yes", b'{"n": 1}')
        assert ask(second, "PUT") == (200, "yes", b'{"n": 2}')
        assert (first.url, first.server_port != second.server_port) == (f"http://127.0.0.1:{first.server_port}", True)
    assert (one, capfd.readouterr().err) == ([b"x"], "")


def test_a_mistake_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with serving(Asked, seen=[]) as server:
        with pytest.raises(http.client.RemoteDisconnected):
            ask(server, "GET")
        eventually(lambda: "a mistake of the test" in capfd.readouterr().err)


def test_the_socket_is_closed_however_the_context_ended() -> None:
    with pytest.raises(LookupError), serving(Asked, seen=[]) as server:
        raise LookupError
    assert server.fileno() == -1
