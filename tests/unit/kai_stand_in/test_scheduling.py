# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stand-in's scheduler decides in one cycle: placement, gangs, domains, queues, reclaim, consolidation."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.fakes.kai_stand_in.allocate import Session, allocate
from tests.fakes.kai_stand_in.model import Group, Queue
from tests.fakes.kai_stand_in.quota import fair_shares
from tests.fakes.kai_stand_in.reclaim import consolidate, reclaim
from tests.unit.kai_stand_in.clusters import A, group, nodes, queue, session


def bound(of: Session) -> dict[str, int]:
    """Pods bound, by group."""
    return dict(Counter(one.name for one, _ in of.binds))


def evicted(of: Session) -> dict[str, int]:
    """Pods evicted, by group."""
    return dict(Counter(one.name for one, _, _ in of.evictions))


def per_node(of: Session) -> list[float]:
    return sorted(node.used.gpu for node in of.cluster.nodes.values())


def test_pods_are_packed_and_no_node_gets_more_than_it_has() -> None:
    one = session(nodes(3), A, group("x", 3, 3), group("y", 4, 2), group("z", 1, 1))
    allocate(one)
    assert bound(one) == {"x": 3, "y": 4, "z": 1}
    assert per_node(one) == [2, 8, 8]


CASES: list[tuple[str, list[Group], dict[str, int]]] = [
    ("a gang that fits is bound as a whole", [group("g", 4, 4, min_member=4)], {"g": 4}),
    ("a gang that does not fit is not bound at all", [group("g", 5, 4, min_member=5)], {}),
    ("a gang in the way of another is passed by", [group("g", 5, 4, min_member=5), group("h", 1, 8)], {"h": 1}),
    ("beyond minMember each pod counts alone", [group("g", 6, 4, min_member=2)], {"g": 4}),
    ("a gang waits for the pods that do not exist yet", [group("g", 3, 1, min_member=4)], {}),
    ("the missing members of a gang count", [group("g", 3, 4, min_member=3, on=["n0", "n1", None])], {"g": 1}),
    ("the older of two goes first", [group("new", 1, 8, created=2), group("old", 2, 8, created=1)], {"old": 2}),
    ("the higher priority goes first", [group("low", 2, 8), group("high", 2, 8, priority=90)], {"high": 2}),
    ("a pod for which no node is large enough", [group("g", 1, 9)], {}),
]  # fmt: skip


@pytest.mark.parametrize(("groups", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_allocated_on_two_nodes(groups: list[Group], expected: dict[str, int]) -> None:
    one = session(nodes(2), A, *groups)
    allocate(one)
    assert bound(one) == expected
    assert max(per_node(one)) <= 8


REFUSALS: list[tuple[str, list[Queue], Group, str]] = [
    ("a queue without quota and limit", [queue("a", 0, 0, 0)], group("g", 1), "OverLimit"),
    ("a queue that has its limit", [queue("a", -1, 3)], group("g", 4, min_member=4), "OverLimit"),
    ("the limit of the queue above", [queue("b", -1, 3), queue("a", parent="b")], group("g", 4, min_member=4),
     "OverLimit"),
    ("a queue that does not exist", A, group("g", 1, of="nowhere"), "QueueDoesNotExist"),
    ("a queue without a parent", [queue("a", parent=None)], group("g", 1), "QueueDoesNotExist"),
    ("a queue whose parent does not exist", [queue("a", parent="gone")], group("g", 1), "QueueDoesNotExist"),
    ("a queue that has children", [queue("a"), queue("b", parent="a")], group("g", 1), "QueueDoesNotExist"),
    ("more than the quota, not preemptible", [queue("a", 3)], group("g", 4, min_member=4, preemptible=False),
     "NonPreemptibleOverQuota"),
    ("more than there is", A, group("g", 3, 8, min_member=3), "Unschedulable"),
    ("a topology that does not exist", A, group("g", 1, required="rack", topology="other"), "Unschedulable"),
    ("a level that does not exist", A, group("g", 1, required="row", topology="tree"), "Unschedulable"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("queues", "asking", "reason"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS]
)
def test_what_is_refused_and_why(queues: list[Queue], asking: Group, reason: str) -> None:
    one = session(nodes(2), queues, asking)
    allocate(one)
    reclaim(one)
    assert (bound(one), {key[1]: refused.reason for key, refused in one.refusals.items()}) == ({}, {"g": reason})


def test_what_a_limit_leaves_is_given_to_those_beyond_the_gang() -> None:
    one = session(nodes(2), [queue("a", -1, 5)], group("g", 8, min_member=2))
    allocate(one)
    assert bound(one) == {"g": 5}


def test_limits_are_not_looked_at_when_the_fault_is_planted() -> None:
    one = session(nodes(2), [queue("a", -1, 5)], group("g", 8, min_member=8), limits=False)
    allocate(one)
    assert bound(one) == {"g": 8}


SHARES: list[tuple[str, list[Queue], dict[str, float], dict[str, float]]] = [
    ("by weight", [queue("a", 0, -1, 1), queue("b", 0, -1, 3)], {"a": 16, "b": 16}, {"a": 4, "b": 12}),
    ("no more than is asked for", [queue("a", 0), queue("b", 0)], {"a": 2, "b": 16}, {"a": 2, "b": 14}),
    ("the quota comes first", [queue("a", 12, -1, 0), queue("b", 0)], {"a": 16, "b": 16}, {"a": 12, "b": 4}),
    ("without quota and weight nothing", [queue("a", 0, -1, 0), queue("b")], {"a": 16, "b": 4}, {"a": 0, "b": 4}),
    ("no more than the limit", [queue("a", -1, 5)], {"a": 16}, {"a": 5}),
]


@pytest.mark.parametrize(
    ("queues", "demand", "expected"), [case[1:] for case in SHARES], ids=[case[0] for case in SHARES]
)
def test_the_fair_share_of_each_queue(
    queues: list[Queue], demand: dict[str, float], expected: dict[str, float]
) -> None:
    asking = [group(name, int(gpus), 1, of=name) for name, gpus in demand.items()]
    shares = fair_shares(session(nodes(2), queues, *asking).cluster)
    assert {name: round(share, 6) for name, share in shares.items() if name != "root"} == expected


def test_the_queue_that_has_least_of_its_share_goes_first() -> None:
    queues = [queue("a", 0), queue("b", 0)]
    jobs = [group(f"{name}{index}", 1, 8, of=name) for name in "ab" for index in range(4)]
    one = session(nodes(4), queues, *jobs, group("running", 2, 8, of="a", on=["n0", "n1"]))
    allocate(one)
    assert sorted(bound(one)) == ["b0", "b1"]


TOPOLOGY: list[tuple[str, dict[str, Any], int, list[list[str]] | None]] = [
    ("required, one rack is enough", {"required": "rack"}, 4, [["r0"], ["r1"], ["r2"], ["r3"]]),
    ("required by its alias", {"required": "cabinet"}, 4, [["r0"], ["r1"], ["r2"], ["r3"]]),
    ("required, and no rack is large enough", {"required": "rack"}, 5, None),
    ("required one level wider", {"required": "zone"}, 5, [["z0"], ["z1"]]),
    ("preferred, one rack is enough", {"preferred": "rack"}, 4, [["r0"], ["r1"], ["r2"], ["r3"]]),
    ("preferred, widened to the zone", {"preferred": "rack"}, 5, [["z0"], ["z1"]]),
    ("preferred, widened to all", {"preferred": "rack"}, 9, [["z0", "z1"]]),
    ("preferred inside required", {"preferred": "rack", "required": "zone"}, 9, None),
]


@pytest.mark.parametrize(
    ("constraint", "pods", "expected"), [case[1:] for case in TOPOLOGY], ids=[case[0] for case in TOPOLOGY]
)
def test_which_domains_a_gang_uses(constraint: dict[str, Any], pods: int, expected: list[list[str]] | None) -> None:
    one = session(nodes(8), A, group("g", pods, 4, min_member=pods, topology="tree", **constraint))
    allocate(one)
    if expected is None:
        assert bound(one) == {}
        return
    label = "rack" if expected[0][0].startswith("r") else "zone"
    used = {one.cluster.nodes[pod.node or ""].labels[label] for _, pod in one.binds}
    assert bound(one) == {"g": pods}
    assert sorted(used) in expected


def test_the_domain_with_the_least_room_that_suffices_is_taken() -> None:
    running = group("running", 2, 6, on=["n2", "n6"])
    one = session(nodes(8), A, running, group("g", 4, 2, min_member=4, topology="tree", required="rack"))
    allocate(one)
    assert {one.cluster.nodes[pod.node or ""].labels["rack"] for _, pod in one.binds} <= {"r1", "r3"}


def test_the_rest_of_a_gang_follows_it_into_its_domain() -> None:
    started = group("g", 4, 4, min_member=3, topology="tree", required="rack", on=["n4", "n4", None, None])
    one = session(nodes(8), A, started)
    allocate(one)
    assert {pod.node for _, pod in one.binds} == {"n5"}


def full(of: str, count: int, pods: int = 1, **more: Any) -> list[Group]:
    """Single-GPU pods on every GPU of the nodes, in groups of some pods each."""
    places = [f"n{index // 8}" for index in range(count * 8)]
    return [group(f"v{start}", pods, 1, of=of, on=places[start : start + pods], created=float(start), **more)
            for start in range(0, len(places), pods)]  # fmt: skip


def reclaimed(victims: list[Group], asking: Group, *, quota: float = 0, weight: float = 0, **options: Any) -> Session:
    """The cycle of four full nodes, the victims in queue b."""
    one = session(nodes(4), [queue("a"), queue("b", quota, -1, weight)], *victims, asking, **options)
    allocate(one)
    consolidate(one, -1)
    reclaim(one)
    return one


RECLAIMS: list[tuple[str, list[Group], Group, dict[str, Any], int]] = [
    ("one pod for one pod", full("b", 4), group("g", 1), {}, 1),
    ("whole nodes for a gang of whole nodes", full("b", 4), group("g", 3, 8, min_member=3), {}, 24),
    ("no more than is missing", full("b", 3), group("g", 2, 8, min_member=2), {}, 8),
    ("nothing where the gang cannot be whole", full("b", 4), group("g", 5, 8, min_member=5), {}, 0),
    ("nothing below the victims' quota", full("b", 4), group("g", 2, 8, min_member=2), {"quota": 17}, 0),
    ("what is above the victims' quota", full("b", 4), group("g", 2, 8, min_member=2), {"quota": 16}, 16),
    ("nothing from those that are not preemptible", full("b", 4, preemptible=False), group("g", 1), {}, 0),
    ("nothing inside the queue", full("a", 4), group("g", 1), {}, 0),
    ("a whole gang for one pod", full("b", 4, 4, min_member=4), group("g", 1), {}, 4),
    ("single pods of an elastic gang", full("b", 4, 4, min_member=2), group("g", 1, 2), {}, 2),
    ("an elastic gang down to its minMember, then as a whole", full("b", 4, 4, min_member=3), group("g", 1, 2), {}, 2),
]


@pytest.mark.parametrize(
    ("victims", "asking", "options", "gone"), [case[1:] for case in RECLAIMS], ids=[case[0] for case in RECLAIMS]
)
def test_who_is_evicted_for_whom(victims: list[Group], asking: Group, options: dict[str, Any], gone: int) -> None:
    one = reclaimed(victims, asking, **options)
    assert sum(evicted(one).values()) == gone
    assert (bound(one), bool(one.waiting)) == ({}, gone > 0)
    for victim in victims:
        left = len(victim.active)
        assert left == 0 or left >= victim.min_member
    assert max(node.free(True).gpu for node in one.cluster.nodes.values()) <= 8
    assert min(node.free(True).gpu for node in one.cluster.nodes.values()) >= 0


def test_a_gang_is_cut_below_its_minimum_when_the_fault_is_planted() -> None:
    victims = full("b", 4, 4, min_member=4)
    one = reclaimed(victims, group("g", 1), below_minimum=True)
    assert sum(evicted(one).values()) == 1
    assert [len(victim.active) for victim in victims].count(3) == 1


def test_a_group_waits_for_those_that_leave_and_is_bound_when_they_have_left() -> None:
    victims = full("b", 1)
    for pod in (victims[0].pods[0], victims[1].pods[0]):
        pod.leaving = True
    one = session(nodes(1), [queue("a"), queue("b", 0, -1, 0)], *victims, group("g", 1, 2))
    allocate(one)
    reclaim(one)
    assert (bound(one), evicted(one), one.waiting) == ({}, {}, {("default", "g"): {"g-0": "n0"}})
    later = session(nodes(1), [queue("a"), queue("b", 0, -1, 0)], *victims[2:], group("g", 1, 2), group("w", 1, 1))
    allocate(later, one.waiting)
    assert bound(later) == {"g": 1}


def scattered(count: int, used: int, **more: Any) -> list[Group]:
    """Single-GPU groups, ``used`` of them on each node."""
    return [group(f"v{index}", 1, 1, of="b", on=[f"n{index // used}"], **more) for index in range(count * used)]


MOVES: list[tuple[str, list[Group], Group, int, int]] = [
    ("one is moved for one pod", scattered(4, 3), group("g", 1, 6), -1, 1),
    ("one for each pod of a gang", scattered(4, 3), group("g", 2, 6, min_member=2), -1, 2),
    ("no more than is allowed", scattered(4, 3), group("g", 2, 6, min_member=2), 1, 0),
    ("none when it is switched off", scattered(4, 3), group("g", 1, 6), 0, 0),
    ("none where those moved find no place", scattered(4, 3), group("g", 4, 6, min_member=4), -1, 0),
    ("none that are not preemptible", scattered(4, 3, preemptible=False), group("g", 1, 6), -1, 0),
    ("none where it fits already", scattered(4, 3), group("g", 1, 5), -1, 0),
]


@pytest.mark.parametrize(
    ("victims", "asking", "most", "moved"), [case[1:] for case in MOVES], ids=[case[0] for case in MOVES]
)
def test_who_is_moved_for_whom(victims: list[Group], asking: Group, most: int, moved: int) -> None:
    one = session(nodes(4), [queue("a"), queue("b")], *victims, asking)
    allocate(one)
    consolidate(one, most)
    assert len(one.evictions) == moved
    assert {action for _, _, action in one.evictions} <= {"consolidation"}
    assert one.counts.get(("podgroups_scheduled_by_action", "consolidation"), 0) == int(moved > 0)
    assert min(node.free(True).gpu for node in one.cluster.nodes.values()) >= 0


def test_an_attempt_that_fails_moves_nothing() -> None:
    victims = full("b", 4)
    one = session(nodes(4), [queue("a"), queue("b", 17, -1, 0)], *victims, group("g", 2, 8, min_member=2))
    before = per_node(one), one.cluster.queues["b"].allocated
    allocate(one)
    consolidate(one, -1)
    reclaim(one)
    assert (per_node(one), one.cluster.queues["b"].allocated) == before
    assert not any(pod.leaving for victim in victims for pod in victim.pods)
    assert one.cluster.journal == []
