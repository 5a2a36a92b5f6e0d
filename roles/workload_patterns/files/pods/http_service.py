# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP/1.1 server for the stand-ins: kept connections, answers as a whole or in chunks, one thread.

Python 3.9 and nothing but its standard library: this file travels into the pods.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

HEAD = 65536
LONGEST_BODY = 64 << 20
#: Connections that wait to be accepted: a burst must not be refused by the kernel's default of 100.
BACKLOG = 4096
REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 404: "Not Found", 409: "Conflict", 503: "Unavailable"}


class Refused(Exception):
    """An answer that is an error, with its status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Request:
    def __init__(self, method: str, target: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(target)
        self.method, self.path, self.body = method, parts.path, body
        self.query = dict(parse_qsl(parts.query))
        self.begun = False
        self._writer = writer

    def number(self, name: str, default: float) -> float:
        try:
            return float(self.query.get(name, default))
        except ValueError:
            raise Refused(400, f"{name} is no number") from None

    @property
    def left(self) -> bool:
        """Whether the client is gone."""
        return self._writer.is_closing()

    def begin(self, **headers: object) -> None:
        """An answer of chunks begins."""
        self.begun = True
        self._writer.write(head(200, {**headers, "Transfer-Encoding": "chunked"}))

    def chunk(self, data: bytes) -> None:
        if not self.left:
            self._writer.write(b"%x\r\n%s\r\n" % (len(data), data))


Handle = Callable[[Request], Awaitable["tuple[int, dict[str, object], Any] | None"]]


def head(status: int, headers: dict[str, object]) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Answer')}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handle) -> None:
    """One connection until either side ends it."""
    ended = (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError)
    with contextlib.suppress(*ended):
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            words = lines[0].split()
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            length = int(fields.get("content-length") or 0)
            if len(words) != 3 or not 0 <= length <= LONGEST_BODY:
                break
            request = Request(words[0], words[1], await reader.readexactly(length) if length else b"", writer)
            try:
                found = await handle(request)
            except Refused as error:
                found = error.status, {}, {"error": str(error)}
            if request.begun:
                writer.write(b"0\r\n\r\n")
            elif found is not None:
                status, headers, value = found
                data = value if isinstance(value, bytes) else json.dumps(value).encode() + b"\n"
                writer.write(head(status, {**headers, "Content-Length": len(data)}) + data)
            await writer.drain()
            if fields.get("connection", "").lower() == "close":
                break
    writer.close()


async def serve(given: argparse.Namespace, handle: Handle, *tasks: Awaitable[None]) -> None:
    """Until a signal to end; a task that breaks ends the server, or it would answer nobody in silence."""
    over = asyncio.get_running_loop().create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, lambda: over.done() or over.set_result(None))
    server = await asyncio.start_server(
        lambda reader, writer: talk(reader, writer, handle), given.address, given.port, limit=HEAD, backlog=BACKLOG
    )
    print(f"listening on port {server.sockets[0].getsockname()[1]}", flush=True)
    running = [asyncio.ensure_future(task) for task in tasks]
    done, _ = await asyncio.wait([over, *running], return_when=asyncio.FIRST_COMPLETED)
    for one in done:
        one.result()


def options(port: int) -> argparse.ArgumentParser:
    known = argparse.ArgumentParser()
    known.add_argument("--address", default=os.environ.get("POD_IP", ""))
    known.add_argument("--port", type=int, default=port)
    return known
