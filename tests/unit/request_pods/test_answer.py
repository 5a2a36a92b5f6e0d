# SPDX-License-Identifier: GPL-3.0-or-later
"""An answer is read right however the network cuts it."""

from __future__ import annotations

import pytest

from tests.fakes.request_services import pod_module

answer = pod_module("answer")

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nNightbench-Planted-Microseconds: 4500\r\n\r\nitem\nitem\n\n"
CHUNKS = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nitem\n\r\n5;x=y\r\nitem\n\r\nA\r\nitem\nitem\n\r\n0\r\n\r\n"
)


def fed(data: bytes, size: int) -> tuple[object, list[float]]:
    """The answer after each piece of so many bytes, the first at moment 1."""
    made, whole = answer.Answer(), []
    for number, at in enumerate(range(0, len(data), size), start=1):
        made.feed(data[at : at + size], float(number))
        if made.whole:
            whole.append(float(number))
    return made, whole


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
@pytest.mark.parametrize(("data", "items", "planted"), [(WHOLE, 3, 4500), (CHUNKS, 4, -1)], ids=["length", "chunks"])
def test_every_cut_gives_the_same_answer(data: bytes, items: int, planted: int, size: int) -> None:
    made, whole = fed(data, size)
    assert (made.status, made.items, made.planted, made.keep) == (200, items, planted, True)  # type: ignore[attr-defined]
    assert whole == [float(-(-len(data) // size))], "whole with its last byte, and not before"
    body = data.index(b"\r\n\r\n") + 4 + (0 if data is WHOLE else 3)
    assert made.first == body // size + 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(("told", "loaded"), [(b"Nightbench-Model-Loaded: 1\r\n", 1), (b"", -1)])
def test_where_a_model_was_is_read_where_it_is_told(told: bytes, loaded: int) -> None:
    made, _ = fed(b"HTTP/1.1 200 OK\r\n" + told + b"Content-Length: 0\r\n\r\n", 1000)
    assert made.loaded == loaded  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("data", "status", "keep"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, True),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 503, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, False),
    ],
)
def test_status_and_whether_the_connection_stays(data: bytes, status: int, keep: bool) -> None:
    made, whole = fed(data, 1000)
    assert (made.status, made.keep, whole) == (status, keep, [1.0])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n\r\n", "does not begin with HTTP/1"),
        (b"HTTP/1.1 200 OK\r\n\r\nendless", "no length and no chunks"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "invalid literal"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "invalid literal"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "its head does not end"),
    ],
    ids=["other protocol", "no length", "length", "chunk", "head"],
)
def test_what_is_no_http_is_said_not_to_be(data: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        fed(data, 100_000)
