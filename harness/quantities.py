# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes' quantities as numbers: 1500m, 1.5, 2k and 1Gi (apimachinery, pkg/api/resource/quantity.go). Pure."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?)([KMGTPE]i|[numkMGTPE]?)")
_FACTOR: dict[str, Decimal] = {
    "": Decimal(1),
    **{letter: Decimal(1000) ** -power for power, letter in enumerate("mun", 1)},
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
}


def number(value: Any) -> float | None:
    """None for what is no quantity."""
    found = None if isinstance(value, bool) else _QUANTITY.fullmatch(str(value).strip())
    return float(Decimal(found[1]) * _FACTOR[found[2]]) if found else None
