# SPDX-License-Identifier: GPL-3.0-or-later
"""Different writings of one value are one value."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from ansible.module_utils.nightbench.quantities import quantity, same_argument, same_quantity, seconds

QUANTITIES = [
    ("1000Mi", Decimal(1048576000)),
    ("1Gi", Decimal(2**30)),
    ("200M", Decimal(200_000_000)),
    ("500m", Decimal("0.5")),
    ("1e3", Decimal(1000)),
    ("1E", Decimal(10**18)),
    (".5", Decimal("0.5")),
    (4, Decimal(4)),
    ("-1", Decimal(-1)),
    ("", None),
    ("1Mib", None),
    ("Mi", None),
    ("ten", None),
    (True, None),
    (None, None),
]


@pytest.mark.parametrize(("text", "value"), QUANTITIES)
def test_a_quantity_is_read(text: Any, value: Decimal | None) -> None:
    assert quantity(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("1m30s", 90), ("500ms", Decimal("0.5")), ("-1s", -1), ("1h", 3600), ("1", None), ("1x", None), ("s", None)],
)
def test_a_duration_is_read(text: str, value: Any) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("1", "1000m", True), (1, "1", True), ("1Gi", "1024Mi", True), ("1G", "1Gi", False), ("a", "a", True),
     ("a", "b", False), (None, "0", False)],
)  # fmt: skip
def test_quantities_are_compared_by_what_they_mean(one: Any, other: Any, same: bool) -> None:
    assert same_quantity(one, other) is same


@pytest.mark.parametrize(
    ("asked", "text", "same"),
    [(20, "20", True), (20, "20.0", True), ("21", "21", True), (20, "50", False), (True, "true", True),
     (True, "1", True), (True, "false", False), ("true", "1", True), ("60s", "1m", True), ("1s", "1000ms", True),
     ("1s", "2s", False), ("a", "b", False), (0, "", False), ("1000m", "1", False)],
)  # fmt: skip
def test_arguments_are_compared_by_what_they_mean(asked: Any, text: str, same: bool) -> None:
    assert same_argument(asked, text) is same
