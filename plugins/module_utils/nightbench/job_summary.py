# SPDX-License-Identifier: GPL-3.0-or-later
"""From the rows of a finished load of parts to the values of its observation.

Pure; times relative to the load's start. The fields of a pod load are over the measured parts and their own pods.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from . import job_facts
from .audit import AuditFindings, Window
from .job_counts import failures, moments_of, own_rows, part_values, slot_counts, unaccounted
from .job_load import JobLoad
from .job_rows import JobRow, PartState, PodRow
from .job_tracker import JobTracker
from .load_summary import (
    MOMENTS,
    audited_moments,
    clock,
    creation_rate,
    generator,
    join_conditions,
    requests_per_pod,
    since,
)
from .machine import MachineSampler
from .pod_load import Timeline


def values(
    load: JobLoad,
    machine: MachineSampler,
    memory: Mapping[str, Any],
    audit: AuditFindings | None,
    why_no_audit: str,
) -> dict[str, Any]:
    """The values of a pod_load observation."""
    tracker, timeline = load.tracker, load.timeline
    zero, end = timeline.started, load.ended or time.monotonic()
    measured = [state for state in tracker.parts.values() if state.part.measured]
    timeline.create_started = min((state.started for state in measured if state.started is not None), default=None)
    timeline.create_ended = max((state.sent for state in measured if state.sent is not None), default=None)
    timeline.latest_send = max((state.latest_send for state in measured), default=0.0)
    join_conditions(tracker.rows(), timeline)
    if audit is not None:
        join_audit(load, audit, end)
    rows = [row for state in measured for row in own_rows(state)]
    bound = moments_of(rows, "bound")
    begin, last_bind = begin_of(timeline), max(bound, default=time.monotonic())
    rates = [state.part.rate for state in measured if state.part.rate is not None]
    watches = load.watches.values()
    sent = sum(1 for state in measured for job in state.jobs if job.answered is not None)
    return {
        "measured_part": ",".join(state.part.name for state in measured),
        **counts(measured, rows),
        "unaccounted": unaccounted(measured),
        "foreign": len(tracker.foreign),
        "replaced": len(tracker.replaced),
        "failures": failures(measured, rows),
        **{name: since(zero, getattr(timeline, name)) for name in MOMENTS},
        "first_bind": since(zero, min(bound, default=None)),
        "last_bind": since(zero, max(bound, default=None)),
        "first_running": since(zero, min(moments_of(rows, "running"), default=None)),
        "last_running": since(zero, max(moments_of(rows, "running"), default=None)),
        "last_completed": since(zero, max(moments_of(rows, "completed"), default=None)),
        "bound_before_release": bound_before(rows, timeline.released),
        "max_gpus_on_a_node": tracker.nodes.worst()[1],
        "max_gpus_at_node": tracker.nodes.worst()[0],
        # Of what the generator itself sends: Jobs, not the pods that the Job controller makes of them.
        "creation_rate": creation_rate(timeline, sent),
        "objects_created": sent,
        "connections": load.plan.connections,
        "rate_asked": sum(rates) if rates else None,
        "latest_send": round(timeline.latest_send, 6),
        "clock": clock(created_by_us(tracker), tracker.rows(), timeline),
        "audit": audit_values(rows, audit, zero, why_no_audit),
        "retries": {cause: load.kube.retries.get(cause, 0) for cause in ("429", "5xx", "dropped")},
        "relists": sum(watch.relists for watch in watches),
        "reconnects": sum(watch.reconnects for watch in watches),
        "watch_events": sum(watch.events for watch in watches),
        "watch_bytes": sum(watch.bytes for watch in watches),
        "machine": {
            "window": ("released" if timeline.released is not None else "create_started") + "..last_bind",
            **machine.window(begin, last_bind),
        },
        "generator": generator(),
        "parts": {name: part_values(state, zero, end) for name, state in tracker.parts.items()},
        "jobs": job_facts.jobs(tracker, end),
        "domains": job_facts.domains(tracker, load.plan.topology_labels, load.nodes, end),
        "queues_used_most": {queue: gpus for queue, gpus in tracker.queues.most.items() if queue},
        "evicted": sum(1 for row in tracker.rows() if row.evicted is not None),
        "victims_below_min_member": job_facts.victims_below_min_member(tracker, end),
        "unschedulable": {"samples": job_facts.unschedulable_seconds(tracker)},
        "sequential": {"samples": job_facts.sequential_seconds(tracker)},
        "observed": observed(load),
        "memory": dict(memory),
        "ended": since(zero, load.ended),
    }


def begin_of(timeline: Timeline) -> float:
    """The moment from which the subject could work on the measured parts."""
    return timeline.released if timeline.released is not None else timeline.create_started or timeline.started


def window(load: JobLoad) -> Window:
    """The time in which pods were bound after the measured parts began, for the requests made meanwhile."""
    measured = [state for state in load.tracker.parts.values() if state.part.measured]
    started = min((state.started for state in measured if state.started is not None), default=load.timeline.started)
    begin = load.timeline.released if load.timeline.released is not None else started
    bound = {row.name for row in load.tracker.rows() if row.bound is not None and row.bound >= begin}
    return Window(begin + load.timeline.wall_offset_start, bound)


def counts(measured: Iterable[PartState], rows: list[PodRow]) -> dict[str, int]:
    """Asked = created + failed + missing has to hold where every pod arrived; missing ones lack the milestone."""
    several = [slot_counts(state) for state in measured]
    return {
        name: sum(one[name] for one in several)
        for name in ("asked", "created", "failed", "missing", "bound", "running", "completed", "deleted")
    }


def observed(load: JobLoad) -> dict[str, int | None]:
    """What was seen of the groups and decisions; None where they are not watched."""
    tracker = load.tracker
    decided = [row for row in tracker.rows() if row.decided is not None]
    has_groups, has_decisions = load.plan.group is not None, load.plan.decision is not None
    elsewhere = [row for row in decided if row.decided_node and row.node and row.node != row.decided_node]
    return {
        "groups": len(tracker.groups) if has_groups else None,
        "decisions": len(tracker.decisions) - tracker.foreign_decisions if has_decisions else None,
        "foreign": tracker.foreign_groups + tracker.foreign_decisions if has_groups or has_decisions else None,
        "decision_elsewhere": len(elsewhere) if has_decisions else None,
    }


def join_audit(load: JobLoad, audit: AuditFindings, end: float) -> None:
    """Write the audit log's moments up to the end of the parts into the rows, moved from Unix to the client's clock."""
    tracker, offset = load.tracker, load.timeline.wall_offset_start
    groups = audit.others.get(load.plurals.get("groups", ""), {})
    for name, job in tracker.groups.items():
        if name in groups:
            at = groups[name] - offset
            job.audit_grouped = at if job.audit_grouped is None else min(at, job.audit_grouped)
    decisions = audit.others.get(load.plurals.get("decisions", ""), {})
    members = audit.patched.get((load.plan.group and load.plan.group.member_by) or "", {})
    decided = {pod: decisions[name] for name, pod in tracker.decisions.items() if name in decisions}
    for row in tracker.rows():
        row.audit_created = _seen_or_until(row.created, end, audit.created.get(row.name), offset)
        row.audit_decided = _seen_or_until(row.decided, end, decided.get(row.name), offset)
        row.audit_grouped = _seen_or_until(row.grouped, end, members.get(row.name), offset)
        row.audit_bound = _seen_or_until(row.bound, end, audit.bound.get(row.name), offset)
        row.audit_running = _seen_or_until(row.running, end, audit.running.get(row.name), offset)


def audit_values(rows: Iterable[PodRow], audit: AuditFindings | None, zero: float, why_not: str) -> dict[str, Any]:
    if audit is None:
        return {"available": False, "reason": why_not}
    moments = audited_moments(rows, zero)
    return {
        "available": True,
        **moments,
        "requests": {component: dict(counts) for component, counts in audit.requests.items()},
        "requests_in_window": {component: dict(counts) for component, counts in audit.in_window.items()},
        "binds_in_window": audit.bound_in_window,
        "requests_per_pod": requests_per_pod(audit.in_window, audit.bound_in_window),
    }


def bound_before(rows: Iterable[PodRow], released: float | None) -> int:
    return 0 if released is None else sum(1 for at in moments_of(rows, "bound") if at < released)


def created_by_us(tracker: JobTracker) -> Iterator[JobRow | PodRow]:
    """What we created ourselves, so that answer and watch can be compared."""
    for job in tracker.jobs.values():
        if job.state.part.form == "jobs":
            yield job
        else:
            yield from job.pods


def _seen_or_until(seen: float | None, end: float, at: float | None, offset: float) -> float | None:
    """The log's moment; one after the end that the watch did not see before it belongs to the deletion."""
    return None if at is None or (seen is None and at - offset > end) else at - offset
