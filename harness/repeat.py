# SPDX-License-Identifier: GPL-3.0-or-later
"""One repeat of a scenario, whatever its kind: what its observation claims, and what the machine did meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness import units
from harness.model import Observation

OTHER_LOAD_TOLD = 0.05  # of the machine
STEAL_TOLD = 0.02


@dataclass(frozen=True)
class Repeat:
    """Values that the observation does not give are None: evidence that needs them does not hold."""

    observation: Observation

    @property
    def repeat(self) -> int:
        return self.observation.repeat or 0

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.observation.parameters

    def value(self, *path: str) -> Any:
        """values.a.b of the observation, or None where anything on the way is absent."""
        found: Any = self.observation.values
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    def number(self, *path: str) -> float | None:
        found = self.value(*path)
        return float(found) if isinstance(found, (int, float)) and not isinstance(found, bool) else None

    def cores_used(self, process: str) -> float | None:
        """By the machine's own account, or what a cluster's Prometheus says of it."""
        ratio, cpus = (
            self.number("machine", "processes", process, "cpu_ratio_of_machine"),
            self.number("machine", "cpus"),
        )
        if ratio is None or cpus is None:
            return self.number("component_cores", process)
        return ratio * cpus

    @property
    def busiest(self) -> tuple[str, float] | None:
        """The process that used most of the machine in the window, and its share."""
        processes = self.value("machine", "processes")
        if not isinstance(processes, Mapping):
            return None
        shares = {name: self.number("machine", "processes", name, "cpu_ratio_of_machine") for name in processes}
        known = {name: share for name, share in shares.items() if share is not None}
        return max(known.items(), key=lambda item: item[1]) if known else None


def worst(repeats: Sequence[Repeat], *path: str) -> float | None:
    return max((value for one in repeats if (value := one.number("machine", *path)) is not None), default=None)


def machine_parameters(repeats: Sequence[Repeat]) -> dict[str, Any]:
    """Of each the worst repeat: what disturbs one of them disturbs the mean."""
    names = ("cpu_busy_ratio", "steal_ratio", "other_cpu_ratio", "throttled_seconds")
    pressure = {name: worst(repeats, "pressure", name) for name in ("cpu", "io", "memory")}
    return {"cpus": worst(repeats, "cpus"), **{name: worst(repeats, name) for name in names}, "pressure": pressure}


def machine_notes(repeats: Sequence[Repeat], *, other: bool = True) -> list[str]:
    """What a reader should know of the machine although the evidence holds; `other`: whether the load is told apart."""
    found = []
    elsewhere, steal = worst(repeats, "other_cpu_ratio") or 0.0, worst(repeats, "steal_ratio") or 0.0
    if other and elsewhere > OTHER_LOAD_TOLD:
        found.append(f"Other work took up to {units.show(elsewhere, 'ratio')} of the machine.")
    if steal > STEAL_TOLD:
        found.append(f"Up to {units.show(steal, 'ratio')} of the processors' time was stolen.")
    throttled = worst(repeats, "throttled_seconds") or 0.0
    if throttled > 0:
        found.append(f"The cgroup's quota held processes back for up to {units.show(throttled, 's')}.")
    return found
