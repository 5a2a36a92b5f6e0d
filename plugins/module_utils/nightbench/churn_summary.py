# SPDX-License-Identifier: GPL-3.0-or-later
"""What churn gives: the values of an observation, and a sample for each pod and for each request."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from .churn_flows import Flow
from .churn_run import ChurnRun, Gang, PodRow
from .job_probe import JOB, STRANGER
from .machine import MachineSampler

QUIET, CHURN = "quiet", "churn"
PHASES = (QUIET, CHURN)
#: Columns of one kind of sample are null in the other.
POD_COLUMNS = (
    *("gang", "pod", "node", "posted", "answered", "running", "opened", "deleted", "gone"),
    *("job_sent", "job_arrived", "job_first", "false_deny", "stranger_sent", "stranger_arrived", "stranger_settled"),
    *("false_allow", "gap"),
)
REQUEST_COLUMNS = ("phase", "due", "seconds")


def values(run: ChurnRun, machine: MachineSampler) -> dict[str, Any]:
    rows = list(run.rows.values())
    window = machine.window(run.churn_started, run.ended)
    return {
        "plan": run.plan.document(),
        "asked": len(rows),
        "created": sum(1 for row in rows if row.answered is not None),
        "running": sum(1 for row in rows if row.running is not None),
        "gone": sum(1 for row in rows if row.gone is not None),
        "failures": sorted({row.failure for row in rows if row.failure is not None})[:5],
        "gangs": {
            "asked": len(run.gangs),
            "reached": sum(1 for gang in run.gangs if reached(run, gang) is not None),
            "kept_apart": sum(1 for gang in run.gangs if _all(run, gang, STRANGER, Flow.settled)),
        },
        "rates": {
            "created_per_second": _rate([row.answered for row in rows], [row.posted for row in rows]),
            "running_per_second": _rate([row.running for row in rows], [row.posted for row in rows]),
            "gone_per_second": _rate([row.gone for row in rows], [gang.ended for gang in run.gangs]),
        },
        "requests": {phase: _requests(run, phase) for phase in PHASES},
        "background_policies": run.background,
        "nodes": run.nodes,
        "probe": _probe(run),
        "clock": {"name": "one machine's monotonic clock", "wall_offset_start": run.wall_offset},
        "quiet_machine": machine.window(run.started, run.churn_started),
        "machine": window,
        "cpu_seconds_per_pod": round(window["cpu_busy_ratio"] * window["cpus"] * window["seconds"] / len(rows), 4),
    }


def rows(run: ChurnRun) -> Iterable[dict[str, Any]]:
    """Moments in seconds since the churn began."""
    empty = dict.fromkeys((*POD_COLUMNS, *REQUEST_COLUMNS, "failure"))
    for row in run.rows.values():
        yield empty | {"row": "pod"} | _pod(run, row)
    for due, seconds, failure in run.requests:
        yield empty | {
            "row": "request",
            "phase": _phase(run, due),
            "due": _since(run, due),
            "seconds": round(seconds, 6),
            "failure": failure or None,
        }


def reached(run: ChurnRun, gang: Gang) -> float | None:
    """When each pod of the gang had got a packet of its neighbour; None where one never did."""
    moments = []
    for row in gang.rows:
        flow = run.flows.get((JOB, row.gang, row.pod))
        if flow is None or flow.first is None:
            return None
        moments.append(flow.first)
    return max(moments)


def _pod(run: ChurnRun, row: PodRow) -> dict[str, Any]:
    job = run.flows.get((JOB, row.gang, row.pod), Flow([], frozenset()))
    stranger = run.flows.get((STRANGER, row.gang, row.pod), Flow([], frozenset()))
    gaps = [flow.gap for flow in (job, stranger) if flow.gap is not None]
    return {
        "gang": row.gang,
        "pod": row.name,
        "node": row.node,
        **{name: _since(run, getattr(row, name)) for name in ("posted", "answered", "running", "opened")},
        **{name: _since(run, getattr(row, name)) for name in ("deleted", "gone")},
        "job_sent": len(job.sent),
        "job_arrived": len(job.arrived),
        "job_first": _since(run, job.first),
        "false_deny": _round(job.false_deny()),
        "stranger_sent": len(stranger.sent),
        "stranger_arrived": len(stranger.arrived),
        "stranger_settled": stranger.settled(),
        "false_allow": _round(stranger.false_allow()),
        "gap": _round(max(gaps, default=None)),
        "failure": row.failure,
    }


def _all(run: ChurnRun, gang: Gang, kind: str, holds: Any) -> bool:
    found = [run.flows.get((kind, row.gang, row.pod)) for row in gang.rows]
    return all(flow is not None and holds(flow) for flow in found)


def _phase(run: ChurnRun, due: float) -> str:
    return QUIET if due < run.churn_started else CHURN


def _requests(run: ChurnRun, phase: str) -> dict[str, Any]:
    """Of all of them, failed ones too: a load that fails quickly is no quick one."""
    found = [(seconds, failure) for due, seconds, failure in run.requests if _phase(run, due) == phase]
    took = sorted(seconds for seconds, _ in found)
    answered = sum(1 for _, failure in found if not failure)
    begin, end = (run.started, run.churn_started) if phase == QUIET else (run.churn_started, run.ended)
    return {
        "asked": len(found),
        "answered": answered,
        "failures": dict(Counter(failure for _, failure in found if failure)),
        "median_seconds": _round(statistics.median(took)) if took else None,
        "max_seconds": _round(took[-1]) if took else None,
        "goodput_bytes_per_second": _round(answered * run.request_bytes / (end - begin)),
        "offered_bytes_per_second": run.plan.requests_per_second * run.request_bytes,
    }


def _rate(ends: Sequence[float | None], begins: Sequence[float | None]) -> float | None:
    """Those that got there, from the first beginning to the last end."""
    there, first = [end for end in ends if end is not None], [begin for begin in begins if begin is not None]
    if not there or not first or max(there) <= min(first):
        return None
    return round(len(there) / (max(there) - min(first)), 4)


def _probe(run: ChurnRun) -> dict[str, Any]:
    found = run.found
    gaps = [flow.gap for flow in run.flows.values() if flow.gap is not None]
    return {
        "flows": len(run.flows),
        "sent": sum(len(flow.sent) for flow in run.flows.values()),
        "largest_gap_seconds": _round(max(gaps, default=None)),
        "cpu_ratio_of_core": _round(found["cpu_seconds"] * 1e9 / (found["ended"] - found["started"])),
        "scheduling": found["scheduling"],
        "errors": found["errors"],
    }


def _since(run: ChurnRun, at: float | None) -> float | None:
    return None if at is None else round(at - run.churn_started, 6)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
