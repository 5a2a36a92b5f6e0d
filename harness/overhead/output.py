# SPDX-License-Identifier: GPL-3.0-or-later
"""What the suite adds to a results folder: comparison.md, and one text file an environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.model import Record
from harness.overhead import comparison, crosscheck
from harness.overhead.experiment import Experiment
from harness.overhead.reader import Judged
from harness.reader import Material
from harness.results import write_atomic

SUITE, FILE = "gpu_overhead", "comparison.md"


def write(run: Path, material: Material, records: Sequence[Record]) -> None:
    """Nothing where the suite was not part of the run."""
    experiments: dict[str, Experiment] = {}
    for (_, scenario, _), loads in material.loads.items():
        first = loads[0]
        if isinstance(first, Judged) and first.experiment is not None:
            experiments[scenario] = first.experiment
    absent = {
        (item.scenario or "", item.subject or ""): str(item.values["reason"])
        for item in material.observations
        if item.suite == SUITE and item.kind == "not_runnable"
    }
    failure = material.failures.get(SUITE)
    if not experiments and not absent and failure is None:
        return
    partial = failure.reason if failure else ""
    others = {name: crosscheck.read(run / SUITE / name / crosscheck.FOLDER) for name in experiments}
    write_atomic(run / FILE, comparison.markdown(experiments, records, absent, partial, others))
    for scenario, experiment in experiments.items():
        for variant in (experiment.native, *experiment.variants) if experiment.blocks else ():
            name = comparison.FILES.get(variant, f"{variant}-results.txt")
            write_atomic(run / SUITE / scenario / name, comparison.text_of(variant, experiment.of(variant)))
