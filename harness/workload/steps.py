# SPDX-License-Identifier: GPL-3.0-or-later
"""What each metric is of the rows of one repeat of a workload.

Nothing that was planted is in a metric: where the work of pods lies on the way, the time that they ran is taken off.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from harness.workload import scaling
from harness.workload.cost import UNITS, Prices, Rate, Row, prices
from harness.workload.rows import WorkloadRows, ended


@dataclass(frozen=True)
class Workload(WorkloadRows):
    def samples(self, metric: str) -> list[float]:
        """Every value of this repeat; one for what is measured once."""
        found = MEASURES[metric](self)
        return [max(0.0, value) for value in found if value is not None]

    def summary(self, metric: str) -> float | None:
        found = self.samples(metric)
        return statistics.median(found) if found else None


@dataclass(frozen=True)
class Checkpoints:
    """What is planted of a loss: seconds between two checkpoints, and from the last rank's start to the failure."""

    interval: float
    failure: float

    @property
    def lost(self) -> float:
        """Seconds since the last checkpoint; the start of the gang counts as one."""
        return self.failure % self.interval

    @property
    def following(self) -> float:
        return self.failure - self.lost + self.interval

    def outlived(self, load: Workload) -> list[float] | None:
        """Seconds that each rank ran on after the failure; None where one never ended."""
        begin, ends = load.moment("start", "reached"), [ended(row) for row in load.of("pod", "start")]
        if begin is None or not ends:
            return None
        known = [end - begin - self.failure for end in ends if end is not None]
        return known if len(known) == len(ends) else None


def checkpoints(load: Workload) -> Checkpoints | None:
    """None where the run plants none."""
    interval, steps = load.parameters.get("checkpoint_seconds"), load.parameters.get("steps") or ()
    failure = next((step.get("after_seconds") for step in steps if step["name"] == "restart"), None)
    return Checkpoints(float(interval), float(failure)) if interval and failure is not None else None


def _gpus(pod: Row) -> float:
    return float(pod["gpus"])


def _most(load: Workload, weight: Callable[[Row], float]) -> float:
    """What bound pods held at the worst moment."""
    changes = []
    for row in load.of("pod"):
        if row["bound"] is None:
            continue
        changes.append((row["bound"], 1, weight(row)))
        if (end := ended(row)) is not None:
            changes.append((end, 0, -weight(row)))
    held = most = 0.0
    for _, _, change in sorted(changes):
        held += change
        most = max(most, held)
    return most


def _held(load: Workload, weight: Callable[[Row], float]) -> list[float | None]:
    """What ranks held while they waited for the last one, times the seconds."""
    ranks = load.of("pod", "start")
    if not ranks or any(row["bound"] is None or row["running"] is None for row in ranks):
        return [None]
    last = max(row["running"] for row in ranks)
    return [sum((last - row["bound"]) * weight(row) for row in ranks)]


def _lost(load: Workload) -> list[float | None]:
    """GPU-seconds of the gang from the eviction until all run again."""
    seconds = load.span("restart")
    return [seconds * sum(row["gpus"] for row in load.of("pod", "restart")) if seconds is not None else None]


def _outlived(load: Workload) -> list[float | None]:
    """GPU-seconds that ranks computed after the failure: no checkpoint has them, and nobody planted them."""
    planted = checkpoints(load)
    seconds = planted.outlived(load) if planted else None
    if seconds is None:
        return [None]
    return [sum(more * row["gpus"] for more, row in zip(seconds, load.of("pod", "start"), strict=True))]


def _turnaround(load: Workload) -> list[float | None]:
    """From the end of a pod to the next one that runs in its place."""
    pods = [row for row in load.of("pod") if row["running"] is not None and row["completed"] is not None]
    begins, ends = (sorted(row[name] for row in pods) for name in ("running", "completed"))
    slots = sum(1 for begin in begins if ends and begin < ends[0])
    return [begin - end for begin, end in zip(begins[slots:], ends, strict=False)]


def _job_end(load: Workload) -> list[float | None]:
    """From the end of a Job's last pod to the Job's own."""
    found: list[float | None] = []
    for job in load.of("job"):
        ends = [row["completed"] for row in load.of("pod") if row["name"].startswith(f"{job['name']}-")]
        if job["completed"] is not None and ends and None not in ends:
            found.append(job["completed"] - max(ends))
    return found


def _from_due(kind: str, moment: str) -> Callable[[Workload], list[float | None]]:
    """From the moment at which a copy was due, however late it was sent, to its pod's."""

    def found(load: Workload) -> list[float | None]:
        due = {row["copy"]: row["due"] for row in load.of("request") if row["name"].startswith(f"{kind}/")}
        pods = [row for row in load.of("pod") if row["copy"] in due and row[moment] is not None]
        return [row[moment] - due[row["copy"]] for row in pods]

    return found


def _reclaim(load: Workload) -> list[float | None]:
    gone = {row["name"]: row["gone"] for row in load.of("pod")}
    asked = load.of("request", "reclaim")
    return [gone[row["name"]] - row["sent"] for row in asked if gone.get(row["name"]) is not None]


def _overhead(load: Workload) -> list[float | None]:
    """The critical path without the longest pod of each stage that works."""
    whole = load.span("prepare", "serve")
    if whole is None:
        return [None]
    works = []
    for step in ("prepare", "train"):
        pods = load.of("pod", step)
        if not pods or any(row["running"] is None or row["completed"] is None for row in pods):
            return [None]
        works.append(max(row["completed"] - row["running"] for row in pods))
    return [whole - sum(works)]


def _swaps(load: Workload) -> list[float | None]:
    return [load.span("swap_down", "swap_up"), load.span("back_down", "back_up")]


def _cold(load: Workload) -> list[float | None]:
    return [row["ready"] - row["created"] for row in load.of("pod") if row["ready"] is not None]


def _claims(load: Workload) -> list[float | None]:
    return [row["answered"] - row["sent"] for row in load.of("request", "claim") if row["answered"] is not None]


def _starts(load: Workload, step: str | None, moment: str, rate: Rate) -> list[float]:
    """Of each pod: from its bind until it is of use."""
    pods = load.of("pod", step)
    return [(row[moment] - row["bound"]) * rate(row) for row in pods if None not in (row[moment], row["bound"])]


def _users(load: Workload, rate: Rate) -> list[float]:
    """Of each: until the notebook is Ready, and from the decision to remove it until it is gone."""
    asked = {row["name"]: row["sent"] for row in load.of("request", "reclaim")}
    return [
        (row["ready"] - row["bound"] + row["gone"] - asked[row["name"]]) * rate(row)
        for row in load.of("pod")
        if row["name"] in asked and None not in (row["bound"], row["ready"], row["gone"])
    ]


def _units(load: Workload, rate: Rate) -> list[float]:
    """USD of each unit for what is held while nothing works: by the first of these ways that the run has."""
    each = max((rate(row) for row in load.of("pod")), default=0.0)
    ways: tuple[tuple[str, Callable[[], list[float | None]]], ...] = (
        ("restart", lambda: _held(load, rate)),
        ("work", lambda: [gap * each for gap in _turnaround(load) if gap is not None]),
        ("reclaim", lambda: [*_users(load, rate)]),
        ("swap_up", lambda: [gap * _most(load, rate) for gap in _swaps(load) if gap is not None]),
        ("events", lambda: [*_starts(load, None, "running", rate)]),
        ("replace", lambda: [gap * each for gap in (load.span("replace"),) if gap is not None]),
        ("claim", lambda: [*_starts(load, "claim", "ready", rate)]),
        ("serve", lambda: [sum(_starts(load, None, "running", rate))]),
    )
    found = next((way() for step, way in ways if load.of("step", step)), [])
    return [value for value in found if value is not None]


def _cost(rate: Callable[[Prices, Row], float]) -> Callable[[Workload], list[float | None]]:
    def found(load: Workload) -> list[float | None]:
        table = prices(load.parameters)
        units = _units(load, lambda pod: rate(table, pod)) if table else []
        return [statistics.fmean(units) * UNITS if units else None]

    return found


MEASURES: Mapping[str, Callable[[Workload], list[float | None]]] = {
    "gang_start_seconds": lambda load: [load.span("start")],
    "gang_held_gpu_seconds": lambda load: _held(load, _gpus),
    "gang_restart_seconds": lambda load: [load.span("restart")],
    "restart_lost_gpu_seconds": _lost,
    "checkpoint_lost_gpu_seconds": _outlived,
    "slot_turnaround_seconds": _turnaround,
    "job_end_seconds": _job_end,
    "scale_out_seconds": lambda load: [load.span("scale_out")],
    **{metric: partial(scaling.leg, metric=metric) for metric in scaling.LEGS},
    "pod_replacement_seconds": lambda load: [load.span("replace")],
    "wake_seconds": lambda load: [load.span("wake")],
    "notebook_spawn_seconds": _from_due("Pod", "ready"),
    "notebook_reclaim_seconds": _reclaim,
    "event_to_running_seconds": _from_due("Job", "running"),
    "pipeline_overhead_seconds": _overhead,
    "model_swap_seconds": _swaps,
    "sandbox_cold_start_seconds": _cold,
    "sandbox_claim_seconds": _claims,
    "sandbox_refill_seconds": lambda load: [load.span("claim")],
    "gpus_held_most": lambda load: [_most(load, _gpus)],
    "idle_usd_per_thousand_units": _cost(Prices.idle_gpus),
    "usd_per_thousand_units": _cost(Prices.whole),
    "manifest_fields": lambda load: [load.number("forms", "plain", "fields")],
}
#: What has many values in a repeat.
DISTRIBUTIONS = frozenset(
    {
        "slot_turnaround_seconds",
        "job_end_seconds",
        "notebook_spawn_seconds",
        "notebook_reclaim_seconds",
        "event_to_running_seconds",
        "model_swap_seconds",
        "sandbox_cold_start_seconds",
        "sandbox_claim_seconds",
    }
)
#: What no clock is in.
COUNTED = frozenset({"gpus_held_most", "manifest_fields"})
#: What is in money.
COSTS = frozenset({"idle_usd_per_thousand_units", "usd_per_thousand_units"})
