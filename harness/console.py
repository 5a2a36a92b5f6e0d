# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables for the terminal: plain, aligned text, coloured only on a terminal that wants it."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TextIO

from harness import presentation
from harness.model import Record

HEADINGS = ("scenario", "metric", "value", "", "verdict", "bound by")
RIGHT = (2,)


def records_table(records: Sequence[Record], *, colour: bool = False) -> str:
    """One line a record, one for all of a case that could not be measured; reasons below, each said once."""
    if not records:
        return "no records\n"
    names = presentation.case_names(records)
    rows = [
        (
            names[presentation.key_of(group[0])],
            group[0].metric if len(group) == 1 else f"all {len(group)} metrics",
            presentation.value(group[0]),
            presentation.margin(group[0]),
            group[0].verdict,
            presentation.bound_of(group[0]),
        )
        for group in _grouped(records)
    ]
    lines = table(HEADINGS, rows, right=RIGHT).splitlines()
    if colour:
        lines[2:] = [
            line.replace(verdict, f"\x1b[{presentation.COLOURS[verdict]}m{verdict}\x1b[0m", 1)
            if verdict not in (name, metric)
            else line
            for line, (name, metric, _, _, verdict, _) in zip(lines[2:], rows, strict=True)
        ]
    for reason, told in presentation.reasons(records):
        lines += ["", *told, f"  {reason}"]
    return "\n".join(lines) + "\n"


def _grouped(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Each record by itself, but those of a case together of which none has a value and all have one reason."""
    for _, found in groupby(records, key=presentation.key_of):
        case = list(found)
        if all(one.value is None and (one.verdict, one.reason) == (case[0].verdict, case[0].reason) for one in case):
            yield case
        else:
            yield from ([one] for one in case)


def unequal_conditions(lines: Sequence[str]) -> str:
    """What stands above a table that sets subjects side by side; nothing when all is equal."""
    return (
        "".join(["Subjects not under equal conditions:\n", *(f"  {line}\n" for line in lines), "\n"]) if lines else ""
    )


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Columns as wide as their widest cell, two spaces apart; no trailing blanks."""
    cells = [list(headings), *(list(row) for row in rows)]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(headings))]
    lines = ["  ".join(_fit(cell, widths[i], i in right) for i, cell in enumerate(row)).rstrip() for row in cells]
    lines.insert(1, "  ".join("-" * width for width in widths if width))
    return "\n".join(lines) + "\n"


def wants_colour(stream: TextIO) -> bool:
    """https://no-color.org: any value of NO_COLOR switches it off."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def _fit(text: str, width: int, right: bool) -> str:
    blanks = " " * (width - _width(text))
    return blanks + text if right else text + blanks


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
