# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what a scenario of several parts means: gangs, domains, queues, victims, completion. Pure.

Each is recomputed from the samples where they hold it, and has to agree with what the load saw live. None where there
is nothing to look at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from harness import metrics
from harness.common_checks import UNSEEN, Finding, plain
from harness.evidence_checks import Context
from harness.pod_load import PodLoad, PodSample

NO_EXPECTATION = object()


def expectation(load: PodLoad, name: str) -> Any:
    """What the scenario says has to hold under this name; NO_EXPECTATION when it says nothing."""
    found = load.parameters.get("expectations")
    for item in found if isinstance(found, list) else []:
        if item == name:
            return True
        if isinstance(item, Mapping) and name in item:
            return item[name]
    return NO_EXPECTATION


def expects(load: PodLoad, name: str) -> bool:
    return expectation(load, name) is not NO_EXPECTATION


def parts_accounted_for(load: PodLoad, context: Context) -> Finding | None:
    """Every part, the unmeasured ones as well: victims that never ran are no victims."""
    claimed = load.value("parts")
    if not isinstance(claimed, Mapping):
        return None
    wrong, told = [], []
    for name, part in claimed.items():
        rows = [sample for sample in load.every_sample if sample.part == name and not sample.replacement]
        asked, failed, missing = (part.get(key) for key in ("asked", "failed", "missing"))
        told.append(f"{name} {plain(asked)}")
        if len(rows) != asked:
            wrong.append(f"{name}: {plain(asked)} asked, {len(rows)} in the samples")
        if failed or missing or failed is None or missing is None:
            wrong.append(f"{name}: {plain(failed)} failed, {plain(missing)} missing")
        if not missing and (short := _short_of(load, str(name), part)):
            wrong.append(f"{name}: {short}")
    return Finding("every pod of every part asked, seen and at its milestone", "; ".join(wrong or told), not wrong)


def gangs_atomic(load: PodLoad, context: Context) -> Finding | None:
    claimed = load.value("jobs")
    least = {str(part["name"]): int(part["min_member"]) for part in load.parts if part.get("min_member")}
    if not least and not expects(load, "gang_atomic") and not load.number("jobs", "gangs"):
        return None
    expected = "every gang bound whole, or not at all"
    if not isinstance(claimed, Mapping) or claimed.get("gangs") is None:
        return Finding(expected, UNSEEN, False)
    gangs = {job: rows for job, rows in by_job(load.every_sample).items() if rows[0].part in least}
    torn = [
        f"{job} ({held} of at least {least[rows[0].part or '']})"
        for job, rows in gangs.items()
        if 0 < (held := sum(1 for row in rows if row.holds)) < least[rows[0].part or ""]
    ]
    live = claimed.get("broken_count", len(claimed.get("broken") or []))
    names = [str(name) for name in claimed.get("broken") or []]
    wrong = [f"{len(torn)} partly bound: {', '.join(torn[:3])}"] if torn else []
    if live and not torn:
        wrong.append(f"{plain(live)} partly bound by the watch: {', '.join(names[:3])}")
    if claimed["gangs"] != len(gangs):
        wrong.append(f"{plain(claimed['gangs'])} by the watch, {len(gangs)} by the samples")
    return Finding(expected, f"{len(gangs)} gangs; {'; '.join(wrong) or 'none partly bound'}", not wrong and not live)


def queues_within_limits(load: PodLoad, context: Context) -> Finding | None:
    queues = load.parameters.get("queues")
    if not isinstance(queues, Mapping) or not (queues or expects(load, "queues_within_limits")):
        return None
    limits = {str(name): limit for name, queue in queues.items() if (limit := _limit(queue)) is not None}
    live = load.value("queues_used_most")
    if not limits and not expects(load, "queues_within_limits"):
        return None
    expected = ", ".join(f"{name} ≤ {plain(limit)} GPUs" for name, limit in limits.items()) or "no queue has a limit"
    if not isinstance(live, Mapping):
        return Finding(expected, UNSEEN, False)
    by_samples = most_by_queue(load.every_sample)
    told, holds = [], True
    for name in dict.fromkeys([*limits, *by_samples]):
        seen, watched = by_samples.get(name, 0.0), live.get(name, 0)
        limit = limits.get(name)
        # The watch may see more than the samples (two events in one microsecond), never less.
        good = watched >= seen and (limit is None or max(seen, watched) <= limit)
        holds = holds and good
        told.append(f"{name} {plain(seen)} by the samples, {plain(watched)} by the watch")
    return Finding(expected, "; ".join(told) or "no queue was used", holds)


def victims_keep_min_member(load: PodLoad, context: Context) -> Finding | None:
    victims = [sample for sample in load.every_sample if sample.measured is False]
    claimed = load.value("victims_below_min_member")
    if not victims or not (expects(load, "victims_keep_min_member") or any(row.evicted is not None for row in victims)):
        return None
    least = {str(part["name"]): int(part.get("min_member") or 1) for part in load.parts}
    expected = "every Job that lost pods has none left, or as many as it needs"
    if not isinstance(claimed, list):
        return Finding(expected, UNSEEN, False)
    robbed = {job: rows for job, rows in by_job(victims).items() if any(row.evicted is not None for row in rows)}
    below = [
        f"{job} ({held} of at least {least.get(rows[0].part or '', 1)})"
        for job, rows in robbed.items()
        if 0 < (held := sum(1 for row in rows if row.holds)) < least.get(rows[0].part or "", 1)
    ]
    told = f"{len(below)} below: {', '.join(below[:3])}" if below else "none below"
    if claimed and not below:
        told = f"below by the watch: {', '.join(map(str, claimed[:3]))}"
    lost = sum(1 for row in victims if row.evicted is not None)
    return Finding(expected, f"{lost} pods of {len(robbed)} Jobs evicted; {told}", not below and not claimed)


def consolidation_ran(load: PodLoad, context: Context) -> Finding | None:
    """Moved, not robbed: the scheduler's own count of it rose, or every evicted pod has a node again."""
    if not expects(load, "consolidation_ran"):
        return None
    counts = load.value("podgroups_scheduled_by_action")
    # A counter has no label that it never counted: one that counts other actions has counted none of this one.
    counted = load.number("podgroups_scheduled_by_action", "consolidation") if counts else None
    if isinstance(counts, Mapping) and counts and "consolidation" not in counts:
        counted = 0.0
    victims = [sample for sample in load.every_sample if sample.measured is False]
    evicted = [row for row in victims if row.evicted is not None]
    robbed = []
    for job, rows in by_job(victims).items():
        had = sum(1 for row in rows if row.bound is not None and not row.replacement)
        if any(row.evicted is not None for row in rows) and sum(1 for row in rows if row.holds) < had:
            robbed.append(job)
    told = f"{len(evicted)} pods evicted, {len(robbed)} Jobs did not get a node again"
    if robbed:
        told += f", e.g. {', '.join(robbed[:3])}"
    if counted is not None:
        told += f"; the scheduler counts {plain(counted)} PodGroups placed by consolidation"
    moved = bool(evicted) and not robbed
    return Finding(
        "pods were moved to make room (counted by the scheduler, or none of the evicted stays without a node)",
        told,
        counted > 0 if counted is not None else moved,
    )


def every_pod_completed(load: PodLoad, context: Context) -> Finding | None:
    """From Job status and from the watch; pods that still exist prove nothing, most are collected by then."""
    until = [part for part in load.parts if part.get("until") == "completed" and part.get("measured", True)]
    if not until and not expects(load, "every_pod_completed"):
        return None
    asked, status, watch = (load.number("jobs", key) for key in ("asked", "completed_by_status", "completed_by_watch"))
    rows = [sample for sample in load.every_sample if sample.measured is not False]
    pods = sum(1 for row in rows if row.completed is not None)
    expected = f"{plain(asked)} Jobs and {load.pods} pods completed, by the Jobs' status and by the watch"
    if asked is None or status is None or watch is None:
        return Finding(expected, UNSEEN, False)
    return Finding(
        expected,
        f"{plain(status)} Jobs by their status, {plain(watch)} by the watch; {pods} pods",
        asked == status == watch and pods == load.pods > 0,
    )


def search_matches_steps(load: PodLoad, context: Context) -> Finding | None:
    """What is claimed to be the highest rate, from the steps of the search; and the samples of that step."""
    if load.value("search") is None:
        return None
    steps, claimed = metrics.search_steps(load), load.number("search", "highest_rate_per_second")
    found = metrics.highest_rate(load)
    tried = ", ".join(plain(step.get("rate_per_second")) for step in steps)
    return Finding(
        "the highest rate of the steps that met the objective, with a slower and a faster one tried",
        f"{plain(claimed)} claimed, {plain(found)} by the steps ({tried or 'none'})",
        bool(steps) and found is not None and claimed == found,
    )


def configuration_took_effect(load: PodLoad, context: Context) -> Finding | None:
    checks = [
        check
        for item in context.configurations
        for check in (item.values.get("checks") or [])
        if isinstance(check, Mapping)
    ]
    if not context.configurations:
        return None
    ignored = [
        f"{check.get('component')} {check.get('key')}: asked {check.get('asked')!r}, "
        f"{_observed(check.get('observed'))} ({check.get('reason') or check.get('source')})"
        for check in checks
        if check.get("holds") is not True
    ]
    told = f"{len(ignored)} of {len(checks)} not: {'; '.join(ignored[:3])}" if ignored else f"all {len(checks)}"
    return Finding("every setting as asked for, read back after the change", told, not ignored)


def most_by_queue(samples: Iterable[PodSample]) -> dict[str, float]:
    """The most GPUs that the bound pods of each queue held at one moment."""
    changes: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for sample in samples:
        if sample.queue and sample.bound is not None and sample.gpus:
            changes[sample.queue].append((sample.bound, sample.gpus))
            if (end := sample.released) is not None:
                changes[sample.queue].append((end, -sample.gpus))
    found = {}
    for queue, moments in changes.items():
        used = most = 0.0
        for _, gpus in sorted(moments):
            used += gpus
            most = max(most, used)
        found[queue] = most
    return found


def by_job(samples: Iterable[PodSample]) -> dict[str, list[PodSample]]:
    found: dict[str, list[PodSample]] = defaultdict(list)
    for sample in samples:
        if sample.job is not None:
            found[sample.job].append(sample)
    return found


def _short_of(load: PodLoad, name: str, part: Mapping[str, Any]) -> str:
    """How many slots the samples show short of the part's milestone; empty when none, or they do not show it."""
    until = part.get("until")
    if until not in ("created", "bound", "running", "completed"):
        return ""
    rows = [sample for sample in load.every_sample if sample.part == name]
    own = sum(1 for row in rows if not row.replacement and getattr(row, until) is not None)
    others = sum(1 for row in rows if row.replacement and getattr(row, until) is not None)
    asked = int(part.get("asked") or 0)
    return "" if own + min(others, asked - own) >= asked else f"{own} of {asked} {until} in the samples"


def _limit(queue: Any) -> float | None:
    gpu = queue.get("gpu") if isinstance(queue, Mapping) else None
    try:
        limit = float(gpu["limit"]) if isinstance(gpu, Mapping) else -1.0
    except (KeyError, TypeError, ValueError):
        return None
    return limit if limit >= 0 else None


def _observed(value: Any) -> str:
    return "absent" if value is None else f"observed {value!r}"
