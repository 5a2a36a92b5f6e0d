# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of a GPU benchmark as published in text, and what such a text can and cannot show.

The published program allocates and releases memory, copies once each way and launches no kernel. Each finding is worked
out from the text itself; what the text does not say is said to be missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import binom

from harness import stats, units
from harness.errors import UsageError
from harness.overhead.plausibility import LINK

NUMBER = r"([0-9][0-9,]*(?:\.[0-9]+)?)"
# Field → how its line looks; the first line that fits counts, as later ones repeat it as objectives.
FIELDS: Mapping[str, str] = {
    "throughput": rf"^Throughput:\s*{NUMBER}\s*ops/sec",
    "samples_per_second": rf"^Throughput:\s*{NUMBER}\s*samples/second",
    "mean_milliseconds": rf"^Average Latency:\s*{NUMBER}\s*ms",
    "p50_milliseconds": rf"^p50[^:]*:\s*{NUMBER}\s*ms",
    "p90_milliseconds": rf"^p90[^:]*:\s*{NUMBER}\s*ms",
    "p99_milliseconds": rf"^p99[^:]*:\s*{NUMBER}\s*ms",
    "to_device": rf"^(?:Host to Device|Memory Bandwidth):\s*{NUMBER}\s*GB/s",
    "from_device": rf"^(?:Device to Host:|Memory Bandwidth:.*,)\s*{NUMBER}\s*GB/s",
    "copied_megabytes": rf"^Test Size:\s*{NUMBER}\s*MB",
    "allocated_megabytes": rf"^Allocation Size:\s*{NUMBER}\s*MB",
    "iterations": rf"^Iterations:\s*{NUMBER}",
    "samples": rf"^Samples:\s*{NUMBER}",
}
WORDS: Mapping[str, str] = {
    "location": r"^Location:\s*(.+)$",
    "device": r"^GPU:\s*(.+)$",
    "execution": r"^\W*Execution:\s*(.+)$",
    "link": r"PCIe ([1-6])\.0 x(\d+)",
}
MARKUP = re.compile(r"^[ \t]*[-*][ \t]+|\*\*|`", re.MULTILINE)
RENTED = re.compile(r"(?i)\b(GCP|Google|AWS|Amazon|Azure)\b")
#: Higher is better of these; of the others lower.
HIGHER = {"throughput", "samples_per_second", "to_device", "from_device"}
COMPARED = (
    *("throughput", "samples_per_second", "mean_milliseconds", "p50_milliseconds", "p90_milliseconds"),
    *("p99_milliseconds", "to_device", "from_device"),
)


@dataclass(frozen=True)
class TextResult:
    name: str
    numbers: Mapping[str, float]
    words: Mapping[str, tuple[str, ...]]

    def word(self, name: str) -> str:
        return self.words[name][0] if name in self.words else ""


def read(path: Path) -> TextResult:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"read {path}: {error}") from error
    # A page about results has the same lines as items of a list.
    text = MARKUP.sub("", text)
    numbers = {name: float(found[1].replace(",", "")) for name, line in FIELDS.items() if (found := _find(line, text))}
    words = {name: found.groups() for name, line in WORDS.items() if (found := _find(line, text))}
    if not numbers:
        raise UsageError(
            f"{path}: nothing in it reads like a result",
            hint="Lines like 'Throughput: 6,977 ops/sec', 'Host to Device: 4.31 GB/s' or 'p99: 0.198 ms'.",
        )
    return TextResult(path.name, numbers, words)


def _find(line: str, text: str) -> re.Match[str] | None:
    return re.search(line, text, re.MULTILINE)


def shows(result: TextResult) -> list[str]:
    """What the numbers are."""
    found, n = [], result.numbers
    if "throughput" in n:
        size = f" of {n['allocated_megabytes']:g} MB" if "allocated_megabytes" in n else ""
        count = f" ({n['iterations']:,.0f} in one interval)" if "iterations" in n else ""
        found.append(f"{units.digits(n['throughput'])} allocations{size} with their release a second{count}")
    for name, way in (("to_device", "to the device"), ("from_device", "from the device")):
        if name in n:
            size = f" of {n['copied_megabytes']:g} MB" if "copied_megabytes" in n else ""
            found.append(f"one pageable copy{size} {way}: {n[name]:g} as printed, {n[name] * 2**30 / 1e9:.3g} GB/s")
    for name in ("p50", "p90", "p99"):
        if f"{name}_milliseconds" in n:
            found.append(f"{name} {n[f'{name}_milliseconds']:g} ms of an allocation with its release")
    if "samples_per_second" in n:
        found.append(f"{n['samples_per_second']:g} samples a second of a model")
    return found


def cannot_show(result: TextResult) -> list[str]:
    return [text for check in CHECKS if (text := check(result))]


def _computes_nothing(result: TextResult) -> str:
    if "throughput" not in result.numbers:
        return ""
    return (
        "What an application loses: no kernel is launched. A rate of allocations is what a layer in between slows "
        "most, so objectives of 1, 5 and 10 % for applications do not fit it."
    )


def _mean_is_the_rate(result: TextResult) -> str:
    rate, mean = result.numbers.get("throughput"), result.numbers.get("mean_milliseconds")
    if not rate or mean is None or abs(1e3 / rate - mean) > 0.05 * mean:
        return ""
    return f"A second quantity: the mean of {mean:g} ms is 1 / {units.digits(rate)} s, the same interval again."


def _one_copy(result: TextResult) -> str:
    if not {"to_device", "from_device"} & set(result.numbers):
        return ""
    return (
        "The link: one copy each way, pageable and not warmed up, is the rate of the staging buffer. Pinned memory, "
        "sizes and repeats are missing, and what is printed as GB/s was divided by 2^30."
    )


def _link_too_narrow(result: TextResult) -> str:
    if "link" not in result.words:
        return ""
    generation, width = (int(part) for part in result.words["link"])
    rate, share = LINK[generation]
    most = rate * share * width / 8
    fastest = max(result.numbers.get(name, 0.0) for name in ("to_device", "from_device")) * 2**30
    if fastest <= most:
        return ""
    return (
        f"That the link is PCIe {generation}.0 x{width}: it carries {most / 1e9:.3g} GB/s at most, and "
        f"{fastest / 1e9:.3g} GB/s were copied."
    )


def _quantiles(result: TextResult) -> str:
    count = result.numbers.get("samples")
    told = [name for name in ("p50", "p90", "p99") if f"{name}_milliseconds" in result.numbers]
    few = [name for name in told if count is not None and count < stats.FEWEST_SAMPLES[name]]
    if count is None or not few:
        return "How many samples the quantiles are of: the text does not say." if told and count is None else ""
    name = few[-1]
    low, high = (int(binom.ppf(level, int(count), stats.QUANTILES[name])) for level in (0.025, 0.975))
    return (
        f"A {name}: it needs {stats.FEWEST_SAMPLES[name]} samples and is of {count:.0f}. With 95 % confidence it lies "
        f"between sample {low} and sample {min(high + 1, int(count))} of {count:.0f}."
    )


def _bare_metal(result: TextResult) -> str:
    place = result.word("location")
    if RENTED.search(place):
        return f"Bare metal: {place} is a rented VM, its GPU passed through by somebody else's hypervisor."
    return "Bare metal: only NVML's virtualization mode says that, and it is not in the text."


def _not_the_gpu(result: TextResult) -> str:
    how = result.word("execution")
    return f"A GPU: it ran on the {how}" if how.upper().startswith("CPU") else ""


def _one_run(result: TextResult) -> str:
    return (
        "An overhead: one run has no interval. Two runs of the same thing that differ by 1 % are usual; to certify "
        "less than 1 % takes 26 pairs at a spread of 1 %."
    )


CHECKS: tuple[Callable[[TextResult], str], ...] = (
    _not_the_gpu,
    _computes_nothing,
    _mean_is_the_rate,
    _one_copy,
    _link_too_narrow,
    _quantiles,
    _bare_metal,
    _one_run,
)


def overheads(baseline: TextResult, other: TextResult) -> list[tuple[str, float, float, float]]:
    """(field, baseline, other, share that is lost) of every number that both have; rounded only when it is printed."""
    found = []
    for name in COMPARED:
        before, after = baseline.numbers.get(name), other.numbers.get(name)
        if before and after:
            lost = before / after - 1 if name in HIGHER else after / before - 1
            found.append((name, before, after, lost))
    return found
