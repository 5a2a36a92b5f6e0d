# SPDX-License-Identifier: GPL-3.0-or-later
"""Other tools' results of the same experiment: beside the probe's values, and what a variant costs by them and by it.

A file of each variant lies in a folder of its name. What a tool measures that the probe does not (a kernel of
cuda-bench, a model under LoadGen) has no counterpart in one variant; how much slower it is in another one has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import units
from harness.errors import UsageError
from harness.overhead import measures, other_tools
from harness.overhead.experiment import Experiment
from harness.overhead.other_tools import AGREE, Compared, Value

FOLDER = "other_tools"
#: What a tool's overhead is held against: that of the metric which is closest to what it does.
CLOSEST = {
    "nvbandwidth": "gpu_copy_pinned_overhead_ratio",
    "cuda-bench": "gpu_gemm_overhead_ratio",
    "LoadGen": "gpu_application_overhead_ratio",
}
HEADINGS = ("variant", "tool", "what", "its value", "the probe's", "")
RATES = ("bytes/s", "1/s")


@dataclass(frozen=True)
class Found:
    """By variant what its files say, and why those that say nothing do not."""

    values: Mapping[str, Sequence[Value]]
    problems: Mapping[str, str]

    def __bool__(self) -> bool:
        return bool(self.values or self.problems)


def read(folder: Path) -> Found:
    """Every file below folder/VARIANT/; none where there is no such folder."""
    values: dict[str, list[Value]] = {}
    problems = {}
    for path in sorted(folder.glob("*/*")):
        try:
            values.setdefault(path.parent.name, []).extend(other_tools.read(path))
        except UsageError as error:
            problems[f"{path.parent.name}/{path.name}"] = str(error).splitlines()[0]
    return Found({name: found for name, found in values.items() if found}, problems)


def rows(experiment: Experiment, found: Found) -> list[list[str]]:
    """Values of every variant, then what the variants cost, then what could not be read."""
    result = []
    for variant, values in found.values.items():
        told = other_tools.rows(other_tools.compare(values, experiment.of(variant)))
        result += [[variant, *row] for row in told]
    native = found.values.get(experiment.native, ())
    for variant, values in found.values.items():
        result += [[variant, *_overhead_row(one)] for one in overheads(experiment, variant, values, native)]
    return result + [[name, "–", "–", "–", "–", problem] for name, problem in found.problems.items()]


def overheads(experiment: Experiment, variant: str, values: Sequence[Value], native: Sequence[Value]) -> list[Compared]:
    """How much slower the variant is by each tool that has measured both, beside how much by the probe."""
    base = {(one.tool, one.name): one for one in native if not one.problem and one.value > 0}
    result = []
    for one in values:
        before = base.get((one.tool, one.name))
        if variant == experiment.native or before is None or one.problem or one.value <= 0:
            continue
        factor = before.value / one.value if one.unit in RATES else one.value / before.value
        ours = _ours(experiment, variant, CLOSEST[one.tool])
        agrees = None if ours is None else abs(factor / (1 + ours) - 1) <= AGREE
        result.append(Compared(Value(one.tool, f"overhead of {one.name}", factor - 1, "ratio"), ours, agrees))
    return result


def _ours(experiment: Experiment, variant: str, metric: str) -> float | None:
    measure = measures.BY_METRIC[metric]
    compared = experiment.compared(measure, variant) if experiment.of(variant) else None
    return None if compared is None else float(measure.scale.told(float(compared.mean())))


def _overhead_row(one: Compared) -> list[str]:
    words = {True: "agree", False: "**disagree**", None: "the probe has no such overhead"}
    ours = units.MISSING if one.ours is None else units.show(one.ours, "ratio")
    return [one.value.tool, one.value.name, units.show(one.value.value, "ratio"), ours, words[one.agrees]]
