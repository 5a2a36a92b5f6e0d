# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a host is tried next, and which zones had none lately.

The zones that a stock-out names come first, then the caller's in their order; when all zones of a provisioning model
are used up, the next model that is allowed. A zone that had none lately comes last.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import jsonfile
from .errors import ConfigurationError

#: How long a zone that had none is not asked first.
COOL_DOWN_SECONDS = 30 * 60.0


@dataclass(frozen=True)
class Candidate:
    """A zone and how the host is paid for there."""

    zone: str
    model: str

    def __str__(self) -> str:
        return f"{self.zone} ({self.model})"


@dataclass
class Placement:
    """The candidates that are left, in order, and what became of those that were tried."""

    zones: Sequence[str]
    models: Sequence[str]
    cooling: frozenset[Candidate] = frozenset()
    tried: list[str] = field(default_factory=list)
    unused_hints: list[str] = field(default_factory=list)
    _left: list[Candidate] = field(default_factory=list)

    def __post_init__(self) -> None:
        every = [Candidate(zone, model) for model in self.models for zone in self.zones]
        self._left = sorted(every, key=lambda one: one in self.cooling)

    def take(self) -> Candidate | None:
        return self._left.pop(0) if self._left else None

    def exhausted(self, candidate: Candidate, hints: Iterable[str], why: str) -> None:
        """Nothing to be had there now; the hinted zones come next, for the same model."""
        self.tried.append(f"{candidate}: {why}")
        hinted = list(hints)
        self.unused_hints += [zone for zone in hinted if zone not in (*self.zones, *self.unused_hints)]
        first = [one for zone in hinted for one in self._left if one == Candidate(zone, candidate.model)]
        # An earlier call's try was not taken from here.
        self._left = [*first, *(one for one in self._left if one not in (*first, candidate))]

    def again(self, candidate: Candidate) -> None:
        """Nothing was wrong with it: the next one to be tried."""
        self._left = [candidate, *(one for one in self._left if one != candidate)]

    def drop(self, zone: str, why: str) -> None:
        """Never there, whoever pays how much."""
        self.tried.append(f"{zone}: {why}")
        self._left = [one for one in self._left if one.zone != zone]


class ZoneMemory:
    """A file of what had none and until when that is believed; several runs share it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def cooling(self, what: str, candidates: Iterable[Candidate], now: float) -> frozenset[Candidate]:
        until = self._read()
        return frozenset(one for one in candidates if until.get(self._key(what, one), 0) > now)

    def exhausted(self, what: str, candidate: Candidate, now: float) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = {key: until for key, until in self._read().items() if until > now}
            jsonfile.write_atomic(self.path, {**kept, self._key(what, candidate): now + COOL_DOWN_SECONDS})

    def _read(self) -> Mapping[str, float]:
        """A damaged memory is no memory: it only costs a try."""
        try:
            found = jsonfile.read(self.path)
        except ConfigurationError:
            found = None
        return found if isinstance(found, dict) else {}

    def _key(self, what: str, candidate: Candidate) -> str:
        return f"{what} {candidate.zone} {candidate.model}"
