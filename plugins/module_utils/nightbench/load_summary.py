# SPDX-License-Identifier: GPL-3.0-or-later
"""From the rows of a finished load to the values of its observation; pure, times relative to the load's start."""

from __future__ import annotations

import hashlib
import json
import math
import os
import resource
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from .audit import AuditFindings
from .errors import ConfigurationError
from .machine import MachineSampler
from .pod_load import PodLoad, Timeline
from .tracker import PodTracker

MOMENTS = ("create_started", "create_ended", "released", "release_ready", "delete_started", "delete_ended")
#: A watch stamp is later than the event by the way through the API server, the socket and our own thread.
_LAG_QUANTILE = 0.99
CREATION = "|watch ADDED arrival - POST response arrival|"
BINDING = "|bound by the watch - bound by the audit log|"


def values(load: PodLoad, machine: MachineSampler, audit: AuditFindings | None, why_no_audit: str) -> dict[str, Any]:
    """The values of a pod_load observation."""
    tracker, timeline, plan = load.tracker, load.timeline, load.plan
    zero = timeline.started
    rows = tracker.rows.values()
    join_conditions(rows, timeline)
    if audit is not None:
        join_audit(tracker, timeline, audit)
    begin = timeline.released if timeline.released is not None else timeline.create_started or zero
    end = tracker.last("bound") or time.monotonic()
    created = tracker.counts["created"]
    failed = sum(1 for row in rows if row.failure is not None)
    unaccounted = tracker.missing(plan.until)
    return {
        "asked": plan.count,
        "created": created,
        "failed": failed,
        "missing": sum(1 for row in rows if row.failure is None and getattr(row, plan.until) is None),
        "bound": tracker.counts["bound"],
        "running": tracker.counts["running"],
        "deleted": tracker.counts["deleted"],
        "unaccounted": unaccounted,
        "foreign": len(tracker.foreign),
        "replaced": len(tracker.replaced),
        "failures": sorted({row.failure for row in rows if row.failure is not None})[:5],
        **{name: since(zero, getattr(timeline, name)) for name in MOMENTS},
        "first_bind": since(zero, tracker.first("bound")),
        "last_bind": since(zero, tracker.last("bound")),
        "first_running": since(zero, tracker.first("running")),
        "last_running": since(zero, tracker.last("running")),
        "bound_before_release": bound_before(tracker, timeline.released),
        "max_gpus_on_a_node": tracker.max_gpus_on_a_node,
        "max_gpus_at_node": tracker.max_gpus_at_node,
        "creation_rate": creation_rate(timeline, created),
        "connections": plan.connections,
        "rate_asked": plan.rate,
        "latest_send": round(timeline.latest_send, 6),
        "clock": clock(rows, rows, timeline),
        "audit": audit_values(tracker, audit, zero, why_no_audit),
        "retries": {cause: load.kube.retries.get(cause, 0) for cause in ("429", "5xx", "dropped")},
        "relists": load.watch.relists,
        "reconnects": load.watch.reconnects,
        "watch_events": load.watch.events,
        "watch_bytes": load.watch.bytes,
        "machine": {
            "window": ("released" if timeline.released is not None else "create_started") + "..last_bind",
            **machine.window(begin, end),
        },
        "generator": generator(),
    }


def join_audit(tracker: PodTracker, timeline: Timeline, audit: AuditFindings) -> None:
    """Write the audit log's moments into the rows, moved from Unix time to the client's clock."""
    for milestone, stamps in (("created", audit.created), ("bound", audit.bound), ("running", audit.running)):
        for name, at in stamps.items():
            if name in tracker.rows:
                setattr(tracker.rows[name], f"audit_{milestone}", at - timeline.wall_offset_start)


def audit_values(tracker: PodTracker, audit: AuditFindings | None, zero: float, why_not: str) -> dict[str, Any]:
    if audit is None:
        return {"available": False, "reason": why_not}
    moments = audited_moments(tracker.rows.values(), zero)
    return {
        "available": True,
        **moments,
        "requests": {component: dict(counts) for component, counts in audit.requests.items()},
        "requests_per_pod": requests_per_pod(audit.requests, moments["bound"]),
    }


def audited_moments(rows: Iterable[Scheduled], zero: float) -> dict[str, Any]:
    """How many pods the audit log saw bound and running, and when the first and the last of them."""
    stamps = [(row.audit_bound, row.audit_running) for row in rows]
    bound = [at for at, _ in stamps if at is not None]
    running = [at for _, at in stamps if at is not None]
    return {
        "bound": len(bound),
        "first_bind": since(zero, min(bound, default=None)),
        "last_bind": since(zero, max(bound, default=None)),
        "running": len(running),
        "first_running": since(zero, min(running, default=None)),
        "last_running": since(zero, max(running, default=None)),
    }


def requests_per_pod(requests: Mapping[str, Mapping[str, int]], bound: int) -> dict[str, float]:
    """How many requests about the pods each component made for every bound pod; reads through a watch do not count."""
    if not bound:
        return {}
    return {component: round(sum(counts.values()) / bound, 4) for component, counts in requests.items()}


def bound_before(tracker: PodTracker, released: float | None) -> int:
    """Pods that were bound before what was held back was released."""
    if released is None:
        return 0
    return sum(1 for row in tracker.rows.values() if row.bound is not None and row.bound < released)


def creation_rate(timeline: Timeline, created: int) -> float:
    """Pods per second between the first request and the last answer."""
    if timeline.create_started is None or timeline.create_ended is None:
        return 0.0
    return round(created / max(timeline.create_ended - timeline.create_started, 1e-9), 3)


class Stamped(Protocol):
    """Anything that we created: when its creation was answered, and when the watch told of it."""

    answered: float | None
    seen: float | None


class Scheduled(Protocol):
    """A pod: when the watch told of its binding, and when the API server and the pod say that things were."""

    bound: float | None
    audit_bound: float | None
    audit_running: float | None
    scheduled: float | None
    started: float | None


def join_conditions(rows: Iterable[Scheduled], timeline: Timeline) -> None:
    """Move what the pods' conditions say from Unix time to the client's clock."""
    for row in rows:
        if row.scheduled is not None:
            row.scheduled -= timeline.wall_offset_start
        if row.started is not None:
            row.started -= timeline.wall_offset_start


def clock(created: Iterable[Stamped], bound: Iterable[Scheduled], timeline: Timeline) -> dict[str, Any]:
    """Which clock the stamps are of, and the smallest difference they can show: measured, not assumed."""
    lags = {
        CREATION: [
            abs(row.seen - row.answered) for row in created if row.seen is not None and row.answered is not None
        ],
        BINDING: [
            abs(row.bound - row.audit_bound) for row in bound if row.bound is not None and row.audit_bound is not None
        ],
    }
    tick = time.get_clock_info("monotonic").resolution
    late = {method: max(tick, _quantile(found)) for method, found in lags.items() if found}
    worst = max(late, key=late.__getitem__, default=CREATION)
    return {
        "name": "client monotonic, watch event arrival",
        "resolution_seconds": round(late[worst], 6) if late else None,
        "method": f"p99 of {worst}",
        "samples": len(lags[worst]),
        # Known without the audit log, so this may be held against it.
        "creation_lag_seconds": round(late[CREATION], 6) if CREATION in late else None,
        "wall_offset_start": timeline.wall_offset_start,
        "wall_offset_end": timeline.wall_offset_end,
    }


def _quantile(lags: list[float]) -> float:
    return sorted(lags)[max(0, math.ceil(_LAG_QUANTILE * len(lags)) - 1)]


def generator() -> dict[str, Any]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    # getrusage(2): ru_maxrss is in kilobytes on Linux.
    return {"cpu_seconds": round(used.ru_utime + used.ru_stime, 3), "max_rss_bytes": used.ru_maxrss * 1024}


def since(zero: float, at: float | None) -> float | None:
    return None if at is None else round(at - zero, 6)


def write_samples(path: str, rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Write the samples as JSON Lines, whole or not at all."""
    target, digest, count = Path(path), hashlib.sha256(), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with part.open("wb") as stream:
            for row in rows:
                line = json.dumps(row, separators=(",", ":")).encode() + b"\n"
                stream.write(line)
                digest.update(line)
                count += 1
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ConfigurationError(f"The samples cannot be written to {path}: {error.strerror}.") from error
    return {"path": str(target), "sha256": digest.hexdigest(), "rows": count}
