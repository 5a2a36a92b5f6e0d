# SPDX-License-Identifier: GPL-3.0-or-later
"""How many pods of each part came how far, and which did not; pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from . import job_facts
from .job_rows import SLOT_BITS, JobRow, PartState, PodRow
from .load_summary import since

#: A message names so many, no more.
NAMES_SHOWN = 20


def slot_counts(state: PartState) -> dict[str, int]:
    """A part's own pods, by what became of them."""
    rows = list(own_rows(state))
    refused = sum(len(job.reached) - sum(1 for _ in job.own()) for job in state.jobs if job.failure is not None)
    return {
        "asked": state.part.pods,
        "failed": refused + sum(1 for row in rows if row.failure is not None),
        "missing": sum(missing_slots(job) for job in state.jobs),
        **{name: len(moments_of(rows, name)) for name in ("created", "bound", "running", "completed", "deleted")},
    }


def missing_slots(job: JobRow) -> int:
    """Slots of the Job that have not reached its part's milestone, although nobody refused them."""
    until = job.state.part.until
    if until == "unschedulable":
        return 0 if job.unschedulable is not None or job.failure is not None else len(job.reached)
    failed = {row.slot for row in job.own() if row.failure is not None}
    if job.failure is not None:
        failed |= set(range(len(job.reached))) - {row.slot for row in job.own()}
    unknown = until == "completed" and job.state.part.form == "jobs" and job.completed is None
    reached = set() if unknown else {slot for slot, _ in enumerate(job.reached) if _has(job, slot, until)}
    return len(set(range(len(job.reached))) - failed - reached)


def part_values(state: PartState, zero: float, end: float) -> dict[str, Any]:
    """What became of one part."""
    rows, everyone = list(own_rows(state)), [row for job in state.jobs for row in job.pods]
    part = state.part
    return {
        "form": part.form,
        "until": part.until,
        "measured": part.measured,
        "queue": part.queue or None,
        "jobs": part.count,
        **slot_counts(state),
        "unschedulable": state.unschedulable,
        "completed_by_status": job_facts.completed_by_status(state),
        "completed_by_watch": job_facts.completed_by_watch(state),
        "evicted": sum(1 for row in everyone if row.evicted is not None),
        "removed": sum(1 for row in everyone if row.job.removed is not None and row.job.removed <= end),
        "replacements": sum(1 for row in everyone if row.replacement),
        "start": since(zero, state.started),
        "first_bind": since(zero, min(moments_of(rows, "bound"), default=None)),
        "last_bind": since(zero, max(moments_of(rows, "bound"), default=None)),
        "last_running": since(zero, max(moments_of(rows, "running"), default=None)),
        "last_completed": since(zero, max(moments_of(rows, "completed"), default=None)),
        "ended": since(zero, state.ended),
    }


def unaccounted(measured: Iterable[PartState]) -> list[str]:
    """Names of Jobs or bare pods of which something is missing."""
    names = (job.name for state in measured for job in state.jobs if missing_slots(job))
    return list(itertools.islice(names, NAMES_SHOWN))


def failures(measured: Iterable[PartState], rows: Iterable[PodRow]) -> list[str]:
    reasons = {row.failure for row in rows} | {job.failure for state in measured for job in state.jobs}
    return sorted(reason for reason in reasons if reason is not None)[:5]


def own_rows(state: PartState) -> Iterator[PodRow]:
    return (row for job in state.jobs for row in job.own())


def moments_of(rows: Iterable[PodRow], milestone: str) -> list[float]:
    return [at for row in rows if (at := getattr(row, milestone)) is not None]


def _has(job: JobRow, slot: int, milestone: str) -> bool:
    return bool(job.reached[slot] & SLOT_BITS[milestone])
