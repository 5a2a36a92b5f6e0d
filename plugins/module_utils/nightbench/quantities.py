# SPDX-License-Identifier: GPL-3.0-or-later
"""Values as Kubernetes and Go write them: the quantity 1000Mi, the duration 1m30s, the boolean true."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any

_BINARY = {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL = {"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1)} | {
    letter: Decimal(1000) ** power for power, letter in enumerate(("k", "M", "G", "T", "P", "E"), 1)
}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([KMGTPE]i|[numkMGTPE]?)")
_SECONDS = {"ns": "1e-9", "us": "1e-6", "µs": "1e-6", "ms": "1e-3", "s": "1", "m": "60", "h": "3600"}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
_BOOLEANS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


def quantity(value: Any) -> Decimal | None:
    """500m, 1000Mi, 2e3 or 4 as a number; None for what is no quantity."""
    if isinstance(value, bool):
        return None
    found = _QUANTITY.fullmatch(str(value).strip())
    if found is None:
        return None
    try:
        return Decimal(found[1]) * (_BINARY | _DECIMAL)[found[2]]
    except InvalidOperation:
        return None


def seconds(value: Any) -> Decimal | None:
    """A duration of Go (1m30s, 500ms, -1s) in seconds; None for what is none."""
    text = str(value).strip()
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    parts = _PART.findall(digits)
    if not parts or "".join(number + unit for number, unit in parts) != digits:
        return None
    return sign * sum((Decimal(number) * Decimal(_SECONDS[unit]) for number, unit in parts), Decimal(0))


def same_quantity(one: Any, other: Any) -> bool:
    """Whether both mean the same number: 1 and 1000m, 1Gi and 1024Mi."""
    left, right = quantity(one), quantity(other)
    return one == other or (left is not None and left == right)


def same_argument(asked: Any, text: str) -> bool:
    """Whether the text after a flag means what was asked: 20 and 20.0, true and True, 60s and 1m."""
    if isinstance(asked, bool):
        return _BOOLEANS.get(text.lower()) is asked
    if str(asked) == text:
        return True
    for meaning in (_number, seconds):
        left, right = meaning(asked), meaning(text)
        if left is not None and left == right:
            return True
    return str(asked).lower() in ("true", "false") and _BOOLEANS.get(text.lower()) is (str(asked).lower() == "true")


def _number(value: Any) -> Decimal | None:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None
