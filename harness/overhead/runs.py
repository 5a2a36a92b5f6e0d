# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the probe, as its JSON Lines tell it."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.model import Observation

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
class Run:
    observation: Observation
    lines: Sequence[Line] = ()
    problem: str = ""  # why the lines cannot be taken for what the role wrote
    by_kind: Mapping[str, list[Line]] = field(init=False)

    def __post_init__(self) -> None:
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(str(line.get("kind")), []).append(line)
        object.__setattr__(self, "by_kind", found)

    @property
    def variant(self) -> str:
        return str(self.observation.values["variant"])

    @property
    def block(self) -> int:
        return int(self.observation.values["block"])

    @property
    def complete(self) -> bool:
        return self.observation.values.get("status") == "complete" and not self.problem

    @property
    def reason(self) -> str:
        return self.problem or str(self.observation.values.get("reason") or "it did not end well")

    def value(self, *path: str) -> Any:
        """Something of the observation; None where it says nothing."""
        return dig(self.observation.values, path)

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
        return Run(observation, problem="" if observation.values.get("status") != "complete" else "it has no samples")
    try:
        data = (folder / reference.path).read_bytes()
    except OSError as error:
        return Run(observation, problem=f"its samples cannot be read: {error.strerror}")
    if hashlib.sha256(data).hexdigest() != reference.sha256:
        return Run(observation, problem="its samples are not those that were written down")
    try:
        lines = [json.loads(line) for line in data.decode("utf-8").splitlines()]
    except ValueError:
        return Run(observation, problem="its samples are not JSON Lines")
    if len(lines) != reference.rows:
        return Run(observation, problem=f"its samples have {len(lines)} lines of {reference.rows}")
    return Run(observation, lines)
