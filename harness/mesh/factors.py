# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sender, receiver, node or link is slow: a robust model of factors, each named only beyond the noise. Pure.

The logarithm of a pair's goodput is what all have in common, plus what its round, its sender, its receiver, their nodes
and the link between these take away, plus noise. One factor at a time is found: the one that, taken away, leaves least
behind. It has to be far beyond what chance does to the median of so many cells, slower by a share that matters, and
slow in most of its cells. What cannot be told apart (the only pod of a node, the only link of two nodes) is named once.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHANCE = 0.001  # of naming anything where nothing is slow, over all that could be named
LEAST_SLOWER = 0.05
FEWEST_CELLS = 5
FEWEST_OF_A_ROUND = 4
#: Most of its cells have to show at least half of it, else it is the share of somebody else.
MOST_OF_ITS_CELLS = 0.7
MEDIAN_SPREAD = math.sqrt(math.pi / 2)  # standard error of a median against that of a mean
TO_DEVIATION = 1.4826  # median absolute deviation of a normal distribution
MOST_NAMED = 20
#: What may be slow; of those that have the same cells the first is named.
KINDS = ("sender", "receiver", "node", "link", "inside of node", "node as sender", "node as receiver", "connections")

Values = NDArray[np.float64]
Members = NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """What went from one pod to another; `round` is None where nothing else ran beside it."""

    sender: str
    receiver: str
    sender_node: str
    receiver_node: str
    goodput: float
    round: Hashable = None


@dataclass(frozen=True)
class Factor:
    """`slower` is the share by which its pairs are slower than the others; the noise is that of single pairs."""

    kind: str
    name: str
    slower: float
    pairs: int
    also: tuple[str, ...] = field(default=())

    @property
    def in_words(self) -> str:
        others = f" (the same cells as {', '.join(self.also)})" if self.also else ""
        return f"{self.kind} {self.name}: {self.slower:.0%} slower than the others ({self.pairs} cells){others}"


@dataclass(frozen=True)
class Model:
    """`noise`: by which share single pairs differ from what the model says. `problem`: why nothing can be named."""

    factors: Sequence[Factor]
    noise: float | None
    problem: str = ""


def model(pairs: Sequence[Pair]) -> Model:
    usable = [pair for pair in pairs if pair.goodput > 0]
    if len(usable) < 2 * FEWEST_CELLS:
        return Model((), None, f"{len(usable)} pairs are too few to name anything slow")
    rows = _rows(usable)
    values = _spread(np.log(np.array([pair.goodput for pair in usable], dtype=np.float64)), rows)
    there = _spread(np.ones(len(usable), dtype=np.bool_), rows)
    candidates = [(names, _spread(inside, rows)) for names, inside in _candidates(usable)]
    needed = NormalDist().inv_cdf(1 - CHANCE / (2 * max(1, len(candidates))))
    found: list[Factor] = []
    while len(found) < MOST_NAMED and candidates:
        noise = _noise(values, there)
        effects = [_effect(values, inside, there & ~inside, noise, needed) for _, inside in candidates]
        before = _unexplained(values, there)
        gains = [
            before - _unexplained(values - effect * inside, there) if effect else 0.0
            for effect, (_, inside) in zip(effects, candidates, strict=True)
        ]
        best = int(np.argmax(gains))
        if gains[best] <= 0:
            break
        ((kind, name), *also), inside = candidates.pop(best)
        values = values - effects[best] * inside
        others = tuple(f"{other} {what}" for other, what in also)
        found.append(Factor(kind, name, 1 - math.exp(effects[best]), int(inside.sum()), others))
    return Model(tuple(found), math.exp(_noise(values, there)) - 1)


def _candidates(pairs: Sequence[Pair]) -> list[tuple[list[tuple[str, str]], Members]]:
    """Everything that may be slow, with the pairs it is part of; what has the same pairs stands together."""
    groups: dict[tuple[str, str], set[int]] = defaultdict(set)
    for index, pair in enumerate(pairs):
        for key in _keys(pair):
            groups[key].add(index)
    same: dict[frozenset[int], list[tuple[str, str]]] = defaultdict(list)
    for key in sorted(groups, key=lambda one: (KINDS.index(one[0]), one[1])):
        # All pairs or nearly all: there is nothing to compare with.
        if FEWEST_CELLS <= len(groups[key]) <= len(pairs) - FEWEST_CELLS:
            same[frozenset(groups[key])].append(key)
    found = []
    for members, names in same.items():
        inside = np.zeros(len(pairs), dtype=bool)
        inside[list(members)] = True
        found.append((names, inside))
    return found


def _keys(pair: Pair) -> list[tuple[str, str]]:
    keys = [("sender", pair.sender), ("receiver", pair.receiver)]
    here, there = pair.sender_node, pair.receiver_node
    if not here or not there:
        return keys
    keys += [("node", node) for node in {here, there}]
    if here == there:
        return [*keys, ("inside of node", here)]
    return [
        *keys,
        ("link", f"{here} → {there}"),
        ("node as sender", here),
        ("node as receiver", there),
        ("connections", "between nodes"),
    ]


def _effect(values: Values, inside: Members, outside: Members, noise: float, needed: float) -> float:
    """By how much these pairs lie below the others of their rounds; 0 when that may be chance, or is not theirs.

    Only within a round can they be held against each other: the machine was busy in it, or it was not.
    """
    here, there = inside.sum(axis=1), outside.sum(axis=1)
    both = (here > 0) & (there > 0)
    if not both.any():
        return 0.0
    weights = here[both] * there[both] / (here[both] + there[both])
    if weights.sum() < FEWEST_CELLS / 2:
        return 0.0
    others = _medians(values, outside)
    effect = _weighted_median(_medians(values, inside)[both] - others[both], weights)
    error = MEDIAN_SPREAD**2 * noise / math.sqrt(float(weights.sum()))
    if effect > math.log(1 - LEAST_SLOWER) or -effect < needed * error:
        return 0.0
    slow = (values < (others + effect / 2)[:, None]) & inside
    return effect if slow[both].sum() >= MOST_OF_ITS_CELLS * here[both].sum() else 0.0


def _rows(pairs: Sequence[Pair]) -> list[list[int]]:
    """A row for each round; rounds of few pairs, and pairs of none, are one together."""
    rounds: dict[Hashable, list[int]] = defaultdict(list)
    for index, pair in enumerate(pairs):
        rounds[pair.round].append(index)
    alone = rounds.pop(None, [])
    alone += [index for members in rounds.values() if len(members) < FEWEST_OF_A_ROUND for index in members]
    return [*(members for members in rounds.values() if len(members) >= FEWEST_OF_A_ROUND), *([alone] if alone else [])]


def _spread(items: NDArray[Any], rows: Sequence[Sequence[int]]) -> NDArray[Any]:
    """One row of items a round; what is left of a row is 0."""
    found = np.zeros((len(rows), max(map(len, rows))), dtype=items.dtype)
    for number, members in enumerate(rows):
        found[number, : len(members)] = items[members]
    return found


def _medians(values: Values, members: Members) -> Values:
    """Of the members of each row; NaN where it has none."""
    ordered = np.sort(np.where(members, values, np.inf), axis=1)
    counts = members.sum(axis=1)
    numbers = np.arange(len(values))
    middle = (ordered[numbers, np.maximum(counts - 1, 0) // 2] + ordered[numbers, counts // 2]) / 2
    return np.where(counts > 0, middle, np.nan)


def _weighted_median(values: Values, weights: Values) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])


def _left(values: Values, there: Members) -> Values:
    """What is not the round's."""
    rest: Values = (values - _medians(values, there)[:, None])[there]
    return rest


def _unexplained(values: Values, there: Members) -> float:
    return float(np.abs(_left(values, there)).sum())


def _noise(values: Values, there: Members) -> float:
    """The deviation of single pairs, robust; each round's own median has taken one of its pairs."""
    left = _left(values, there)
    free = max(1, len(left) - len(values))
    return float(TO_DEVIATION * np.median(np.abs(left)) * math.sqrt(len(left) / free))
