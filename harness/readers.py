# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reads which kind of observation: one row a kind. A further suite adds its row here and files of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.churn.reader import ChurnReader
from harness.felix.reader import FelixReader
from harness.mesh.reader import MeshReader
from harness.model import BoundBy, Observation
from harness.nodes.reader import NodesReader
from harness.overhead.reader import OverheadReader
from harness.pod_load_reader import PodLoadReader
from harness.policy.reader import PolicyReader
from harness.reader import Gathered, Key, Reader, Words
from harness.repeat import Repeat
from harness.requests.reader import RequestReader
from harness.workload.reader import WorkloadReader

TABLE: tuple[Reader, ...] = (
    PodLoadReader(),
    MeshReader(),
    OverheadReader(),
    PolicyReader(),
    ChurnReader(),
    NodesReader(),
    FelixReader(),
    WorkloadReader(),
    RequestReader(),
)

_BY_KIND: Mapping[str, Reader] = {reader.kind: reader for reader in TABLE}
_WORDS: Mapping[tuple[str, str], Words] = {name: words for reader in TABLE for name, words in reader.words.items()}


def gather(run: Path, observations: Sequence[Observation]) -> Gathered:
    """What every reader finds; a scenario and subject are of one kind."""
    loads: dict[Key, Sequence[Repeat]] = {}
    confirmations: list[Repeat] = []
    for reader in TABLE:
        found = reader.gather(run, observations)
        loads |= found.loads
        confirmations += found.confirmations
    return Gathered(loads, confirmations)


def of(loads: Sequence[Repeat]) -> Reader:
    """The reader of these repeats; there has to be one at least."""
    return _BY_KIND[loads[0].observation.kind]


def consequence(evidence: str, loads: Sequence[Repeat]) -> str:
    """What follows when this evidence does not hold; evidence nobody here knows has to hold as well."""
    found = of(loads).consequences if loads else {}
    return found.get(evidence, "invalid")


def words(bound: BoundBy | None) -> Words | None:
    """How a reader of its own puts this limit; None for those that all suites have."""
    if bound is None:
        return None
    return next((_WORDS[bound.kind, name] for name in bound.limit or {} if (bound.kind, name) in _WORDS), None)
