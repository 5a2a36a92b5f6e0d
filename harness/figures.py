# SPDX-License-Identifier: GPL-3.0-or-later
"""The charts of report.html as plain data; the page's own script colours and draws them with Plotly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness import metrics
from harness.metrics import Metric
from harness.pod_load import PodLoad

POINTS = 300  # of a curve: more cannot be told apart on a screen
DASHES = ("solid", "dash", "dot", "dashdot")
MILESTONES = ("created", "grouped", "decided", "bound", "running", "completed")


def milestones(loads: Sequence[PodLoad]) -> dict[str, Any]:
    """How many pods had been created, bound and were running, over the time since the load's start."""
    traces = []
    for index, load in enumerate(loads):
        start = load.moment("start") or 0.0
        for milestone in shown(loads):
            moments = sorted(moment - start for moment in load.stamps(milestone))
            x, y = thin(moments)
            traces.append(
                {
                    "x": x,
                    "y": y,
                    "name": milestone,
                    "colour": milestone,
                    "dash": DASHES[index % len(DASHES)],
                    "group": milestone,
                    "legend": index == 0,
                    "hover": f"repeat {load.repeat}: %{{y:,}} {milestone} after %{{x:.3f}} s",
                }
            )
    held_back = any(load.held_back for load in loads)
    zero = "the scheduler was started" if held_back else "the first pod was sent"
    return {"traces": traces, "x": f"seconds since {zero}", "y": "pods", "zero": held_back, "share": False}


def shown(loads: Sequence[PodLoad]) -> list[str]:
    """The three that every load has, and those beside them that any of these has."""
    always = ("created", "bound", "running")
    return [name for name in MILESTONES if name in always or any(load.stamps(name) for load in loads)]


def cumulative(metric: Metric, loads: Sequence[PodLoad]) -> dict[str, Any]:
    """Which share of the pods took at most so long; a line a repeat."""
    traces = []
    for index, load in enumerate(loads):
        values = sorted(metrics.distribution(metric, load))
        x, y = thin(values)
        traces.append(
            {
                "x": x,
                "y": [round(count / len(values), 5) for count in y],
                "name": f"repeat {load.repeat}",
                "colour": metric.milestone,
                "dash": DASHES[index % len(DASHES)],
                "group": f"repeat {load.repeat}",
                "legend": True,
                "hover": f"repeat {load.repeat}: %{{y:.1%}} within %{{x:.4f}} s",
            }
        )
    return {
        "traces": traces,
        "x": "seconds",
        "y": "share of Jobs" if metric.series else "share of pods",
        "zero": False,
        "share": True,
    }


def thin(ordered: Sequence[float], points: int = POINTS) -> tuple[list[float], list[int]]:
    """(value, how many are not above it) of at most so many of the values, the first and the last among them."""
    if len(ordered) <= points:
        indexes = list(range(len(ordered)))
    else:
        step = (len(ordered) - 1) / (points - 1)
        indexes = [round(number * step) for number in range(points)]
    return [round(ordered[index], 5) for index in indexes], [index + 1 for index in indexes]
