# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done with a workload, step by step, and what each step waits for. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import arrivals_plan
from .errors import ConfigurationError

ACTIONS = ("apply", "trigger", "patch", "evict", "delete", "claim")
#: Of pods, but `finished`: Jobs whose condition Complete or Failed is true. `metered`: the metrics API tells their use.
STATES = ("running", "ready", "completed", "gone", "metered", "finished")
MOST_COPIES = 5000
MOST_SECONDS = 3600.0


@dataclass(frozen=True)
class Until:
    """`count` pods (or Jobs) with these labels in this state; `new` counts only those made since the step began."""

    state: str
    count: int
    labels: Mapping[str, str] = field(default_factory=dict)
    new: bool = False


@dataclass(frozen=True)
class Step:
    """One action; `objects` are written Kind/name, and `labels` choose pods."""

    name: str
    action: str
    until: Until
    objects: Sequence[str] = ()
    copies: int = 0
    moments: Sequence[float] = ()
    after_seconds: float = 0.0
    within_seconds: float = 0.0
    patch: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    count: int = 0

    @property
    def asked(self) -> int:
        """How many objects it sends or changes; 0 where only the cluster knows."""
        if self.action in ("evict", "delete", "claim"):
            return self.count
        return len(self.objects) * max(1, self.copies)


def steps_of(items: Sequence[Mapping[str, Any]]) -> list[Step]:
    """The steps as data; raises ConfigurationError for what means nothing."""
    found = [_step(item) for item in items]
    names = [step.name for step in found]
    if not found or len(set(names)) < len(names):
        raise ConfigurationError(f"steps: at least one is needed, and each name once; there are {names}.")
    return found


def document(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """What would be done."""
    return [
        {
            "name": step.name,
            "action": step.action,
            "asked": step.asked,
            "after_seconds": step.after_seconds,
            "within_seconds": step.within_seconds,
            "until": vars(step.until),
        }
        for step in steps
    ]


def _step(item: Mapping[str, Any]) -> Step:
    name, action = item["name"], item["action"]
    until = Until(**{key: value for key, value in item["until"].items() if value is not None})
    where = f"step {name}"
    if until.count < 0 or (until.count == 0 and until.state != "gone"):
        raise ConfigurationError(f"{where}: until.count is {until.count}; nothing would be waited for.")
    copies, moments = int(item.get("copies") or 0), _moments(item.get("arrivals") or {}, int(item.get("copies") or 0))
    if copies < 0 or copies > MOST_COPIES:
        raise ConfigurationError(f"{where}: {copies} copies; at most {MOST_COPIES}.")
    after, within = (float(item.get(key) or 0.0) for key in ("after_seconds", "within_seconds"))
    for key, seconds in (("after_seconds", after), ("within_seconds", within)):
        if not 0 <= seconds <= MOST_SECONDS:
            raise ConfigurationError(f"{where}: {key} is {seconds:g}; it is 0 to {MOST_SECONDS:g}.")
    objects, labels = item.get("objects") or [], item.get("labels") or {}
    if action in ("trigger", "patch") and not objects:
        raise ConfigurationError(f"{where}: {action} needs objects, each as Kind/name.")
    if action in ("evict", "delete", "claim") and (not labels or not item.get("count")):
        raise ConfigurationError(f"{where}: {action} needs the labels of pods and their count.")
    if action in ("patch", "claim") and not item.get("patch"):
        raise ConfigurationError(f"{where}: {action} needs a patch.")
    return Step(
        name=name,
        action=action,
        until=until,
        objects=objects,
        copies=copies,
        moments=moments,
        after_seconds=after,
        within_seconds=within,
        patch=item.get("patch") or {},
        labels=labels,
        count=int(item.get("count") or 0),
    )


def _moments(arrivals: Mapping[str, Any], copies: int) -> list[float]:
    """When each copy is due, in seconds after the step began; all at once where nothing is said."""
    if moments := arrivals.get("moments"):
        if len(moments) != copies:
            raise ConfigurationError(f"arrivals: {len(moments)} moments for {copies} copies.")
        return sorted(float(moment) for moment in moments)
    return arrivals_plan.moments(arrivals, copies) if arrivals else [0.0] * copies
