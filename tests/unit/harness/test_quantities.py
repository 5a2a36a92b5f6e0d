# SPDX-License-Identifier: GPL-3.0-or-later
"""A quantity is read as Kubernetes writes it; what is none is None."""

from __future__ import annotations

from typing import Any

import pytest

from harness import quantities


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *(("400m", 0.4), ("700m", 0.7), ("2", 2.0), (1.5, 1.5), (8, 8.0), (".5", 0.5), ("2e3", 2000.0)),
        *(("1k", 1000.0), ("100n", 1e-7), ("5u", 5e-6), ("2M", 2e6), ("1Ki", 1024.0), ("1.5Gi", 1.5 * 2**30)),
        *(("-1", -1.0), (" 3 ", 3.0), ("1E", 1e18), ("1Ei", 2.0**60)),
        *((one, None) for one in ("no limit", None, True, "m", "", "1 Gi", "1K", "1mi", "nan", "inf", "1e999")),
    ],
)
def test_a_quantity_is_read_as_kubernetes_writes_it(value: Any, number: float | None) -> None:
    assert quantities.number(value) == number
