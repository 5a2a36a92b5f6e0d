# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers as people read them."""

from __future__ import annotations

import json

import pytest

from harness import schemas, units


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (195.0, "s", "195 s"),
        (4.5731, "s", "4.573 s"),
        (0.0351, "s", "35.1 ms"),
        (0.0000042, "s", "4.2 µs"),
        (0.0, "s", "0 s"),
        (-0.5, "s", "-500 ms"),
        (12345.6, "1/s", "12,346/s"),
        (0.973, "ratio", "97.3 %"),
        (1.25e9, "bytes/s", "10 Gb/s"),
        (4704 * 1.25e9, "bytes/s", "47.04 Tb/s"),
        (1.25e6, "bytes/s", "10 Mb/s"),
        (25_769_803_776, "bytes", "24 GiB"),
        (0, "bytes", "0 B"),
        (4000, "count", "4,000"),
        (312.5, "W", "312.5 W"),
        (1234.5, "USD", "1,234.50 USD"),
        (0.00123, "USD", "0.0012 USD"),
        (0, "USD", "0.00 USD"),
        (None, "s", "–"),
    ],
)
def test_a_value_is_printed_in_its_unit(value: float | None, unit: str, text: str) -> None:
    assert units.show(value, unit) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0039, "< 4 ms"), (-0.001, "< 4 ms"), (0.0, "< 4 ms"), (0.004, "4 ms"), (0.5, "500 ms")]
)
def test_what_the_instrument_cannot_see_is_printed_as_below_its_resolution(value: float, text: str) -> None:
    assert units.show(value, "s", resolution=0.004) == text


@pytest.mark.parametrize(
    ("margin", "value", "resolution", "text"),
    [
        (0.5063, 16.88, 0.004, "0.51 s"),
        (0.0001, 0.0351, None, "0.10 ms"),
        (0.001, 16.88, 0.004, "< 0.0040 s"),
        (0.0, 16.88, None, "0 s"),
        (120.0, 4000.0, None, "120 s"),
    ],
)
def test_a_margin_is_printed_in_the_scale_of_its_value(
    margin: float, value: float, resolution: float | None, text: str
) -> None:
    assert units.show_margin(margin, value, "s", resolution=resolution) == text


def test_every_unit_of_the_schema_can_be_printed() -> None:
    record = schemas.load("record.schema")
    assert json.dumps([units.show(0.0, unit) for unit in record["properties"]["unit"]["enum"]])
