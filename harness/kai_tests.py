# SPDX-License-Identifier: GPL-3.0-or-later
"""What the KAI project's scale suite calls the scenarios, and what it writes about each (kwok_scale_test.json)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: PodScheduled.lastTransitionTime, which ends most of its times, is in whole seconds.
SECOND = 1.0
#: What it finds by looking every ten seconds.
POLL = 10.0


@dataclass(frozen=True)
class KaiTest:
    """One test: its name as a pattern, the scenario it is here, and what its details are called and count."""

    scenario: str
    metric: str
    name: str
    timing_field: str
    details: Mapping[str, str] = field(default_factory=dict)
    resolution: float = SECOND
    #: Whether its time ends with the bind of the last of `details`' pods, so that a client's limit can explain it.
    binds_all: bool = False

    def matches(self, name: str) -> bool:
        return re.fullmatch(self.name, name) is not None

    def detail(self, source: str) -> str | None:
        """The name of the detail that holds jobs, pods, nodes, …"""
        return next((name for name, what in self.details.items() if what == source), None)


_FILL = {"jobs": "jobs", "nodes": "nodes"}
_GANGS = {"distributed jobs": "jobs", "nodes": "nodes", "pods": "pods"}
_LARGE = {"number of pods": "pods", "total requested gpus": "gpus"}
_FILL_NAME = "Fill Cluster with single GPU Jobs"

TESTS: Sequence[KaiTest] = (
    KaiTest(
        "topology_preferred", "bind_all_seconds", "Allocate with preferred topology", "time", _GANGS, binds_all=True
    ),
    KaiTest("topology_none", "bind_all_seconds", "Allocate without preferred topology", "time", _GANGS, binds_all=True),
    KaiTest("fill_scheduler_off", "bind_all_seconds", _FILL_NAME, "time", _FILL, binds_all=True),
    KaiTest(
        "fill_scheduler_on",
        "bind_all_seconds",
        f"{_FILL_NAME} - scheduler is running while submitting jobs",
        "time",
        _FILL,
        binds_all=True,
    ),
    KaiTest(
        "fill_with_pending",
        "bind_all_seconds",
        rf"{_FILL_NAME} with \d+ pending tasks in background",
        "time",
        _FILL,
        binds_all=True,
    ),
    KaiTest(
        "unschedulable_delay",
        "job_unschedulable_seconds",
        "Average time to unschedulable for distributed job",
        "average time to unschedulable (seconds)",
        {"nodes": "nodes", "pods": "pods_per_job", "total requested gpus": "gpus_per_job"},
    ),
    KaiTest(
        "reclaim_large",
        "reclaim_all_seconds",
        "Reclaim time for one very large job",
        "time to reclaim (seconds)",
        _LARGE,
        binds_all=True,
    ),
    KaiTest(
        "reclaim_full_nodes",
        "reclaim_all_seconds",
        "Reclaim time for one very large job",
        "time to reclaim (seconds)",
        _LARGE,
        binds_all=True,
    ),
    KaiTest(
        "reclaim_single",
        "job_reclaim_seconds",
        "Measuring reclaim time for single GPU",
        "average time to reclaim single GPU (seconds)",
        {"running jobs": "victims"},
    ),
    KaiTest("reclaim_all", "reclaim_all_seconds", r"Reclaim \d+ single GPU Jobs", "time", _FILL, binds_all=True),
    KaiTest(
        "reclaim_distributed",
        "reclaim_all_seconds",
        "Multi Node Reclaim for distributed jobs",
        "time",
        _GANGS,
        binds_all=True,
    ),
    KaiTest(
        "consolidation",
        "bind_all_seconds",
        "Consolidation to run multiple distributed jobs",
        "time",
        _GANGS,
        binds_all=True,
    ),
    KaiTest(
        "burst",
        "complete_all_seconds",
        "NCCL Simulation on empty cluster",
        "time(seconds)",
        {"completed pods": "completed", "nodes": "nodes", "pending pods": "pending", "total pods": "pods"},
        POLL,
    ),
)


def of_scenario(scenario: str) -> KaiTest | None:
    return next((test for test in TESTS if test.scenario == scenario), None)


def named(name: str) -> list[KaiTest]:
    """The tests of that name: two of them share one."""
    return [test for test in TESTS if test.matches(name)]


def go_duration(seconds: float) -> str:
    """As Go prints a time.Duration: 397.770565662 becomes 6m37.770565662s.

    Below a second Go changes the unit, which the dashboard cannot read; every reader of Go's form reads seconds too.
    """
    whole, rest = divmod(round(seconds * 1e9), 1_000_000_000)
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    text = f"{whole}{fraction}s"
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|μs|ns)")


def seconds_of(text: str) -> float | None:
    """The seconds of a Go time.Duration; None when it is not one."""
    pieces = list(_PIECE.finditer(text))
    if not pieces or "".join(piece.group() for piece in pieces) != text:
        return None
    return sum(float(piece[1]) * _UNITS[piece[2]] for piece in pieces)
