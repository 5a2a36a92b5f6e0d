# SPDX-License-Identifier: GPL-3.0-or-later
"""From native to two layers at once: what each adds alone, and what they add only together."""

from __future__ import annotations

from dataclasses import dataclass

from harness.overhead import statistics
from harness.overhead.experiment import Experiment
from harness.overhead.measures import Measure
from harness.overhead.statistics import FEWEST_BLOCKS, Floats, Scale


@dataclass(frozen=True)
class Step:
    name: str
    effect: float
    low: float
    high: float


@dataclass(frozen=True)
class Waterfall:
    """Ratios are steps of the logarithm, told as shares: one after the other they multiply to the whole."""

    measure: Measure
    steps: tuple[Step, ...]
    whole: Step


def of(experiment: Experiment, measure: Measure) -> list[Waterfall]:
    """One for every variant of two layers whose layers were also measured alone."""
    layers = {name: tuple(experiment.of(name)[0].of_variant("layers") or ()) for name in experiment.variants}
    alone = {found[0]: name for name, found in layers.items() if len(found) == 1}
    result = []
    for name, found in layers.items():
        if len(found) != 2 or not all(layer in alone for layer in found) or len(experiment.blocks) < FEWEST_BLOCKS:
            continue
        singles = [experiment.compared(measure, alone[layer]) for layer in found]
        both = experiment.compared(measure, name)
        if both is None or singles[0] is None or singles[1] is None:
            continue
        effects = [singles[0], singles[1], both - singles[0] - singles[1]]
        names = [*found, f"{found[0]} × {found[1]}"]
        steps = tuple(_step(title, values, measure.scale) for title, values in zip(names, effects, strict=True))
        result.append(Waterfall(measure, steps, _step(name, both, measure.scale)))
    return result


def _step(name: str, values: Floats, scale: Scale) -> Step:
    low, high = statistics.interval(values)
    return Step(name, float(scale.told(float(values.mean()))), float(scale.told(low)), float(scale.told(high)))
