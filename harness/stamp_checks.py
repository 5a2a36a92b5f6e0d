# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of the stamps themselves: their clocks, what another instrument says, what a watch may have lost."""

from __future__ import annotations

from harness import metrics, units
from harness.common_checks import UNSEEN, Finding, plain
from harness.evidence_checks import ROUNDING, Context
from harness.pod_load import PodLoad

WALL_STEP_MOST = 0.050  # seconds
WITNESSES_DIFFER_MOST = 0.05  # share of the time that both saw
CONDITION_RESOLUTION = 1.0  # seconds; conditions are written in whole ones (metav1.Time)


def second_witness_agrees(load: PodLoad, context: Context) -> Finding | None:
    """What is published of the bindings against what another instrument says of them."""
    if load.value("audit", "available") is not True:
        return None
    start, seen, audited = load.moment("start"), load.number("last_bind"), load.number("audit", "last_bind")
    first, count = load.number("audit", "first_bind"), load.number("audit", "bound")
    if start is None or seen is None or audited is None or first is None:
        return Finding("time to bind all, and how many, as in the audit log", UNSEEN, False)
    if load.stamped_by_audit_log("bound") and (said := _said_by_pods(load, "bound", "scheduled")) is not None:
        return said
    told = audited - start
    tolerance = max(load.lag or 0.0, WITNESSES_DIFFER_MOST * told)
    return Finding(
        f"time to bind all by the audit log within {units.show(tolerance, 's')}, as many binds",
        f"{units.show(seen - start, 's')} by the watch, {units.show(told, 's')} by the audit log; "
        f"{plain(load.number('bound'))} and {plain(count)} binds",
        count == load.number("bound") and abs(seen - audited) <= tolerance and first >= start - tolerance,
    )


def pods_say_when_they_ran(load: PodLoad, context: Context) -> Finding | None:
    """The log without bodies does not tell which patch of the status said Running; the pods do."""
    if not load.stamped_by_audit_log("running"):
        return None
    said = _said_by_pods(load, "running", "started")
    return said if said is not None else Finding("a condition Ready of every pod", UNSEEN, False)


def _said_by_pods(load: PodLoad, milestone: str, condition: str) -> Finding | None:
    """The audit log against the pods' own conditions; the watch is late when the API server has no time for it.

    None where not every pod has the condition.
    """
    reached = [sample for sample in load.samples if getattr(sample, milestone) is not None]
    pairs = [(getattr(sample, f"audit_{milestone}"), getattr(sample, condition)) for sample in reached]
    start = load.moment("start")
    if start is None or not pairs or any(None in pair for pair in pairs):
        return None
    logged, told = max(log for log, _ in pairs), max(own for _, own in pairs)
    # A condition is written before the API server has answered, and loses what is below a second.
    tolerance = CONDITION_RESOLUTION + WITNESSES_DIFFER_MOST * (logged - start)
    later = sum(own > log + ROUNDING for log, own in pairs)
    begun = min(log for log, _ in pairs) >= start - tolerance
    by_watch, by_log = load.number(milestone), load.number("audit", milestone)
    seen = max(getattr(sample, milestone) for sample in reached)
    return Finding(
        f"time until all are {milestone} as the pods' own conditions say, in whole seconds: the audit log's or up to "
        f"{units.show(tolerance, 's')} less, no pod later than in the log; as many by the watch",
        f"{units.show(told - start, 's')} by the conditions, {units.show(logged - start, 's')} by the audit log "
        f"({plain(later)} pods earlier in it), {units.show(seen - start, 's')} by the watch; "
        f"{plain(by_watch)} and {plain(by_log)} {milestone}",
        by_watch == by_log and later == 0 and begun and logged - told <= tolerance,
    )


def clock_known(load: PodLoad, context: Context) -> Finding:
    name, resolution = load.value("clock", "name"), load.resolution
    known = bool(name) and resolution is not None and resolution > 0
    shown = f"{name or UNSEEN}, resolution {units.show(resolution, 's') if resolution else UNSEEN}"
    if known and context.metric is not None:
        seconds = metrics.clock_resolution(context.metric, load)
        shown = f"{metrics.clock(context.metric, load)}, resolution {units.show(seconds, 's')}"
        if metrics.by_audit_log(context.metric, load) and context.metric.begins_with_the_load:
            shown += f"; the start of the load: {name}"
    return Finding("clock and resolution of every stamp", shown, known)


def wall_clock_did_not_step(load: PodLoad, context: Context) -> Finding:
    start, end = load.number("clock", "wall_offset_start"), load.number("clock", "wall_offset_end")
    expected = f"wall clock and monotonic clock within {units.show(WALL_STEP_MOST, 's')} of each other over the load"
    if start is None or end is None:
        return Finding(expected, UNSEEN, False)
    return Finding(expected, f"{units.show(abs(end - start), 's')} apart", abs(end - start) < WALL_STEP_MOST)


def no_event_lost(load: PodLoad, context: Context) -> Finding:
    """A relist stamps what happened before it with its own moment; the audit log shows whether that mattered."""
    relists = load.number("relists")
    expected = "no relist of the watch in the window, or every bind as in the audit log"
    if relists is None:
        return Finding(expected, UNSEEN, False)
    if relists == 0:
        return Finding(expected, "0 relists", True)
    late = [
        sample.bound - sample.audit_bound
        for sample in load.samples
        if sample.bound is not None and sample.audit_bound is not None
    ]
    bound = load.stamps("bound")
    tolerance = max(load.lag or 0.0, WITNESSES_DIFFER_MOST * (load.span("first_bind", "last_bind") or 0.0))
    worst = max((abs(value) for value in late), default=0.0)
    apart = f"{len(late)} of {len(bound)} binds in the audit log, up to {units.show(worst, 's')} apart"
    return Finding(expected, f"{plain(relists)} relists; {apart}", len(late) == len(bound) > 0 and worst <= tolerance)
