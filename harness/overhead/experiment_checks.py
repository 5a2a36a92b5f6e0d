# SPDX-License-Identifier: GPL-3.0-or-later
"""What can only be seen of all blocks together: for one metric of one variant."""

from __future__ import annotations

from harness.model import Evidence
from harness.overhead import evidence, gates, measures
from harness.overhead.experiment import Experiment
from harness.overhead.measures import Measure

RECOVERED = "injected_overhead_recovered"


def blocks_whole(experiment: Experiment) -> Evidence:
    """Dropped blocks are told; what is left has to be something."""
    told = [f"block {number} dropped ({why})" for number, why in experiment.dropped.items()]
    seen = ", ".join([f"{len(experiment.blocks)} whole", *told])
    return Evidence("blocks_whole", "whole blocks, each with native twice", seen, bool(experiment.blocks))


def not_faster_than_native(experiment: Experiment, variant: str, measure: Measure) -> Evidence | None:
    """A layer can only add. One that seems to take away has left something out, until every byte proves otherwise."""
    decision = experiment.decisions(variant).get(measure.metric)
    if decision is None or decision.high is None or decision.noise_floor is None:
        return None
    faster = decision.high < -decision.noise_floor
    proven = all(
        evidence.bytes_verified(block[variant], block[experiment.native]).holds for block in experiment.blocks.values()
    )
    seen = "no faster"
    if faster:
        seen = f"{gates.show(-(decision.estimate or 0), measure.scale)} faster, bytes {'' if proven else 'not '}proven"
    return Evidence(
        "not_faster_than_native",
        "not faster than native beyond the noise, or every byte proven",
        seen,
        proven or not faster,
    )


def injected_overhead_recovered(experiment: Experiment) -> Evidence:
    """Of every variant with a known overhead: it lies in the interval, give or take the noise floor."""
    wrong, looked = [], 0
    for variant in experiment.variants:
        true = experiment.of(variant)[0].of_variant("true_overhead")
        for metric, decision in experiment.decisions(variant).items():
            if true is None or measures.BY_METRIC[metric].scale.name != "ratio":
                continue
            looked += 1
            floor = decision.noise_floor or 0.0
            if (
                decision.low is None
                or decision.high is None
                or not decision.low - floor <= true <= decision.high + floor
            ):
                told = "no interval" if decision.low is None else f"{decision.low:.4f} to {decision.high:.4f}"
                wrong.append(f"{variant} {metric}: {true} is not in {told}")
    seen = "; ".join(wrong) or f"{looked} of {looked}"
    return Evidence(RECOVERED, "every injected overhead in its interval", seen, looked > 0 and not wrong)


def collect(experiment: Experiment, variant: str, measure: Measure) -> tuple[Evidence, ...]:
    """All evidence of one metric of one variant."""
    found = [blocks_whole(experiment), *evidence.collect(experiment, variant)]
    faster = not_faster_than_native(experiment, variant, measure)
    if faster is not None:
        found.append(faster)
    runs = experiment.of(variant)
    if runs and RECOVERED in (runs[0].of_variant("evidence") or ()):
        found = [item for item in found if item.name != RECOVERED] + [injected_overhead_recovered(experiment)]
    if measure.once and runs:
        off = [run.block for run in runs if run.line("device", "management", "persistence") == 0]
        seen = f"off in {len(off)} of {len(runs)} runs" if off else "on"
        found.append(Evidence("persistence_on", "the driver stays loaded between processes", seen, not off))
    return tuple(found)
