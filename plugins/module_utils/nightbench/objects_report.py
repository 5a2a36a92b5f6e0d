# SPDX-License-Identifier: GPL-3.0-or-later
"""How objects are handled, and what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .compare import shown
from .errors import KubeError, NightbenchError
from .manifest import Declared, Manifest

SHOWN = 20  # objects in a diff and in a list of failures; the rest is counted
TOLD = 3  # different reasons in a message


@dataclass
class Report:
    """What became of each object."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    not_sent: int = 0
    answered: int = 0  # of the writes, while the outcomes of a wave are still to come: for who watches
    retries: dict[str, int] = field(default_factory=dict)

    @property
    def handled(self) -> int:
        return self.counts.total()

    @property
    def changed(self) -> bool:
        return any(self.counts[outcome] for outcome in ("created", "updated", "deleted"))

    def add(self, outcome: str, manifest: Manifest, before: Any = None, after: Any = None) -> None:
        self.counts[outcome] += 1
        if outcome != "unchanged" and len(self.changes) < SHOWN:
            status = manifest.has_status
            entry = {"before": shown(before, status=status), "after": shown(after, status=status)}
            self.changes.append({"before_header": str(manifest), "after_header": str(manifest), **entry})

    def fail(self, what: object, error: NightbenchError) -> None:
        self.counts["failed"] += 1
        status = error.status if isinstance(error, KubeError) else None
        self.failures.append({"object": str(what), "status": status, "reason": str(error)})

    def as_json(self) -> dict[str, Any]:
        outcomes = ("created", "updated", "unchanged", "deleted", "failed")
        return {
            "changed": self.changed,
            "counts": {**{outcome: self.counts[outcome] for outcome in outcomes}, "not_sent": self.not_sent},
            "failures": self.failures[:SHOWN],
            "retries": self.retries,
        }

    def told(self, state: str) -> str:
        """The failures in a sentence, equal reasons once."""
        by_reason = Counter(_without_names(failure["reason"], failure["object"]) for failure in self.failures)
        first = {_without_names(failure["reason"], failure["object"]): failure for failure in reversed(self.failures)}
        texts = [
            f"{first[reason]['object']}{f' and {count - 1} more' if count > 1 else ''}: {first[reason]['reason']}"
            for reason, count in by_reason.most_common(TOLD)
        ]
        more = f"; and {len(by_reason) - TOLD} other reasons" if len(by_reason) > TOLD else ""
        unsent = f"; {self.not_sent} were not tried any more" if self.not_sent else ""
        total = self.handled + self.not_sent
        return f"state={state}: {self.counts['failed']} of {total} objects failed. {'; '.join(texts)}{more}{unsent}"

    def diff(self) -> list[dict[str, Any]]:
        """Some objects in full, then how many there are in all."""
        changed = sum(self.counts[outcome] for outcome in ("created", "updated", "deleted"))
        if changed <= len(self.changes):
            return self.changes
        text = ", ".join(f"{self.counts[key]} {key}" for key in ("created", "updated", "deleted") if self.counts[key])
        return [*self.changes, {"prepared": f"… {changed - len(self.changes)} more objects; in all: {text}\n"}]


@dataclass(frozen=True)
class Options:
    """How objects are applied and deleted."""

    field_manager: str = "nightbench"
    force: bool = False
    connections: int = 16
    dry_run: bool = False
    declared: Declared = field(default_factory=lambda: Declared(()))
    stop: Callable[[], bool] = lambda: False  # asked before every request
    check: Callable[[str], None] = lambda _state: None  # raises when a wait has to end; hears how far it is


def _without_names(reason: str, label: str) -> str:
    """Objects that fail alike differ in their names only."""
    return reason.replace(label.rpartition("/")[2].rpartition(" ")[2], "…")
