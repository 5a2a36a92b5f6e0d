# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables and text of pages in Markdown. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Its lines; cells are text."""
    ruler = "| " + " | ".join("---" for _ in headings) + " |"
    return [row_of(headings), ruler, *(row_of(row) for row in rows)]


def row_of(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell_of(cell) for cell in cells) + " |"


def cell_of(text: str) -> str:
    """A cell that is emphasised as a whole stays so; all else is text."""
    emphasised = len(text) > 4 and text.startswith("**") and text.endswith("**")
    return f"**{escape(text[2:-2])}**" if emphasised else escape(text)


def escape(text: str) -> str:
    """Markdown in a name or a reason is text; a line break would end the table's row."""
    flat = " ".join(text.split())
    for character in "\\`*<>[|":  # an underscore within a word is no emphasis
        flat = flat.replace(character, f"\\{character}")
    return flat
