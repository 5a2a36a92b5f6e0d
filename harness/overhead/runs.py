# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the probe, as its JSON Lines tell it."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.model import Observation
from harness.repeat import Repeat

Parameters = tuple[tuple[str, Any], ...]
Line = Mapping[str, Any]


@dataclass(frozen=True)
class Series:
    """The samples of one metric and its parameters; seconds of one call."""

    host: Sequence[float]
    device: Sequence[float]
    discarded: int
    calls: int

    @property
    def median(self) -> float | None:
        return statistics.median(self.host) if self.host else None

    @property
    def device_median(self) -> float | None:
        return statistics.median(self.device) if self.device else None


@dataclass(frozen=True)
class Run(Repeat):
    lines: Sequence[Line] = ()
    samples_problem: str = ""  # why the lines cannot be taken for what the role wrote

    @cached_property
    def by_kind(self) -> Mapping[str, list[Line]]:
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(str(line.get("kind")), []).append(line)
        return found

    @property
    def variant(self) -> str:
        return str(self.value("variant"))

    @property
    def block(self) -> int:
        return int(self.value("block"))

    @property
    def status(self) -> str:
        return "error" if self.samples_problem else str(self.value("status"))

    @property
    def reason(self) -> str:
        return self.samples_problem or str(self.value("reason") or "it did not end well")

    def of_variant(self, *path: str) -> Any:
        """What the variant says of itself."""
        return dig(self.parameters.get("variant"), path)

    def of_experiment(self, *path: str) -> Any:
        return dig(self.parameters.get("experiment"), path)

    def line(self, kind: str, *path: str) -> Any:
        """Something of the last line of a kind; None where there is none."""
        lines = self.by_kind.get(kind)
        return dig(lines[-1], path) if lines else None

    @cached_property
    def series(self) -> Mapping[str, Mapping[Parameters, Series]]:
        """By metric and parameters."""
        groups: dict[tuple[str, Parameters], list[Line]] = {}
        for line in self.by_kind.get("sample", ()):
            groups.setdefault((str(line["metric"]), tuple(sorted(line["parameters"].items()))), []).append(line)
        found: dict[str, dict[Parameters, Series]] = {}
        for (metric, parameters), lines in groups.items():
            kept = [line for line in lines if line["discarded"] is None]
            host = [line["host_seconds"] / line["calls"] for line in kept if line["host_seconds"] is not None]
            device = [line["device_seconds"] / line["calls"] for line in kept if line["device_seconds"] is not None]
            found.setdefault(metric, {})[parameters] = Series(host, device, len(lines) - len(kept), lines[0]["calls"])
        return found

    def all_of(self, metric: str, **wanted: Any) -> list[tuple[Mapping[str, Any], Series]]:
        return [
            (dict(parameters), series)
            for parameters, series in self.series.get(metric, {}).items()
            if wanted.items() <= dict(parameters).items()
        ]


def dig(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def read(folder: Path, observation: Observation) -> Run:
    """A run with its samples, or with why they cannot be used."""
    reference = observation.samples
    if reference is None:
        return Run(
            observation, samples_problem="" if observation.values.get("status") != "complete" else "it has no samples"
        )
    try:
        data = (folder / reference.path).read_bytes()
    except OSError as error:
        return Run(observation, samples_problem=f"its samples cannot be read: {error.strerror}")
    if hashlib.sha256(data).hexdigest() != reference.sha256:
        return Run(observation, samples_problem="its samples are not those that were written down")
    try:
        lines = [json.loads(line) for line in data.decode("utf-8").splitlines()]
    except ValueError:
        return Run(observation, samples_problem="its samples are not JSON Lines")
    if len(lines) != reference.rows:
        return Run(observation, samples_problem=f"its samples have {len(lines)} lines of {reference.rows}")
    return Run(observation, lines)
