# SPDX-License-Identifier: GPL-3.0-or-later
"""Values are stored in s, bytes, bytes/s, 1/s, ratio, count, W and USD; only here they become ms, Gb/s or %."""

from __future__ import annotations

import math

MISSING = "–"


def show(value: float | None, unit: str, *, resolution: float | None = None) -> str:
    """A value as people read it; one the instrument cannot tell from nothing as "< resolution"."""
    if value is None:
        return MISSING
    if resolution is not None and resolution > 0 and abs(value) < resolution:
        return f"< {show(resolution, unit)}"
    if unit == "USD":
        return f"{value:,.2f} USD" if value == 0 or abs(value) >= 0.1 else f"{value:.2g} USD"
    factor, name = scale(value, unit)
    return digits(value / factor) + name


def show_margin(margin: float, value: float, unit: str, *, resolution: float | None = None) -> str:
    """The uncertainty of a value in the value's own scale, two digits of it."""
    factor, name = scale(value, unit)
    below = resolution is not None and resolution > 0 and margin < resolution
    size = (resolution if below and resolution else margin) / factor
    places = max(0, 1 - math.floor(math.log10(size))) if size > 0 else 0
    return f"{'< ' if below else ''}{size:,.{min(places, 6)}f}{name}"


def digits(value: float) -> str:
    """Four significant digits, never an exponent, with thousands separated."""
    size = abs(value)
    places = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
    if size < 1:
        places = 4 if size >= 0.01 else 6
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def scale(value: float, unit: str) -> tuple[float, str]:
    """What to divide by, and what to write behind. The largest step not above the value, else the smallest."""
    steps = _STEPS[unit]
    size = abs(value)
    if size == 0:
        # Nothing is nothing on any scale; the unit without a prefix reads best.
        return next((step for step in steps if step[0] == 1), steps[-1])
    return next((step for step in steps if size >= step[0]), steps[-1])


_STEPS: dict[str, tuple[tuple[float, str], ...]] = {
    "s": ((1, " s"), (1e-3, " ms"), (1e-6, " µs")),
    "bytes": ((2**40, " TiB"), (2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"), (1, " B")),
    "bytes/s": ((1.25e11, " Tb/s"), (1.25e8, " Gb/s"), (1.25e5, " Mb/s"), (125, " kb/s"), (0.125, " b/s")),
    "1/s": ((1, "/s"),),
    "ratio": ((1e-2, " %"),),
    "count": ((1, ""),),
    "W": ((1, " W"),),
    "USD": ((1, " USD"),),
}
