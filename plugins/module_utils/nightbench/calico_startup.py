# SPDX-License-Identifier: GPL-3.0-or-later
"""A start of calico-node in its parts: process, datastore in sync, first apply, its own answer, Ready. Pure.

Ready comes from a probe that looks every so many seconds. What lies between Felix's own first "ready" and the kubelet's
Ready is the probe's wait and nothing of Calico's.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from .calico_metrics import IN_SYNC

#: In the order in which they come.
MILESTONES = ("container_started", "process_started", "in_sync", "first_apply", "answers_ready", "ready")
#: `2026-05-05 01:11:54.533 [INFO][2095] felix/int_dataplane.go 2307: text`: UTC, milliseconds.
_LINE = re.compile(
    r"^(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) \[\w+\]\[\d+\] \S+ \d+: (?P<text>.*)$", re.MULTILINE
)
LOG_RESOLUTION = 0.001
#: What Felix says once a start: felix/daemon/daemon.go, felix/calc/async_calc_graph.go, …/int_dataplane.go.
SAID = {
    "Felix starting up": "process_started",
    "First time we've been in sync": "in_sync",
    "Completed first update to dataplane.": "first_apply",
}


@dataclass(frozen=True)
class Moment:
    """Seconds of the wall clock, the smallest difference that its source can see, and the source."""

    at: float
    resolution: float
    source: str


@dataclass(frozen=True)
class Poll:
    """One look at Felix: when it was sent, whether /readiness said 200, and felix_resync_state if it was to be had."""

    at: float
    ready: bool
    resync_state: int | None = None


@dataclass(frozen=True)
class Leg:
    start: str
    end: str
    seconds: float
    resolution: float


@dataclass(frozen=True)
class StartUp:
    legs: Sequence[Leg]
    seconds: float | None  # from the container's start to Ready
    probe_seconds: float | None  # of that, between Felix's own answer and Ready
    missing: Sequence[str]
    problems: Sequence[str]  # moments that are not in their order, so that nothing is said of them

    @property
    def probe_ratio(self) -> float | None:
        return self.probe_seconds / self.seconds if self.seconds and self.probe_seconds is not None else None


def moments_of_log(text: str) -> dict[str, Moment]:
    """The last start in the log: what came before it was another process."""
    found: dict[str, Moment] = {}
    for line in _LINE.finditer(text):
        for words, name in SAID.items():
            if line["text"].startswith(words):
                at = datetime.strptime(line["at"], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC).timestamp()
                found = {} if name == MILESTONES[1] else found
                found.setdefault(name, Moment(at, LOG_RESOLUTION, "Felix's log"))
    return found


def moments_of_polls(polls: Iterable[Poll]) -> dict[str, Moment]:
    """The first look that saw it; it happened since the look before, or since forever where there was none."""
    found: dict[str, Moment] = {}
    before: float | None = None
    for poll in sorted(polls, key=lambda one: one.at):
        seen = {"answers_ready": poll.ready, "in_sync": poll.resync_state == IN_SYNC}
        for name, holds in seen.items():
            if holds and name not in found and before is not None:
                found[name] = Moment(poll.at, poll.at - before, "looked at every so often")
        before = poll.at
    return found


def decompose(moments: Mapping[str, Moment]) -> StartUp:
    """Legs between moments that follow each other; one before its forerunner by more than can be seen is a problem."""
    there = [name for name in MILESTONES if name in moments]
    legs, problems = [], []
    for start, end in itertools.pairwise(there):
        first, last = moments[start], moments[end]
        resolution = max(first.resolution, last.resolution)
        seconds = last.at - first.at
        if seconds < -resolution:
            problems.append(f"{end} lies {-seconds:.3f} s before {start}")
        else:
            legs.append(Leg(start, end, max(seconds, 0.0), resolution))
    return StartUp(
        legs=legs,
        seconds=_between(moments, "container_started", "ready"),
        probe_seconds=_between(moments, "answers_ready", "ready"),
        missing=[name for name in MILESTONES if name not in moments],
        problems=problems,
    )


def _between(moments: Mapping[str, Moment], start: str, end: str) -> float | None:
    if start not in moments or end not in moments:
        return None
    return max(moments[end].at - moments[start].at, 0.0)
