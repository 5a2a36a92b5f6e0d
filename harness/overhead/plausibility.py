# SPDX-License-Identifier: GPL-3.0-or-later
"""What no such device can do: more than its link carries, its memory moves or its cores multiply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import units
from harness.overhead.runs import Run

# PCI Express Base Specification: transfers a second and lane, and the share of bits that are data (8b/10b, 128b/130b;
# from 6.0 on flits of 242 in 256).
LINK = {
    1: (2.5e9, 8 / 10),
    2: (5e9, 8 / 10),
    3: (8e9, 128 / 130),
    4: (16e9, 128 / 130),
    5: (32e9, 128 / 130),
    6: (64e9, 242 / 256),
}
# CUDA C++ Programming Guide, "Arithmetic Instructions": FP32 multiply-adds of one multiprocessor in one clock.
FP32 = {(7, 0): 64, (7, 5): 64, (8, 0): 64, (8, 6): 128, (8, 7): 128, (8, 9): 128, (9, 0): 128, (10, 0): 128}
FP32_LATER = 128
#: A clock may be a little above what the driver names as highest.
TOLERANCE = 1.02
#: DDR: two transfers a clock and bit.
TRANSFERS = 2


def link_bytes_per_second(run: Run) -> float | None:
    """One way, at the widest and fastest that was read: idle links are slower than busy ones."""
    states = [run.line(kind, "management") or {} for kind in ("device", "afterwards")]
    generation = max((state.get("link_generation") or 0 for state in states), default=0)
    width = max((state.get("link_width") or 0 for state in states), default=0)
    if generation not in LINK or not width:
        return None
    rate, share = LINK[generation]
    return float(rate * share * width / 8)


def memory_bytes_per_second(run: Run) -> float | None:
    driver: Mapping[str, Any] = run.line("device", "driver") or {}
    clock, bits = driver.get("memory_clock_khz"), driver.get("memory_bus_bits")
    return float(clock * 1e3 * TRANSFERS * bits / 8) if clock and bits else None


def operations_per_second(run: Run) -> float | None:
    driver: Mapping[str, Any] = run.line("device", "driver") or {}
    clock, units_there = driver.get("clock_khz"), driver.get("multiprocessors")
    if not clock or not units_there:
        return None
    lanes = FP32.get((driver.get("compute_major", 0), driver.get("compute_minor", 0)), FP32_LATER)
    return float(clock * 1e3 * units_there * lanes * 2)


def implausible(run: Run) -> list[str]:
    """Every series that is faster than the device can be, in words."""
    found = []
    link, memory, peak = link_bytes_per_second(run), memory_bytes_per_second(run), operations_per_second(run)
    for parameters, series in run.all_of("copy"):
        # Small copies may end in a cache; their bandwidth says nothing.
        if series.median and link and parameters["bytes"] >= 1 << 20:
            ways = 2 if parameters["direction"] == "both" else 1
            rate = ways * parameters["bytes"] / series.median
            if rate > ways * link * TOLERANCE:
                found.append(
                    f"{parameters['direction']} {parameters['memory']} {units.show(parameters['bytes'], 'bytes')}: "
                    f"{units.show(rate, 'bytes/s')} over a link of {units.show(ways * link, 'bytes/s')}"
                )
    for parameters, series in run.all_of("device_copy"):
        if series.median and memory and 2 * parameters["bytes"] / series.median > memory * TOLERANCE:
            rate = 2 * parameters["bytes"] / series.median
            found.append(
                f"copy on the device: {units.show(rate, 'bytes/s')} in a memory of {units.show(memory, 'bytes/s')}"
            )
    for name, metric in (("matrix product", "gemm"), ("application", "application")):
        for parameters, series in run.all_of(metric):
            work = 2 * parameters["size"] ** 3 * parameters.get("layers", 1)
            if series.median and peak and work / series.median > peak * TOLERANCE:
                rate = work / series.median
                found.append(f"{name}: {rate / 1e12:.4g} TFLOP/s of {peak / 1e12:.4g} TFLOP/s")
    return found
