# SPDX-License-Identifier: GPL-3.0-or-later
"""What was made slow is named, and nothing else; where nothing was, nothing is."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from harness.mesh import factors
from harness.mesh.factors import Pair

Slow = Callable[[int, int, str, str], float]


def none(sender: int, receiver: int, here: str, there: str) -> float:
    return 1.0


def pairs(
    slow: Slow = none,
    *,
    pods: int = 25,
    nodes: int = 3,
    noise: float = 0.03,
    rounds: float = 0.05,
    tails: bool = False,
    seed: int = 1,
) -> list[Pair]:
    """Rings of pods, node by node; each round has a pace of its own."""
    chance = random.Random(seed)
    found = []
    for distance in range(1, pods):
        pace = math.exp(chance.gauss(0, rounds))
        for sender in range(pods):
            receiver = (sender + distance) % pods
            here, there = (f"node-{place * nodes // pods}" for place in (sender, receiver))
            wide = 8.0 if tails and chance.random() < 0.1 else 1.0
            goodput = 1e6 * pace * slow(sender, receiver, here, there) * math.exp(noise * wide * chance.gauss(0, 1))
            found.append(Pair(f"pod-{sender}", f"pod-{receiver}", here, there, goodput, distance))
    return found


def named(of: list[Pair]) -> list[tuple[str, str]]:
    return [(factor.kind, factor.name) for factor in factors.model(of).factors]


def node(name: str, left: float) -> Slow:
    return lambda sender, receiver, here, there: left if name in (here, there) else 1.0


PLANTED: dict[str, tuple[Slow, list[tuple[str, str]]]] = {
    "a sender": (lambda s, r, here, there: 0.8 if s == 7 else 1, [("sender", "pod-7")]),
    "a receiver": (lambda s, r, here, there: 0.8 if r == 7 else 1, [("receiver", "pod-7")]),
    "a node": (node("node-1", 0.7), [("node", "node-1")]),
    "a link": (
        lambda s, r, here, there: 0.7 if (here, there) == ("node-0", "node-2") else 1,
        [("link", "node-0 → node-2")],
    ),
    "the inside of a node": (
        lambda s, r, here, there: 0.7 if here == there == "node-0" else 1,
        [("inside of node", "node-0")],
    ),
    "a node that sends": (
        lambda s, r, here, there: 0.7 if here == "node-2" != there else 1,
        [("node as sender", "node-2")],
    ),
    "everything between nodes": (
        lambda s, r, here, there: 0.6 if here != there else 1,
        [("connections", "between nodes")],
    ),
    "a pod both ways": (
        lambda s, r, here, there: 0.8 if 7 in (s, r) else 1,
        [("receiver", "pod-7"), ("sender", "pod-7")],
    ),
    "a sender on a slow node": (
        lambda s, r, here, there: (0.6 if s == 3 else 1) * (0.7 if "node-1" in (here, there) else 1),
        [("node", "node-1"), ("sender", "pod-3")],
    ),
}


@pytest.mark.parametrize("what", PLANTED)
@pytest.mark.parametrize("noise", [0.005, 0.05])
def test_what_is_slow_is_named_and_nothing_else(what: str, noise: float) -> None:
    slow, expected = PLANTED[what]
    assert sorted(named(pairs(slow, noise=noise))) == expected


@pytest.mark.parametrize("noise", [0.0, 0.005, 0.05, 0.3])
@pytest.mark.parametrize("pods", [4, 7, 25])
@pytest.mark.parametrize("tails", [False, True])
def test_where_nothing_is_slow_nothing_is_named(noise: float, pods: int, tails: bool) -> None:
    assert [named(pairs(pods=pods, noise=noise, tails=tails, seed=seed)) for seed in range(6)] == [[]] * 6


def test_how_slow_it_is_comes_out() -> None:
    found = factors.model(pairs(node("node-2", 0.75), seed=3))
    assert len(found.factors) == 1
    assert found.factors[0].slower == pytest.approx(0.25, abs=0.03)
    assert found.noise == pytest.approx(0.03, abs=0.005)


def test_what_cannot_be_told_apart_is_named_together() -> None:
    """Of two nodes everything that one sends away is what the other receives, over their only link."""
    found = factors.model(pairs(lambda s, r, here, there: 0.7 if here < there else 1, nodes=2))
    assert [(factor.kind, factor.name, factor.also) for factor in found.factors] == [
        ("link", "node-0 → node-1", ("node as sender node-0", "node as receiver node-1"))
    ]
    words = "link node-0 → node-1: 30% slower than the others (156 cells) (the same cells as node as sender node-0, "
    assert found.factors[0].in_words.replace("29%", "30%").replace("31%", "30%").startswith(words)


@pytest.mark.parametrize("share", [0.97, 1.0, 1.2])
def test_what_is_hardly_slower_or_faster_is_not_named(share: float) -> None:
    assert named(pairs(lambda s, r, here, there: share if s == 7 else 1, noise=0.001)) == []


def test_one_slow_pair_is_no_slow_row() -> None:
    assert named(pairs(lambda s, r, here, there: 0.1 if (s, r) == (3, 9) else 1)) == []


def test_a_slow_round_is_nobodys_fault() -> None:
    slowed = [
        Pair(p.sender, p.receiver, p.sender_node, p.receiver_node, p.goodput * (0.4 if p.round == 5 else 1), p.round)
        for p in pairs()
    ]
    assert named(slowed) == []


@pytest.mark.parametrize("few", [[], pairs(pods=3), [Pair("a", "b", "", "", 0.0)] * 40])
def test_too_few_pairs_say_so(few: list[Pair]) -> None:
    found = factors.model(few)
    assert (found.factors, found.noise) == ((), None)
    assert "pairs are too few to name anything slow" in found.problem


def test_without_nodes_only_pods_are_named() -> None:
    bare = [
        Pair(p.sender, p.receiver, "", "", p.goodput * (0.7 if p.sender == "pod-2" else 1), p.round) for p in pairs()
    ]
    assert named(bare) == [("sender", "pod-2")]
