# SPDX-License-Identifier: GPL-3.0-or-later
"""From a finished run of a workload to the values of its observation and the rows of its samples. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import workload_manifest, workload_plan
from .lint import lint
from .lint_document import of_object
from .machine import MachineSampler
from .workload_run import Done, WorkloadRun

MOMENTS = ("due", "sent", "answered", "created", "bound", "running", "ready", "completed", "failed", "gone", "reached")


def values(run: WorkloadRun, machine: MachineSampler) -> dict[str, Any]:
    """asked = done + missing: steps that were asked for, and that got what they wait for."""
    reached = [one for one in run.done if one.wait.reached is not None]
    failed = [sent.failure for sent in run.requests if sent.failure]
    return {
        "plan": workload_plan.document(run.steps),
        "asked": len(run.steps),
        "done": len(reached),
        "missing": len(run.steps) - len(reached),
        "timed_out": run.timed_out,
        "waited_for": [_waits(one) for one in run.done if one.wait.reached is None],
        "requests": {"sent": len(run.requests), "failed": len(failed), "failures": sorted(set(failed))[:5]},
        "pods": len(run.tracker.pods),
        "pods_failed": sum(1 for pod in run.tracker.pods.values() if pod.failed is not None),
        "jobs_failed": sorted(job.name for job in run.tracker.jobs.values() if job.failed is not None)[:5],
        "autoscaler": run.autoscaler.document() | {"active": run.scaling.active} if run.autoscaler else None,
        "planted": {name: dict(told) for name, told in run.settings.lifetimes.items()},
        "planted_usage": {name: dict(told) for name, told in run.settings.usage.items()},
        "clock": {"name": "one machine's monotonic clock, arrival of watch events"},
        "seconds": round(run.ended - run.started, 6),
        "machine": machine.window(run.started, run.ended),
    }


def rows(run: WorkloadRun) -> Iterable[dict[str, Any]]:
    """One of each step, request, pod and Job, and of each change that an autoscaler was told or made.

    Moments are in seconds after the run began.
    """
    zero = run.started
    for done in run.done:
        moments = {"sent": done.wait.since, "reached": done.wait.reached}
        yield _row("step", done.step.name, done.step.action, moments, zero)
    for sent in run.requests:
        moments = {"due": sent.due, "sent": sent.sent, "answered": sent.answered}
        yield _row("request", sent.step, sent.name, moments, zero, copy=sent.copy, failure=sent.failure)
    for row in [*run.tracker.rows(zero), *run.scaling.rows(zero)]:
        yield {**_row("", "", "", {}, zero), **row}


def form(documents: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a form costs whoever keeps it, what the linter says of it, and what the API server."""
    found = lint([of_object(number, body) for number, body in enumerate(documents, 1)])
    return {
        "objects": len(documents),
        "kinds": sorted({str(one["kind"]) for one in documents}),
        "fields": sum(workload_manifest.fields(one) for one in documents),
        "findings": [f"{one.rule}: {one.object}: {one.field}" for one in found],
        "api_server": list(answers),
    }


def _row(
    kind: str,
    step: str,
    name: str,
    moments: Mapping[str, float | None],
    zero: float,
    copy: int | None = None,
    failure: str | None = None,
) -> dict[str, Any]:
    told = {key: moments.get(key) for key in MOMENTS}
    stamps = {key: round(at - zero, 6) if at is not None else None for key, at in told.items()}
    return {
        "row": kind,
        "step": step,
        "name": name,
        "copy": copy,
        "replicas": None,
        "gpus": 0,
        "cpus": 0.0,
        "memory_bytes": 0,
        "node": None,
        "failure": failure,
        **stamps,
    }


def _waits(done: Done) -> str:
    until = done.step.until
    return f"{done.step.name}: {until.count} {until.state}, {done.wait.seen} are"
