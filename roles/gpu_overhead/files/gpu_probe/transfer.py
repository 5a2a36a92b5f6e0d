# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies between host and device: pinned and pageable, each way and both at once, every byte looked at."""

from __future__ import annotations

import ctypes
import random
from typing import Any

from .control import NON_BLOCKING
from .sampling import Sampler

BLOCK = 1 << 20
DIRECTIONS = ("to_device", "from_device", "both")
POISON = 0xA5


class Host:
    """Memory of the host, pinned or pageable, filled with bytes that do not repeat within a block."""

    def __init__(self, driver: Any, size: int, memory: str, seed: int) -> None:
        self._driver, self.size, self.memory = driver, size, memory
        if memory == "pinned":
            self.at = driver.make("cuMemHostAlloc", size, 0)
        else:
            self._held = ctypes.create_string_buffer(size)
            self.at = ctypes.addressof(self._held)
        self.view = memoryview((ctypes.c_ubyte * size).from_address(self.at)).cast("B")
        self.fill(seed)

    def fill(self, seed: int) -> None:
        block = bytearray(random.Random(seed).getrandbits(8 * BLOCK).to_bytes(BLOCK, "little"))
        for number, start in enumerate(range(0, self.size, BLOCK)):
            # Blocks differ, or one that went to the wrong place would pass.
            block[:8] = (seed * 1000003 + number).to_bytes(8, "little")
            self.view[start : start + BLOCK] = block[: self.size - start]

    def poison(self) -> None:
        ctypes.memset(self.at, POISON, self.size)

    def free(self) -> None:
        self.view.release()
        if self.memory == "pinned":
            self._driver.cuMemFreeHost(self.at)


class Stamps:
    """Each copy carries another number at both ends: one that did not happen, or happened once for many, is missed."""

    LENGTH = 8

    def __init__(self, driver: Any, out: Host, back: Host, to: int | None, source: int | None) -> None:
        """`to` is where copies go on the device, `source` where those come from that go to `back`."""
        self._driver, self._out, self._back, self._to, self._source = driver, out, back, to, source
        self._length = min(self.LENGTH, out.size)
        self._ends = (0, out.size - self._length)
        self._seen = ctypes.create_string_buffer(self._length)
        self._count = self.missed = 0

    def renew(self) -> None:
        self._count += 1
        stamp = self._count.to_bytes(self.LENGTH, "little")[: self._length]
        for end in self._ends:
            self._out.view[end : end + self._length] = stamp
            if self._source is not None:
                self._driver.cuMemcpyHtoD(self._source + end, self._out.at + end, self._length)
        # A small copy from pageable memory may return before it has arrived, and our streams do not wait for it.
        self._driver.cuCtxSynchronize()

    def look(self) -> None:
        self.missed += not all(self._arrived(end) for end in self._ends)

    def _arrived(self, end: int) -> bool:
        expected, found = bytes(self._out.view[end : end + self._length]), []
        if self._to is not None:
            self._driver.cuMemcpyDtoH(ctypes.addressof(self._seen), self._to + end, self._length)
            found.append(self._seen.raw)
        if self._source is not None:
            found.append(bytes(self._back.view[end : end + self._length]))
        return all(one == expected for one in found)


def copies(sampler: Sampler, sizes: list[int], memories: list[str]) -> None:
    for memory in memories:
        for size in sizes:
            _copies_of(sampler, size, memory)


def _copies_of(sampler: Sampler, size: int, memory: str) -> None:
    driver = sampler.driver
    out, back = Host(driver, size, memory, size + 1), Host(driver, size, memory, size + 2)
    # Two buffers on the device: what is written is never what is being read.
    first, second = driver.allocate(size), driver.allocate(size)
    streams = driver.make("cuStreamCreate", NON_BLOCKING), driver.make("cuStreamCreate", NON_BLOCKING)
    try:
        for direction in DIRECTIONS:
            parameters: dict[str, Any] = {"direction": direction, "memory": memory, "bytes": size}
            driver.cuMemcpyHtoD(second, out.at, size)
            back.poison()
            runs = {
                "to_device": lambda: driver.cuMemcpyHtoDAsync(first, out.at, size, streams[0]),
                "from_device": lambda: driver.cuMemcpyDtoHAsync(back.at, second, size, streams[0]),
                "both": lambda: _both(driver, (first, out.at), (back.at, second), size, streams),
            }
            run, waits = runs[direction], direction == "both"
            stamps = Stamps(
                driver,
                out,
                back,
                None if direction == "from_device" else first,
                None if direction == "to_device" else second,
            )

            def once(run: Any = run, waits: bool = waits, stamps: Stamps = stamps) -> dict[str, Any]:
                stamps.renew()
                seen = sampler.timed(run, 0 if waits else streams[0], waits=waits)
                stamps.look()
                return seen

            sampler.measure("copy", parameters, once)
            same = not stamps.missed and (direction == "to_device" or out.view == back.view)
            if direction != "from_device":
                back.poison()
                driver.cuMemcpyDtoH(back.at, first, size)
                same = same and out.view == back.view
            sampler.writer.line(
                "integrity",
                metric="copy",
                parameters=parameters,
                expected=size,
                found=size if same else None,
                missed=stamps.missed,
                holds=same,
            )
    finally:
        for stream in streams:
            driver.cuStreamDestroy(stream)
        for at in (first, second):
            driver.cuMemFree(at)
        out.free()
        back.free()


def _both(driver: Any, there: tuple[int, int], back: tuple[int, int], size: int, streams: tuple[int, int]) -> None:
    driver.cuMemcpyHtoDAsync(there[0], there[1], size, streams[0])
    driver.cuMemcpyDtoHAsync(back[0], back[1], size, streams[1])
    driver.cuStreamSynchronize(streams[0])
    driver.cuStreamSynchronize(streams[1])
