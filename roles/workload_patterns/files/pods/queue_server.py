#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for a queue: takes events, gives each to one worker, knows how old the oldest is.

POST /put answers at once; with ?wait=1 when a worker has said that it is done, so that who sends sees the whole way of
an event, and what of it the worker slept as it was told to (Nightbench-Planted-Microseconds). GET /take?seconds=S waits
for one. What a worker has not done after --lease-seconds is given to another.
Python 3.9 and nothing but its standard library: this file travels into the pods.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
from typing import Any

from http_service import Refused, Request, options, serve

LONGEST_WAIT = 60.0
LOOK_SECONDS = 0.1


class Event:
    def __init__(self, number: int, body: bytes, at: float) -> None:
        self.number, self.body, self.at = number, body, at
        self.done = asyncio.Event()
        self.planted = 0


class Queue:
    """In order; an event that comes back from a worker that died goes to the front."""

    def __init__(self, given: Any) -> None:
        self.given = given
        self.numbers = itertools.count(1)
        self.waiting: collections.deque[Event] = collections.deque()
        self.taken: dict[int, tuple[float, Event]] = {}
        self.come = asyncio.Condition()
        self.put = self.finished = self.again = self.most = 0

    async def handle(self, request: Request) -> Any:
        known = {
            ("GET", "/healthz"): self.healthy,
            ("GET", "/state"): self.state,
            ("POST", "/put"): self.give,
            ("GET", "/take"): self.take,
            ("POST", "/done"): self.done,
        }
        found = known.get((request.method, request.path))
        if found is None:
            raise Refused(404, f"there is no {request.method} {request.path}")
        return await found(request)

    async def healthy(self, request: Request) -> Any:
        return 200, {}, {"ready": True}

    async def give(self, request: Request) -> Any:
        event = Event(next(self.numbers), request.body, self.now())
        async with self.come:
            self.waiting.append(event)
            self.put += 1
            self.most = max(self.most, len(self.waiting))
            self.come.notify()
        headers = {}
        if request.query.get("wait") == "1":
            await event.done.wait()
            headers = {"Nightbench_Planted_Microseconds": event.planted}
        return 201, headers, {"number": event.number}

    async def take(self, request: Request) -> Any:
        until = self.now() + min(LONGEST_WAIT, request.number("seconds", 0))
        async with self.come:
            while not self.waiting:
                try:
                    await asyncio.wait_for(self.come.wait(), max(0.0, until - self.now()))
                except asyncio.TimeoutError:  # noqa: UP041 (another one before Python 3.11)
                    return 200, {}, {"number": None}
            if request.left:
                self.come.notify()
                raise Refused(409, "whoever asked is gone")
            event = self.waiting.popleft()
        self.taken[event.number] = self.now() + self.given.lease_seconds, event
        return 200, {}, {"number": event.number, "bytes": len(event.body), "age_seconds": self.now() - event.at}

    async def done(self, request: Request) -> Any:
        _, event = self.taken.pop(int(request.number("number", 0)), (0.0, None))
        if event is None:
            raise Refused(409, "nobody has taken it, or its time was over and another has it")
        self.finished += 1
        event.planted = int(request.number("planted_microseconds", 0))
        event.done.set()
        return 200, {}, {"done": event.number}

    async def state(self, request: Request) -> Any:
        oldest = min((event.at for event in self.waiting), default=None)
        return 200, {}, {
            "depth": len(self.waiting),
            "most": self.most,
            "taken": len(self.taken),
            "oldest_seconds": 0.0 if oldest is None else self.now() - oldest,
            "put": self.put,
            "done": self.finished,
            "again": self.again,
        }  # fmt: skip

    async def give_back(self) -> None:
        """What a worker keeps for too long."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            late = [number for number, (until, _) in self.taken.items() if until < self.now()]
            async with self.come:
                for number in sorted(late, reverse=True):
                    self.waiting.appendleft(self.taken.pop(number)[1])
                    self.again += 1
                    self.come.notify()

    def now(self) -> float:
        return asyncio.get_running_loop().time()


async def main() -> None:
    known = options(8001)
    known.add_argument("--lease-seconds", type=float, default=30.0)
    given = known.parse_args()
    queue = Queue(given)
    await serve(given, queue.handle, queue.give_back())


if __name__ == "__main__":
    asyncio.run(main())
