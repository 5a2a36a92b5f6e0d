# SPDX-License-Identifier: GPL-3.0-or-later
"""An autoscaler at work, leg by leg: the load comes, the metrics API tells it, replicas are changed, pods are Ready.

The legs add up to the whole. How much the pods use is planted; when anybody sees it, and what becomes of it, is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from harness import quantities, units
from harness.bound_by import Finding as Bound
from harness.model import BoundBy
from harness.workload.cost import Row
from harness.workload.rows import WorkloadRows

STEP = "load"
LEGS = (
    "autoscaled_scale_out_seconds",
    "usage_seen_seconds",
    "scaling_decision_seconds",
    "scaling_steps_seconds",
    "scaled_ready_seconds",
)
USAGE = "kwok.x-k8s.io/usage-cpu"
#: --horizontal-pod-autoscaler-tolerance of kube-controller-manager: nearer to the target nothing is changed.
TOLERANCE = 0.1


@dataclass(frozen=True)
class ScaleOut:
    """Moments, each as soon as it was seen; replicas as they were changed, the first one before the load."""

    load: float
    told: float
    first: float
    last: float
    ready: float
    replicas: tuple[int, ...]

    @property
    def legs(self) -> Mapping[str, float]:
        """The whole first, then what it is made of."""
        moments = (self.load, self.told, self.first, self.last, self.ready)
        parts = (after - before for before, after in pairwise(moments))
        return dict(zip(LEGS, (self.ready - self.load, *parts), strict=True))


def scale_out(load: WorkloadRows) -> ScaleOut | None:
    """None where one of the moments was never seen."""
    begin, ready, target = (
        load.moment(STEP, "sent"),
        load.moment(STEP, "reached"),
        load.number("autoscaler", "target_cpus"),
    )
    if begin is None or ready is None or target is None:
        return None
    told = next((row["reached"] for row in usage(load) if row["reached"] >= begin and _more(row, target)), None)
    before = [row["replicas"] for row in load.of("replicas") if row["reached"] < begin]
    changes = [row for row in load.of("replicas") if begin <= row["reached"] <= ready]
    if told is None or not before or not changes:
        return None
    # The metrics API is polled: the autoscaler may see it a moment before.
    first = changes[0]["reached"]
    return ScaleOut(
        begin,
        min(told, first),
        first,
        changes[-1]["reached"],
        ready,
        (before[-1], *(row["replicas"] for row in changes)),
    )


def usage(load: WorkloadRows) -> list[Row]:
    """What the metrics API told, whenever it was something else than before."""
    return load.of("usage")


def planted(load: WorkloadRows) -> tuple[float, float] | None:
    """CPUs that the load plants on the pods that get it, and with what all others have from their start."""
    step = next((one for one in load.parameters.get("steps") or () if one["name"] == STEP), None)
    used = [told["cpu"] for told in (load.parameters.get("usage") or {}).values() if told.get("cpu") is not None]
    if step is None or not used:
        return None
    annotations = ((step.get("patch") or {}).get("metadata") or {}).get("annotations") or {}
    loaded, others = quantities.number(annotations.get(USAGE, 0)), [quantities.number(one) for one in used]
    if loaded is None or None in others:
        return None
    pods = step["count"] * loaded
    return pods, pods + (step["until"]["count"] - step["count"]) * max(one for one in others if one is not None)


def leg(load: WorkloadRows, metric: str) -> list[float | None]:
    found = scale_out(load)
    return [found.legs[metric] if found else None]


#: Metric → who looks only so often, and the parameter that says how often.
LOOKS: Mapping[str, tuple[str, str]] = {
    "usage_seen_seconds": ("metrics-server", "resolution_seconds"),
    "scaling_decision_seconds": ("the autoscaler", "sync_seconds"),
    "scaling_steps_seconds": ("the autoscaler", "sync_seconds"),
}


def bound_by(load: WorkloadRows, metric: str, value: float) -> Bound:
    """Who looks every so often cannot be faster on average; nothing is claimed of what took much longer."""
    component, parameter = LOOKS.get(metric, ("", ""))
    period = (load.parameters.get("metrics") or {}).get(parameter)
    if not period:
        return Bound(None, "")
    if value > 2 * period:
        shown = f"{units.show(value, 's')} is more than two periods of {units.show(float(period), 's')}"
        return Bound(None, f"{shown}: the period of {component} alone is not what held this back.")
    return Bound(BoundBy("probe_period", component, {"period_seconds": float(period)}, float(period), value), "")


def _more(row: Row, target: float) -> bool:
    """Whether what was told is more than the autoscaler lets be."""
    return bool(row["cpus"] > row["replicas"] * target * (1 + TOLERANCE))
