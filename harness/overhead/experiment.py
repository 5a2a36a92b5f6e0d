# SPDX-License-Identifier: GPL-3.0-or-later
"""The runs of one scenario as an experiment: whole blocks, what was dropped and why, and what each variant costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.errors import UsageError
from harness.overhead import gates, measures, sequential
from harness.overhead.gates import Decision, Gate
from harness.overhead.measures import Measure
from harness.overhead.runs import Run
from harness.overhead.statistics import Floats, native_of


@dataclass(frozen=True)
class Experiment:
    native: str
    again: str
    blocks: Mapping[int, Mapping[str, Run]]  # whole ones, by number
    dropped: Mapping[int, str]
    runs: Sequence[Run]
    _decisions: dict[str, dict[str, Decision]] = field(default_factory=dict)

    @property
    def variants(self) -> list[str]:
        """Those that are compared with native, in the order in which they were first seen."""
        named = dict.fromkeys(run.variant for run in self.runs)
        return [name for name in named if name != self.native and any(name in block for block in self.blocks.values())]

    def of(self, variant: str) -> list[Run]:
        """Its runs in whole blocks."""
        return [block[variant] for block in self.blocks.values() if variant in block]

    def values(self, measure: Measure, variant: str) -> list[float | None]:
        return [measure.value(run) for run in self.of(variant)]

    def compared(self, measure: Measure, variant: str) -> Floats | None:
        """Block by block; None where a run does not give the value. Native again is compared with native alone."""
        first, again, other = (self._array(measure, name) for name in (self.native, self.again, variant))
        if first is None or again is None or other is None:
            return None
        base = first if variant == self.again else native_of(first, again, measure.scale)
        return measure.scale.compare(other, base)

    def _array(self, measure: Measure, variant: str) -> Floats | None:
        found = self.values(measure, variant)
        return None if not found or None in found else np.array(found, dtype=np.float64)

    def decisions(self, variant: str) -> Mapping[str, Decision]:
        """By metric, every gate of the variant; all of them pay for each other."""
        if variant not in self._decisions:
            self._decisions[variant] = self._decide(variant)
        return self._decisions[variant]

    def _decide(self, variant: str) -> dict[str, Decision]:
        runs = self.of(variant)
        if not runs:
            return {}
        objectives = runs[0].of_variant("objectives") or {}
        found = []
        for measure in measures.TABLE:
            compared, again = self.compared(measure, variant), self.compared(measure, self.again)
            if measure.kind in objectives and compared is not None and again is not None:
                found.append(Gate(measure.metric, float(objectives[measure.kind]), compared, again, measure.scale))
        planned = runs[0].of_experiment("looks") or sequential.LOOKS
        alpha = runs[0].of_experiment("alpha") or sequential.ALPHA
        return {one.gate.name: one for one in gates.decide(found, planned, float(alpha))}

    @property
    def seconds(self) -> float:
        """What all runs took, those of dropped blocks too: all of them were paid for."""
        return sum(float(run.value("seconds") or 0) for run in self.runs)


def build(runs: Sequence[Run]) -> Experiment:
    """All runs of one scenario. Without native runs nothing is compared with anything: that is an error."""
    if not runs:
        raise UsageError("no run of the probe: there is nothing to compare")
    native, again = runs[0].of_experiment("native"), runs[0].of_experiment("again")
    for name in (native, again):
        if not any(run.variant == name for run in runs):
            raise UsageError(
                f"no run of the baseline '{name}': what it costs cannot be told without it",
                hint="Both native variants belong to every block; let the experiment run whole.",
            )
    able = {run.variant for run in runs if run.status != "not_runnable"}
    numbered: dict[int, dict[str, list[Run]]] = {}
    for run in runs:
        numbered.setdefault(run.block, {}).setdefault(run.variant, []).append(run)
    whole, dropped = {}, {}
    for number, block in sorted(numbered.items()):
        # A block that was run again counts as it was the last time.
        last = {name: found[-1] for name, found in block.items() if name in able}
        why = _why_dropped(last, able)
        if why:
            dropped[number] = why
        else:
            whole[number] = last
    return Experiment(str(native), str(again), whole, dropped, tuple(runs))


def _why_dropped(block: Mapping[str, Run], able: set[str]) -> str:
    missing = sorted(able - block.keys())
    if missing:
        return f"without {', '.join(missing)}"
    for name, run in block.items():
        if run.status != "complete":
            return f"{name}: {run.reason}"
    boots = {run.value("boot_id") for run in block.values()}
    return "the host was started anew in it" if len(boots) > 1 else ""
