# SPDX-License-Identifier: GPL-3.0-or-later
"""A step of an application: values go in, one layer after the other multiplies them, what comes out goes back.

It is made of calls that are also measured alone, so that what those predict of it can be held against what it took.
"""

from __future__ import annotations

import array
import random
from functools import partial
from typing import Any

from .compute import integrity
from .control import NON_BLOCKING
from .errors import ProbeError
from .kernels import TILE, Module
from .sampling import Sampler
from .transfer import Host

#: Values of -1, 0 and 1: sums of so few layers stay exact in FP32 (far below 2^24), so equal means equal.
VALUES, MOST_LAYERS, MOST_SIZE = (-1, 0, 1), 4, 1024


def measure(sampler: Sampler, module: Module, shapes: list[dict[str, int]]) -> None:
    for shape in shapes:
        size, layers = int(shape["size"]), int(shape["layers"])
        if size % TILE or not TILE <= size <= MOST_SIZE or not 1 <= layers <= MOST_LAYERS:
            raise ProbeError(
                f"the plan's applications: size {size} is no multiple of {TILE} up to {MOST_SIZE}, or there are not"
                f" 1 to {MOST_LAYERS} layers but {layers}"
            )
        _measure(sampler, module, size, layers)


def _measure(sampler: Sampler, module: Module, size: int, layers: int) -> None:
    driver, length = sampler.driver, 4 * size * size
    values, weights = (array.array("f", random.Random(seed).choices(VALUES, k=size * size)) for seed in (size, -size))
    given, answer = Host(driver, length, "pinned", size), Host(driver, length, "pinned", size + 1)
    given.view[:] = values.tobytes()
    matrix, *turns = (driver.allocate(length) for _ in range(3))
    driver.cuMemcpyHtoD(matrix, weights.buffer_info()[0], length)
    stream = driver.make("cuStreamCreate", NON_BLOCKING)
    driver.cuCtxSynchronize()  # our stream does not wait for the copy of the matrix
    kernels = [module.gemm(turns[(n + 1) % 2], turns[n % 2], matrix, size) for n in range(layers)]

    def step() -> None:
        driver.cuMemcpyHtoDAsync(turns[0], given.at, length, stream)
        for kernel in kernels:
            kernel.launch(stream)
        driver.cuMemcpyDtoHAsync(answer.at, turns[layers % 2], length, stream)

    try:
        # What no layer touches: a model of calls takes it from here.
        sampler.measure("layer", {"size": size}, partial(sampler.timed, partial(kernels[0].launch, stream), stream))
        answer.poison()
        parameters: dict[str, Any] = {"size": size, "layers": layers}
        sampler.measure("application", parameters, partial(sampler.timed, step, stream))
        row = random.Random(layers).randrange(size)
        found = array.array("f", bytes(answer.view[4 * size * row : 4 * size * (row + 1)]))
        right = sum(a == b for a, b in zip(found, _row(values, weights, size, layers, row)))
        integrity(sampler, "application", parameters, size, right)
    finally:
        driver.cuStreamDestroy(stream)
        for at in (matrix, *turns):
            driver.cuMemFree(at)
        given.free()
        answer.free()


def _row(values: Any, weights: Any, size: int, layers: int, row: int) -> list[float]:
    """One row of the answer as the host works it out."""
    found = list(values[size * row : size * (row + 1)])
    for _ in range(layers):
        following = [0.0] * size
        for place, factor in enumerate(found):
            if factor:
                start = size * place
                following = [sum_ + factor * one for sum_, one in zip(following, weights[start : start + size])]
        found = following
    return found
