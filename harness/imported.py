# SPDX-License-Identifier: GPL-3.0-or-later
"""Results that somebody else has published, in whichever form: what a judge asks of them, and the table of forms.

Nothing in them was measured by this program. What they say is published as their own word (`imported` in the
parameters); what they do not say and is assumed to explain them stands beside it (`assumed`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from harness import imported_calico, imported_kai
from harness.metrics import Metric
from harness.model import Observation, PlannedRecord, Record

Key = tuple[str, str, str]  # suite, scenario, subject


class Imported(Protocol):
    """What a results folder holds that was published elsewhere."""

    @property
    def tests(self) -> Mapping[Key, Sequence[Observation]]: ...

    def record(self, empty: Record, metric: Metric, planned: PlannedRecord) -> Record: ...


Gather = Callable[[Path, Mapping[str, Any], Sequence[Observation]], Imported | None]
#: Each knows its own observations by their kind.
FORMS: tuple[Gather, ...] = (imported_kai.gather, imported_calico.gather)


def gather(path: Path, run: Mapping[str, Any], observations: Sequence[Observation]) -> Imported | None:
    """None for a run of our own. What was imported is read again: what was written down has to be what it says."""
    return next((found for form in FORMS if (found := form(path, run, observations)) is not None), None)
