# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of which an observation is one repeat, and its samples are rows of one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness import samples
from harness.model import Observation, SamplesFile
from harness.reader import Gathered, Key, Reader
from harness.repeat import Repeat
from harness.samples import Columns


@dataclass(frozen=True)
class Sampled(Repeat):
    """``samples_problem``: why the rows cannot be trusted; empty when they can."""

    rows: Sequence[Mapping[str, Any]] = ()
    samples_problem: str = ""


class SampledReader(Reader):
    """``load`` is what becomes of an observation with its rows, ``columns`` the form of a row."""

    load: ClassVar[type[Sampled]]
    columns: ClassVar[Columns]

    def gather(self, run: Path, observations: Sequence[Observation]) -> Gathered:
        loads: dict[Key, list[Sampled]] = {}
        for item in observations:
            if item.kind == self.kind:
                key = (item.suite, item.scenario or "", item.subject or "")
                loads.setdefault(key, []).append(self.load(item, *samples.read_rows(run, item.samples, self.columns)))
        for repeats in loads.values():
            repeats.sort(key=lambda load: load.repeat)
        return Gathered(loads)

    def write_parquet(self, run: Path, path: str, loads: Sequence[Sampled]) -> SamplesFile | None:
        sources = [(load.repeat, load.observation.samples.path) for load in loads if load.observation.samples]
        if len(sources) < len(loads) or any(load.samples_problem for load in loads):
            return None
        return samples.write_rows(run, path, sources, self.columns)
