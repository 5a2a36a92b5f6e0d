# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that do not exist, told together with the nearest one that does."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

#: Below this two names are different words, not a slip of the finger.
ALIKE = 0.6


def unknown(kind: str, asked: Iterable[str], known: Collection[str]) -> list[str]:
    """One sentence for each asked name that is not known."""
    return [_sentence(kind, name, known) for name in dict.fromkeys(asked) if name not in known]


def nearest(name: str, known: Collection[str], alike: float = ALIKE) -> str | None:
    """The known name that was most likely meant."""
    found = difflib.get_close_matches(name, sorted(known), n=1, cutoff=alike)
    return found[0] if found else None


def _sentence(kind: str, name: str, known: Collection[str]) -> str:
    near = nearest(name, known)
    if near:
        return f"There is no {kind} '{name}'; the nearest is '{near}'."
    if not known:
        return f"There is no {kind} '{name}', for there is none at all."
    return f"There is no {kind} '{name}'; there is: {', '.join(sorted(known)[:20])}."
