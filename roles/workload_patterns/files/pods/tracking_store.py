#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for an experiment tracking server: metrics are appended, artifacts are written, both are on the disk first.

POST /runs/NAME/metrics appends the body as a line; PUT /artifacts/NAME writes the body. Each is answered after fsync,
so what is measured is the disk's and the queue's before it; nothing is planted.
Python 3.9 and nothing but its standard library: this file travels into the pods.
"""

from __future__ import annotations

import asyncio
import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from http_service import Refused, Request, options, serve

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Store:
    def __init__(self, folder: str, writers: int) -> None:
        self.folder = folder
        self.runs: dict[str, asyncio.Lock] = {}
        self.threads = ThreadPoolExecutor(writers)
        self.metrics = self.artifacts = self.bytes = 0
        for name in ("runs", "artifacts"):
            os.makedirs(os.path.join(folder, name), exist_ok=True)

    async def handle(self, request: Request) -> Any:
        words = request.path.strip("/").split("/")
        if request.path == "/healthz":
            return 200, {}, {"ready": True}
        if request.path == "/state":
            return 200, {}, {"metrics": self.metrics, "artifacts": self.artifacts, "bytes": self.bytes}
        metrics = request.method == "POST" and len(words) == 3 and (words[0], words[2]) == ("runs", "metrics")
        artifact = request.method == "PUT" and len(words) == 2 and words[0] == "artifacts"
        if not (metrics or artifact):
            raise Refused(404, f"there is no {request.method} {request.path}")
        if not NAME.fullmatch(words[1]):
            raise Refused(400, "a name has letters, digits, dots, dashes")
        path = os.path.join(self.folder, words[0], words[1])
        if metrics:
            # One after the other of one run: lines must not mix.
            async with self.runs.setdefault(words[1], asyncio.Lock()):
                await self.write(path, request.body + b"\n", "ab")
            self.metrics += 1
        else:
            await self.write(path, request.body, "wb")
            self.artifacts += 1
        self.bytes += len(request.body)
        return 201, {}, {"bytes": len(request.body)}

    async def write(self, path: str, data: bytes, mode: str) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self.threads, durable, path, data, mode)
        except OSError as error:
            raise Refused(503, f"{error.strerror}") from error


def durable(path: str, data: bytes, mode: str) -> None:
    with open(path, mode) as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


async def main() -> None:
    known = options(8002)
    known.add_argument("--folder", default="/tmp/nightbench-store")
    known.add_argument("--writers", type=int, default=4)
    given = known.parse_args()
    await serve(given, Store(given.folder, given.writers).handle)


if __name__ == "__main__":
    asyncio.run(main())
