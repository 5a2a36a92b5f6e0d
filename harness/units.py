# SPDX-License-Identifier: GPL-3.0-or-later
"""Values are stored in s, bytes, bytes/s, 1/s, ratio, count, W and USD; only here they become ms, Gb/s or %."""

from __future__ import annotations

from collections.abc import Callable

MISSING = "–"


def show(value: float | None, unit: str, *, resolution: float | None = None) -> str:
    """A value as people read it; one the instrument cannot tell from nothing as "< resolution"."""
    if value is None:
        return MISSING
    if resolution is not None and resolution > 0 and abs(value) < resolution:
        return f"< {_PRINTERS[unit](resolution)}"
    return _PRINTERS[unit](value)


def digits(value: float) -> str:
    """Four significant digits, never an exponent, with thousands separated."""
    size = abs(value)
    places = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
    if size < 1:
        places = 4 if size >= 0.01 else 6
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _seconds(value: float) -> str:
    if value != 0 and abs(value) < 0.001:
        return f"{digits(value * 1e6)} µs"
    if value != 0 and abs(value) < 1:
        return f"{digits(value * 1e3)} ms"
    return f"{digits(value)} s"


def _scaled(value: float, steps: tuple[tuple[float, str], ...]) -> str:
    for factor, name in steps:
        if abs(value) >= factor:
            return f"{digits(value / factor)} {name}"
    return f"{digits(value)} {steps[-1][1]}"


def _bytes(value: float) -> str:
    return _scaled(value, ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B")))


def _bytes_per_second(value: float) -> str:
    return _scaled(value * 8, ((1e9, "Gb/s"), (1e6, "Mb/s"), (1e3, "kb/s"), (1, "b/s")))


_PRINTERS: dict[str, Callable[[float], str]] = {
    "s": _seconds,
    "bytes": _bytes,
    "bytes/s": _bytes_per_second,
    "1/s": lambda value: f"{digits(value)}/s",
    "ratio": lambda value: f"{digits(value * 100)} %",
    "count": digits,
    "W": lambda value: f"{digits(value)} W",
    "USD": lambda value: f"{value:,.2f} USD",
}
