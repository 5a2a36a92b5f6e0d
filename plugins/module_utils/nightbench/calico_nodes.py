# SPDX-License-Identifier: GPL-3.0-or-later
"""How many nodes a run really has: asked for, existing, Ready and streaming from Typha, each a number of its own. Pure.

A fake node is a Node object that somebody plays; only one for which a client streams from Typha weighs on Calico like a
real one. Both count for the operator, which starts a Typha for every 200 schedulable nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .calico_formulas import SYNCERS, typha_connection_limit, typha_count
from .calico_metrics import TyphaState

REAL, FAKE = "real", "fake"
KINDS = (REAL, FAKE)


@dataclass(frozen=True)
class Asked:
    """clients: nodes, real and fake, that stream from Typha, or how many of each syncer; None where nobody was to."""

    real: int
    fake: int
    clients: int | Mapping[str, int] | None = None

    @property
    def streaming(self) -> Mapping[str, int]:
        return self.clients if isinstance(self.clients, Mapping) else dict.fromkeys(SYNCERS, self.clients or 0)


@dataclass(frozen=True)
class NodeCounts:
    """`problems` is empty when every column says what was asked for."""

    columns: Mapping[str, Mapping[str, int]]  # asked, existing, ready and schedulable, each of real, fake and all
    streaming: Mapping[str, int]  # syncer → clients, over all Typhas
    typhas: int | None
    expected_typhas: int
    connection_limit: int | None
    most_connections: int | None
    dropped: float
    problems: Sequence[str]

    @property
    def holds(self) -> bool:
        return not self.problems


def count(
    asked: Asked, nodes: Sequence[Mapping[str, Any]], typhas: Sequence[TyphaState] | None, label: tuple[str, str]
) -> NodeCounts:
    """`label` is the key and the value by which fake nodes are known; `typhas` is None where none was looked at."""
    columns = {
        "asked": _row(asked.real, asked.fake),
        "existing": _counted(nodes, label, lambda node: True),
        "ready": _counted(nodes, label, is_ready),
        "schedulable": _counted(nodes, label, lambda node: not node.get("spec", {}).get("unschedulable")),
    }
    streaming = {syncer: sum(state.streaming.get(syncer, 0) for state in typhas or []) for syncer in SYNCERS}
    expected = typha_count(columns["schedulable"]["all"])
    there = len(typhas) if typhas is not None else None
    limit = typha_connection_limit(columns["schedulable"]["all"], there) if there else None
    most = max((state.active for state in typhas), default=0) if typhas is not None else None
    problems = [*_unequal(columns, "existing", "asked"), *_unequal(columns, "ready", "existing")]
    if asked.clients is not None:
        problems += _of_typha(asked.streaming, streaming, there, expected, most, limit)
    return NodeCounts(
        columns, streaming, there, expected, limit, most, sum(state.dropped for state in typhas or []), problems
    )


def _of_typha(
    wanted: Mapping[str, int],
    streaming: Mapping[str, int],
    there: int | None,
    expected: int,
    most: int | None,
    limit: int | None,
) -> list[str]:
    if not there:
        return [f"{max(wanted.values()):,} nodes were to stream from Typha, and no Typha was looked at"]
    problems = [
        f"{found:,} nodes stream {syncer} from Typha, {wanted[syncer]:,} were asked for"
        for syncer, found in streaming.items()
        if found != wanted[syncer]
    ]
    if there != expected:
        problems.append(f"{there} Typhas, the operator wants {expected} for so many nodes")
    if most is not None and limit is not None and most > limit:
        problems.append(f"a Typha has {most:,} connections, its limit is {limit:,}")
    return problems


def _unequal(columns: Mapping[str, Mapping[str, int]], what: str, to: str) -> list[str]:
    return [
        f"{columns[what][kind]:,} {kind} nodes {what}, {columns[to][kind]:,} {to}"
        for kind in KINDS
        if columns[what][kind] != columns[to][kind]
    ]


def _counted(nodes: Sequence[Mapping[str, Any]], label: tuple[str, str], counts: Any) -> dict[str, int]:
    found = dict.fromkeys(KINDS, 0)
    for node in nodes:
        labels = node.get("metadata", {}).get("labels") or {}
        found[FAKE if labels.get(label[0]) == label[1] else REAL] += bool(counts(node))
    return _row(found[REAL], found[FAKE])


def _row(real: int, fake: int) -> dict[str, int]:
    return {REAL: real, FAKE: fake, "all": real + fake}


def is_ready(node: Mapping[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)
