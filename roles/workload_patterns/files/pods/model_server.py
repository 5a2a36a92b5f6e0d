#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for a model server: continuous batching with a service time that is planted, on no more than a CPU.

A step of the engine takes --step-seconds, and --step-seconds-per-request for each request in it, and --input-seconds
for each item of input of those that join; it gives each request in it one item. At most --batch requests are in a
step; the others wait in order. With --slots, so many models are in memory at a time: a request for another one waits
until one that nobody uses can go, and --load-seconds for its own. Nothing is computed: time is slept.
What is real is the waiting. Each answer says what was planted for it alone (Nightbench-Planted-Microseconds), what was
left of its model's load included, and with --slots whether it found that model in memory (Nightbench-Model-Loaded).
Python 3.9 and nothing but its standard library: this file travels into the pods.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
from typing import Any

from http_service import Refused, Request, options, serve

MOST_ITEMS = 1_000_000


class Sequence:
    """One request in the engine."""

    def __init__(self, request: Request, wanted: int, output: int) -> None:
        self.request, self.input, self.left = request, wanted, output
        self.items: asyncio.Queue[bool] = asyncio.Queue()


class Engine:
    """The batch of one model."""

    def __init__(self, given: Any) -> None:
        self.given = given
        self.waiting: collections.deque[Sequence] = collections.deque()
        self.active: list[Sequence] = []
        self.steps = 0
        self.users = 0
        self.ready = asyncio.Event()
        self.ready_at = 0.0
        self.wake = asyncio.Event()
        self.task = asyncio.ensure_future(self.run())

    async def run(self) -> None:
        while True:
            if not self.active and not self.waiting:
                self.wake.clear()
                await self.wake.wait()
            joined = []
            while self.waiting and len(self.active) + len(joined) < self.given.batch:
                joined.append(self.waiting.popleft())
            self.active += joined
            seconds = self.given.step_seconds + self.given.step_seconds_per_request * len(self.active)
            seconds += self.given.input_seconds * sum(one.input for one in joined)
            # Never less than what is planted: what it sleeps longer, some 0.1 ms a step, is in what is measured.
            await asyncio.sleep(seconds)
            self.steps += 1
            for one in self.active:
                one.left -= 1
                one.items.put_nowait(one.left > 0)
            self.active = [one for one in self.active if one.left > 0 and not one.request.left]


class Models:
    """Which models are in memory."""

    def __init__(self, given: Any) -> None:
        self.given = given
        self.engines: collections.OrderedDict[str, Engine] = collections.OrderedDict()
        self.freed = asyncio.Condition()
        self.loads = self.answered = 0

    @contextlib.asynccontextmanager
    async def use(self, name: str) -> Any:
        """(engine, seconds of its load that are left, whether it was in memory); nobody takes it away meanwhile."""
        if not self.given.slots:
            name = ""
        engine, left, loaded = await self._engine(name)
        engine.users += 1
        self.engines.move_to_end(name)
        try:
            await engine.ready.wait()
            yield engine, left, loaded
        finally:
            engine.users -= 1
            async with self.freed:
                self.freed.notify_all()

    async def _engine(self, name: str) -> tuple[Engine, float, bool]:
        clock = asyncio.get_running_loop()
        async with self.freed:
            loaded = name in self.engines and self.engines[name].ready.is_set()
            while name not in self.engines:
                if self.given.slots and len(self.engines) >= self.given.slots:
                    idle = next((other for other, engine in self.engines.items() if not engine.users), None)
                    if idle is None:
                        await self.freed.wait()
                        continue
                    self.engines.pop(idle).task.cancel()
                engine = self.engines[name] = Engine(self.given)
                if not self.given.slots:
                    engine.ready.set()
                    return engine, 0.0, True
                self.loads += 1
                engine.ready_at = clock.time() + self.given.load_seconds
                clock.call_at(engine.ready_at, engine.ready.set)
                return engine, self.given.load_seconds, False
            engine = self.engines[name]
            return engine, 0.0 if engine.ready.is_set() else max(0.0, engine.ready_at - clock.time()), loaded

    async def handle(self, request: Request) -> Any:
        if request.path == "/healthz":
            return 200, {}, {"ready": True}
        if request.path == "/state":
            return 200, {}, self.state()
        if request.path != "/generate":
            raise Refused(404, f"there is no {request.path}")
        wanted, output = int(request.number("input", 1)), int(request.number("output", 1))
        if not (0 <= wanted <= MOST_ITEMS and 0 <= output <= MOST_ITEMS):
            raise Refused(400, f"input and output are numbers up to {MOST_ITEMS}")
        # Zero items are answered by one step as well: an answer has to come from somewhere.
        return await self.generate(request, wanted, max(1, output))

    async def generate(self, request: Request, wanted: int, output: int) -> Any:
        given, streamed = self.given, request.query.get("stream") == "1"
        async with self.use(request.query.get("model", "")) as (engine, loading, loaded):
            alone = output * (given.step_seconds + given.step_seconds_per_request) + wanted * given.input_seconds
            told = {"Nightbench_Planted_Microseconds": int((alone + loading) * 1e6)}
            if given.slots:
                told["Nightbench_Model_Loaded"] = int(loaded)
            sequence = Sequence(request, wanted, output)
            engine.waiting.append(sequence)
            engine.wake.set()
            if streamed:
                request.begin(**told)
            more = True
            while more and not request.left:
                more = await sequence.items.get()
                if streamed:
                    request.chunk(b"item\n")
            self.answered += 1
            return None if streamed else (200, told, b"item\n" * output)

    def state(self) -> dict[str, Any]:
        engines = self.engines.values()
        return {
            "active": sum(len(one.active) for one in engines),
            "waiting": sum(len(one.waiting) for one in engines),
            "steps": sum(one.steps for one in engines),
            "loaded": list(self.engines),
            "loads": self.loads,
            "answered": self.answered,
        }


async def main() -> None:
    known = options(8000)
    known.add_argument("--batch", type=int, default=8)
    known.add_argument("--step-seconds", type=float, default=0.02)
    known.add_argument("--step-seconds-per-request", type=float, default=0.0)
    known.add_argument("--input-seconds", type=float, default=0.0)
    known.add_argument("--slots", type=int, default=0)
    known.add_argument("--load-seconds", type=float, default=0.0)
    given = known.parse_args()
    await serve(given, Models(given).handle)


if __name__ == "__main__":
    asyncio.run(main())
