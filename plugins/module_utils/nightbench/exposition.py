# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a page of metrics in Prometheus' text format. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import ConfigurationError

TYPES = frozenset({"counter", "gauge", "histogram", "summary", "untyped"})
#: What a summary or histogram writes beside its own name.
SUFFIXES = ("_sum", "_count", "_bucket")
_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)(?:\s+-?\d+)?$")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPED = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}


@dataclass(frozen=True)
class Sample:
    name: str
    labels: Mapping[str, str]
    value: float


@dataclass
class Family:
    """All samples of one metric; those of a summary have its name, or that with _sum and _count."""

    name: str
    type: str = "untyped"
    samples: list[Sample] = field(default_factory=list)

    def total(self, **labels: str) -> float | None:
        """The sum over all samples of its own name that have these labels; None without any."""
        found = [
            sample.value
            for sample in self.samples
            if sample.name == self.name and all(sample.labels.get(name) == value for name, value in labels.items())
        ]
        return sum(found) if found else None

    def part(self, suffix: str) -> float | None:
        """The sum of a summary's `_sum` or `_count`."""
        found = [sample.value for sample in self.samples if sample.name == self.name + suffix]
        return sum(found) if found else None

    def by(self, label: str) -> dict[str, float]:
        """value of the label → sum."""
        found: dict[str, float] = {}
        for sample in self.samples:
            if sample.name == self.name and label in sample.labels:
                value = sample.labels[label]
                found[value] = found.get(value, 0.0) + sample.value
        return found


Page = Mapping[str, Family]


def parse(text: str, source: str = "the page") -> Page:
    """metric → its family. Raise ConfigurationError for a line that is none, naming it."""
    families: dict[str, Family] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line:
            continue
        if line.startswith("#"):
            _comment(line, families)
            continue
        sample = _sample(line, f"{source}:{number}")
        family = families.get(_family_name(sample.name, families))
        if family is None:
            family = families.setdefault(sample.name, Family(sample.name))
        family.samples.append(sample)
    if not any(family.samples for family in families.values()):
        raise ConfigurationError(f"{source} has no metric in it", hint="a page of metrics has lines like `name 1`")
    return families


def _comment(line: str, families: dict[str, Family]) -> None:
    words = line.split(None, 3)
    if len(words) == 4 and words[1] == "TYPE" and words[3] in TYPES:
        families.setdefault(words[2], Family(words[2])).type = words[3]


def _family_name(name: str, families: Mapping[str, Family]) -> str:
    for suffix in SUFFIXES:
        base = name.removesuffix(suffix)
        if base != name and base in families and families[base].type in ("summary", "histogram"):
            return base
    return name


def _sample(line: str, where: str) -> Sample:
    found = _SAMPLE.match(line)
    if found is None:
        raise ConfigurationError(f"{where} is no line of metrics: {line[:80]!r}")
    try:
        value = float(found["value"])
    except ValueError as error:
        raise ConfigurationError(f"{where}: {found['value']!r} is no number") from error
    return Sample(found["name"], _labels(found["labels"] or "", where), value)


def _labels(text: str, where: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    at = 0
    while text[at:].strip():
        found = _LABEL.match(text, at)
        if found is None:
            raise ConfigurationError(f"{where}: {text[at:][:60]!r} is no label")
        labels[found[1]] = re.sub(r'\\[n"\\]', lambda escape: _ESCAPED[escape[0]], found[2])
        at = found.end()
    return labels
