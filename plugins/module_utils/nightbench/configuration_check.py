# SPDX-License-Identifier: GPL-3.0-or-later
"""One thing that was asked of a configuration, and what was seen of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from .redact import HIDDEN

#: Narrower than what is hidden in variables: label keys are no secrets, and have to be readable here.
_SECRET = re.compile(r"passw|token|secret|credential|api[-_]?key|private[-_]?key", re.IGNORECASE)


@dataclass(frozen=True)
class Check:
    """`reason` says why it does not hold, and what to do."""

    component: str
    key: str
    asked: Any
    observed: Any
    source: str
    holds: bool
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        shown = asdict(self)
        if _SECRET.search(self.key.rpartition(".")[2]):
            shown |= {name: HIDDEN for name in ("asked", "observed") if isinstance(shown[name], str)}
        return shown

    def __str__(self) -> str:
        return f"{self.component}: {self.key}: {self.reason}"


def problems(checks: Iterable[Check]) -> list[str]:
    """A sentence for each that does not hold."""
    return [str(check) for check in checks if not check.holds]
