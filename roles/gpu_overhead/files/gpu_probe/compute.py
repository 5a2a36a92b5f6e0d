# SPDX-License-Identifier: GPL-3.0-or-later
"""Work on the device: matrices multiplied and memory copied, and what came out looked at."""

from __future__ import annotations

import array
import random
from functools import partial
from typing import Any

from .errors import ProbeError
from .kernels import COPY_BYTES, TILE, Module
from .sampling import Sampler
from .transfer import Host

LOOKED_AT = 16  # elements of a product that the host works out by itself


def gemm(sampler: Sampler, module: Module, sizes: list[int]) -> None:
    driver = sampler.driver
    for size in sizes:
        if size % TILE:
            raise ProbeError(f"the plan's gemm_sizes: {size} is no multiple of {TILE}")
        # Small whole numbers: sums of their products are exact in FP32 up to 2^24, so equal means equal.
        draw = random.Random(size)
        left = array.array("f", draw.choices(range(-8, 9), k=size * size))
        right = array.array("f", draw.choices(range(-8, 9), k=size * size))
        length = 4 * size * size
        a, b, c = (driver.allocate(length) for _ in range(3))
        driver.cuMemcpyHtoD(a, left.buffer_info()[0], length)
        driver.cuMemcpyHtoD(b, right.buffer_info()[0], length)
        driver.cuMemsetD8(c, 0, length)
        kernel = module.gemm(c, a, b, size)
        parameters = {"size": size}
        sampler.measure("gemm", parameters, partial(sampler.timed, kernel.launch))
        found = array.array("f", bytes(length))
        driver.cuMemcpyDtoH(found.buffer_info()[0], c, length)
        wrong = 0
        for _ in range(LOOKED_AT):
            i, j = draw.randrange(size), draw.randrange(size)
            expected = sum(left[i * size + k] * right[k * size + j] for k in range(size))
            wrong += found[i * size + j] != expected
        integrity(sampler, "gemm", parameters, LOOKED_AT, LOOKED_AT - wrong)
        for at in (a, b, c):
            driver.cuMemFree(at)


def device_copy(sampler: Sampler, module: Module, sizes: list[int]) -> None:
    driver = sampler.driver
    for size in sizes:
        if size % COPY_BYTES:
            raise ProbeError(f"the plan's device_copy_bytes: {size} is no multiple of {COPY_BYTES}")
        out, back = Host(driver, size, "pageable", size + 3), Host(driver, size, "pageable", size + 4)
        source, to = driver.allocate(size), driver.allocate(size)
        driver.cuMemcpyHtoD(source, out.at, size)
        driver.cuMemsetD8(to, 0, size)
        kernel = module.copy(to, source, size)
        parameters = {"bytes": size}
        sampler.measure("device_copy", parameters, partial(sampler.timed, kernel.launch))
        driver.cuMemcpyDtoH(back.at, to, size)
        integrity(sampler, "device_copy", parameters, size, size if out.view == back.view else 0)
        for at in (source, to):
            driver.cuMemFree(at)
        out.free()
        back.free()


def integrity(sampler: Sampler, metric: str, parameters: dict[str, Any], expected: int, found: int) -> None:
    sampler.writer.line(
        "integrity", metric=metric, parameters=parameters, expected=expected, found=found, holds=expected == found
    )
