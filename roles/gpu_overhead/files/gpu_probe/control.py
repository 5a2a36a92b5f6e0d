# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that move no data: context and first kernel, allocate and free, launch plain and by graph, synchronise."""

from __future__ import annotations

import ctypes
import time
from functools import partial
from typing import Any, Callable

from .driver import OUT_OF_MEMORY
from .errors import DriverError
from .kernels import Kernel, Module, read_number
from .sampling import Sampler

GLOBAL_CAPTURE = 0  # CU_STREAM_CAPTURE_MODE_GLOBAL
NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING


def first_steps(driver: Any, device: int) -> tuple[Module, dict[str, float], float]:
    """What only happens once in a process: its context, its module, its first kernel, that by both clocks.

    Before there is a context there is no event: the others have the host's clock alone.
    """
    clock, seconds = time.perf_counter_ns, {}
    begin = clock()
    driver.cuCtxSetCurrent(driver.make("cuDevicePrimaryCtxRetain", device))
    seconds["context"] = (clock() - begin) / 1e9
    loading = clock()
    module = Module(driver)
    seconds["module"] = (clock() - loading) / 1e9
    counter = driver.allocate(8)
    driver.cuMemsetD8(counter, 0, 8)
    first, last = (driver.make("cuEventCreate", 0) for _ in range(2))
    driver.cuEventRecord(first, 0)
    launching = clock()
    module.count(counter).launch()
    driver.cuEventRecord(last, 0)
    driver.cuCtxSynchronize()
    seconds["first_kernel"] = (clock() - launching) / 1e9
    seconds["start_to_first_kernel"] = (clock() - begin) / 1e9
    on_device = driver.elapsed(first, last)
    for event in (first, last):
        driver.cuEventDestroy(event)
    driver.cuMemFree(counter)
    return module, seconds, on_device


def allocate_and_free(sampler: Sampler, sizes: list[int], batches: list[int]) -> None:
    driver = sampler.driver
    at = ctypes.c_uint64()
    place, allocate, free = ctypes.byref(at), driver.cuMemAlloc, driver.cuMemFree

    def pairs(size: int, count: int) -> Callable[[], None]:
        def run() -> None:
            for _ in range(count):
                allocate(place, size)
                free(at)

        return run

    for size in sizes:
        for count in batches:
            run = pairs(size, count)
            parameters = {"bytes": size, "batch": count}
            sampler.measure("allocate_free", parameters, partial(sampler.timed, run, waits=True), count)


def synchronise(sampler: Sampler, batches: list[int]) -> None:
    """With nothing to wait for: the call alone."""
    wait = sampler.driver.cuCtxSynchronize

    def run(count: int) -> None:
        for _ in range(count):
            wait()

    for count in batches:
        once = partial(sampler.timed, partial(run, count), waits=True)
        sampler.measure("synchronise", {"batch": count}, once, count)


def launches(sampler: Sampler, module: Module, batches: list[int]) -> None:
    """Plain and by graph, and a counter on the device that says how many there really were."""
    driver = sampler.driver
    counter = driver.allocate(8)
    driver.cuMemsetD8(counter, 0, 8)
    driver.cuCtxSynchronize()  # our stream does not wait for it
    stream = driver.make("cuStreamCreate", NON_BLOCKING)
    kernel = module.count(counter)
    asked = 0
    for form in ("plain", "graph"):
        for count in batches:
            run = _plain(kernel, stream, count) if form == "plain" else _graph(driver, kernel, stream, count)

            def once(run: Callable[[], None] = run, count: int = count) -> dict[str, Any]:
                nonlocal asked
                asked += count
                return sampler.timed(run, stream)

            sampler.measure("launch", {"form": form, "batch": count}, once, count)
    driver.cuStreamSynchronize(stream)
    done = read_number(driver, counter)
    sampler.writer.line("integrity", metric="launch", parameters={}, expected=asked, found=done, holds=done == asked)
    driver.cuStreamDestroy(stream)
    driver.cuMemFree(counter)


def _plain(kernel: Kernel, stream: int, count: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(count):
            kernel.launch(stream)

    return run


def _graph(driver: Any, kernel: Kernel, stream: int, count: int) -> Callable[[], None]:
    """One graph of that many kernels, one after the other."""
    driver.cuStreamBeginCapture(stream, GLOBAL_CAPTURE)
    for _ in range(count):
        kernel.launch(stream)
    graph = driver.end_capture(stream)
    ready = driver.make("cuGraphInstantiateWithFlags", graph, 0)
    launch = driver.cuGraphLaunch

    def run() -> None:
        launch(ready, stream)

    return run


def enforcement(sampler: Sampler, limit: int) -> None:
    """Ask for more than a layer allows: it has to refuse."""
    asked = limit + (64 << 20)
    _, told = sampler.driver.memory()
    refused, answer = False, "given"
    try:
        sampler.driver.cuMemFree(sampler.driver.allocate(asked))
    except DriverError as error:
        answer, refused = error.text, error.code == OUT_OF_MEMORY
    sampler.writer.line(
        "enforcement",
        what="memory",
        limit_bytes=limit,
        asked_bytes=asked,
        told_bytes=told,
        refused=refused,
        answer=answer,
    )
